//! Numbers, times and states as people say them, the same in a terminal and on a page.

use crate::model::JobState;
use crate::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};

/// How long ago, or in how long, in one unit: `3 min ago`, `in 5 h`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let passed = now.millis_since(at);
    match passed {
        // Clocks differ a little: what the server just did may seem to lie ahead.
        -2_000..5_000 => "just now".to_owned(),
        _ if passed >= 0 => format!("{} ago", roughly(passed)),
        _ => format!("in {}", roughly(passed.saturating_neg())),
    }
}

fn roughly(millis: i64) -> String {
    match millis {
        ..MINUTE => format!("{} s", millis / SECOND),
        MINUTE..HOUR => format!("{} min", millis / MINUTE),
        // One day and a half is told from two.
        HOUR..TWO_DAYS => format!("{} h", millis / HOUR),
        TWO_DAYS.. => format!("{} d", millis / DAY),
    }
}

const TWO_DAYS: i64 = 2 * DAY;

/// A stretch of milliseconds in its two greatest units: `42 s`, `3 min 5 s`, `2 h 5 min`, `12 d 1 h`.
pub fn took(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")];
    let Some(first) = UNITS.iter().position(|(unit, _)| millis >= *unit) else {
        return format!("{} ms", millis.max(0));
    };
    let (unit, name) = UNITS[first];
    let rest = UNITS.get(first + 1).map(|(smaller, name)| (millis % unit / smaller, name));
    match rest {
        Some((more, smaller)) if more > 0 => format!("{} {name} {more} {smaller}", millis / unit),
        Some(_) | None => format!("{} {name}", millis / unit),
    }
}

/// Bytes in IEC units: `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut rest = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to `1024.0`.
    while rest >= 1023.95 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    format!("{rest:.1} {}", UNITS[unit])
}

/// A number with its noun: `1 host`, `2 hosts`.
pub fn count(number: u64, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// What a job does or did, as the verb of a sentence: `the backup of home` + `was cancelled`.
pub const fn does(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "waits",
        JobState::Dispatched => "is being handed to its agent",
        JobState::Running => "runs",
        JobState::Succeeded => "succeeded",
        JobState::Warning => "ended with a warning",
        JobState::Failed => "failed",
        JobState::Cancelled => "was cancelled",
        JobState::Lost => "was lost",
        JobState::Superseded => "was done by the agent itself",
        JobState::Withdrawn => "was withdrawn before it started",
    }
}

/// The text with a capital at its begin.
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_said_in_the_unit_that_matters() {
        let said: Vec<String> =
            [-5, 999, 59_999, 60_000, HOUR - 1, HOUR, DAY - 1, DAY, 400 * DAY + HOUR].map(took).into();
        let expected =
            ["0 ms", "999 ms", "59 s", "1 min", "59 min 59 s", "1 h", "23 h 59 min", "1 d", "400 d 1 h"];
        assert_eq!(said, expected);
    }

    #[test]
    fn the_past_and_the_future_are_told_apart() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(now - 3 * MINUTE, now), "3 min ago");
        assert_eq!(ago(now + 3 * MINUTE, now), "in 3 min");
        assert_eq!(ago(now + 2_000, now), "just now");
        assert_eq!(ago(now + 2_001, now), "in 2 s");
        assert_eq!(ago(now - 47 * HOUR, now), "47 h ago");
        assert_eq!(ago(now - 48 * HOUR, now), "2 d ago");
        assert!(ago(Timestamp::from_millis(i64::MIN), now).ends_with(" d ago"));
    }

    #[test]
    fn sizes_never_show_1024_of_a_unit() {
        let said: Vec<String> = [0, 1023, 1024, 1536, 1_048_575, 1 << 30, u64::MAX].map(size).into();
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
    }

    #[test]
    fn a_size_just_below_a_unit_is_rounded_into_it() {
        let said: Vec<String> = [1_048_524, 1_048_525, u64::MAX / 1_024].map(size).into();
        assert_eq!(said, ["1023.9 KiB", "1.0 MiB", "16.0 PiB"]);
    }

    #[test]
    fn sentences_begin_with_a_capital_and_go_on_with_what_a_job_did() {
        assert_eq!(capitalised("the backup"), "The backup");
        assert_eq!((capitalised("éa"), capitalised("")), ("Éa".to_owned(), String::new()));
        assert_eq!((does(JobState::Queued), does(JobState::Cancelled)), ("waits", "was cancelled"));
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!((count(1, "host"), count(0, "repository")), ("1 host".into(), "0 repositories".into()));
    }
}
