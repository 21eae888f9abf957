//! The two clocks of the machine: the one on the wall, and the one that never goes back.

use restic_manager_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from_millis(millis(ClockId::Realtime))
}

/// Milliseconds on a clock that never goes back and counts while the machine sleeps.
pub(crate) fn boot() -> i64 {
    millis(ClockId::Boottime)
}

fn millis(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}
