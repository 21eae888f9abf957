//! Days and months as they stand in an address, all of them in UTC. A day is counted from 1970-01-01 on.

use std::fmt;

use jiff::civil::{Date, date as civil};
use jiff::{Span, ToSpan};
use restic_manager_core::time::{DAY, Timestamp};

const FIRST: Date = civil(1970, 1, 1);

/// The day of an instant.
pub(super) const fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY)
}

/// When a day begins.
pub(super) const fn begin(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY)
}

/// A day as it stands in an address: `2026-11-18`; nothing for one that no calendar has.
pub(super) fn date(day: i64) -> String {
    of_day(day).map(|date| date.to_string()).unwrap_or_default()
}

/// The day that stands in an address.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    read(text).map(number)
}

/// The date that is written exactly so, and not before 1970.
fn read(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date >= FIRST && date.to_string() == text).then_some(date)
}

fn of_day(day: i64) -> Option<Date> {
    FIRST.checked_add(Span::new().try_days(day).ok()?).ok()
}

fn number(date: Date) -> i64 {
    date.duration_since(FIRST).as_hours() / 24
}

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(Date);

impl Month {
    /// The month of a day.
    pub(super) fn of(day: i64) -> Self {
        Self(of_day(day).unwrap_or(FIRST).first_of_month())
    }

    /// The month that stands in an address: `2026-11`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        read(&format!("{text}-01")).map(Self)
    }

    /// Its first day.
    pub(super) fn first(self) -> i64 {
        number(self.0)
    }

    /// The one before; none before 1970.
    pub(super) fn previous(self) -> Option<Self> {
        self.0.checked_sub(1.month()).ok().filter(|date| *date >= FIRST).map(Self)
    }

    /// The one after.
    pub(super) fn next(self) -> Option<Self> {
        self.0.checked_add(1.month()).ok().map(Self)
    }

    /// How long it is.
    pub(super) fn days(self) -> i64 {
        self.0.days_in_month().into()
    }

    /// Its name: `November`.
    pub(super) fn name(self) -> String {
        self.0.strftime("%B").to_string()
    }

    /// Its name and its year: `November 2026`.
    pub(super) fn title(self) -> String {
        self.0.strftime("%B %Y").to_string()
    }
}

/// As it stands in an address.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m").fmt(f)
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
