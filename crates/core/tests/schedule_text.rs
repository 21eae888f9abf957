//! Cron texts that are refused, and slots worked out by hand.

#![allow(
    clippy::unwrap_used,
    reason = "the settings that allow it in tests do not reach their plain functions"
)]

use restic_manager_core::schedule::{Cadence, CronExpr};
use restic_manager_core::time::Timestamp;

fn cadence(cron: &str, zone: &str) -> Cadence {
    Cadence { cron: cron.parse().unwrap(), zone: zone.parse().unwrap() }
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn upcoming(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    cadence(cron, zone).upcoming(count, at(after)).iter().map(ToString::to_string).collect()
}

#[test]
fn every_mistake_is_told_with_its_field_its_text_and_what_is_allowed() {
    let long = "1,".repeat(300);
    let texts = [
        "",
        "   ",
        "* * * *",
        "0 3 * * * *",
        "0 3 * * * /usr/bin/backup",
        "@reboot",
        "@",
        "61 * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * 0 *",
        "* * * * 8",
        "99999999999999999999 * * * *",
        "-5 * * * *",
        "+5 * * * *",
        "5- * * * *",
        "1-2-3 * * * *",
        "30-10 * * * *",
        "* 22-4 * * *",
        "* * * nov-feb *",
        "* * * * sat-mon",
        "*/0 * * * *",
        "*/61 * * * *",
        "*/x * * * *",
        "*/ * * * *",
        "*/5/5 * * * *",
        "5/15 * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "1, * * * *",
        "** * * * *",
        "*-5 * * * *",
        "1.5 * * * *",
        "5x * * * *",
        "mon * * * *",
        "* * * mon *",
        "* * * january *",
        "* * * * mo",
        "* * ? * *",
        "* * L * *",
        "* * 15W * *",
        "* * * * 5#2",
        "* * * * ٣",
        "\u{1b}[31m * * * *",
        "0123456789012345678901234567890123456789x * * * *",
        "0 0 31 2 *",
        "0 0 30,31 feb *",
        "0 0 31 4,6,9,11 *",
        "0 0 31 2 */2",
        &long,
    ];
    let told = texts.map(|text| {
        let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
        format!("{shown}\n    {}", text.parse::<CronExpr>().unwrap_err())
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_fixed_time_runs_once_on_the_day_that_skips_it_and_on_the_day_that_repeats_it() {
    assert_eq!(
        upcoming("30 2 * * *", "Europe/Berlin", "2024-03-29T12:00:00Z", 3),
        ["2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"]
    );
    assert_eq!(
        upcoming("30 2 * * *", "Europe/Berlin", "2024-10-26T12:00:00Z", 2),
        ["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"]
    );
}

#[test]
fn skipped_minutes_are_made_up_for_once_and_merge_with_a_slot_after_the_gap() {
    assert_eq!(
        upcoming("*/20 2,3 * * *", "Europe/Berlin", "2024-03-31T00:00:00Z", 3),
        ["2024-03-31T01:00:00Z", "2024-03-31T01:20:00Z", "2024-03-31T01:40:00Z"]
    );
}

#[test]
fn a_day_that_does_not_exist_is_made_up_for_at_the_start_of_the_next() {
    assert_eq!(
        upcoming("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 4),
        ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z", "2011-12-31T22:00:00Z"]
    );
}

#[test]
fn an_every_hour_text_follows_elapsed_time() {
    assert_eq!(
        upcoming("0 * * * *", "Europe/Berlin", "2024-10-26T23:30:00Z", 4),
        ["2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z", "2024-10-27T03:00:00Z"]
    );
    assert_eq!(
        upcoming("30 * * * *", "Australia/Lord_Howe", "2024-10-05T14:45:00Z", 3),
        // 01:30, then the wall clock jumps from 02:00 to 02:30, which is half an hour later.
        ["2024-10-05T15:00:00Z", "2024-10-05T15:30:00Z", "2024-10-05T16:30:00Z"]
    );
}

#[test]
fn a_gap_that_ends_within_a_minute_is_made_up_for_at_its_very_end() {
    // Monrovia left its offset of -00:44:30 on 1972-01-07: 00:00:00 was followed by 00:44:30.
    assert_eq!(
        upcoming("10,44 0 * * *", "Africa/Monrovia", "1972-01-07T00:00:00Z", 3),
        ["1972-01-07T00:44:30Z", "1972-01-08T00:10:00Z", "1972-01-08T00:44:00Z"]
    );
}

#[test]
fn rare_days_are_found_across_the_century_that_leaves_out_a_leap_year() {
    // 29 February on a Sunday: the star keeps both day fields binding.
    assert_eq!(
        upcoming("0 0 29 2 */7", "UTC", "2072-01-01T00:00:00Z", 3),
        ["2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z", "2156-02-29T00:00:00Z"]
    );
    // 29 February or any Monday of February.
    assert_eq!(
        upcoming("0 0 29 2 1", "UTC", "2024-02-20T00:00:00Z", 3),
        ["2024-02-26T00:00:00Z", "2024-02-29T00:00:00Z", "2025-02-03T00:00:00Z"]
    );
}

#[test]
fn the_ends_of_the_calendar_and_of_the_number_range_are_survived() {
    let (least, greatest) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
        for cron in ["* * * * *", "0 0 29 2 */7", "30 2 * * *"] {
            let cadence = cadence(cron, zone);
            let first = cadence.next_after(least).unwrap();
            let last = cadence.prev_at_or_before(greatest).unwrap();
            assert!(first < last);
            assert_eq!((cadence.next_after(last), cadence.next_after(greatest)), (None, None));
            assert_eq!(
                (cadence.prev_at_or_before(first - 1), cadence.prev_at_or_before(least)),
                (None, None)
            );
            assert_eq!(cadence.count_between(least, greatest), cadence.count_between(first - 1, last));
            assert_eq!(cadence.count_between(greatest, least), 0);
        }
    }
    assert_eq!(cadence("* * * * *", "UTC").upcoming(5, greatest), []);
}

#[test]
fn before_the_epoch_and_between_seconds_strictly_later_means_strictly_later() {
    let every_minute = cadence("* * * * *", "UTC");
    let millis = |at: i64| every_minute.next_after(Timestamp::from_millis(at)).unwrap().as_millis();
    assert_eq!((millis(-1), millis(0), millis(59_999), millis(60_000)), (0, 60_000, 60_000, 120_000));
    assert_eq!((millis(-60_001), millis(-60_000)), (-60_000, 0));
    let newest = |at: i64| every_minute.prev_at_or_before(Timestamp::from_millis(at)).unwrap().as_millis();
    assert_eq!((newest(-1), newest(0), newest(59_999), newest(60_000)), (-60_000, 0, 0, 60_000));
}
