//! Numbers and times as people say them.

pub(super) use restic_manager_core::humane::{ago, capitalised, size, took};
use restic_manager_core::model::{Actor, ActorKind, JobKind, JobState};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::Timestamp;

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
    match (value, noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_read_at_a_glance() {
        let said: Vec<String> = [0, 1023, 1024, 1536, 1_048_575, 1 << 30, u64::MAX].map(size).into();
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"]);
        let said: Vec<String> = [0, 999, 1000, 1_204_512].map(number).into();
        assert_eq!(said, ["0", "999", "1\u{202f}000", "1\u{202f}204\u{202f}512"]);
        assert_eq!((count(1, "host"), count(0, "repository")), ("1 host".into(), "0 repositories".into()));
        assert_eq!(count(10, "day"), "10 days");
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
