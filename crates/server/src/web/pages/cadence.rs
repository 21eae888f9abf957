//! Cron in words, its presets, and what a pace of snapshots means for a retention policy.

use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::schedule::{Cadence, CronExpr};
use restic_manager_core::time::{DAY, HOUR, Timestamp};

use super::words;

/// What most people want: cron, and what it is in words.
pub(super) const PRESETS: [(&str, &str); 6] = [
    ("0 * * * *", "every hour"),
    ("0 */6 * * *", "every 6 hours"),
    ("0 3 * * *", "daily at 03:00"),
    ("0 3 * * 1-5", "on weekdays at 03:00"),
    ("0 4 * * 0", "on Sundays at 04:00"),
    ("0 5 1 * *", "on the 1st of each month at 05:00"),
];

/// How far one looks for the smallest distance between two slots.
const SLOTS: usize = 60;
const WEEKDAYS: [&str; 8] =
    ["Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

/// A cadence as one would say it; as it is written where that would be longer.
pub(super) fn in_words(cron: &CronExpr) -> String {
    let text = cron.as_str();
    if let Some((_, words)) = PRESETS.iter().find(|(preset, _)| *preset == text) {
        return (*words).to_owned();
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return text.to_owned() };
    let number = |text: &str| text.parse::<u8>().ok();
    let (Some(minute), "*") = (number(minute), month) else { return text.to_owned() };
    if hour == "*" && day == "*" && weekday == "*" {
        return format!("every hour at :{minute:02}");
    }
    let Some(hour) = number(hour) else { return text.to_owned() };
    match (day, weekday, number(day), number(weekday)) {
        ("*", "*", ..) => format!("daily at {hour:02}:{minute:02}"),
        ("*", _, _, Some(weekday)) if weekday < 8 => {
            format!("on {} at {hour:02}:{minute:02}", WEEKDAYS[usize::from(weekday)])
        }
        (_, "*", Some(day), _) => format!("on day {day} of each month at {hour:02}:{minute:02}"),
        _ => text.to_owned(),
    }
}

/// The smallest distance between two snapshots that these cadences make, in milliseconds; none when they make fewer than two.
pub(super) fn pace(cadences: &[Cadence], now: Timestamp) -> Option<i64> {
    let mut slots: Vec<Timestamp> =
        cadences.iter().flat_map(|cadence| cadence.upcoming(SLOTS, now)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots.windows(2).map(|pair| pair[1].millis_since(pair[0])).min()
}

/// The rules of a policy that snapshots at this pace can never fill, each in a sentence.
///
/// Restic keeps the newest snapshot of each of the last N hours (days, ...) that have one: where there is at most one a day, `hourly 24`
/// keeps 24 days and not a day of hours.
pub(super) fn never_filled(keep: &KeepPolicy, pace: i64) -> Vec<String> {
    // A day is 25 hours long where clocks go back.
    let rules = [
        ("hourly", keep.hourly, HOUR),
        ("daily", keep.daily, DAY + HOUR),
        ("weekly", keep.weekly, 7 * DAY + HOUR),
        ("monthly", keep.monthly, 31 * DAY + HOUR),
        ("yearly", keep.yearly, 366 * DAY + HOUR),
    ];
    rules
        .into_iter()
        .filter(|(_, number, period)| number.is_some() && pace > *period)
        .filter_map(|(name, number, _)| {
            let number = u64::from(number?.get());
            let stretch = words::took(pace.saturating_mul(i64::try_from(number).ok()?));
            let each = words::took(pace);
            Some(format!(
                "{} {number} can never fill: there is at most one snapshot in {each}, so it keeps the newest {number} of them, which is {stretch}",
                words::capitalised(name)
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use restic_manager_core::schedule::Zone;

    use super::*;

    fn cadence(cron: &str) -> Cadence {
        Cadence { cron: cron.parse().unwrap(), zone: "Europe/Berlin".parse::<Zone>().unwrap() }
    }

    #[test]
    fn cron_is_said_as_people_say_it_and_else_as_it_is_written() {
        let said = |cron: &str| in_words(&cron.parse().unwrap());
        assert_eq!(said("0 3 * * *"), "daily at 03:00");
        assert_eq!(said("30 22 * * *"), "daily at 22:30");
        assert_eq!(said("5 4 * * 7"), "on Sundays at 04:05");
        assert_eq!(said("0 4 15 * *"), "on day 15 of each month at 04:00");
        assert_eq!(said("15 * * * *"), "every hour at :15");
        for cron in ["*/5 * * * *", "0 3 1 1 *", "0 3 1 * 1", "0 1,13 * * *", "0 3 * * 1-3"] {
            assert_eq!(said(cron), cron);
        }
    }

    #[test]
    fn every_preset_is_a_cron_line_that_fires() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        for (cron, _) in PRESETS {
            assert_eq!(cadence(cron).upcoming(5, now).len(), 5, "{cron}");
        }
    }

    #[test]
    fn the_pace_is_the_smallest_distance_of_all_schedules_together() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        assert_eq!(pace(&[cadence("0 3 * * *")], now), Some(DAY));
        assert_eq!(pace(&[cadence("0 3 * * *"), cadence("0 4 * * *")], now), Some(HOUR));
        assert_eq!(pace(&[cadence("0 3 * * *"), cadence("0 3 * * *")], now), Some(DAY));
        assert_eq!(pace(&[], now), None);
    }

    #[test]
    fn a_rule_that_is_finer_than_the_pace_can_never_fill() {
        let keep = |text: &str| serde_json::from_str::<KeepPolicy>(text).unwrap();
        let all = keep(r#"{"last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 3}"#);
        let named = |pace| {
            never_filled(&all, pace)
                .iter()
                .map(|text| text.split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(named(HOUR).is_empty());
        assert_eq!(named(DAY), ["Hourly"]);
        assert_eq!(named(7 * DAY), ["Hourly", "Daily"]);
        assert_eq!(named(31 * DAY), ["Hourly", "Daily", "Weekly"]);
        assert_eq!(named(366 * DAY), ["Hourly", "Daily", "Weekly", "Monthly"]);
        assert!(never_filled(&keep(r#"{"last": 3, "daily": 7}"#), DAY).is_empty());
        let told = &never_filled(&keep(r#"{"hourly": 24}"#), DAY)[0];
        assert!(told.contains("the newest 24 of them, which is 24 d"), "{told}");
    }
}
