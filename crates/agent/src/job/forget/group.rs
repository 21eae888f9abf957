//! One group of a forget.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use restic_manager_core::humane::count;
use restic_manager_core::model::{ForgetResult, SnapshotDecision};
use restic_manager_core::restic::{
    Command, Exit, Forget, ForgetGroup, Kind, Outcome, OutcomeClass, Snapshot, SnapshotFilter, SnapshotId,
    parse_forget,
};
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_core::wire::{ForgetGroupSpec, ForgetMode};

use crate::job::context::Context;
use crate::job::ending::Ending;
use crate::job::follow::{self, Ran};
use crate::job::log::JobLog;
use crate::job::survey;
use crate::process::{STDOUT, now};

/// The largest answer of a forget that is read: some 50,000 snapshots.
const LARGEST: u64 = 64 << 20;
/// The most decisions of a preview.
const MOST: usize = 2_000;

/// What became of a group.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) result: ForgetResult,
    pub(super) outcome: Outcome,
    /// How restic itself ended, where it ran.
    pub(super) ending: Ending,
}

impl Done {
    /// Restic was not run for this group.
    pub(super) fn without_restic(group: &ForgetGroupSpec, ending: Ending) -> Self {
        let outcome = ending.outcome.clone();
        Self { result: result(group, &outcome), outcome, ending }
    }

    /// Whether the same would happen to every further group.
    pub(super) const fn ends_the_job(&self) -> bool {
        match self.outcome.class {
            OutcomeClass::Ok
            | OutcomeClass::Partial
            | OutcomeClass::SourceMissing
            | OutcomeClass::Unknown => false,
            OutcomeClass::Locked
            | OutcomeClass::Unreachable
            | OutcomeClass::NoRepository
            | OutcomeClass::WrongPassword
            | OutcomeClass::AppendOnly
            | OutcomeClass::NoSpace
            | OutcomeClass::ResticMissing
            | OutcomeClass::Cancelled
            | OutcomeClass::Killed => true,
        }
    }
}

/// The group as it is before anything is known of it.
pub(super) fn result(group: &ForgetGroupSpec, outcome: &Outcome) -> ForgetResult {
    ForgetResult {
        group_id: group.group_id,
        restic_host: group.restic_host.clone(),
        tag: group.tag.clone(),
        class: outcome.class,
        message: outcome.message.clone(),
        planned: 0,
        removed: 0,
        kept: 0,
        decisions: Vec::new(),
    }
}

/// Runs restic for the group and looks what came of it.
pub(super) async fn forget(
    context: &mut Context,
    log: &mut JobLog,
    group: &ForgetGroupSpec,
    mode: ForgetMode,
) -> Done {
    let forget = match Forget::new(group.restic_host.clone(), group.tag.clone(), &group.keep) {
        Ok(forget) => forget,
        Err(error) => {
            let hint = "give the source group a retention policy";
            let ending = Ending::failed(OutcomeClass::Unknown, error.to_string(), hint);
            return Done::without_restic(group, ending);
        }
    };
    let (command, before) = match mode {
        ForgetMode::Preview => (Command::Forget(forget.preview()), None),
        ForgetMode::Apply => match survey::peek(context, log, snapshots_of(group)).await {
            Ok(before) => (Command::Forget(forget), Some(before)),
            Err(outcome) => return Done::without_restic(group, Ending::of(outcome)),
        },
    };
    if let Some(late) = before.iter().flatten().find(|snapshot| snapshot.time.at() > now() + HOUR) {
        return Done::without_restic(group, from_the_future(late));
    }
    match follow::run(context, log, &command).await {
        Ok(ran) => judge(context, log, group, mode, before.as_deref(), &ran, Exit::Signal(9)).await,
        Err(ending) => Done::without_restic(group, ending),
    }
}

fn snapshots_of(group: &ForgetGroupSpec) -> SnapshotFilter {
    SnapshotFilter { host: Some(group.restic_host.clone()), tag: Some(group.tag.clone()), id: None }
}

/// A snapshot that claims to be newer than all others would keep its place and push them out.
fn from_the_future(snapshot: &Snapshot) -> Ending {
    let message = format!(
        "snapshot {} is dated {}, which has not come yet; nothing was removed",
        snapshot.id.short(),
        snapshot.time.at()
    );
    Ending::failed(OutcomeClass::Unknown, message, "check the clocks, or forget that snapshot by hand")
}

/// What a run of restic did to the group: its word is an intention, the list afterwards is the fact.
pub(super) async fn judge(
    context: &mut Context,
    log: &mut JobLog,
    group: &ForgetGroupSpec,
    mode: ForgetMode,
    before: Option<&[Snapshot]>,
    ran: &Ran,
    unseen: Exit,
) -> Done {
    let answer = answer_of(&ran.dir).and_then(|text| parse_forget(&text).map_err(|error| error.to_string()));
    // Restic answers when it is done, whether or not somebody saw the end.
    let spoke = answer.as_ref().is_ok_and(|groups| !groups.is_empty());
    let mut outcome = ran.outcome(context, Kind::Forget, if spoke { Exit::Code(0) } else { unseen });
    let groups = match answer {
        Ok(groups) => groups,
        Err(why) => {
            if outcome.class == OutcomeClass::Ok {
                outcome = unknown(why);
            }
            Vec::new()
        }
    };
    let planned: Vec<&SnapshotId> =
        groups.iter().flat_map(|group| &group.remove).map(|snapshot| &snapshot.id).collect();
    let mut result = result(group, &outcome);
    result.planned = planned.len() as u64;
    match mode {
        ForgetMode::Preview => {
            result.kept = groups.iter().map(|group| group.keep.len() as u64).sum();
            result.decisions = decisions(&groups);
        }
        ForgetMode::Apply => match survey::peek(context, log, snapshots_of(group)).await {
            Ok(after) => compare(&mut result, &mut outcome, &planned, before, &after),
            Err(why) if outcome.class == OutcomeClass::Ok => {
                outcome = unknown(format!("what is really gone could not be listed: {}", why.message));
            }
            Err(_) => {}
        },
    }
    if outcome.class == OutcomeClass::Ok {
        outcome.message = words(mode, &result);
    }
    (result.class, result.message) = (outcome.class, log.redact(&outcome.message));
    let ending = Ending::after(ran, outcome.clone());
    Done { result, outcome, ending }
}

fn unknown(why: String) -> Outcome {
    Ending::failed(OutcomeClass::Unknown, why, "the log holds restic's own words").outcome
}

/// Restic's answer is its first line; it may be far longer than any line of a log.
fn answer_of(dir: &Path) -> Result<String, String> {
    let file = match std::fs::File::open(dir.join(STDOUT)) {
        Ok(file) => file,
        Err(error) => return Err(format!("restic's answer cannot be read: {error}")),
    };
    for line in BufReader::new(file.take(LARGEST)).lines() {
        let line = line.map_err(|error| format!("restic's answer cannot be read: {error}"))?;
        // The pulse of a second may come first.
        if line.starts_with("[{") {
            return Ok(line);
        }
    }
    Ok(String::new())
}

fn compare(
    result: &mut ForgetResult,
    outcome: &mut Outcome,
    planned: &[&SnapshotId],
    before: Option<&[Snapshot]>,
    after: &[Snapshot],
) {
    let is_left = |id: &SnapshotId| after.iter().any(|snapshot| snapshot.id == *id);
    result.kept = after.len() as u64;
    result.removed = match before {
        Some(before) => before.iter().filter(|snapshot| !is_left(&snapshot.id)).count() as u64,
        None => planned.iter().filter(|id| !is_left(id)).count() as u64,
    };
    // Where restic did not come to its answer, at least what it removed was meant.
    result.planned = result.planned.max(result.removed);
    let stayed = planned.iter().filter(|id| is_left(id)).count();
    if stayed > 0 && matches!(outcome.class, OutcomeClass::Ok | OutcomeClass::Partial) {
        *outcome = unknown(format!("{stayed} snapshots that were to go are still there"));
    }
}

fn words(mode: ForgetMode, result: &ForgetResult) -> String {
    match mode {
        ForgetMode::Apply => format!("{} removed, {} left", count(result.removed, "snapshot"), result.kept),
        ForgetMode::Preview => {
            format!("{} would go, {} would stay", count(result.planned, "snapshot"), result.kept)
        }
    }
}

/// Newest first.
fn decisions(groups: &[ForgetGroup]) -> Vec<SnapshotDecision> {
    let mut decided: Vec<(Timestamp, &SnapshotId, &[String])> = Vec::new();
    for group in groups {
        let kept =
            group.keep.iter().map(|snapshot| (snapshot.time.at(), &snapshot.id, reasons(group, snapshot)));
        let going = group.remove.iter().map(|snapshot| (snapshot.time.at(), &snapshot.id, &[][..]));
        decided.extend(kept.chain(going));
    }
    decided.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    decided
        .into_iter()
        .take(MOST)
        .map(|(time, id, keeps)| SnapshotDecision {
            snapshot_id: id.as_str().to_owned(),
            time,
            keeps: keeps.to_vec(),
        })
        .collect()
}

/// Empty would mean that it goes.
fn reasons<'a>(group: &'a ForgetGroup, snapshot: &Snapshot) -> &'a [String] {
    static KEPT: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| ["kept".to_owned()]);
    match group.reasons_of(&snapshot.id) {
        [] => &*KEPT,
        reasons => reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_many_megabytes_is_read_whole_and_a_pulse_before_it_is_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let long = "x".repeat(5 << 20);
        let answer = format!(r#"[{{"host":"{long}","keep":null,"remove":null}}]"#);
        std::fs::write(temp.path().join(STDOUT), format!("[0:00] 100.00%  1 / 1 files deleted\n{answer}\n"))
            .unwrap();
        assert_eq!(parse_forget(&answer_of(temp.path()).unwrap()).unwrap()[0].host.len(), 5 << 20);
        assert!(answer_of(&temp.path().join("nowhere")).is_err());
    }

    #[test]
    fn decisions_are_told_newest_first_and_one_without_a_reason_still_stays() {
        let id = |n: u64| format!("{n:064x}");
        let snapshot = |n: u64, time: &str| {
            format!(r#"{{"time":"{time}","id":"{}","short_id":"{}"}}"#, id(n), &id(n)[..8])
        };
        let (old, new) = (snapshot(1, "2026-01-01T00:00:00Z"), snapshot(2, "2026-01-02T00:00:00Z"));
        let text = format!(r#"[{{"keep":[{old}],"remove":[{new}],"reasons":null}}]"#);
        let told = decisions(&parse_forget(&text).unwrap());
        let seen: Vec<_> = told.iter().map(|told| (told.snapshot_id.clone(), told.keeps.len())).collect();
        assert_eq!(seen, [(id(2), 0), (id(1), 1)]);
    }
}
