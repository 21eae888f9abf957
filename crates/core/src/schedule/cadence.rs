//! A cron text in a time zone, and what of it is due.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cron::CronExpr;
use super::search::Slots;
use super::zone::Zone;
use crate::time::Timestamp;

/// When something happens again and again: a cron text and the zone of its wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cadence {
    /// The cron text.
    pub cron: CronExpr,
    /// The zone of the wall clock it is read against.
    pub zone: Zone,
}

impl Cadence {
    /// The first slot strictly later than `after`; see [`CronExpr::next_after`].
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.cron.next_after(&self.zone, after)
    }

    /// The newest slot at or before `now`; see [`CronExpr::prev_at_or_before`].
    pub fn prev_at_or_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron.prev_at_or_before(&self.zone, now)
    }

    /// How many slots are later than `after` and not later than `until`; see [`CronExpr::count_between`].
    pub fn count_between(&self, after: Timestamp, until: Timestamp) -> u64 {
        self.cron.count_between(&self.zone, after, until)
    }

    /// All slots strictly later than `after`, in order.
    pub fn slots_after(&self, after: Timestamp) -> Slots<'_> {
        self.cron.slots_after(&self.zone, after)
    }

    /// The next `count` slots strictly later than `after`; fewer only at the end of the calendar.
    pub fn upcoming(&self, count: usize, after: Timestamp) -> Vec<Timestamp> {
        self.slots_after(after).take(count).collect()
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cron, self.zone)
    }
}

/// What a cadence owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Due {
    /// The newest slot that has come and was not handled: the one to run.
    pub newest: Option<Timestamp>,
    /// How many older slots came in vain. They are counted, never run.
    pub missed: u64,
}

/// What is due at `now`: the newest slot later than `last_slot`, and how many older ones are made up for by it.
///
/// `anchor` takes the place of `last_slot` when there is none; it has no say otherwise. A slot at the anchor itself is
/// not due. A `last_slot` in the future of `now` (the clock was set back) leaves nothing due.
pub fn due(cadence: &Cadence, last_slot: Option<Timestamp>, anchor: Timestamp, now: Timestamp) -> Due {
    let handled = last_slot.unwrap_or(anchor);
    let newest = cadence.prev_at_or_before(now).filter(|&slot| slot > handled);
    let Some(slot) = newest else {
        return Due::default();
    };
    Due { newest, missed: cadence.count_between(handled, slot).saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn daily() -> Cadence {
        Cadence { cron: "0 3 * * *".parse().unwrap(), zone: "Europe/Berlin".parse().unwrap() }
    }

    #[test]
    fn only_the_newest_slot_is_due_and_the_older_ones_are_counted() {
        let found = due(
            &daily(),
            Some(at("2024-03-28T02:00:00Z")),
            at("2000-01-01T00:00:00Z"),
            at("2024-04-01T12:00:00Z"),
        );
        assert_eq!(found, Due { newest: Some(at("2024-04-01T01:00:00Z")), missed: 3 });
    }

    #[test]
    fn a_slot_is_due_at_its_very_instant_and_once() {
        let (slot, anchor) = (at("2024-01-02T02:00:00Z"), at("2024-01-01T12:00:00Z"));
        assert_eq!(due(&daily(), None, anchor, slot - 1), Due::default());
        assert_eq!(due(&daily(), None, anchor, slot), Due { newest: Some(slot), missed: 0 });
        assert_eq!(due(&daily(), Some(slot), anchor, slot), Due::default());
        assert_eq!(due(&daily(), None, slot, slot), Due::default());
    }

    #[test]
    fn the_anchor_counts_only_without_a_last_slot() {
        let (last, now) = (at("2024-01-01T02:00:00Z"), at("2024-01-04T12:00:00Z"));
        assert_eq!(due(&daily(), Some(last), now, now).missed, 2);
        assert_eq!(due(&daily(), None, now, now), Due::default());
    }

    #[test]
    fn a_last_slot_in_the_future_leaves_nothing_due() {
        let now = at("2024-01-04T12:00:00Z");
        assert_eq!(due(&daily(), Some(now + 1), at("2024-01-01T00:00:00Z"), now), Due::default());
    }

    #[test]
    fn serde_names_the_field_and_refuses_strangers() {
        let json = r#"{"cron":"0 3 * * *","zone":"Europe/Berlin"}"#;
        assert_eq!(serde_json::from_str::<Cadence>(json).unwrap(), daily());
        assert_eq!(serde_json::to_string(&daily()).unwrap(), json);
        assert!(serde_json::from_str::<Cadence>(r#"{"cron":"0 3 * * *","zone":"UTC","x":1}"#).is_err());
        assert_eq!(daily().to_string(), "0 3 * * * (Europe/Berlin)");
    }
}
