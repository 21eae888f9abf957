//! The time, as an argument: the engine asks a [`Clock`], never the operating system.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use restic_manager_core::time::Timestamp;

/// Tells the time.
///
/// Two readings, because they disagree when somebody sets the wall clock, and the engine holds deletions while they do.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Milliseconds since an origin of the clock's own choosing; never goes back.
    fn monotonic_ms(&self) -> i64;
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts the monotonic reading at zero.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp::from_millis(millis)
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that moves only when it is told to: years pass in a test without waiting.
#[derive(Debug)]
pub struct ManualClock {
    reading: Mutex<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    now: Timestamp,
    monotonic_ms: i64,
}

impl ManualClock {
    /// Stands at `now`, with the monotonic reading at zero.
    pub fn new(now: Timestamp) -> Self {
        Self { reading: Mutex::new(Reading { now, monotonic_ms: 0 }) }
    }

    /// Lets time pass: both readings move. A negative span is taken as zero.
    pub fn advance(&self, millis: i64) {
        let millis = millis.max(0);
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.now = reading.now + millis;
        reading.monotonic_ms = reading.monotonic_ms.saturating_add(millis);
    }

    /// Sets the wall clock alone, as somebody does who corrects it.
    pub fn step_to(&self, now: Timestamp) {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }

    fn read(&self) -> Reading {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.read().now
    }

    fn monotonic_ms(&self) -> i64 {
        self.read().monotonic_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_in_this_century_and_its_monotonic_reading_never_goes_back() {
        let clock = SystemClock::new();
        let earlier = clock.monotonic_ms();
        assert!(clock.now() > Timestamp::from_millis(1_700_000_000_000), "{}", clock.now());
        assert!(clock.monotonic_ms() >= earlier && earlier >= 0);
    }

    #[test]
    fn a_manual_clock_moves_both_readings_when_time_passes_and_one_when_it_is_set() {
        let clock = ManualClock::new(Timestamp::from_millis(1_000));
        clock.advance(500);
        assert_eq!((clock.now().as_millis(), clock.monotonic_ms()), (1_500, 500));
        clock.step_to(Timestamp::from_millis(90));
        assert_eq!((clock.now().as_millis(), clock.monotonic_ms()), (90, 500));
        clock.advance(-5);
        assert_eq!((clock.now().as_millis(), clock.monotonic_ms()), (90, 500));
    }
}
