//! Every run ended, and its end is true.

use std::collections::BTreeMap;
use std::ops::Bound;

use restic_manager_core::id::{JobId, RunId};
use restic_manager_core::model::{Job, JobState, Run, RunKey, RunState};
use restic_manager_core::time::Timestamp;

use super::facts::Facts;
use crate::history::Counts;

pub(super) fn judge(facts: &Facts<'_>, counts: &mut Counts, wrong: &mut Vec<String>) {
    let mut jobs_of: BTreeMap<RunId, Vec<&Job>> = BTreeMap::new();
    for job in facts.jobs.values() {
        if let Some(run) = job.run_id {
            jobs_of.entry(run).or_default().push(job);
        }
    }
    for run in facts.runs.values() {
        let jobs = jobs_of.get(&run.id).map_or(&[][..], Vec::as_slice);
        counts.abandoned += u64::from(run.state == RunState::Abandoned);
        if let Some(what) = what_is_wrong(facts, run, jobs, counts) {
            wrong.push(format!(
                "run {} (slot {}, {:?}, attempt {}): {what}",
                run.id, run.key.slot, run.state, run.attempt
            ));
        }
    }
    for (key, snapshots) in &facts.snapshots_of_run {
        // What was made in the last minutes may still be on its way.
        let told = facts.keys.contains_key(key) || key.slot.as_millis() > facts.over;
        if !told {
            wrong.push(format!(
                "slot {} has {snapshots} snapshots, but the server knows no run of it",
                key.slot
            ));
        }
    }
}

fn is_open(job: &Job) -> bool {
    matches!(job.state, JobState::Queued | JobState::Dispatched | JobState::Running)
}

fn what_is_wrong(facts: &Facts<'_>, run: &Run, jobs: &[&Job], counts: &mut Counts) -> Option<String> {
    let snapshots = facts.snapshots(&run.key);
    let open: Vec<JobId> = jobs.iter().filter(|job| is_open(job)).map(|job| job.id).collect();
    // What never ran gave its number back.
    let ran = jobs.iter().filter(|job| !matches!(job.state, JobState::Superseded | JobState::Withdrawn));
    let mut attempts: Vec<u32> = ran.map(|job| job.attempt).collect();
    attempts.sort_unstable();
    let all = attempts.len();
    attempts.dedup();
    if attempts.len() < all {
        let each: Vec<_> = jobs.iter().map(|job| (job.id, job.attempt, job.state, &job.message)).collect();
        return Some(format!("two of its jobs are the same attempt: {each:?}"));
    }
    if open.len() > 1 {
        return Some(format!("two of its jobs are open: {open:?}"));
    }
    if run.pending.is_some() && (run.state != RunState::Open || !open.is_empty()) {
        return Some(format!("it is pending beside {open:?}"));
    }
    if snapshots > 1 {
        counts.twice += 1;
        if !facts.audited("slot.ran_twice", &run.id.to_string()) {
            return Some(format!("it has {snapshots} snapshots, and nobody wrote that down"));
        }
        return Some(format!("it has {snapshots} snapshots: its agent should have refused"));
    }
    match run.state {
        RunState::Open if open.is_empty() && run.pending.is_none() => {
            Some("it is stuck: no job of it is open, and it owes none".into())
        }
        RunState::Open => (run.created_at.as_millis() < facts.over).then(|| {
            let states: Vec<JobState> = jobs.iter().map(|job| job.state).collect();
            format!("it is still open: {states:?}, {:?}", run.pending)
        }),
        RunState::Succeeded | RunState::Warning => {
            (snapshots == 0).then(|| "there is no snapshot of it".into())
        }
        RunState::Failed | RunState::Missed | RunState::Abandoned if snapshots > 0 => {
            Some("it hides a snapshot that was made".into())
        }
        RunState::Failed => {
            let failed = jobs.iter().any(|job| matches!(job.state, JobState::Failed | JobState::Cancelled));
            (!failed).then(|| "none of its jobs failed".into())
        }
        RunState::Missed => {
            let latest = RunKey { slot: Timestamp::from_millis(i64::MAX), ..run.key };
            let newer =
                facts.keys.range((Bound::Excluded(run.key), Bound::Included(latest))).next().is_some();
            (!newer).then(|| "it was superseded, but there is no newer one".into())
        }
        RunState::Abandoned => {
            let run_id = run.id.to_string();
            let told = facts.audited("pending_run.abandoned", &run_id)
                || facts.audited("pending_run.dropped", &run_id)
                || jobs.iter().any(|job| facts.audited("job.withdrawn", &job.id.to_string()));
            (!told).then(|| "it was given up without an audit row".into())
        }
    }
}
