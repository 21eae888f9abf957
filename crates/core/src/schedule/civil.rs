//! The civil calendar as plain numbers: days and minutes since 1970-01-01 on a wall clock, without any zone.

/// Minutes of a civil day.
pub(super) const DAY_MINUTES: i64 = 1_440;

/// The days of the year-independent calendar that a cron text names, as bit masks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DaySet {
    /// Bits 1 to 31.
    pub(super) month_days: u32,
    /// Bits 1 to 12.
    pub(super) months: u16,
    /// Bits 0 (Sunday) to 6.
    pub(super) weekdays: u8,
    pub(super) rule: DayRule,
}

/// How the two day fields combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DayRule {
    /// A day matches both fields: one of them begins with `*`.
    Both,
    /// A day matches one of the fields: both are restricted.
    Either,
}

impl DaySet {
    /// Whether any day of the 400-year cycle matches.
    ///
    /// Every date of the calendar, 29 February included, falls on each weekday at some time in the cycle, so only a date
    /// that no month has can keep a set empty.
    pub(super) fn ever_matches(&self) -> bool {
        match self.rule {
            DayRule::Either => true,
            DayRule::Both => (1..=12)
                .any(|month| self.has_month(month) && self.month_days & day_mask(longest_month(month)) != 0),
        }
    }

    /// Whether the day matches.
    pub(super) fn contains(&self, day: i64) -> bool {
        let date = Date::of(day);
        self.of_month(date.year, date.month) & (1 << date.day) != 0
    }

    /// The first matching day in `from..=last`.
    pub(super) fn next(&self, from: i64, last: i64) -> Option<i64> {
        let date = Date::of(from);
        let (mut year, mut month) = (date.year, date.month);
        let mut wanted = u32::MAX << date.day;
        loop {
            let days = self.of_month(year, month) & wanted;
            if days != 0 {
                let day = first_of(year, month) + i64::from(days.trailing_zeros()) - 1;
                return (day <= last).then_some(day);
            }
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            if first_of(year, month) > last {
                return None;
            }
            wanted = u32::MAX;
        }
    }

    /// The last matching day in `first..=from`.
    pub(super) fn prev(&self, from: i64, first: i64) -> Option<i64> {
        let date = Date::of(from);
        let (mut year, mut month) = (date.year, date.month);
        let mut wanted = day_mask(date.day);
        loop {
            let days = self.of_month(year, month) & wanted;
            if days != 0 {
                let day = first_of(year, month) + i64::from(days.ilog2()) - 1;
                return (day >= first).then_some(day);
            }
            if first_of(year, month) <= first {
                return None;
            }
            (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
            wanted = u32::MAX;
        }
    }

    /// How many days of `from..to` match.
    pub(super) fn count(&self, from: i64, to: i64) -> u64 {
        if from >= to {
            return 0;
        }
        let (start, last) = (Date::of(from), Date::of(to - 1));
        let (mut year, mut month) = (start.year, start.month);
        let mut wanted = u32::MAX << start.day;
        let mut found = 0;
        while (year, month) < (last.year, last.month) {
            found += u64::from((self.of_month(year, month) & wanted).count_ones());
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            wanted = u32::MAX;
        }
        found + u64::from((self.of_month(year, month) & wanted & day_mask(last.day)).count_ones())
    }

    /// The matching days of one month, bits 1 to 31.
    fn of_month(&self, year: i64, month: u8) -> u32 {
        if !self.has_month(month) {
            return 0;
        }
        let first = first_of(year, month);
        // 1970-01-01 was a Thursday, day 4.
        let weekday = (first + 4).rem_euclid(7);
        let week = u64::from(self.weekdays);
        let week = ((week >> weekday) | (week << (7 - weekday))) & 0x7f;
        let by_weekday = ((week | week << 7 | week << 14 | week << 21 | week << 28) << 1) as u32;
        let days = match self.rule {
            DayRule::Both => self.month_days & by_weekday,
            DayRule::Either => self.month_days | by_weekday,
        };
        days & day_mask(month_length(year, month))
    }

    const fn has_month(&self, month: u8) -> bool {
        self.months & (1 << month) != 0
    }
}

/// The minutes of a day that a cron text names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MinuteSet {
    /// Bits 0 to 59.
    pub(super) minutes: u64,
    /// Bits 0 to 23.
    pub(super) hours: u32,
}

impl MinuteSet {
    /// Whether all 24 hours are named.
    pub(super) const fn covers_all_hours(&self) -> bool {
        self.hours == 0x00ff_ffff
    }

    /// The first matching minute of the day at or after `from` (0 to 1439).
    pub(super) fn next(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        let rest = self.minutes & (u64::MAX << minute);
        if self.hours & (1 << hour) != 0 && rest != 0 {
            return Some(hour * 60 + i64::from(rest.trailing_zeros()));
        }
        let hours = self.hours & (u32::MAX << (hour + 1));
        (hours != 0).then(|| i64::from(hours.trailing_zeros() * 60 + self.minutes.trailing_zeros()))
    }

    /// The last matching minute of the day at or before `from` (0 to 1439).
    pub(super) fn prev(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        let rest = self.minutes & ((2 << minute) - 1);
        if self.hours & (1 << hour) != 0 && rest != 0 {
            return Some(hour * 60 + i64::from(rest.ilog2()));
        }
        let hours = self.hours & ((1 << hour) - 1);
        (hours != 0).then(|| i64::from(hours.ilog2() * 60 + self.minutes.ilog2()))
    }

    /// How many minutes of the day in `from..to` match, both 0 to 1440.
    pub(super) fn count(&self, from: i64, to: i64) -> u64 {
        let before = |end: i64| {
            let (hour, minute) = (end / 60, end % 60);
            let whole = (self.hours & ((1 << hour) - 1)).count_ones() * self.minutes.count_ones();
            let part = (self.minutes & ((1 << minute) - 1)).count_ones();
            u64::from(if self.hours & (1 << hour) == 0 { whole } else { whole + part })
        };
        before(to).saturating_sub(before(from))
    }
}

/// A date of the proleptic Gregorian calendar.
struct Date {
    year: i64,
    month: u8,
    day: u8,
}

impl Date {
    /// The date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    fn of(day: i64) -> Self {
        let shifted = day + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * from_march + 2) / 5 + 1) as u8;
        let month = (if from_march < 10 { from_march + 3 } else { from_march - 9 }) as u8;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }
}

/// The day since 1970-01-01 on which a month begins (same source as [`Date::of`]).
fn first_of(year: i64, month: u8) -> i64 {
    let month = i64::from(month);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const fn month_length(year: i64, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if month == 2 && !leap { 28 } else { longest_month(month) }
}

const fn longest_month(month: u8) -> u8 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The bits 1 to `last`.
const fn day_mask(last: u8) -> u32 {
    ((2_u64 << last) - 2) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar_crate() {
        let epoch = jiff::civil::date(1970, 1, 1);
        for day in (-4_000_000..2_900_000).step_by(37) {
            let span = jiff::Span::new().days(day);
            let theirs = epoch.checked_add(span).unwrap();
            let ours = Date::of(day);
            assert_eq!(
                (ours.year, ours.month as i8, ours.day as i8),
                (i64::from(theirs.year()), theirs.month(), theirs.day())
            );
            assert_eq!(first_of(ours.year, ours.month) + i64::from(ours.day) - 1, day);
            assert_eq!(month_length(ours.year, ours.month) as i8, theirs.days_in_month());
        }
    }

    #[test]
    fn every_date_of_the_calendar_falls_on_each_weekday() {
        for month in 1..=12 {
            for day in 1..=longest_month(month) {
                for weekday in 0..7 {
                    let set = DaySet {
                        month_days: 1 << day,
                        months: 1 << month,
                        weekdays: 1 << weekday,
                        rule: DayRule::Both,
                    };
                    assert!(set.next(0, 146_097).is_some(), "{month}-{day} on weekday {weekday}");
                }
            }
        }
    }

    #[test]
    fn minutes_of_a_day_are_found_and_counted() {
        let set = MinuteSet { minutes: 1 << 0 | 1 << 59, hours: 1 << 0 | 1 << 23 };
        let all: Vec<i64> = (0..DAY_MINUTES).filter(|&at| set.next(at) == Some(at)).collect();
        assert_eq!(all, [0, 59, 1_380, 1_439]);
        assert_eq!(
            (set.next(1), set.next(60), set.prev(1_438), set.prev(58)),
            (Some(59), Some(1_380), Some(1_380), Some(0))
        );
        assert_eq!((set.count(0, 1_440), set.count(1, 1_439), set.count(59, 60)), (4, 2, 1));
    }
}
