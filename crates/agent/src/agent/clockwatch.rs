//! Whether the wall clock can be trusted to say what was missed.

use restic_manager_core::time::{MINUTE, SECOND, Timestamp};

/// A wall clock that differs by more from the time that passed was set, in milliseconds.
const STEP: i64 = 10 * SECOND;
/// A wall clock this close to the server's is right, in milliseconds.
const AGREES: i64 = 5 * MINUTE;

/// Compares the wall clock with the time that really passed.
///
/// A wall clock that moved together with the boot clock was sleep, and what was slept through is caught up. A wall
/// clock that moved alone was set: slots that it jumped over are not caught up until the server confirms the time.
#[derive(Debug)]
pub(super) struct ClockWatch {
    wall: Timestamp,
    boot: i64,
    doubtful: Option<Timestamp>,
    confirmed: Option<Timestamp>,
}

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// By how many milliseconds; negative means back.
    pub(super) by: i64,
}

impl ClockWatch {
    pub(super) const fn new(wall: Timestamp, boot: i64) -> Self {
        Self { wall, boot, doubtful: None, confirmed: None }
    }

    /// Looks at both clocks.
    pub(super) fn look(&mut self, wall: Timestamp, boot: i64) -> Option<Step> {
        let by = wall.millis_since(self.wall).saturating_sub(boot.saturating_sub(self.boot));
        (self.wall, self.boot) = (wall, boot);
        if by.abs() <= STEP {
            return None;
        }
        (self.doubtful, self.confirmed) = (Some(wall), None);
        Some(Step { by })
    }

    /// The server said what time it is.
    pub(super) fn compare(&mut self, server: Timestamp, wall: Timestamp) {
        if wall.millis_since(server).abs() <= AGREES {
            self.doubtful = None;
            self.confirmed = self.confirmed.or(Some(wall));
        }
    }

    /// Slots up to this instant are not caught up for the time being.
    pub(super) const fn not_before(&self) -> Option<Timestamp> {
        self.doubtful
    }

    /// Since when the server agrees with the wall clock; none while it never did, or the clock was set meanwhile.
    pub(super) const fn confirmed(&self) -> Option<Timestamp> {
        self.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn sleep_is_no_step() {
        let mut watch = ClockWatch::new(at(0), 0);
        assert_eq!(watch.look(at(8 * 3_600_000), 8 * 3_600_000 - 900), None);
        assert_eq!(watch.not_before(), None);
    }

    #[test]
    fn a_clock_that_was_set_is_doubted_until_the_server_agrees() {
        let mut watch = ClockWatch::new(at(0), 0);
        assert_eq!(watch.look(at(3_600_000), 1_000), Some(Step { by: 3_599_000 }));
        assert_eq!(watch.not_before(), Some(at(3_600_000)));
        watch.compare(at(0), at(3_601_000));
        assert_eq!(watch.not_before(), Some(at(3_600_000)), "the server has another time");
        watch.compare(at(3_601_500), at(3_601_000));
        assert_eq!(watch.not_before(), None);
        assert_eq!(watch.look(at(0), 2_000), Some(Step { by: -3_601_000 }));
    }
}
