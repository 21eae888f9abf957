//! Days and months as they stand in an address, all of them in UTC. A day is counted from 1970-01-01 on.

use std::fmt;

use restic_manager_core::time::{DAY, Timestamp};

use super::words;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The day of an instant.
pub(super) const fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY)
}

/// When a day begins.
pub(super) const fn begin(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY)
}

/// A day as it stands in an address: `2026-11-18`.
pub(super) fn date(day: i64) -> String {
    words::exact(begin(day)).chars().take(10).collect()
}

/// The day that stands in an address.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let days = Month::new(year.parse().ok()?, month.parse().ok()?)?.first() + day - 1;
    // What is no day of that month would be written otherwise.
    (date(days) == text).then_some(days)
}

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month {
    year: i64,
    /// From 1 on.
    month: i64,
}

impl Month {
    fn new(year: i64, month: i64) -> Option<Self> {
        ((1970..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    /// The month of a day.
    pub(super) fn of(day: i64) -> Self {
        let date = date(day);
        let number = |range| date.get(range).and_then(|text: &str| text.parse().ok());
        let found = number(0..4).zip(number(5..7)).and_then(|(year, month)| Self::new(year, month));
        found.unwrap_or(Self { year: 1970, month: 1 })
    }

    /// The month that stands in an address: `2026-11`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let month = Self::new(year.parse().ok()?, month.parse().ok()?)?;
        (month.to_string() == text).then_some(month)
    }

    /// Its first day.
    pub(super) const fn first(self) -> i64 {
        // Years that begin with March have their odd day at the end.
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - 719_468
    }

    /// The one before; none before 1970.
    pub(super) fn previous(self) -> Option<Self> {
        if self.month == 1 { Self::new(self.year - 1, 12) } else { Self::new(self.year, self.month - 1) }
    }

    /// The one after.
    pub(super) fn next(self) -> Option<Self> {
        if self.month == 12 { Self::new(self.year + 1, 1) } else { Self::new(self.year, self.month + 1) }
    }

    /// How long it is.
    pub(super) fn days(self) -> i64 {
        self.next().map_or(31, |next| next.first() - self.first())
    }

    /// Its name: `November`.
    pub(super) fn name(self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or_default()
    }

    /// Its name and its year: `November 2026`.
    pub(super) fn title(self) -> String {
        format!("{} {}", self.name(), self.year)
    }
}

/// As it stands in an address.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_an_address_is_read_as_it_is_written() {
        assert_eq!(parse_date("2026-11-18").map(date).as_deref(), Some("2026-11-18"));
        for text in ["1970-01-01", "2000-02-29", "2024-02-29", "2026-03-01", "2099-12-31"] {
            assert_eq!(parse_date(text).map(date).as_deref(), Some(text));
        }
        for nonsense in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-11-31",
            "2026-11-18T00:00:00Z",
            "9999999-01-01",
            "2026-11-9223372036854775807",
        ] {
            assert_eq!(parse_date(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_month_knows_its_days_and_its_neighbours() {
        let month = |text: &str| Month::parse(text).unwrap();
        let days: Vec<i64> =
            ["2026-11", "2024-02", "2026-02", "2026-12"].map(|text| month(text).days()).into();
        assert_eq!(days, [30, 29, 28, 31]);
        assert_eq!(date(month("2026-11").first()), "2026-11-01");
        let around = |text: &str| {
            let month = month(text);
            [month.previous(), month.next()].map(|month| month.map(|month| month.to_string()))
        };
        assert_eq!(around("2026-12"), [Some("2026-11".to_owned()), Some("2027-01".to_owned())]);
        assert_eq!(around("1970-01"), [None, Some("1970-02".to_owned())]);
        assert_eq!(around("9999-12"), [Some("9999-11".to_owned()), None]);
        assert_eq!(Month::of(parse_date("2026-11-30").unwrap()).title(), "November 2026");
        for nonsense in
            ["", "2026", "2026-00", "2026-13", "2026-1", "26-11", "1969-12", "10000-01", "2026-11-18"]
        {
            assert_eq!(Month::parse(nonsense), None, "{nonsense}");
        }
    }
}
