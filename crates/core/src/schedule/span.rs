//! A stretch of time in which a zone keeps one offset, and the slots in it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cron::CronExpr;

/// No offset is wider than 26 hours, so that a change more than twice that ago has no say in what the wall clock shows.
const REACH: i64 = 2 * 26 * 3_600;

/// A stretch of constant offset. All numbers are seconds: real ones since 1970 UTC, civil ones since 1970 on the wall clock.
#[derive(Debug, Clone)]
pub(super) struct Span {
    start: i64,
    end: i64,
    offset: i64,
    /// The first civil second that the wall clock had not reached before `start`; `None` in the zone's first span.
    unseen: Option<i64>,
}

/// The first real second of the calendar.
pub(super) fn first_second() -> i64 {
    Timestamp::MIN.as_second()
}

/// The last real second of the calendar.
pub(super) fn last_second() -> i64 {
    Timestamp::MAX.as_second()
}

impl Span {
    /// The span around a real second of the calendar.
    pub(super) fn around(zone: &TimeZone, second: i64) -> Self {
        let start = change_at_or_before(zone, second);
        let end = zone.following(instant(second)).next().map(|change| change.timestamp().as_second());
        Self {
            start: start.unwrap_or_else(first_second),
            end: end.unwrap_or_else(|| last_second() + 1),
            offset: offset_at(zone, second),
            unseen: start.map(|start| unseen_at(zone, start)),
        }
    }

    /// The next span, unless this is the last.
    pub(super) fn following(&self, zone: &TimeZone) -> Option<Self> {
        (self.end <= last_second()).then(|| Self::around(zone, self.end))
    }

    /// The span before, unless this is the first.
    pub(super) fn preceding(&self, zone: &TimeZone) -> Option<Self> {
        (self.start > first_second()).then(|| Self::around(zone, self.start - 1))
    }

    /// The span begins at or before a real second.
    pub(super) const fn starts_by(&self, second: i64) -> bool {
        self.start <= second
    }

    /// The first slot of the span at or after a real second.
    pub(super) fn next_slot(&self, cron: &CronExpr, from: i64) -> Option<i64> {
        if from <= self.start && self.catches_up(cron) {
            return Some(self.start);
        }
        let from = self.civil(from.max(self.start));
        let minute = cron.next_minute(minute_from(from).max(self.first_minute(cron)), self.end_minute())?;
        Some(minute * 60 - self.offset)
    }

    /// The last slot of the span at or before a real second.
    pub(super) fn prev_slot(&self, cron: &CronExpr, upto: i64) -> Option<i64> {
        if upto < self.start {
            return None;
        }
        let upto = self.civil(upto.min(self.end - 1));
        match cron.prev_minute(upto.div_euclid(60), self.first_minute(cron)) {
            Some(minute) => Some(minute * 60 - self.offset),
            None => self.catches_up(cron).then_some(self.start),
        }
    }

    /// How many slots of the span lie at the real seconds `from..=upto`.
    pub(super) fn count(&self, cron: &CronExpr, from: i64, upto: i64) -> u64 {
        let (from, upto) = (from.max(self.start), upto.min(self.end - 1));
        if from > upto {
            return 0;
        }
        let first = minute_from(self.civil(from)).max(self.first_minute(cron));
        let regular = cron.count_minutes(first, minute_from(self.civil(upto) + 1));
        let alone = from == self.start && self.catches_up(cron) && !self.begins_with_a_match(cron);
        regular + u64::from(alone)
    }

    /// The start of the span stands for minutes that the wall clock skipped there.
    fn catches_up(&self, cron: &CronExpr) -> bool {
        let Some(unseen) = self.unseen.filter(|_| !cron.follows_elapsed_time()) else {
            return false;
        };
        cron.next_minute(minute_from(unseen), minute_from(self.civil(self.start))).is_some()
    }

    /// The start of the span is itself a matching civil minute.
    fn begins_with_a_match(&self, cron: &CronExpr) -> bool {
        let civil = self.civil(self.start);
        let minute = minute_from(civil);
        minute * 60 == civil && cron.next_minute(minute, minute + 1).is_some()
    }

    /// The first civil minute whose beginning this span may fire for; those seen before count for elapsed time only.
    fn first_minute(&self, cron: &CronExpr) -> i64 {
        let begin = self.civil(self.start);
        let unseen = self.unseen.filter(|_| !cron.follows_elapsed_time());
        minute_from(unseen.map_or(begin, |unseen| unseen.max(begin)))
    }

    /// The first civil minute that begins after the span.
    const fn end_minute(&self) -> i64 {
        minute_from(self.civil(self.end))
    }

    const fn civil(&self, second: i64) -> i64 {
        second + self.offset
    }
}

/// The first minute that begins at or after a second.
const fn minute_from(second: i64) -> i64 {
    (second + 59).div_euclid(60)
}

/// The first civil second that the wall clock had not shown before the change at `start`.
fn unseen_at(zone: &TimeZone, start: i64) -> i64 {
    let mut change = start;
    let mut unseen = i64::MIN;
    loop {
        unseen = unseen.max(change + offset_at(zone, change - 1));
        match change_at_or_before(zone, change - 1) {
            Some(earlier) if earlier >= start - REACH => change = earlier,
            Some(_) | None => return unseen,
        }
    }
}

fn change_at_or_before(zone: &TimeZone, second: i64) -> Option<i64> {
    // Changes are whole seconds, and `preceding` looks strictly before.
    let change = zone.preceding(instant(second.saturating_add(1))).next()?.timestamp().as_second();
    (change > first_second()).then_some(change)
}

fn offset_at(zone: &TimeZone, second: i64) -> i64 {
    i64::from(zone.to_offset(instant(second)).seconds())
}

fn instant(second: i64) -> Timestamp {
    let second = second.clamp(first_second(), last_second());
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slots of 10 April 2024 in a zone made for the test, as seconds of that day in UTC.
    fn slots(cron: &str, zone: &str) -> Vec<i64> {
        const DAY: i64 = 1_712_707_200;
        let (cron, zone) = (cron.parse().unwrap(), TimeZone::posix(zone).unwrap());
        let mut found = Vec::new();
        let mut span = Some(Span::around(&zone, DAY));
        while let Some(here) = span.filter(|span| span.starts_by(DAY + 86_399)) {
            let mut from = DAY;
            while let Some(slot) = here.next_slot(&cron, from).filter(|&slot| slot < DAY + 86_400) {
                found.push(slot - DAY);
                from = slot + 1;
            }
            span = here.following(&zone);
        }
        found
    }

    #[test]
    fn a_gap_soon_after_a_repeat_skips_only_what_was_not_seen_before_it() {
        // At 04:00 back to 03:00, then at 03:30 on to 04:30: half of what the gap jumps over was seen already.
        let zone = "AAA0BBB1,J100/4,J100/3:30";
        assert_eq!(slots("45 3 * * *", zone), [3 * 3_600 + 45 * 60]);
        assert_eq!(slots("15 3 * * *", zone), [3 * 3_600 + 15 * 60]);
        assert_eq!(slots("15 4 * * *", zone), [4 * 3_600 + 30 * 60]);
        assert_eq!(slots("45 4 * * *", zone), [4 * 3_600 + 45 * 60]);
    }

    #[test]
    fn what_was_seen_hours_before_a_gap_is_not_made_up_for_by_it() {
        // At 06:00 back to 03:00, then two hours later, at 05:00, on to 08:00.
        let zone = "AAA0BBB3,J100/6,J100/5";
        assert_eq!(slots("30 5 * * *", zone), [5 * 3_600 + 30 * 60]);
        assert_eq!(slots("30 7 * * *", zone), [8 * 3_600]);
    }

    #[test]
    fn a_gap_some_hours_after_a_repeat_makes_up_for_its_own_minutes_only() {
        // At 02:00 back to 01:00, then at 12:00 on to 13:00; in between the wall clock is an hour behind UTC.
        let zone = "AAA0BBB1,J100/2,J100/12";
        assert_eq!(slots("30 5 * * *", zone), [6 * 3_600 + 30 * 60]);
        assert_eq!(slots("30 12 * * *", zone), [13 * 3_600]);
        assert_eq!(slots("30 1 * * *", zone), [3_600 + 30 * 60]);
    }
}
