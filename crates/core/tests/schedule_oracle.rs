//! The promise of `schedule` against an oracle: it walks every minute of real time, asks the calendar crate what the
//! wall clock shows, and compares that with the text of the cron fields. It shares nothing with the search it judges.

#![allow(
    clippy::unwrap_used,
    reason = "the settings that allow it in tests do not reach their plain functions"
)]

use std::sync::OnceLock;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use restic_manager_core::schedule::{Cadence, CronError, CronExpr, Zone};
use restic_manager_core::time::{MINUTE, Timestamp};

/// Years in which the wall clock does something remarkable.
const YEARS: [(&str, i16); 14] = [
    ("UTC", 2024),
    ("Europe/Berlin", 2024),
    ("America/New_York", 2025),
    ("Australia/Lord_Howe", 2024), // changes by half an hour
    ("Pacific/Apia", 2011),        // has no 30 December
    ("Pacific/Kwajalein", 1993),   // has no 21 August
    ("Africa/Casablanca", 2024),   // is put back for Ramadan
    ("America/Sao_Paulo", 2018),   // gap at midnight
    ("Asia/Beirut", 2023),         // gap at midnight
    ("America/Havana", 2024),      // gap at midnight, repeats 00:00 to 01:00
    ("Antarctica/Troll", 2024),    // changes by two hours
    ("America/Caracas", 2016),     // half an hour, for good
    ("Antarctica/Casey", 2010),    // three hours back
    ("Europe/London", 2091),       // beyond the table, by rule
];

/// One minute of real time.
struct Minute {
    at: Timestamp,
    civil: Civil,
    /// The wall clock had not come so far before.
    first_pass: bool,
    /// The civil minutes that the wall clock jumped over to get here.
    skipped: Vec<Civil>,
}

#[derive(Clone, Copy)]
struct Civil {
    month: usize,
    day: usize,
    hour: usize,
    minute: usize,
    /// 0 is Sunday.
    weekday: usize,
}

impl Civil {
    fn of(at: DateTime) -> Self {
        Self {
            month: at.month() as usize,
            day: at.day() as usize,
            hour: at.hour() as usize,
            minute: at.minute() as usize,
            weekday: at.weekday().to_sunday_zero_offset() as usize,
        }
    }
}

/// The civil minutes after `earlier` and before `later`.
fn between(earlier: DateTime, later: DateTime) -> Vec<Civil> {
    if earlier.date() == later.date()
        && (earlier.hour(), earlier.minute() + 1) == (later.hour(), later.minute())
    {
        return Vec::new();
    }
    let minutes = earlier.series(jiff::Span::new().minutes(1)).skip(1);
    minutes.take_while(|&minute| minute < later).map(Civil::of).collect()
}

/// A year of real time in a zone, minute by minute.
struct Year {
    zone: &'static str,
    minutes: Vec<Minute>,
}

impl Year {
    fn walk(zone: &'static str, year: i16) -> Self {
        let tz = TimeZone::get(zone).unwrap();
        let start = jiff::civil::date(year, 1, 1).at(0, 0, 0, 0).to_zoned_datetime(TimeZone::UTC).unwrap();
        let start = start.timestamp().as_millisecond();
        let shown = |at: i64| tz.to_datetime(jiff::Timestamp::from_millisecond(at).unwrap());
        // Some days of run-up, so that it is known what the wall clock has shown already.
        let mut at = start - 4 * 1_440 * MINUTE;
        let mut newest = shown(at - MINUTE);
        let mut minutes = Vec::new();
        while at < start + 366 * 1_440 * MINUTE {
            let civil = shown(at);
            assert_eq!(civil.second(), 0, "{zone}: the walk is for zones of whole minutes");
            let first_pass = civil > newest;
            let skipped = if first_pass { between(newest, civil) } else { Vec::new() };
            newest = newest.max(civil);
            if at >= start {
                minutes.push(Minute {
                    at: Timestamp::from_millis(at),
                    civil: Civil::of(civil),
                    first_pass,
                    skipped,
                });
            }
            at += MINUTE;
        }
        Self { zone, minutes }
    }

    fn all() -> &'static [Self] {
        static YEARS_WALKED: OnceLock<Vec<Year>> = OnceLock::new();
        YEARS_WALKED.get_or_init(|| YEARS.iter().map(|&(zone, year)| Self::walk(zone, year)).collect())
    }

    fn first(&self) -> Timestamp {
        self.minutes[0].at
    }

    fn last(&self) -> Timestamp {
        self.minutes[self.minutes.len() - 1].at
    }

    /// The instants that the promise names.
    fn promised(&self, cron: &Texts) -> Vec<Timestamp> {
        let fires = |minute: &Minute| {
            if cron.every_hour() {
                return cron.matches(minute.civil);
            }
            (minute.first_pass && cron.matches(minute.civil))
                || minute.skipped.iter().any(|&civil| cron.matches(civil))
        };
        self.minutes.iter().filter(|minute| fires(minute)).map(|minute| minute.at).collect()
    }
}

/// The fields of a cron text, looked up value by value.
struct Texts {
    minute: Vec<bool>,
    hour: Vec<bool>,
    day: Vec<bool>,
    month: Vec<bool>,
    weekday: Vec<bool>,
    either_day: bool,
}

impl Texts {
    fn read(text: &str) -> Self {
        let text = text.to_lowercase();
        let fields: Vec<&str> = text.split(' ').collect();
        let table = |field: &str, count: usize| (0..count).map(|value| says(field, value)).collect();
        let month = numbered(fields[3], "jan feb mar apr may jun jul aug sep oct nov dec", 1);
        let weekday = numbered(fields[4], "sun mon tue wed thu fri sat", 0);
        let mut weekdays: Vec<bool> = table(&weekday, 8);
        if weekday.starts_with('*') {
            weekdays[7] = false;
        }
        weekdays[0] |= weekdays[7];
        Self {
            minute: table(fields[0], 60),
            hour: table(fields[1], 24),
            day: table_from_one(fields[2], 31),
            month: table_from_one(&month, 12),
            weekday: weekdays,
            either_day: !fields[2].starts_with('*') && !fields[4].starts_with('*'),
        }
    }

    fn every_hour(&self) -> bool {
        self.hour.iter().all(|&hour| hour)
    }

    fn matches(&self, at: Civil) -> bool {
        let (day, weekday) = (self.day[at.day], self.weekday[at.weekday]);
        let day = if self.either_day { day || weekday } else { day && weekday };
        self.minute[at.minute] && self.hour[at.hour] && self.month[at.month] && day
    }
}

/// A table of a field whose values begin with 1; place 0 is unused.
fn table_from_one(field: &str, last: usize) -> Vec<bool> {
    // `*/n` counts from the first value of the field, which is 1.
    let field = field.replace('*', &format!("1-{last}"));
    (0..=last).map(|value| says(&field, value)).collect()
}

fn numbered(field: &str, names: &str, first: usize) -> String {
    names
        .split(' ')
        .zip(first..)
        .fold(field.to_owned(), |field, (name, n)| field.replace(name, &n.to_string()))
}

/// Whether the text of a field names a value.
fn says(field: &str, value: usize) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (start, end) = match range {
            "*" => ("0", "1000"),
            _ => range.split_once('-').unwrap_or((range, range)),
        };
        let [start, end, step] = [start, end, step].map(|number| number.parse::<usize>().unwrap());
        start <= value && value <= end && (value - start).is_multiple_of(step)
    })
}

fn cadence(text: &str, zone: &str) -> Cadence {
    Cadence { cron: text.parse().unwrap(), zone: zone.parse().unwrap() }
}

fn check_year(text: &str, year: &Year) {
    let cadence = cadence(text, year.zone);
    let promised = year.promised(&Texts::read(text));
    let found: Vec<Timestamp> =
        cadence.slots_after(year.first() - 1).take_while(|&slot| slot <= year.last()).collect();
    let difference = promised.iter().zip(&found).find(|(promised, found)| promised != found);
    let difference = difference.map(|(promised, found)| format!("promised {promised}, found {found}"));
    assert_eq!((promised.len(), difference), (found.len(), None), "{cadence}");
}

#[test]
fn every_zone_keeps_the_promise_for_texts_that_meet_its_clock_changes() {
    let texts = [
        "* * * * *",
        "*/5 * * * *",
        "30 * * * *",
        "17 0-23 * * *",
        "30 2 * * *",
        "0 2 * * *",
        "0 3 * * *",
        "0 0 * * *",
        "30 0 * * *",
        "*/20 0-3 * * *",
        "* 1-22 * * *",
        "0 12 30 12 *",
        "59 23 * * 5",
        "15 1,2,3 1-7 * sun",
        "0 */2 * * *",
        "45 23 */2 * mon",
    ];
    for year in Year::all() {
        for text in texts {
            check_year(text, year);
        }
    }
}

/// One field: a list of items, each `*`, a value, a range or a step.
fn field(min: u8, max: u8, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let written = move |value: u8, named: bool| match names.get(usize::from(value - min)) {
        Some(name) if named => (*name).to_owned(),
        _ => value.to_string(),
    };
    let steps = max - min + u8::from(max != 7);
    let value = (min..=max, any::<bool>()).prop_map(move |(value, named)| written(value, named));
    let range = (min..=max, min..=max, 1..=steps, any::<bool>(), any::<bool>()).prop_map(
        move |(a, b, step, stepped, named)| {
            let range = format!("{}-{}", written(a.min(b), named), written(a.max(b), named));
            if stepped { format!("{range}/{step}") } else { range }
        },
    );
    let stars = (1..=steps).prop_map(|step| format!("*/{step}"));
    let item = prop_oneof![3 => value, 2 => range, 1 => stars.clone()];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => stars,
        3 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn cron_text() -> impl Strategy<Value = String> {
    let months = &["jan", "feb", "mar", "apr", "may", "Jun", "jul", "aug", "sep", "OCT", "nov", "dec"];
    let weekdays = &["sun", "mon", "Tue", "wed", "thu", "fri", "sat"];
    let hours = prop_oneof![2 => field(0, 23, &[]), 1 => subsequence(vec!["0", "1", "2", "3"], 1..4).prop_map(|h| h.join(","))];
    (field(0, 59, &[]), hours, field(1, 31, &[]), field(1, 12, months), field(0, 7, weekdays))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn random_texts_keep_the_promise(text in cron_text(), year in any::<Index>(), probes in prop::collection::vec((any::<Index>(), -1..2_i64), 24)) {
        let year = year.get(Year::all());
        let texts = Texts::read(&text);
        let cron = match text.parse::<CronExpr>() {
            Ok(cron) => cron,
            Err(error) => {
                prop_assert!(matches!(error, CronError::NeverFires { .. }), "{text}: {error}");
                prop_assert_eq!(year.promised(&texts), []);
                return Ok(());
            }
        };
        let zone: Zone = year.zone.parse().unwrap();
        let promised = year.promised(&texts);
        let found: Vec<Timestamp> = cron.slots_after(&zone, year.first() - 1).take_while(|&slot| slot <= year.last()).collect();
        prop_assert_eq!(&found, &promised, "{}", &text);
        prop_assert_eq!(cron.count_between(&zone, year.first() - 1, year.last()), promised.len() as u64);

        for (index, shift) in probes {
            // Half of the probes stand on or beside a slot, the others anywhere.
            let at = if promised.is_empty() || shift == 0 { index.get(&year.minutes).at + shift } else { *index.get(&promised) + shift };
            let after = promised.partition_point(|&slot| slot <= at);
            if let Some(&next) = promised.get(after) {
                prop_assert_eq!(cron.next_after(&zone, at), Some(next));
            }
            if let Some(newest) = after.checked_sub(1) {
                prop_assert_eq!(cron.prev_at_or_before(&zone, at), Some(promised[newest]));
            }
            prop_assert_eq!(cron.count_between(&zone, year.first() - 1, at), after as u64);
            prop_assert_eq!(cron.count_between(&zone, at, year.last()), (promised.len() - after) as u64);
        }
    }

    #[test]
    fn the_three_questions_agree_at_any_time(text in cron_text(), zone in any::<Index>(), start in any::<i64>(), forth in 0..400_i64) {
        let Ok(cron) = text.parse::<CronExpr>() else { return Ok(()) };
        let zone: Zone = zone.get(&YEARS).0.parse().unwrap();
        let at = Timestamp::from_millis(start % 300_000_000_000_000);
        let Some(next) = cron.next_after(&zone, at) else { return Ok(()) };
        prop_assert!(next > at);
        prop_assert_eq!(cron.prev_at_or_before(&zone, next), Some(next));
        prop_assert_eq!(cron.count_between(&zone, at, next), 1);
        prop_assert_eq!(cron.count_between(&zone, at, next - 1), 0);
        prop_assert!(cron.prev_at_or_before(&zone, next - 1).is_none_or(|slot| slot <= at));
        let until = at + forth * 7 * 1_440 * MINUTE;
        let walked = cron.slots_after(&zone, at).take(3_000).take_while(|&slot| slot <= until).count() as u64;
        let counted = cron.count_between(&zone, at, until);
        prop_assert!(walked == counted || (walked == 3_000 && counted > walked), "{} walked, {} counted", walked, counted);
    }
}
