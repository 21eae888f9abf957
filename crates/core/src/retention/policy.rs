//! The policy, checked where it comes in.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which snapshots `forget` keeps; the rest goes.
///
/// A number counts snapshots (`last`) or the newest snapshot of each hour, day, week, month or year that has one. A rule
/// that is absent keeps nothing by itself. The empty policy means that nothing is ever forgotten: `restic forget` must
/// not be run with it. Numbers are at least 1, which matters: restic 0.14 takes a negative one for "delete everything".
///
/// In JSON and TOML an absent rule is left out or null; unknown fields are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeepPolicy {
    /// The newest snapshots, whatever their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, example = 3))]
    pub last: Option<NonZeroU32>,
    /// Hours of which the newest snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub hourly: Option<NonZeroU32>,
    /// Days of which the newest snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, example = 7))]
    pub daily: Option<NonZeroU32>,
    /// Weeks of which the newest snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, example = 4))]
    pub weekly: Option<NonZeroU32>,
    /// Months of which the newest snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, example = 12))]
    pub monthly: Option<NonZeroU32>,
    /// Years of which the newest snapshot is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub yearly: Option<NonZeroU32>,
    /// All snapshots not older than this, counted back from the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<KeepWithin>,
}

/// A stretch of calendar time as restic writes it: `1y5m7d2h` is 1 year, 5 months, 7 days and 2 hours. Never zero.
///
/// Units come in any order, each at most once; `Display` and serde write them from years to hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "1y5m7d2h"))]
pub struct KeepWithin(Stretch);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Stretch {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

/// The greatest number of each unit. restic multiplies hours into 64 bits of nanoseconds: beyond 292 years the product
/// wraps, possibly into the future, and nothing would count as recent (`ApplyPolicy`, restic `internal/data/snapshot_policy.go`).
const MAX_OF_UNIT: u32 = 99_999;

/// A policy that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// A number of 0, below, or beyond 32 bits.
    #[error("`{field}` must be from 1 to {max}, not {value}; leave it out to drop the rule", max = u32::MAX)]
    Number {
        /// The field.
        field: &'static str,
        /// The number.
        value: i64,
    },
    /// A text that is no stretch of time.
    #[error(
        "`within` is `{}`; write years, months, days and hours such as `1y5m7d2h`, each at most once, each at \
         most {MAX_OF_UNIT} and not all of them 0",
        text.escape_debug()
    )]
    Within {
        /// The text, cut after 40 characters.
        text: String,
    },
}

impl KeepPolicy {
    /// Whether there is no rule, so that nothing is ever forgotten.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The arguments of `restic forget`; none for the empty policy, with which restic must not be run.
    pub fn to_args(&self) -> Vec<String> {
        let within = self.within.map(|within| ["--keep-within".to_owned(), within.to_string()]);
        self.numbers()
            .filter_map(|(name, number)| Some([format!("--keep-{name}"), number?.to_string()]))
            .chain(within)
            .flatten()
            .collect()
    }

    /// The policy in plain words, e.g. `keeps the last 3, 7 daily and everything of the last 2 months`.
    pub fn summary(&self) -> String {
        let numbers = self.numbers().filter_map(|(name, number)| {
            let number = number?;
            Some(if name == "last" { format!("the last {number}") } else { format!("{number} {name}") })
        });
        let within = self.within.map(|within| format!("everything of the last {}", within.in_words()));
        let rules: Vec<String> = numbers.chain(within).collect();
        if rules.is_empty() {
            return "keeps everything".to_owned();
        }
        format!("keeps {}", listed(&rules))
    }

    fn numbers(&self) -> impl Iterator<Item = (&'static str, Option<NonZeroU32>)> {
        [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
        .into_iter()
    }
}

/// Writes [`KeepPolicy::summary`].
impl fmt::Display for KeepPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

/// What stands in the text: any whole number, so that the error can name the field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    last: Option<i64>,
    hourly: Option<i64>,
    daily: Option<i64>,
    weekly: Option<i64>,
    monthly: Option<i64>,
    yearly: Option<i64>,
    within: Option<KeepWithin>,
}

impl TryFrom<Unchecked> for KeepPolicy {
    type Error = KeepError;

    fn try_from(text: Unchecked) -> Result<Self, KeepError> {
        let number = |field, value: Option<i64>| {
            let Some(value) = value else { return Ok(None) };
            let number = u32::try_from(value).ok().and_then(NonZeroU32::new);
            number.map(Some).ok_or(KeepError::Number { field, value })
        };
        Ok(Self {
            last: number("last", text.last)?,
            hourly: number("hourly", text.hourly)?,
            daily: number("daily", text.daily)?,
            weekly: number("weekly", text.weekly)?,
            monthly: number("monthly", text.monthly)?,
            yearly: number("yearly", text.yearly)?,
            within: text.within,
        })
    }
}

impl KeepWithin {
    /// Whole years.
    pub const fn years(self) -> u32 {
        self.0.years
    }

    /// Months besides the years; may exceed 11.
    pub const fn months(self) -> u32 {
        self.0.months
    }

    /// Days besides the months.
    pub const fn days(self) -> u32 {
        self.0.days
    }

    /// Hours besides the days; may exceed 23.
    pub const fn hours(self) -> u32 {
        self.0.hours
    }

    fn in_words(self) -> String {
        let parts: Vec<String> = self
            .parts()
            .map(|(number, _, unit)| format!("{number} {unit}{}", if number == 1 { "" } else { "s" }))
            .collect();
        listed(&parts)
    }

    /// The units that are not zero, from years to hours.
    fn parts(self) -> impl Iterator<Item = (u32, char, &'static str)> {
        let Stretch { years, months, days, hours } = self.0;
        [(years, 'y', "year"), (months, 'm', "month"), (days, 'd', "day"), (hours, 'h', "hour")]
            .into_iter()
            .filter(|(number, ..)| *number > 0)
    }
}

impl FromStr for KeepWithin {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let stretch = Stretch::read(text).filter(|stretch| *stretch != Stretch::default());
        stretch.map(Self).ok_or_else(|| KeepError::Within { text: text.chars().take(40).collect() })
    }
}

impl Stretch {
    fn read(text: &str) -> Option<Self> {
        let mut stretch = Self::default();
        let mut seen = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let unit = after.chars().next().filter(|unit| !seen.contains(*unit))?;
            let part = match unit {
                'y' => &mut stretch.years,
                'm' => &mut stretch.months,
                'd' => &mut stretch.days,
                'h' => &mut stretch.hours,
                _ => return None,
            };
            *part = number.parse().ok().filter(|&number| number <= MAX_OF_UNIT)?;
            seen.push(unit);
            rest = &after[unit.len_utf8()..];
        }
        Some(stretch)
    }
}

impl TryFrom<String> for KeepWithin {
    type Error = KeepError;

    fn try_from(text: String) -> Result<Self, KeepError> {
        text.parse()
    }
}

impl From<KeepWithin> for String {
    fn from(within: KeepWithin) -> Self {
        within.to_string()
    }
}

impl fmt::Display for KeepWithin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().try_for_each(|(number, letter, _)| write!(f, "{number}{letter}"))
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(json: &str) -> KeepPolicy {
        serde_json::from_str(json).unwrap()
    }

    fn refused(json: &str) -> String {
        serde_json::from_str::<KeepPolicy>(json).unwrap_err().to_string()
    }

    #[test]
    fn every_rule_becomes_its_argument() {
        let all = policy(
            r#"{"last":1,"hourly":2,"daily":3,"weekly":4,"monthly":5,"yearly":6,"within":"2h7d5m1y"}"#,
        );
        assert_eq!(
            all.to_args().join(" "),
            "--keep-last 1 --keep-hourly 2 --keep-daily 3 --keep-weekly 4 --keep-monthly 5 --keep-yearly 6 \
             --keep-within 1y5m7d2h"
        );
        assert_eq!(serde_json::to_string(&policy(r#"{"daily":3,"last":null}"#)).unwrap(), r#"{"daily":3}"#);
    }

    #[test]
    fn the_empty_policy_has_no_arguments() {
        for json in ["{}", r#"{"last":null,"within":null}"#] {
            let empty = policy(json);
            assert!(empty.is_empty() && empty.to_args().is_empty());
            assert_eq!(empty.to_string(), "keeps everything");
        }
        assert!(!policy(r#"{"within":"1h"}"#).is_empty());
    }

    #[test]
    fn a_policy_is_told_in_plain_words() {
        let told = |json| policy(json).summary();
        assert_eq!(told(r#"{"last":3}"#), "keeps the last 3");
        assert_eq!(told(r#"{"last":3,"daily":7}"#), "keeps the last 3 and 7 daily");
        assert_eq!(
            told(r#"{"daily":7,"weekly":4,"within":"1y2d"}"#),
            "keeps 7 daily, 4 weekly and everything of the last 1 year and 2 days"
        );
    }

    #[test]
    fn what_is_refused_is_named() {
        let texts = [
            r#"{"last":0}"#,
            r#"{"hourly":-1}"#,
            r#"{"daily":4294967296}"#,
            r#"{"weekly":-9223372036854775808}"#,
            r#"{"yearly":"3"}"#,
            r#"{"monthly":1.5}"#,
            r#"{"keep_tags":["x"]}"#,
            r#"{"within":"1w"}"#,
        ];
        insta::assert_snapshot!(texts.map(|json| format!("{json}\n  {}", refused(json))).join("\n"));
    }

    #[test]
    fn a_stretch_of_time_is_read_strictly() {
        for text in [
            "", "0h", "0y0d", "1", "y", "1y1y", "-1d", "+1d", "1.5h", "1Y", "1 d", "100000d", "1d ", "1é",
            "٣d",
        ] {
            let refused = text.parse::<KeepWithin>();
            assert_eq!(refused, Err(KeepError::Within { text: text.to_owned() }));
        }
        let within: KeepWithin = "07d99999h0y".parse().unwrap();
        assert_eq!((within.years(), within.months(), within.days(), within.hours()), (0, 0, 7, 99_999));
        assert_eq!(within.to_string(), "7d99999h");
    }

    fn any_policy() -> impl Strategy<Value = KeepPolicy> {
        let number = || proptest::option::of(any::<NonZeroU32>());
        let within = proptest::option::of("[1-9][0-9]{0,4}y([1-9][0-9]{0,4}m)?([1-9][0-9]{0,4}h)?");
        (number(), number(), number(), number(), number(), number(), within).prop_map(
            |(last, hourly, daily, weekly, monthly, yearly, within)| {
                let within = within.map(|text| text.parse().unwrap());
                KeepPolicy { last, hourly, daily, weekly, monthly, yearly, within }
            },
        )
    }

    #[test]
    fn a_stretch_is_told_unit_by_unit() {
        let within: KeepWithin = "2y14m7d3h".parse().unwrap();
        assert_eq!((within.years(), within.months(), within.days(), within.hours()), (2, 14, 7, 3));
    }

    proptest! {
        #[test]
        fn json_reads_back_and_arguments_are_pairs_of_flag_and_value(keep in any_policy()) {
            prop_assert_eq!(policy(&serde_json::to_string(&keep).unwrap()), keep);
            let args = keep.to_args();
            prop_assert_eq!(args.is_empty(), keep.is_empty());
            for pair in args.chunks(2) {
                prop_assert!(pair[0].starts_with("--keep-"));
                prop_assert!(pair[1].starts_with(|c: char| ('1'..='9').contains(&c)));
            }
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".{0,20}") {
            if let Ok(within) = text.parse::<KeepWithin>() {
                prop_assert_eq!(within.to_string().parse::<KeepWithin>(), Ok(within));
            }
        }
    }
}
