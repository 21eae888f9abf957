//! The clocks of the machine: the one on the wall, and two that never go back.

use restic_manager_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from_millis(millis(ClockId::Realtime))
}

/// Milliseconds on a clock that never goes back and counts while the machine sleeps.
#[cfg(feature = "agent")]
pub(crate) fn boot() -> i64 {
    millis(ClockId::Boottime)
}

/// What all clocks of the machine say.
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The wall clock.
    pub(crate) wall: Timestamp,
    /// Milliseconds on a clock that never goes back and counts while the machine sleeps.
    pub(crate) boot: i64,
    /// The same on one that stands still meanwhile.
    pub(crate) awake: i64,
}

/// Reads all clocks.
#[cfg(feature = "agent")]
pub(crate) fn read() -> Reading {
    let awake = millis(ClockId::Monotonic);
    Reading { wall: wall(), boot: boot(), awake }
}

fn millis(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}
