//! Maintenance kept its cadence: each slot once, never beside itself, and never skipped once the runner was there.

use std::collections::BTreeSet;

use restic_manager_core::id::RepoId;
use restic_manager_core::model::{ActorKind, Job, JobKind, JobState};
use restic_manager_core::time::{DAY, HOUR, Timestamp};

use super::facts::Facts;
use crate::when::Cadence;

/// How long after a slot its job was asked for at the latest, once everything works: the spread, a look, a hold.
const LATEST: i64 = 6 * HOUR;
/// The first attempt and three more.
const ATTEMPTS: u32 = 4;

pub(super) fn judge(facts: &Facts<'_>, wrong: &mut Vec<String>) {
    for (repo, upkeep) in &facts.history.upkeep {
        for (kind, cadence) in &upkeep.cadences {
            if let Some(what) = what_is_wrong(facts, *repo, *kind, cadence) {
                wrong.push(format!("{} of repository {repo}: {what}", kind.as_str()));
            }
        }
    }
}

fn what_is_wrong(facts: &Facts<'_>, repo: RepoId, kind: JobKind, cadence: &Cadence) -> Option<String> {
    let counts = |job: &&Job| {
        job.repo_id == repo
            && job.kind == kind
            && !matches!(job.state, JobState::Superseded | JobState::Withdrawn)
    };
    let mut jobs: Vec<&Job> = facts.jobs.values().filter(counts).collect();
    jobs.sort_by_key(|job| (job.created_at, job.id));
    let mut made = BTreeSet::new();
    for (at, job) in jobs.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| jobs[at]);
        if let Some(before) = before
            && before.finished_at.is_none_or(|ended| ended > job.created_at)
        {
            return Some(format!("{} was asked for while {} was under way", job.id, before.id));
        }
        let Some(slot) = job.slot.filter(|_| job.actor.kind != ActorKind::User) else { continue };
        if !cadence.fires_at(slot.as_millis()) || slot > job.created_at {
            return Some(format!("{} is for {slot}, which is no slot that had come", job.id));
        }
        if !made.insert((slot, job.attempt)) || job.attempt > ATTEMPTS {
            return Some(format!("{slot} was asked for again: attempt {}", job.attempt));
        }
        if let Some(before) = before.filter(|_| job.attempt == 1)
            && before.created_at >= slot
        {
            return Some(format!("{} is for {slot}, but {} was asked for after it", job.id, before.id));
        }
    }
    let newest_slot = cadence.slots(facts.end - LATEST - 8 * DAY, facts.end - LATEST).pop()?;
    if newest_slot < crate::when::BEGIN {
        return None;
    }
    let newest = jobs.last();
    // While one is under way no other is asked for, however long it takes.
    let busy_until = newest.map(|job| job.finished_at.map_or(facts.end, Timestamp::as_millis));
    if busy_until.is_some_and(|until| until > facts.end - LATEST) {
        return None;
    }
    newest.is_none_or(|newest| newest.created_at.as_millis() < newest_slot).then(|| {
        let slot = Timestamp::from_millis(newest_slot);
        format!("nothing was asked for since its slot {slot}")
    })
}
