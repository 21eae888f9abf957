//! Cron texts in zones: three lines of input, a cron text, a zone, and an instant in milliseconds.

use restic_manager_core::schedule::{CronExpr, Zone};
use restic_manager_core::time::{DAY, MINUTE, Timestamp};

pub(crate) fn run(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let cron = lines.next().unwrap_or_default();
    let zone = lines.next().and_then(|line| line.parse::<Zone>().ok());
    let zone = zone.unwrap_or_else(|| "UTC".parse().unwrap());
    let at = lines.next().and_then(|line| line.trim().parse::<i64>().ok()).unwrap_or(1_795_000_000_000);
    match cron.parse::<CronExpr>() {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
        Ok(parsed) => {
            assert_eq!(
                parsed.as_str().parse::<CronExpr>().as_ref(),
                Ok(&parsed),
                "{cron:?} is not normalised"
            );
            slots(&parsed, &zone, Timestamp::from_millis(at));
            if zone.name() == "UTC" {
                in_utc(&parsed, &zone, Timestamp::from_millis(at));
            }
            true
        }
    }
}

/// The four questions agree with each other.
fn slots(cron: &CronExpr, zone: &Zone, at: Timestamp) {
    let mut last = at;
    for slot in cron.slots_after(zone, at).take(4) {
        assert!(slot > last, "{cron} in {}: {slot} after {last}", zone.name());
        assert_eq!(slot.as_millis() % 1_000, 0, "a slot is a whole second");
        assert_eq!(cron.next_after(zone, last), Some(slot));
        assert_eq!(cron.next_after(zone, slot - 1), Some(slot));
        assert_eq!(cron.prev_at_or_before(zone, slot), Some(slot));
        assert_eq!(cron.count_between(zone, last, slot), 1);
        assert_eq!(cron.count_between(zone, last, slot - 1), 0);
        last = slot;
    }
    if let Some(slot) = cron.prev_at_or_before(zone, at) {
        assert!(slot <= at);
        assert_eq!(cron.count_between(zone, slot, at), 0, "{cron}: a slot lies between {slot} and {at}");
        assert_eq!(cron.count_between(zone, slot - 1, at), 1);
    }
}

/// In UTC a slot is a minute whose fields match, by a reading of the text that knows nothing of the product's.
fn in_utc(cron: &CronExpr, zone: &Zone, at: Timestamp) {
    let fields: Vec<&str> = cron.as_str().split(' ').collect();
    let in_range = at > Timestamp::from_millis(-2_000 * DAY) && at < Timestamp::from_millis(80_000 * DAY);
    if !in_range {
        return;
    }
    let minute = at.as_millis().div_euclid(MINUTE);
    if let Some(slot) = cron.next_after(zone, at) {
        assert!(matches(&fields, slot.as_millis().div_euclid(MINUTE)), "{cron} does not match {slot}");
    }
    for ahead in 1..=120 {
        let slot = Timestamp::from_millis((minute + ahead) * MINUTE);
        let expected = u64::from(matches(&fields, minute + ahead));
        assert_eq!(cron.count_between(zone, slot - 1, slot), expected, "{cron} at {slot}");
    }
}

fn matches(fields: &[&str], minute: i64) -> bool {
    let (day, of_day) = (minute.div_euclid(1_440), minute.rem_euclid(1_440));
    let (month, month_day) = civil(day);
    // 1970-01-01 was a Thursday.
    let weekday = (day + 4).rem_euclid(7);
    let (by_date, by_weekday) = (field(fields[2], month_day, 31), weekday_field(fields[4], weekday));
    let days = if fields[2].starts_with('*') || fields[4].starts_with('*') {
        by_date && by_weekday
    } else {
        by_date || by_weekday
    };
    field(fields[0], of_day % 60, 59)
        && field(fields[1], of_day / 60, 23)
        && field(fields[3], month, 12)
        && days
}

fn weekday_field(text: &str, weekday: i64) -> bool {
    field(text, weekday, 7) || (weekday == 0 && field(text, 7, 7))
}

fn field(text: &str, value: i64, highest: i64) -> bool {
    text.split(',').any(|part| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().unwrap()),
            None => (part, 1),
        };
        let lowest = if highest == 31 || highest == 12 { 1 } else { 0 };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (lowest, highest),
            Some((from, to)) => (number(from, false), number(to, highest == 7)),
            None => (number(range, false), number(range, false)),
        };
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

/// A number or a name; Sunday at the end of a range is the seventh day.
fn number(text: &str, sunday_is_seven: bool) -> i64 {
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    if let Some(at) = months.iter().position(|name| *name == text) {
        return at as i64 + 1;
    }
    match days.iter().position(|name| *name == text) {
        Some(0) if sunday_is_seven => 7,
        Some(at) => at as i64,
        None => text.parse().unwrap(),
    }
}

/// Month and day of a day since 1970, counted a year and a month at a time.
fn civil(mut day: i64) -> (i64, i64) {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while day < 0 {
        year -= 1;
        day += if leap(year) { 366 } else { 365 };
    }
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (at, length) in lengths.into_iter().enumerate() {
        if day < length {
            return (at as i64 + 1, day + 1);
        }
        day -= length;
    }
    panic!("a year has 12 months")
}
