//! Cron texts: five fields, as Vixie's cron reads them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::civil::{DAY_MINUTES, DayRule, DaySet, MinuteSet};
use super::error::{CronError, CronField, quoted};
use super::field;

/// The macros, as an error names them.
pub(super) const MACRO_NAMES: &str = "@hourly, @daily or @midnight, @weekly, @monthly, @yearly or @annually";

const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The longest text that is accepted, in bytes; every value of every field, written out, needs 360.
const MAX_LENGTH: usize = 500;

/// A cron text that is valid and fires: `minute hour day-of-month month day-of-week`.
///
/// Fields take `*`, numbers, names (`jan`, `mon`, in any case), ranges `a-b`, steps `*/n` and `a-b/n`, and lists of these.
/// Sunday is 0, 7 and `sun`. Macros: `@hourly @daily @midnight @weekly @monthly @yearly @annually`. The module
/// documentation says which instants a text stands for.
///
/// `Display` and serde give the normalised text: lower case, one blank between fields, macros written out. Two values are
/// equal when their normalised texts are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "0 3 * * *"))]
pub struct CronExpr(Parsed);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Parsed {
    text: String,
    days: DaySet,
    minutes: MinuteSet,
}

impl CronExpr {
    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the text names all 24 hours, so that it follows elapsed time across clock changes.
    pub(super) const fn follows_elapsed_time(&self) -> bool {
        self.0.minutes.covers_all_hours()
    }

    /// The first matching civil minute in `from..to`, in minutes since 1970-01-01 on the wall clock.
    pub(super) fn next_minute(&self, from: i64, to: i64) -> Option<i64> {
        if from >= to {
            return None;
        }
        let (from_day, last_day) = (from.div_euclid(DAY_MINUTES), (to - 1).div_euclid(DAY_MINUTES));
        let mut day = self.0.days.next(from_day, last_day)?;
        let earliest = if day == from_day { from.rem_euclid(DAY_MINUTES) } else { 0 };
        let minute = match self.0.minutes.next(earliest) {
            Some(minute) => minute,
            None => {
                day = self.0.days.next(day + 1, last_day)?;
                self.0.minutes.next(0)?
            }
        };
        let found = day * DAY_MINUTES + minute;
        (found < to).then_some(found)
    }

    /// The last matching civil minute in `first..=from`.
    pub(super) fn prev_minute(&self, from: i64, first: i64) -> Option<i64> {
        if from < first {
            return None;
        }
        let (from_day, first_day) = (from.div_euclid(DAY_MINUTES), first.div_euclid(DAY_MINUTES));
        let mut day = self.0.days.prev(from_day, first_day)?;
        let latest = if day == from_day { from.rem_euclid(DAY_MINUTES) } else { DAY_MINUTES - 1 };
        let minute = match self.0.minutes.prev(latest) {
            Some(minute) => minute,
            None => {
                day = self.0.days.prev(day - 1, first_day)?;
                self.0.minutes.prev(DAY_MINUTES - 1)?
            }
        };
        let found = day * DAY_MINUTES + minute;
        (found >= first).then_some(found)
    }

    /// How many civil minutes in `from..to` match.
    pub(super) fn count_minutes(&self, from: i64, to: i64) -> u64 {
        if from >= to {
            return 0;
        }
        let (first_day, from_minute) = (from.div_euclid(DAY_MINUTES), from.rem_euclid(DAY_MINUTES));
        let (last_day, to_minute) = (to.div_euclid(DAY_MINUTES), to.rem_euclid(DAY_MINUTES));
        if first_day == last_day {
            return self.count_in_day(first_day, from_minute, to_minute);
        }
        let whole_days = self.0.days.count(first_day + 1, last_day);
        self.count_in_day(first_day, from_minute, DAY_MINUTES)
            + whole_days * self.0.minutes.count(0, DAY_MINUTES)
            + self.count_in_day(last_day, 0, to_minute)
    }

    fn count_in_day(&self, day: i64, from: i64, to: i64) -> u64 {
        if self.0.days.contains(day) { self.0.minutes.count(from, to) } else { 0 }
    }
}

impl FromStr for CronExpr {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.len() > MAX_LENGTH {
            return Err(CronError::TooLong { length: text.len(), max: MAX_LENGTH });
        }
        let lower = text.trim().to_ascii_lowercase();
        if lower.is_empty() {
            return Err(CronError::Empty);
        }
        let written_out = match MACROS.iter().find(|(name, _)| *name == lower) {
            Some((_, fields)) => fields,
            None if lower.starts_with('@') => {
                return Err(CronError::UnknownMacro { text: quoted(text.trim()) });
            }
            None => lower.as_str(),
        };
        parse_fields(written_out)
    }
}

fn parse_fields(text: &str) -> Result<CronExpr, CronError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, month_day, month, weekday] = fields[..] else {
        return Err(CronError::FieldCount { found: fields.len() });
    };
    let restricted = |field: &str| !field.starts_with('*');
    let minutes = MinuteSet {
        minutes: field::parse(CronField::Minute, minute)?,
        hours: field::parse(CronField::Hour, hour)? as u32,
    };
    let days = DaySet {
        month_days: field::parse(CronField::DayOfMonth, month_day)? as u32,
        months: field::parse(CronField::Month, month)? as u16,
        weekdays: field::parse(CronField::DayOfWeek, weekday)? as u8,
        rule: if restricted(month_day) && restricted(weekday) { DayRule::Either } else { DayRule::Both },
    };
    if !days.ever_matches() {
        return Err(CronError::NeverFires { day_of_month: quoted(month_day), month: quoted(month) });
    }
    Ok(CronExpr(Parsed { text: fields.join(" "), days, minutes }))
}

impl TryFrom<String> for CronExpr {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<CronExpr> for String {
    fn from(cron: CronExpr) -> Self {
        cron.0.text
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> CronExpr {
        text.parse().unwrap()
    }

    #[test]
    fn a_text_is_normalised_and_reads_back_as_itself() {
        assert_eq!(parsed("  0\t3 1-5,10  JAN-mar Fri-SUN ").to_string(), "0 3 1-5,10 jan-mar fri-sun");
        for (name, fields) in MACROS {
            assert_eq!(parsed(&name.to_uppercase()), parsed(fields));
            assert_eq!(parsed(parsed(name).as_str()), parsed(name));
            assert!(MACRO_NAMES.contains(name));
        }
    }

    #[test]
    fn serde_reads_and_writes_a_string() {
        let cron: CronExpr = serde_json::from_str(r#""@daily""#).unwrap();
        assert_eq!(serde_json::to_string(&cron).unwrap(), r#""0 0 * * *""#);
        let error = serde_json::from_str::<CronExpr>(r#""61 * * * *""#).unwrap_err();
        assert!(error.to_string().starts_with("minute: `61` is out of range; allowed: 0-59"), "{error}");
    }

    #[test]
    fn sunday_has_three_names() {
        let sundays = &parsed("0 0 * * 0").0.days;
        for text in ["0 0 * * 7", "0 0 * * sun", "0 0 * * sun-sun", "0 0 * * */7", "0 0 * * 7-sun"] {
            assert_eq!(parsed(text).0.days.weekdays, sundays.weekdays, "{text}");
        }
        assert_eq!(parsed("0 0 * * fri-sun").0.days.weekdays, 0b110_0001);
        assert_eq!(parsed("0 0 * * 5-7").0.days.weekdays, 0b110_0001);
        assert_eq!(parsed("0 0 * * 0-7/2").0.days.weekdays, 0b101_0101);
    }

    #[test]
    fn the_widest_text_is_accepted() {
        let list = |from: u8, to: u8| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let text = [list(0, 59), list(0, 23), list(1, 31), list(1, 12), list(0, 7)].join(" ");
        assert!(text.len() <= MAX_LENGTH);
        assert!(parsed(&text).follows_elapsed_time());
    }

    #[test]
    fn a_stretch_of_one_minute_is_searched() {
        let every: CronExpr = "* * * * *".parse().unwrap();
        assert_eq!((every.prev_minute(5, 5), every.next_minute(5, 6)), (Some(5), Some(5)));
        assert_eq!((every.prev_minute(4, 5), every.next_minute(5, 5)), (None, None));
    }
}
