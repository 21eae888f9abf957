//! Whether the wall clock can be trusted to say what was missed, and since when the machine is awake.

use restic_manager_core::duty::Clocks;
use restic_manager_core::time::{MINUTE, SECOND, Timestamp};

use crate::clock::Reading;

/// A wall clock that differs by more from the time that passed was set, in milliseconds.
const STEP: i64 = 10 * SECOND;
/// A machine whose clocks came apart by more was asleep, in milliseconds.
const SLEPT: i64 = 5 * SECOND;
/// A wall clock this close to the server's is right, in milliseconds.
const AGREES: i64 = 5 * MINUTE;

/// Compares the wall clock with the time that really passed.
///
/// A wall clock that moved together with the boot clock was sleep, and what was slept through is caught up. A wall
/// clock that moved alone was set: slots that it jumped over are not caught up until the server confirms the time.
#[derive(Debug)]
pub(super) struct ClockWatch {
    last: Reading,
    /// Since when the machine is awake with this agent on it, on the boot clock.
    awake_since: i64,
    doubtful: Option<Timestamp>,
    confirmed: Option<Timestamp>,
}

/// What happened between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// By how many milliseconds the wall clock was set, back where negative; none when it was not.
    pub(super) step: Option<i64>,
    /// For how many milliseconds the machine slept; none when it did not.
    pub(super) slept_for: Option<i64>,
}

impl ClockWatch {
    /// The machine counts as awake from now on.
    pub(super) const fn new(now: Reading) -> Self {
        Self { last: now, awake_since: now.boot, doubtful: None, confirmed: None }
    }

    /// Looks at the clocks.
    pub(super) fn look(&mut self, now: Reading) -> Looked {
        let passed = now.boot.saturating_sub(self.last.boot);
        let step = now.wall.millis_since(self.last.wall).saturating_sub(passed);
        let slept_for = passed.saturating_sub(now.awake.saturating_sub(self.last.awake));
        self.last = now;
        let looked = Looked {
            step: Some(step).filter(|by| by.abs() > STEP),
            slept_for: Some(slept_for).filter(|slept| *slept > SLEPT),
        };
        if looked.step.is_some() {
            (self.doubtful, self.confirmed) = (Some(now.wall), None);
        }
        if looked.slept_for.is_some() {
            self.awake_since = now.boot;
        }
        looked
    }

    /// The server said what time it is.
    pub(super) fn compare(&mut self, server: Timestamp, wall: Timestamp) {
        if wall.millis_since(server).abs() <= AGREES {
            self.doubtful = None;
            self.confirmed = self.confirmed.or(Some(wall));
        }
    }

    /// What they said at the last look.
    pub(super) const fn clocks(&self) -> Clocks {
        Clocks {
            now: self.last.wall,
            awake_for: self.last.boot.saturating_sub(self.awake_since),
            not_before: self.doubtful,
            confirmed: self.confirmed,
        }
    }

    /// Since when the machine is awake with this agent on it, on the boot clock.
    pub(super) const fn awake_since(&self) -> i64 {
        self.awake_since
    }

    /// Whether the wall clock was set, and no server confirmed it since.
    pub(super) const fn is_doubtful(&self) -> bool {
        self.doubtful.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn reading(wall: i64, boot: i64, awake: i64) -> Reading {
        Reading { wall: at(wall), boot, awake }
    }

    fn watch() -> ClockWatch {
        ClockWatch::new(reading(0, 0, 0))
    }

    #[test]
    fn sleep_is_no_step_and_the_machine_is_awake_from_its_end_on() {
        let mut watch = watch();
        assert_eq!(watch.look(reading(HOUR, HOUR, HOUR)), Looked::default());
        assert_eq!(watch.clocks().awake_for, HOUR);
        let woke = watch.look(reading(9 * HOUR, 9 * HOUR - 900, HOUR + 20_000));
        assert_eq!(woke, Looked { step: None, slept_for: Some(8 * HOUR - 20_900) });
        assert_eq!((watch.clocks().awake_for, watch.clocks().not_before), (0, None));
        watch.look(reading(9 * HOUR + 30_900, 9 * HOUR + 30_000, HOUR + 50_900));
        assert_eq!(watch.clocks().awake_for, 30_900);
    }

    #[test]
    fn a_moment_of_sleep_is_none() {
        let mut watch = watch();
        assert_eq!(watch.look(reading(60_000, 60_000, 55_000)), Looked::default());
        assert_eq!(watch.clocks().awake_for, 60_000);
    }

    #[test]
    fn a_clock_that_was_set_is_doubted_until_the_server_agrees() {
        let mut watch = watch();
        assert_eq!(watch.look(reading(HOUR, 1_000, 1_000)).step, Some(HOUR - 1_000));
        assert_eq!(watch.clocks().not_before, Some(at(HOUR)));
        assert_eq!(watch.clocks().awake_for, 1_000, "it did not sleep");
        watch.compare(at(0), at(HOUR + 1_000));
        assert!(watch.is_doubtful(), "the server has another time");
        watch.compare(at(HOUR + 1_500), at(HOUR + 1_000));
        assert_eq!(watch.clocks().confirmed, Some(at(HOUR + 1_000)));
        assert!(!watch.is_doubtful());
        assert_eq!(watch.look(reading(0, 2_000, 2_000)).step, Some(-HOUR - 1_000));
        assert_eq!(watch.clocks().confirmed, None);
    }
}
