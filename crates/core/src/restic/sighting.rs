//! What restic says when a lock keeps it out.

use serde::{Deserialize, Serialize};

use super::go_duration;
use super::id::is_hex;
use super::line::{Line, Stream, parse_line};
use super::{Capabilities, Exit};

/// A lock as a refusal describes it.
///
/// A sighting, not a fact: the lock may be gone, and whether it is stale is judged from `cat lock`, never from the
/// refusal, whose words "stale locks" stand in every one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockSighting {
    /// Whether the holder keeps out every other lock.
    pub exclusive: bool,
    /// The process that holds it.
    pub pid: i64,
    /// The host that holds it, as its system names it.
    pub hostname: String,
    /// The user who holds it.
    pub username: String,
    /// When it was last refreshed: local time without a zone, as `2026-11-23 14:38:16`.
    pub created: String,
    /// Its age in milliseconds by the refused host's clock; negative when the holder's clock is ahead.
    pub age_ms: Option<i64>,
    /// The first 8 digits of its id. It changes every 5 minutes.
    pub storage_id: String,
}

/// Whether a run ended because the repository is locked.
///
/// From 0.17.0 exit code 11 alone says so. Before, the refusal at the end of standard error does, with exit code 1; no
/// name of a file can imitate it when restic runs with `--json`.
pub fn is_locked(exit: Exit, capabilities: Capabilities, stderr: &str) -> bool {
    if capabilities.exit_codes() {
        return exit == Exit::Code(11);
    }
    sight_lock(exit, capabilities, stderr).is_some()
}

/// The lock that a run was refused for, where its end says so.
///
/// `stderr` is the end of standard error. From 0.17.0 the answer may be `None` although [`is_locked`] is true: then only
/// the fact is known.
pub fn sight_lock(exit: Exit, capabilities: Capabilities, stderr: &str) -> Option<LockSighting> {
    let expected = if capabilities.exit_codes() { 11 } else { 1 };
    if exit != Exit::Code(expected) {
        return None;
    }
    if capabilities.json_errors()
        && let Some(message) = last_word(stderr)
    {
        return refusal_at_end(&message);
    }
    refusal_at_end(stderr)
}

fn last_word(stderr: &str) -> Option<String> {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty())?;
    match parse_line(Stream::Stderr, last.as_bytes()) {
        Line::ExitError { message, .. } => Some(message),
        Line::Progress(_)
        | Line::Summary(_)
        | Line::ItemError(_)
        | Line::Message(_)
        | Line::Other
        | Line::Text(_) => None,
    }
}

/// The three lines of a refusal, whole and consecutive, as the last thing said but for restic's advice.
fn refusal_at_end(text: &str) -> Option<LockSighting> {
    let mut lines = text.trim_end_matches(['\n', '\r']).rsplit('\n').map(|line| line.trim_end_matches('\r'));
    let mut last = lines.next()?;
    if last == "the `unlock` command can be used to remove stale locks" {
        last = lines.next()?;
    }
    let storage_id = last.strip_prefix("storage ID ").filter(|id| id.len() == 8 && is_hex(id))?;
    let (created, age_ms) = created(lines.next()?)?;
    let (exclusive, pid, hostname, username) = holder(lines.next()?)?;
    Some(LockSighting {
        exclusive,
        pid,
        hostname: hostname.to_owned(),
        username: username.to_owned(),
        created: created.to_owned(),
        age_ms,
        storage_id: storage_id.to_owned(),
    })
}

/// `lock was created at 2026-11-23 14:38:16 (4.010586178s ago)`
fn created(line: &str) -> Option<(&str, Option<i64>)> {
    let rest = line.strip_prefix("lock was created at ")?;
    let Some((created, age)) = rest.split_once(" (") else {
        return Some((rest, None));
    };
    Some((created, age.strip_suffix(" ago)").and_then(go_duration::parse_millis)))
}

/// `unable to create lock in backend: repository is already locked exclusively by PID 12202 on vm by root (UID 0, GID 0)`
fn holder(line: &str) -> Option<(bool, i64, &str, &str)> {
    let rest = line.strip_prefix("unable to create lock in backend: repository is already locked ")?;
    let (exclusive, rest) = match rest.strip_prefix("exclusively ") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (pid, rest) = rest.strip_prefix("by PID ")?.split_once(" on ")?;
    let pid = pid.bytes().all(|b| b.is_ascii_digit()).then(|| pid.parse().ok())??;
    let (who, ids) = rest.strip_suffix(')')?.rsplit_once(" (UID ")?;
    let (uid, gid) = ids.split_once(", GID ")?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (hostname, username) = who.split_once(" by ")?;
    (number(uid) && number(gid) && !hostname.is_empty() && !username.is_empty())
        .then_some((exclusive, pid, hostname, username))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restic::Version;

    const REFUSAL: &str = "unable to create lock in backend: repository is already locked exclusively by PID 12202 on vm by root (UID 0, GID 0)\n\
        lock was created at 2026-11-23 14:38:16 (4.010586178s ago)\n\
        storage ID 2205a7f7\n\
        the `unlock` command can be used to remove stale locks\n";

    fn old() -> Capabilities {
        Capabilities::of(Version::OLDEST_SUPPORTED)
    }

    fn new() -> Capabilities {
        Capabilities::of(Version::new(0, 18, 0))
    }

    fn expected() -> LockSighting {
        LockSighting {
            exclusive: true,
            pid: 12202,
            hostname: "vm".into(),
            username: "root".into(),
            created: "2026-11-23 14:38:16".into(),
            age_ms: Some(4010),
            storage_id: "2205a7f7".into(),
        }
    }

    #[test]
    fn the_refusal_of_the_old_release_is_read_from_the_end_of_its_text() {
        assert_eq!(sight_lock(Exit::Code(1), old(), REFUSAL), Some(expected()));
        let with_retries = format!("Save(<lock/1>) returned error, retrying after 1s: x\n{REFUSAL}");
        assert_eq!(sight_lock(Exit::Code(1), old(), &with_retries), Some(expected()));
        let shared = REFUSAL.replace("exclusively ", "").replace("(4.010586178s ago)", "(-59m58.6s ago)");
        let sighting = sight_lock(Exit::Code(1), old(), &shared).unwrap();
        assert_eq!((sighting.exclusive, sighting.age_ms), (false, Some(-3_598_600)));
    }

    #[test]
    fn the_refusal_of_newer_releases_is_read_from_their_last_word() {
        let message = serde_json::to_string(REFUSAL).unwrap();
        let json = format!("{{\"message_type\":\"exit_error\",\"code\":11,\"message\":{message}}}\n");
        assert_eq!(sight_lock(Exit::Code(11), new(), &json), Some(expected()));
        assert_eq!(sight_lock(Exit::Code(11), new(), REFUSAL), Some(expected()));
        assert!(is_locked(Exit::Code(11), new(), ""), "the code alone says it");
        assert_eq!(sight_lock(Exit::Code(11), new(), ""), None);
    }

    #[test]
    fn another_exit_code_is_no_lock_whatever_the_text_says() {
        for (exit, capabilities) in [
            (Exit::Code(0), old()),
            (Exit::Code(3), old()),
            (Exit::Code(11), old()),
            (Exit::Signal(9), old()),
            (Exit::Code(1), new()),
            (Exit::Code(10), new()),
        ] {
            assert!(!is_locked(exit, capabilities, REFUSAL), "{exit:?}");
        }
    }

    #[test]
    fn a_refusal_that_is_not_whole_or_not_last_is_none() {
        let lines: Vec<&str> = REFUSAL.lines().collect();
        let texts = [
            String::new(),
            format!("{REFUSAL}Warning: at least one source file could not be read\n"),
            lines[1..].join("\n"),
            [lines[0], lines[2], lines[3]].join("\n"),
            [lines[0], lines[1], lines[3]].join("\n"),
            REFUSAL.replace("unable to", "error: unable to"),
            REFUSAL.replace("12202", "x"),
            REFUSAL.replace("UID 0", "UID x"),
            REFUSAL.replace("(UID 0, GID 0)", "(UID 0, GID 0): permission denied"),
            REFUSAL.replace("2205a7f7", "2205a7f"),
            "unable to create lock in backend: open /r/locks/x: permission denied\n".to_owned(),
        ];
        for text in texts {
            assert!(!is_locked(Exit::Code(1), old(), &text), "{text}");
        }
    }
}
