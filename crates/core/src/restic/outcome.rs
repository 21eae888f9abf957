//! How a run of restic ended, in words an operator can act on.

use serde::{Deserialize, Serialize};

use super::diagnosis::{Diagnosis, Trouble};
use super::{
    Capabilities, CheckOutcome, Exit, Facts, Kind, OutcomeClass, Sent, StopReason, check_outcome,
    count_ignored_snapshots, init, is_locked,
};

/// A run that ended, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// What restic was asked to do.
    pub kind: Kind,
    /// What this restic can do.
    pub capabilities: Capabilities,
    /// How the process ended.
    pub exit: Exit,
    /// What the caller sent to it.
    pub sent: Sent,
    /// What it said.
    pub facts: &'a Facts,
}

/// How a run ended, for machines and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The class.
    pub class: OutcomeClass,
    /// One plain sentence without a full stop. It may quote restic, never a secret that restic itself masks.
    pub message: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Files and folders that could not be read, missing includes among them; for a list, snapshots left out.
    pub unreadable_items: u64,
}

impl Outcome {
    fn new(class: OutcomeClass, message: impl Into<String>) -> Self {
        let hint = class.hint().map(str::to_owned);
        Self { class, message: message.into(), hint, unreadable_items: 0 }
    }
}

/// Says how a run ended.
///
/// Success needs evidence: for a backup the id of a snapshot that is no dry run's. Exit codes this crate does not know
/// are failures.
pub fn classify(ended: &Ended<'_>) -> Outcome {
    let said = Diagnosis::of(&ended.facts.stderr_tail);
    let finished = match ended.exit {
        Exit::NotStarted => {
            return Outcome::new(OutcomeClass::ResticMissing, "restic could not be started on this host");
        }
        Exit::Code(0) => Some(succeeded(ended, &said)),
        Exit::Code(3) if ended.kind == Kind::Backup => Some(backup_with_snapshot(ended)),
        Exit::Code(_) | Exit::Signal(_) => None,
    };
    if let Some(outcome) = finished
        && (ended.sent == Sent::Nothing || outcome.class != OutcomeClass::Unknown)
    {
        return outcome;
    }
    match ended.sent {
        Sent::Nothing => failed(ended, &said),
        Sent::SigInt(StopReason::Cancel) => Outcome::new(OutcomeClass::Cancelled, "stopped on request"),
        Sent::SigKill(StopReason::Cancel) => Outcome {
            hint: Some("a lock may be left in the repository".to_owned()),
            ..Outcome::new(OutcomeClass::Cancelled, "stopped on request, in the end by force")
        },
        Sent::SigInt(StopReason::Unreachable) | Sent::SigKill(StopReason::Unreachable) => gave_up(&said),
        Sent::SigInt(StopReason::DeleteRefused) | Sent::SigKill(StopReason::DeleteRefused) => append_only(),
    }
}

fn succeeded(ended: &Ended<'_>, said: &Diagnosis) -> Outcome {
    match ended.kind {
        Kind::Backup => backup_with_snapshot(ended),
        Kind::Forget => match refused_removals(said) {
            0 => list_ended(ended),
            refused => removals_refused(said, refused),
        },
        Kind::Snapshots | Kind::Stats => list_ended(ended),
        Kind::Init
        | Kind::Check
        | Kind::Prune
        | Kind::Unlock
        | Kind::ListLocks
        | Kind::CatLock
        | Kind::CatConfig
        | Kind::Version => Outcome::new(OutcomeClass::Ok, format!("{} succeeded", ended.kind.as_str())),
    }
}

/// Exit codes 0 and 3 of a backup: restic up to 0.18 says 0 when one of several sources is missing.
fn backup_with_snapshot(ended: &Ended<'_>) -> Outcome {
    let facts = ended.facts;
    let Some(snapshot) = facts.summary.as_ref().and_then(|summary| summary.evidence()) else {
        return Outcome::new(OutcomeClass::Unknown, "restic ended without naming a snapshot it made");
    };
    let missing = facts.missing_includes.len() as u64;
    let unreadable_items = facts.unreadable_items + missing;
    if ended.exit == Exit::Code(0) && unreadable_items == 0 {
        return Outcome::new(OutcomeClass::Ok, format!("snapshot {} was made", snapshot.short()));
    }
    let left_out = match (facts.missing_includes.first(), facts.unreadable_items) {
        (Some(first), 0) if missing == 1 => format!("{} does not exist", quoted(first)),
        (Some(first), 0) => format!("{missing} paths do not exist, {} among them", quoted(first)),
        (Some(first), items) => {
            format!("{items} items could not be read and {} does not exist", quoted(first))
        }
        (None, 1) => "1 item could not be read".to_owned(),
        (None, items) => format!("{items} items could not be read"),
    };
    let message = format!("snapshot {} was made, but {left_out}", snapshot.short());
    Outcome { unreadable_items, ..Outcome::new(OutcomeClass::Partial, message) }
}

fn list_ended(ended: &Ended<'_>) -> Outcome {
    let kind = ended.kind.as_str();
    match count_ignored_snapshots(&ended.facts.stderr_tail) {
        0 if ended.kind == Kind::Stats => Outcome::new(OutcomeClass::Ok, "the repository was measured"),
        0 => Outcome::new(OutcomeClass::Ok, "the snapshots were listed"),
        ignored => Outcome {
            unreadable_items: ignored,
            hint: Some("a snapshot file is damaged; run a check".to_owned()),
            ..Outcome::new(
                OutcomeClass::Partial,
                format!("{kind} left out {}, damaged in the repository", snapshots(ignored)),
            )
        },
    }
}

/// 0.18.0 exits with 0 when a snapshot could not be removed.
fn refused_removals(said: &Diagnosis) -> u64 {
    let refused = |line: &&str| {
        line.starts_with("unable to remove snapshot/") || line.starts_with("unable to remove <snapshot/")
    };
    said.lines().filter(refused).count() as u64
}

fn removals_refused(said: &Diagnosis, refused: u64) -> Outcome {
    if is_append_only(said) {
        return append_only();
    }
    Outcome::new(OutcomeClass::Unknown, format!("{} could not be removed", snapshots(refused)))
}

fn append_only() -> Outcome {
    Outcome::new(OutcomeClass::AppendOnly, "the server does not let this credential delete")
}

fn is_append_only(said: &Diagnosis) -> bool {
    let denied = |line: &str| super::diagnosis::trouble(line) == Some(Trouble::Denied);
    said.lines().any(|line| line.starts_with("Remove(<") && denied(line))
        || said.headline().contains("blob not removed") && denied(said.headline())
}

/// Whether a line of standard error says that the server refused to delete, and that restic will ask again.
///
/// Locks are left out: an append-only server lets them go.
pub fn retries_refused_delete(line: &str) -> bool {
    let deletes = line.starts_with("Remove(<") && !line.starts_with("Remove(<lock/");
    deletes
        && line.contains(" returned error, retrying after ")
        && super::diagnosis::trouble(line) == Some(Trouble::Denied)
}

fn gave_up(said: &Diagnosis) -> Outcome {
    match said.last_trouble() {
        Some(Trouble::NoSpace) => no_space(),
        Some(Trouble::Denied) => denied(),
        Some(Trouble::Unreachable | Trouble::Permission) | None => {
            Outcome::new(OutcomeClass::Unreachable, "the repository did not answer for too long")
        }
    }
}

fn no_space() -> Outcome {
    Outcome::new(OutcomeClass::NoSpace, "the storage is full")
}

fn denied() -> Outcome {
    Outcome::new(OutcomeClass::WrongPassword, "the server refused the login")
}

fn failed(ended: &Ended<'_>, said: &Diagnosis) -> Outcome {
    let code = match ended.exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => {
            return Outcome::new(OutcomeClass::Killed, format!("signal {number} killed restic"));
        }
        Exit::NotStarted => return Outcome::new(OutcomeClass::ResticMissing, "restic could not be started"),
    };
    if is_locked(ended.exit, ended.capabilities, &ended.facts.stderr_tail) {
        return Outcome::new(OutcomeClass::Locked, "the repository is locked by another run");
    }
    let own_codes = ended.capabilities.exit_codes();
    match code {
        10 if own_codes => no_repository(),
        12 if own_codes => wrong_password(),
        130 => interrupted(),
        3 if ended.kind == Kind::Forget => removals_refused(said, refused_removals(said)),
        1 => failed_with_text(ended, said),
        _ => unknown(code, said),
    }
}

fn no_repository() -> Outcome {
    Outcome::new(OutcomeClass::NoRepository, "there is no repository at the address")
}

fn wrong_password() -> Outcome {
    Outcome::new(OutcomeClass::WrongPassword, "the password does not open the repository, or it holds no key")
}

fn interrupted() -> Outcome {
    Outcome::new(OutcomeClass::Killed, "a signal from outside interrupted restic")
}

/// Exit code 1 stands for everything that has no code of its own: restic's last word tells.
fn failed_with_text(ended: &Ended<'_>, said: &Diagnosis) -> Outcome {
    let headline = said.headline().trim_end();
    if said.was_interrupted() {
        return interrupted();
    }
    if ended.kind == Kind::Init && said.verdict().lines().any(init::says_already_there) {
        return Outcome::new(OutcomeClass::Ok, "the repository was there already and is adopted");
    }
    if check_outcome(ended) == CheckOutcome::ErrorsFound && ended.kind == Kind::Check {
        let hint =
            Some("restore what matters elsewhere first, then follow restic's advice in the log".to_owned());
        return Outcome {
            hint,
            ..Outcome::new(OutcomeClass::Unknown, "check found damage in the repository")
        };
    }
    if headline == "Fatal: wrong password or no key found" {
        return wrong_password();
    }
    if is_missing_repository(headline) {
        return no_repository();
    }
    if headline.starts_with("Fatal: all ") && headline.ends_with(" directories/files do not exist") {
        return Outcome::new(OutcomeClass::SourceMissing, "nothing of what was to be backed up exists");
    }
    if matches!(ended.kind, Kind::Forget | Kind::Prune) && is_append_only(said) {
        return append_only();
    }
    match said.verdict().lines().rev().find_map(super::diagnosis::trouble) {
        Some(Trouble::NoSpace) => no_space(),
        Some(Trouble::Denied) => denied(),
        Some(Trouble::Unreachable) => {
            Outcome::new(OutcomeClass::Unreachable, "the repository could not be reached")
        }
        Some(Trouble::Permission) | None => unknown(1, said),
    }
}

/// Before 0.17.0. The question `Is there a repository at the following location?` follows other errors too.
fn is_missing_repository(headline: &str) -> bool {
    let Some(reason) = headline.strip_prefix("Fatal: unable to open config file: ") else {
        return false;
    };
    let reason = reason.trim_end_matches('.');
    reason.ends_with("no such file or directory") || reason.ends_with("does not exist")
}

fn unknown(code: i32, said: &Diagnosis) -> Outcome {
    let message = match said.headline() {
        "" => format!("restic failed with exit code {code} and said nothing"),
        words => {
            format!("restic failed with exit code {code}: {}", plain(words.trim_start_matches("Fatal: ")))
        }
    };
    Outcome::new(OutcomeClass::Unknown, message)
}

/// At most 300 characters, none of which steers a terminal.
fn plain(words: &str) -> String {
    words.trim_end().chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn snapshots(count: u64) -> String {
    if count == 1 { "1 snapshot".to_owned() } else { format!("{count} snapshots") }
}

fn quoted(path: &str) -> String {
    format!("`{}`", plain(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restic::{BackupSummary, SnapshotId, Version};

    fn ended(kind: Kind, exit: Exit, sent: Sent, facts: &Facts) -> Outcome {
        let capabilities = Capabilities::of(Version::new(0, 18, 0));
        classify(&Ended { kind, capabilities, exit, sent, facts })
    }

    fn with_snapshot() -> Facts {
        let snapshot_id = Some(SnapshotId::new("ab".repeat(32)).unwrap());
        let summary = Some(BackupSummary { snapshot_id, ..BackupSummary::default() });
        let mut facts = Facts::default();
        facts.summary.clone_from(&summary);
        facts
    }

    fn saying(stderr: &str) -> Facts {
        Facts::saying(stderr)
    }

    #[test]
    fn a_backup_succeeds_only_with_a_snapshot_that_is_no_dry_runs() {
        let outcome = ended(Kind::Backup, Exit::Code(0), Sent::Nothing, &with_snapshot());
        assert_eq!(
            (outcome.class, outcome.message.as_str()),
            (OutcomeClass::Ok, "snapshot abababab was made")
        );
        let mut dry = with_snapshot();
        dry.summary.as_mut().unwrap().dry_run = true;
        for facts in [Facts::default(), dry] {
            for code in [0, 3] {
                let outcome = ended(Kind::Backup, Exit::Code(code), Sent::Nothing, &facts);
                assert_eq!(outcome.class, OutcomeClass::Unknown);
            }
        }
    }

    #[test]
    fn a_missing_include_makes_a_backup_partial_although_restic_says_0() {
        let mut facts = with_snapshot();
        facts.missing_includes.insert("/mnt/usb".to_owned());
        let outcome = ended(Kind::Backup, Exit::Code(0), Sent::Nothing, &facts);
        assert_eq!((outcome.class, outcome.unreadable_items), (OutcomeClass::Partial, 1));
        assert_eq!(outcome.message, "snapshot abababab was made, but `/mnt/usb` does not exist");
    }

    #[test]
    fn cancelled_is_known_from_what_was_sent_and_not_from_the_code() {
        for exit in [Exit::Code(1), Exit::Code(130), Exit::Signal(2), Exit::Signal(9), Exit::Code(0)] {
            let outcome = ended(Kind::Backup, exit, Sent::SigInt(StopReason::Cancel), &Facts::default());
            assert_eq!(outcome.class, OutcomeClass::Cancelled, "{exit:?}");
        }
        let outcome = ended(Kind::Backup, Exit::Code(130), Sent::Nothing, &Facts::default());
        assert_eq!(outcome.class, OutcomeClass::Killed);
        let killed =
            ended(Kind::Prune, Exit::Signal(9), Sent::SigKill(StopReason::Cancel), &Facts::default());
        assert!(killed.hint.unwrap().contains("lock"));
    }

    #[test]
    fn a_run_that_was_done_before_the_signal_came_is_done() {
        let facts = with_snapshot();
        let outcome = ended(Kind::Backup, Exit::Code(0), Sent::SigInt(StopReason::Cancel), &facts);
        assert_eq!(outcome.class, OutcomeClass::Ok);
        let outcome = ended(Kind::Prune, Exit::Code(0), Sent::SigInt(StopReason::Cancel), &Facts::default());
        assert_eq!(outcome.class, OutcomeClass::Ok);
    }

    #[test]
    fn a_run_stopped_because_nothing_answered_is_unreachable_unless_restic_says_better() {
        let sent = Sent::SigKill(StopReason::Unreachable);
        let outcome = ended(Kind::Snapshots, Exit::Signal(9), sent, &Facts::default());
        assert_eq!(outcome.class, OutcomeClass::Unreachable);
        let facts = saying("Save(<data/x>) returned error, retrying after 1s: 507 Insufficient Storage\n");
        assert_eq!(ended(Kind::Backup, Exit::Code(1), sent, &facts).class, OutcomeClass::NoSpace);
    }

    #[test]
    fn unknown_exit_codes_are_failures_whatever_is_said() {
        for code in [2, 4, 13, 99, 255, -1] {
            for kind in [Kind::Backup, Kind::Prune, Kind::Check] {
                let outcome = ended(kind, Exit::Code(code), Sent::Nothing, &with_snapshot());
                assert_eq!(outcome.class, OutcomeClass::Unknown, "{kind:?} {code}");
            }
        }
    }

    #[test]
    fn a_removal_that_the_server_refused_is_append_only_although_restic_says_0() {
        let refused = "Remove(<snapshot/7edff846d8>) failed: unexpected HTTP response (403): 403 Forbidden\n\
                       unable to remove snapshot/7edff846d8 from the repository\n";
        let outcome = ended(Kind::Forget, Exit::Code(0), Sent::Nothing, &saying(refused));
        assert_eq!(outcome.class, OutcomeClass::AppendOnly);
        let local = refused.replace("unexpected HTTP response (403): 403 Forbidden", "permission denied");
        let outcome = ended(Kind::Forget, Exit::Code(0), Sent::Nothing, &saying(&local));
        assert_eq!(
            (outcome.class, outcome.message.as_str()),
            (OutcomeClass::Unknown, "1 snapshot could not be removed")
        );
    }

    #[test]
    fn a_run_stopped_because_deletes_are_refused_is_append_only() {
        let line = "Remove(<snapshot/5366d75a71>) returned error, retrying after 552.330144ms: blob not removed, server response: 403 Forbidden (403)";
        assert!(retries_refused_delete(line));
        for other in [
            line.replace("<snapshot/", "<lock/"),
            line.replace("Remove(", "Save("),
            line.replace("403 Forbidden (403)", "503 Service Unavailable (503)"),
            line.replace("returned error, retrying after", "failed after"),
        ] {
            assert!(!retries_refused_delete(&other), "{other}");
        }
        for exit in [Exit::Code(130), Exit::Code(1), Exit::Signal(9)] {
            let outcome = ended(Kind::Forget, exit, Sent::SigInt(StopReason::DeleteRefused), &saying(line));
            assert_eq!(outcome.class, OutcomeClass::AppendOnly);
        }
    }

    #[test]
    fn a_restic_that_could_not_be_started_is_missing() {
        let outcome = ended(Kind::Version, Exit::NotStarted, Sent::Nothing, &Facts::default());
        assert_eq!(outcome.class, OutcomeClass::ResticMissing);
    }

    #[test]
    fn what_restic_says_is_quoted_on_one_plain_line() {
        let facts = saying("Fatal: something \u{1b}[31mred\u{7} happened\nand more\n");
        let outcome = ended(Kind::Backup, Exit::Code(1), Sent::Nothing, &facts);
        assert_eq!(outcome.message, "restic failed with exit code 1: something  [31mred  happened");
        let silent = ended(Kind::Backup, Exit::Code(1), Sent::Nothing, &Facts::default());
        assert_eq!(silent.message, "restic failed with exit code 1 and said nothing");
    }
}
