//! What `restic forget` would do, without restic.

use std::cmp::Reverse;
use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{Span, Timestamp as Instant};

use super::{KeepPolicy, KeepWithin};
use crate::restic::{Capabilities, Snapshot, SnapshotTime, Version};
use crate::schedule::Zone;
use crate::time::Timestamp;

/// What becomes of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Which.
    pub snapshot: &'a Snapshot,
    /// All that keeps it, in the order in which restic names it; it goes when there is nothing.
    pub kept_by: Vec<KeptBy>,
}

/// Why a snapshot stays. `Display` is restic's own word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeptBy {
    /// The policy is empty: nothing is ever forgotten.
    NoPolicy,
    /// It is not older than this, counted back from the newest.
    Within(KeepWithin),
    /// It is one that this rule counts.
    Counted(Rule),
    /// It is the oldest of the group, and this rule had not yet counted as many as it may: history reaches back as far as it can.
    Oldest(Rule),
}

/// A rule that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every snapshot.
    Last,
    /// The newest of each hour.
    Hourly,
    /// The newest of each day.
    Daily,
    /// The newest of each ISO week.
    Weekly,
    /// The newest of each month.
    Monthly,
    /// The newest of each year.
    Yearly,
}

/// The machine on which `restic forget` would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its restic.
    pub restic: Version,
    /// The time zone of its system: `TZ`, or `/etc/localtime`.
    pub zone: Zone,
}

/// What `restic forget` with this policy would do to these snapshots, newest first, each with its reasons.
///
/// The snapshots are those of **one group** as restic forms them: of one host and tag for the forget of this product, which runs with
/// `--host H --tag T --group-by host`. `now` is the clock of the machine: `within` counts back from the newest snapshot that is not in its
/// future, on its wall clock if that snapshot was made with its offset, and at the snapshot's own offset otherwise. Hours, days, weeks,
/// months and years are those of the clock that made each snapshot. Two snapshots of the very same instant stay in the order given;
/// restic promises none.
///
/// The rule is restic's: `ApplyPolicy` in its `internal/data/snapshot_policy.go`, 0.19.1. From 0.16.0 on the oldest snapshot may make up for what a
/// rule lacks; from 0.18.0 on restic says so in its reasons.
///
/// Never panics. An empty policy keeps everything, while restic must not be run with it at all.
pub fn preview<'a>(
    keep: &KeepPolicy,
    snapshots: &'a [Snapshot],
    machine: &Machine,
    now: Timestamp,
) -> Vec<Verdict<'a>> {
    let mut ordered: Vec<&Snapshot> = snapshots.iter().collect();
    ordered.sort_by_key(|snapshot| Reverse(snapshot.time.instant()));
    if keep.is_empty() {
        let kept = |snapshot| Verdict { snapshot, kept_by: vec![KeptBy::NoPolicy] };
        return ordered.into_iter().map(kept).collect();
    }
    let now = now.to_jiff();
    let newest = ordered.iter().map(|snapshot| snapshot.time).find(|time| time.instant() < now);
    let recent = keep.within.map(|within| (within, newest.map(|newest| back(newest, within, &machine.zone))));
    let keeps_oldest = Capabilities::of(machine.restic).keeps_oldest();
    let mut counters = counters(keep);
    let count = ordered.len();
    let judge = |(place, snapshot): (usize, &'a Snapshot)| {
        let is_recent = recent.filter(|(_, since)| since.is_none_or(|since| snapshot.time.instant() > since));
        let oldest = keeps_oldest && place + 1 == count;
        let counted =
            counters.iter_mut().filter_map(|counter| counter.take(snapshot.time.civil(), place, oldest));
        let kept_by = is_recent.map(|(within, _)| KeptBy::Within(within)).into_iter().chain(counted);
        Verdict { snapshot, kept_by: kept_by.collect() }
    };
    ordered.into_iter().enumerate().map(judge).collect()
}

impl Verdict<'_> {
    /// Whether it is forgotten.
    pub const fn goes(&self) -> bool {
        self.kept_by.is_empty()
    }
}

/// One line: the snapshot, and what becomes of it.
impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ", self.snapshot.id.short(), self.snapshot.time)?;
        if self.goes() {
            return f.write_str("goes");
        }
        let reasons: Vec<String> = self.kept_by.iter().map(ToString::to_string).collect();
        write!(f, "stays: {}", reasons.join(", "))
    }
}

impl fmt::Display for KeptBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("policy is empty"),
            Self::Within(within) => write!(f, "within {within}"),
            Self::Counted(rule) => write!(f, "{} snapshot", rule.as_str()),
            Self::Oldest(rule) => write!(f, "oldest {} snapshot", rule.as_str()),
        }
    }
}

impl Rule {
    /// Its name in restic's arguments and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

/// How many a rule may still count, and which stretch of time it counted last.
struct Counter {
    rule: Rule,
    left: u32,
    last: Option<[i64; 4]>,
}

fn counters(keep: &KeepPolicy) -> Vec<Counter> {
    [
        (Rule::Last, keep.last),
        (Rule::Hourly, keep.hourly),
        (Rule::Daily, keep.daily),
        (Rule::Weekly, keep.weekly),
        (Rule::Monthly, keep.monthly),
        (Rule::Yearly, keep.yearly),
    ]
    .into_iter()
    .filter_map(|(rule, left)| Some(Counter { rule, left: left?.get(), last: None }))
    .collect()
}

impl Counter {
    /// Whether the rule counts the next snapshot, and as what.
    fn take(&mut self, civil: DateTime, place: usize, oldest: bool) -> Option<KeptBy> {
        let stretch = self.stretch(civil, place);
        let is_new = self.last != Some(stretch);
        if self.left == 0 || !(is_new || oldest) {
            return None;
        }
        self.left -= 1;
        self.last = Some(stretch);
        Some(if is_new { KeptBy::Counted(self.rule) } else { KeptBy::Oldest(self.rule) })
    }

    fn stretch(&self, civil: DateTime, place: usize) -> [i64; 4] {
        let (year, month, day) = (civil.year().into(), civil.month().into(), civil.day().into());
        match self.rule {
            Rule::Last => [i64::try_from(place).unwrap_or(i64::MAX), 0, 0, 0],
            Rule::Hourly => [year, month, day, civil.hour().into()],
            Rule::Daily => [year, month, day, 0],
            Rule::Weekly => {
                let week = civil.date().iso_week_date();
                [week.year().into(), week.week().into(), 0, 0]
            }
            Rule::Monthly => [year, month, 0, 0],
            Rule::Yearly => [year, 0, 0, 0],
        }
    }
}

/// The instant after which snapshots are recent, as Go's `AddDate` counts it: years, months and days on the calendar, where the 31st of a
/// shorter month is a day of the next; then hours of elapsed time. The beginning of time when the calendar does not reach back so far.
fn back(newest: SnapshotTime, within: KeepWithin, zone: &Zone) -> Instant {
    let earlier = || {
        let civil = days_back(newest.civil(), within)?;
        // Go takes an offset that is that of the machine for the machine's zone; restic writes UTC as `Z`, which never is.
        let here = zone.as_jiff().to_offset(newest.instant()).seconds();
        let local = newest.utc_offset_seconds() != 0 && here == newest.utc_offset_seconds();
        let instant = if local { from_wall_clock(civil, zone)? } else { from_offset(civil, newest)? };
        instant.checked_sub(Span::new().try_hours(within.hours()).ok()?).ok()
    };
    earlier().unwrap_or(Instant::MIN)
}

fn days_back(civil: DateTime, within: KeepWithin) -> Option<DateTime> {
    let months = i64::from(civil.year()) * 12 + i64::from(civil.month())
        - 1
        - i64::from(within.years()) * 12
        - i64::from(within.months());
    let year = i16::try_from(months.div_euclid(12)).ok()?;
    let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
    let days = i64::from(civil.day()) - 1 - i64::from(within.days());
    let date = Date::new(year, month, 1).ok()?.checked_add(Span::new().try_days(days).ok()?).ok()?;
    Some(date.to_datetime(civil.time()))
}

fn from_offset(civil: DateTime, newest: SnapshotTime) -> Option<Instant> {
    let offset = Offset::from_seconds(newest.utc_offset_seconds()).ok()?;
    offset.to_timestamp(civil).ok()
}

/// The instant of a wall clock's time as Go's `time.Date` finds it, which decides what a skipped or repeated minute is.
fn from_wall_clock(civil: DateTime, zone: &Zone) -> Option<Instant> {
    let as_utc = Offset::UTC.to_timestamp(civil).ok()?;
    let guess = zone.as_jiff().to_offset(as_utc);
    let offset = zone.as_jiff().to_offset(guess.to_timestamp(civil).ok()?);
    offset.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::restic::parse_snapshots;

    fn snapshots(times: &[&str]) -> Vec<Snapshot> {
        let one = |(n, time): (usize, &&str)| {
            let id = format!("{n:08x}{:056x}", 0);
            format!(r#"{{"time":"{time}","id":"{id}","short_id":"{}"}}"#, &id[..8])
        };
        let all: Vec<String> = times.iter().enumerate().map(one).collect();
        parse_snapshots(&format!("[{}]", all.join(","))).unwrap()
    }

    fn told(keep: &str, times: &[&str], zone: &str, now: &str) -> Vec<String> {
        let keep: KeepPolicy = serde_json::from_str(keep).unwrap();
        let now = Timestamp::from_millis(now.parse::<Instant>().unwrap().as_millisecond());
        let listed = snapshots(times);
        let machine = Machine { restic: Version::new(0, 19, 1), zone: zone.parse().unwrap() };
        let verdicts = preview(&keep, &listed, &machine, now);
        verdicts.iter().map(|verdict| verdict.to_string()[9..].trim_start_matches("of ").to_owned()).collect()
    }

    const LATE: &str = "2030-01-01T00:00:00Z";

    #[test]
    fn each_rule_counts_the_newest_of_its_stretch_and_the_oldest_makes_up_what_is_left() {
        let times = ["2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z", "2026-01-02T08:00:00Z"];
        assert_eq!(
            told(r#"{"daily":3,"last":1}"#, &times, "UTC", LATE),
            [
                "2026-01-02T08:00:00+00:00 stays: last snapshot, daily snapshot",
                "2026-01-01T09:00:00+00:00 stays: daily snapshot",
                "2026-01-01T08:00:00+00:00 stays: oldest daily snapshot",
            ]
        );
        assert_eq!(told(r#"{"daily":2}"#, &times, "UTC", LATE)[2], "2026-01-01T08:00:00+00:00 goes");
    }

    #[test]
    fn days_are_those_of_the_clock_that_made_the_snapshot() {
        // One instant after the other, but the same day only on the clock of the west.
        let times = ["2026-03-01T20:00:00-08:00", "2026-03-01T21:00:00-08:00"];
        assert!(told(r#"{"daily":1,"yearly":1}"#, &times, "UTC", LATE)[1].ends_with("goes"));
        let weeks = ["2027-01-03T12:00:00Z", "2026-12-28T12:00:00Z"];
        assert!(
            told(r#"{"weekly":1}"#, &weeks, "UTC", LATE)[1].ends_with("goes"),
            "one ISO week of two years"
        );
    }

    #[test]
    fn the_31st_of_a_short_month_is_a_day_of_the_next() {
        let times = ["2026-03-31T12:00:00Z", "2026-03-03T12:00:00.000000001Z", "2026-03-03T12:00:00Z"];
        let told = told(r#"{"within":"1m"}"#, &times, "UTC", LATE);
        assert!(told[1].ends_with("within 1m") && told[2].ends_with("goes"), "{told:?}");
    }

    #[test]
    fn years_and_months_are_taken_from_the_calendar() {
        let times = ["2026-03-31T12:00:00Z", "2024-01-31T12:00:00.000000001Z", "2024-01-31T12:00:00Z"];
        let told = told(r#"{"within":"1y14m"}"#, &times, "UTC", LATE);
        assert!(told[1].ends_with("within 1y14m") && told[2].ends_with("goes"), "{told:?}");
    }

    #[test]
    fn a_release_before_0_16_lets_the_oldest_make_up_for_nothing() {
        let listed = snapshots(&["2026-01-02T08:00:00Z", "2026-01-01T09:00:00Z", "2026-01-01T08:00:00Z"]);
        let keep = serde_json::from_str(r#"{"daily":3}"#).unwrap();
        let goes = |restic: Version| -> Vec<bool> {
            let machine = Machine { restic, zone: Zone::UTC };
            let now = Timestamp::from_millis(1_800_000_000_000);
            preview(&keep, &listed, &machine, now).iter().map(Verdict::goes).collect()
        };
        assert_eq!(goes(Version::new(0, 15, 2)), [false, false, true]);
        assert_eq!(goes(Version::new(0, 16, 0)), [false, false, false]);
    }

    #[test]
    fn within_counts_on_the_wall_clock_of_the_machine_that_made_the_newest() {
        // Berlin changes its clocks on 29 March 2026: a day back is 23 hours there, 24 anywhere else.
        let times = ["2026-03-29T12:00:00+02:00", "2026-03-28T11:30:00+01:00"];
        assert!(told(r#"{"within":"1d"}"#, &times, "Europe/Berlin", LATE)[1].ends_with("goes"));
        assert!(told(r#"{"within":"1d"}"#, &times, "UTC", LATE)[1].ends_with("within 1d"));
    }

    #[test]
    fn the_future_is_no_place_to_count_back_from() {
        let times = ["2026-06-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"];
        let told_at = |now| told(r#"{"within":"2d"}"#, &times, "UTC", now);
        assert!(told_at("2026-02-01T00:00:00Z").iter().all(|line| line.contains("within 2d")));
        assert!(told_at("2027-02-01T00:00:00Z")[1].ends_with("goes"));
        assert!(
            told_at("2026-06-02T00:00:00Z").iter().all(|line| line.contains("within 2d")),
            "this very instant"
        );
        assert!(told_at("2020-01-01T00:00:00Z").iter().all(|line| line.contains("within 2d")));
    }

    #[test]
    fn the_empty_policy_keeps_everything_and_no_snapshots_are_no_verdicts() {
        assert_eq!(
            told("{}", &["2026-01-01T00:00:00Z"], "UTC", LATE),
            ["2026-01-01T00:00:00+00:00 stays: policy is empty"]
        );
        assert!(told(r#"{"last":1}"#, &[], "UTC", LATE).is_empty());
    }

    proptest! {
        #[test]
        fn a_longer_policy_never_keeps_less(hours in proptest::collection::vec(0_i64..20_000, 1..40), daily in 1_u32..9) {
            let listed: Vec<Snapshot> = hours.iter().map(|hour| {
                let mut one = snapshots(&["2026-01-01T00:00:00Z"]).remove(0);
                one.time = Timestamp::from_millis(1_700_000_000_000 + hour * 3_600_000).into();
                one
            }).collect();
            let kept = |json: &str| -> Vec<bool> {
                let keep = serde_json::from_str(json).unwrap();
                let now = Timestamp::from_millis(1_800_000_000_000);
                let machine = Machine { restic: Version::OLDEST_SUPPORTED, zone: Zone::UTC };
                preview(&keep, &listed, &machine, now).iter().map(|verdict| !verdict.goes()).collect()
            };
            let short = kept(&format!(r#"{{"daily":{daily}}}"#));
            prop_assert!(short[0], "the newest always stays");
            prop_assert!(short.iter().filter(|kept| **kept).count() <= daily as usize);
            for more in [format!(r#"{{"daily":{daily},"last":3}}"#), format!(r#"{{"daily":{daily},"within":"99999y9m"}}"#)] {
                let long = kept(&more);
                prop_assert!(short.iter().zip(&long).all(|(short, long)| !short || *long));
            }
        }
    }
}
