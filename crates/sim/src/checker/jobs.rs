//! Every job ended, and its end is what restic's was.

use restic_manager_core::model::{Job, JobState};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::MINUTE;

use super::facts::Facts;
use crate::history::Process;
use crate::now_or_never;

/// What ended so shortly before the end may still be on its way.
const ON_ITS_WAY: i64 = 10 * MINUTE;

pub(super) fn judge(facts: &Facts<'_>, wrong: &mut Vec<String>) {
    for job in facts.jobs.values() {
        if let Some(what) = job_is_wrong(facts, job) {
            wrong.push(format!("{} {} ({:?}): {what}", job.kind.as_str(), job.id, job.state));
        }
    }
    for (id, processes) in &facts.processes_of_job {
        for process in processes {
            if let Some(what) = process_is_hidden(facts.jobs.get(id), process, facts.end) {
                wrong.push(format!("{} {id}: {what}", process.kind.as_str()));
            }
        }
    }
    for (job, lines) in &facts.history.lines {
        let log = now_or_never(facts.world.server.store().log(*job, 0, 100));
        let numbers: Vec<u64> =
            log.map_or_else(|_| Vec::new(), |log| log.lines.iter().map(|line| line.n).collect());
        let on_its_way = facts.processes_of_job[job].iter().any(|process| is_fresh(process, facts.end));
        if numbers != (0..*lines).collect::<Vec<u64>>() && !on_its_way {
            wrong.push(format!("job {job} wrote {lines} lines, the server has {numbers:?}"));
        }
    }
}

fn is_fresh(process: &Process, end: i64) -> bool {
    process.until.is_none_or(|until| until > end - ON_ITS_WAY)
}

fn job_is_wrong(facts: &Facts<'_>, job: &Job) -> Option<String> {
    let ends: Vec<Option<OutcomeClass>> = facts
        .processes_of_job
        .get(&job.id)
        .map_or_else(Vec::new, |processes| processes.iter().map(|process| process.end).collect());
    match job.state {
        JobState::Queued | JobState::Dispatched | JobState::Running => {
            (job.created_at.as_millis() < facts.over).then(|| format!("it never ended; restic: {ends:?}"))
        }
        JobState::Succeeded => {
            (!ends.contains(&Some(OutcomeClass::Ok))).then(|| format!("restic said {ends:?}"))
        }
        JobState::Warning => {
            (!ends.contains(&Some(OutcomeClass::Partial))).then(|| format!("restic said {ends:?}"))
        }
        JobState::Failed
        | JobState::Cancelled
        | JobState::Lost
        | JobState::Superseded
        | JobState::Withdrawn => {
            let well =
                |end: &Option<OutcomeClass>| matches!(end, Some(OutcomeClass::Ok | OutcomeClass::Partial));
            ends.iter().any(well).then(|| format!("it hides that restic said {ends:?}"))
        }
    }
}

fn process_is_hidden(job: Option<&Job>, process: &Process, end: i64) -> Option<String> {
    if is_fresh(process, end) {
        return None;
    }
    match job {
        None => Some(format!("it ran at {}, and the server never heard of it", process.from)),
        Some(job) if job.repo_id != process.repo || job.host_id != process.host => {
            Some("it ran elsewhere than the server says".into())
        }
        Some(_) => None,
    }
}
