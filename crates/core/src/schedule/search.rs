//! The search for slots, forwards and backwards.

use super::cron::CronExpr;
use super::span::{Span, first_second, last_second};
use super::zone::Zone;
use crate::time::{SECOND, Timestamp};

impl CronExpr {
    /// The first slot strictly later than `after`.
    ///
    /// `None` only when the calendar ends (with the year 9999) before there is one.
    pub fn next_after(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        self.slots_after(zone, after).next()
    }

    /// The newest slot at or before `now`.
    ///
    /// `None` only when the calendar begins (with the year -9999) after there would be one.
    pub fn prev_at_or_before(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        let now = seconds(now).min(last_second());
        if now < first_second() {
            return None;
        }
        let zone = zone.as_jiff();
        let mut span = Span::around(zone, now);
        loop {
            if let Some(slot) = span.prev_slot(self, now) {
                return Some(timestamp(slot));
            }
            span = span.preceding(zone)?;
        }
    }

    /// How many slots are later than `after` and not later than `until`; 0 when `until` is not later.
    ///
    /// The cost grows with the number of months between the two, not with the number of slots.
    pub fn count_between(&self, zone: &Zone, after: Timestamp, until: Timestamp) -> u64 {
        let from = (seconds(after) + 1).max(first_second());
        let upto = seconds(until).min(last_second());
        if from > upto {
            return 0;
        }
        let zone = zone.as_jiff();
        let mut span = Some(Span::around(zone, from));
        let mut found = 0;
        while let Some(here) = span {
            found += here.count(self, from, upto);
            span = here.following(zone).filter(|next| next.starts_by(upto));
        }
        found
    }

    /// All slots strictly later than `after`, in order.
    pub fn slots_after<'a>(&'a self, zone: &'a Zone, after: Timestamp) -> Slots<'a> {
        let from = (seconds(after) + 1).max(first_second());
        let span = (from <= last_second()).then(|| Span::around(zone.as_jiff(), from));
        Slots { cron: self, zone, span, from }
    }
}

/// The slots of a cron text in a zone, in order; ends with the calendar.
#[derive(Debug, Clone)]
pub struct Slots<'a> {
    cron: &'a CronExpr,
    zone: &'a Zone,
    span: Option<Span>,
    from: i64,
}

impl Iterator for Slots<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        loop {
            let span = self.span.as_ref()?;
            if let Some(slot) = span.next_slot(self.cron, self.from) {
                self.from = slot + 1;
                return Some(timestamp(slot));
            }
            self.span = span.following(self.zone.as_jiff());
        }
    }
}

impl std::iter::FusedIterator for Slots<'_> {}

const fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(SECOND)
}

const fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_millis(second * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_at_the_end_of_a_stretch_of_a_second_counts() {
        let daily: CronExpr = "0 3 * * *".parse().unwrap();
        let slot = daily.next_after(&Zone::UTC, Timestamp::from_millis(0)).unwrap();
        assert_eq!(daily.count_between(&Zone::UTC, slot - 1, slot), 1);
        assert_eq!(daily.count_between(&Zone::UTC, slot, slot), 0);
        assert_eq!(daily.count_between(&Zone::UTC, slot, slot - 1), 0);
    }
    #[test]
    fn at_a_clock_change_the_newest_slot_is_that_of_the_wall_clock() {
        let at = |text: &str| timestamp(text.parse::<jiff::Timestamp>().unwrap().as_second());
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let skipped: CronExpr = "30 2 * * *".parse().unwrap();
        let change = at("2024-03-31T01:00:00Z");
        assert_eq!(skipped.prev_at_or_before(&berlin, change), Some(change));
        assert_eq!(skipped.count_between(&berlin, change - 1, change), 1);
        // Clocks go back before they ever show three.
        let three: CronExpr = "0 3 * * *".parse().unwrap();
        let before = three.prev_at_or_before(&berlin, at("2024-10-27T01:10:00Z"));
        assert_eq!(before, Some(at("2024-10-26T01:00:00Z")));
    }
}
