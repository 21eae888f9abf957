//! Numbers and times as people say them.

use restic_manager_core::model::{Actor, ActorKind, JobKind, JobState};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};

const TWO_DAYS: i64 = 2 * DAY;

/// How long ago, or in how long, in one unit: `3 min ago`, `in 5 h`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let passed = now.millis_since(at);
    match passed {
        // Clocks differ a little: what a host just did may seem to lie ahead.
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

/// A stretch of milliseconds in its two greatest units: `42 s`, `3 min 5 s`, `2 h 5 min`.
pub(super) fn took(millis: i64) -> String {
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

/// An instant, exactly: `2026-11-18 09:26:40 UTC`.
pub(super) fn exact(at: Timestamp) -> String {
    in_zone(at, &Zone::UTC, "%Y-%m-%d %H:%M:%S %Z")
}

/// A slot in the zone of its schedule: `Wed 18 Nov 03:00 CET`.
pub(super) fn slot(at: Timestamp, zone: &Zone) -> String {
    in_zone(at, zone, "%a %-d %b %H:%M %Z")
}

fn in_zone(at: Timestamp, zone: &Zone, format: &str) -> String {
    at.to_jiff().to_zoned_datetime(zone.as_jiff().clone()).strftime(format).to_string()
}

/// Bytes in IEC units: `1.2 GiB`.
pub(super) fn size(bytes: u64) -> String {
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

/// A number in groups of three digits: `1 204 512`, with spaces that do not break.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun: `1 host`, `2 hosts`, `0 repositories`.
pub(super) fn count(value: u64, noun: &str) -> String {
    let shown = number(value);
    match (value, noun.strip_suffix('y')) {
        (1, _) => format!("{shown} {noun}"),
        (_, Some(stem)) => format!("{shown} {stem}ies"),
        (_, None) => format!("{shown} {noun}s"),
    }
}

/// A state as one reads it in a list.
pub(super) const fn state(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "waiting",
        JobState::Dispatched => "starting",
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Warning => "warning",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
        JobState::Lost => "lost",
        JobState::Superseded => "superseded",
        JobState::Withdrawn => "withdrawn",
    }
}

/// What a job does, at the begin of a line.
pub(super) const fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "Backup",
        JobKind::Init => "Init",
        JobKind::Forget => "Forget",
        JobKind::Prune => "Prune",
        JobKind::Check => "Check",
        JobKind::Unlock => "Unlock",
        JobKind::Stats => "Stats",
        JobKind::Restore => "Restore",
        JobKind::Diff => "Diff",
    }
}

/// Who asked for something.
pub(super) fn actor(actor: &Actor) -> String {
    match actor.kind {
        ActorKind::User => actor.name.clone(),
        ActorKind::System => "the server".to_owned(),
        ActorKind::Schedule => "a schedule".to_owned(),
        ActorKind::Agent => "its agent".to_owned(),
    }
}

/// The first digits of a long id.
pub(super) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A name as a shell takes it for one word.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain) && !name.is_empty() {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

/// The text with a capital at its begin.
pub(super) fn capitalised(text: &str) -> String {
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
        assert_eq!(ago(now - 47 * HOUR, now), "47 h ago");
        assert_eq!(ago(now - 48 * HOUR, now), "2 d ago");
        assert!(ago(Timestamp::from_millis(i64::MIN), now).ends_with(" d ago"));
    }

    #[test]
    fn sizes_and_numbers_are_read_at_a_glance() {
        let said: Vec<String> = [0, 1023, 1024, 1536, 1_048_575, 1 << 30, u64::MAX].map(size).into();
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
        let said: Vec<String> = [0, 999, 1000, 1_204_512].map(number).into();
        assert_eq!(said, ["0", "999", "1\u{202f}000", "1\u{202f}204\u{202f}512"]);
        assert_eq!((count(1, "host"), count(0, "repository")), ("1 host".into(), "0 repositories".into()));
    }

    #[test]
    fn a_name_in_a_command_is_one_word() {
        assert_eq!(quoted("web-1.eu"), "web-1.eu");
        assert_eq!(quoted("Zoë's; rm -rf /"), r"'Zoë'\''s; rm -rf /'");
    }

    #[test]
    fn a_slot_is_told_in_the_zone_of_its_schedule() {
        let at = Timestamp::from_millis(1_795_000_000_000);
        assert_eq!(exact(at), "2026-11-18 11:06:40 UTC");
        assert_eq!(slot(at, &"Europe/Berlin".parse().unwrap()), "Wed 18 Nov 12:06 CET");
    }
}
