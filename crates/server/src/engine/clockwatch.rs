//! Whether the server's clock can be trusted with deletions.
//!
//! The wall clock is compared with the monotonic one at every look, and with the median of the connected agents' clocks. More than
//! ten minutes off holds forget and prune until everything was steady for a quarter of an hour.

use std::collections::BTreeMap;

use restic_manager_core::id::HostId;
use restic_manager_core::time::{MINUTE, Timestamp};

/// More than this is no drift but a clock that somebody set.
const TOLERATED: i64 = 10 * MINUTE;
/// How long everything must be steady before the clock is trusted again.
const STEADY_FOR: i64 = 15 * MINUTE;

/// What is known of the clocks.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    last: Option<(Timestamp, i64)>,
    /// By the monotonic clock.
    suspect_until: Option<i64>,
    set_back: bool,
    /// What each agent's wall clock showed when the server's monotonic one stood at zero.
    agents: BTreeMap<HostId, i64>,
}

impl ClockWatch {
    /// An agent said what its clock shows.
    pub(super) fn heard(&mut self, host_id: HostId, clock: Timestamp, monotonic_ms: i64) {
        self.agents.insert(host_id, clock.as_millis().saturating_sub(monotonic_ms));
    }

    /// Compares the clocks; answers whether the wall clock is suspect.
    pub(super) fn look(
        &mut self,
        connected: impl Fn(HostId) -> bool,
        now: Timestamp,
        monotonic_ms: i64,
    ) -> bool {
        let stepped = self.last.map_or(0, |(then, mark)| {
            now.millis_since(then).saturating_sub(monotonic_ms.saturating_sub(mark))
        });
        self.last = Some((now, monotonic_ms));
        self.set_back |= stepped < -TOLERATED;
        self.agents.retain(|host_id, _| connected(*host_id));
        let apart =
            self.median().map_or(0, |base| base.saturating_add(monotonic_ms).saturating_sub(now.as_millis()));
        if stepped.saturating_abs() > TOLERATED || apart.saturating_abs() > TOLERATED {
            if self.suspect_until.is_none() {
                tracing::error!(
                    stepped_ms = stepped,
                    agents_ahead_ms = apart,
                    "the server's clock is not to be trusted: nothing is forgotten or pruned until it is steady"
                );
            }
            self.suspect_until = Some(monotonic_ms.saturating_add(STEADY_FOR));
        } else if self.suspect_until.is_some_and(|until| monotonic_ms >= until) {
            tracing::info!("the server's clock is steady again");
            self.suspect_until = None;
        }
        self.is_suspect()
    }

    /// Whether the wall clock was suspect at the last look.
    pub(super) const fn is_suspect(&self) -> bool {
        self.suspect_until.is_some()
    }

    /// Whether the clock was set back since this was asked last: what was planned meanwhile lies too far in the future.
    pub(super) const fn take_set_back(&mut self) -> bool {
        std::mem::replace(&mut self.set_back, false)
    }

    fn median(&self) -> Option<i64> {
        let mut bases: Vec<i64> = self.agents.values().copied().collect();
        let middle = bases.len().checked_sub(1)? / 2;
        Some(*bases.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use restic_manager_core::time::{DAY, HOUR};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + millis)
    }

    fn host(n: u8) -> HostId {
        HostId::mint(at(0), [n; 10])
    }

    #[test]
    fn a_clock_that_keeps_time_is_trusted_over_any_pause() {
        let mut watch = ClockWatch::default();
        for mark in [0, 1, HOUR, 40 * DAY] {
            assert!(!watch.look(|_| true, at(mark), mark));
        }
        assert!(!watch.look(|_| true, at(41 * DAY + TOLERATED), 41 * DAY), "ten minutes are tolerated");
        assert!(!watch.take_set_back());
    }

    #[test]
    fn a_step_either_way_is_suspect_until_it_was_steady_for_a_quarter_of_an_hour() {
        for step in [DAY, -DAY, TOLERATED + 1, -TOLERATED - 1] {
            let mut watch = ClockWatch::default();
            watch.look(|_| true, at(0), 0);
            assert!(watch.look(|_| true, at(step), 0));
            assert!(watch.look(|_| true, at(step + STEADY_FOR - 1), STEADY_FOR - 1));
            assert!(!watch.look(|_| true, at(step + STEADY_FOR), STEADY_FOR));
            assert_eq!(watch.take_set_back(), step < 0);
            assert!(!watch.take_set_back(), "said once");
        }
    }

    #[test]
    fn the_median_of_the_connected_agents_is_believed_and_one_of_three_is_not() {
        let mut watch = ClockWatch::default();
        watch.heard(host(1), at(DAY), 0);
        watch.heard(host(2), at(5), 0);
        watch.heard(host(3), at(-5), 0);
        assert!(!watch.look(|_| true, at(MINUTE), MINUTE));
        assert!(watch.look(|id| id == host(1), at(2 * MINUTE), 2 * MINUTE), "only the odd one is left");
        assert!(watch.look(|id| id == host(1), at(5 * HOUR), 5 * HOUR), "as long as it lasts");
        assert!(watch.look(|_| false, at(5 * HOUR), 5 * HOUR));
        assert!(!watch.look(|_| false, at(5 * HOUR + STEADY_FOR), 5 * HOUR + STEADY_FOR));
    }
}
