//! The jobs, and how one moves.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{
    FinalState, IllegalMove, Job, JobEvent, JobState, JobSummary, RunState, transition,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;

use super::State;

/// All jobs, with the few that are not final at hand.
#[derive(Default)]
pub(super) struct Jobs {
    by_id: BTreeMap<JobId, Job>,
    unfinished: BTreeSet<JobId>,
}

impl Jobs {
    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.by_id.get(&id)
    }

    /// All jobs, by id.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.by_id.values()
    }

    /// The jobs that are not final, by id.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Job> {
        self.unfinished.iter().filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn put(&mut self, job: Job) {
        if job.state.is_final() {
            self.unfinished.remove(&job.id);
        } else {
            self.unfinished.insert(job.id);
        }
        self.by_id.insert(job.id, job);
    }
}

/// What is said about a move: when, and, where it ends the job, how.
pub(super) struct Word {
    pub(super) at: Timestamp,
    /// When the server heard of it.
    pub(super) heard_at: Timestamp,
    pub(super) message: String,
    pub(super) class: Option<OutcomeClass>,
    pub(super) hint: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) summary: Option<JobSummary>,
}

impl Word {
    /// A word that needs no message: the job goes on.
    pub(super) fn at(at: Timestamp) -> Self {
        Self::new(at, "")
    }

    pub(super) fn new(at: Timestamp, message: &str) -> Self {
        Self {
            at,
            heard_at: at,
            message: message.to_owned(),
            class: None,
            hint: None,
            exit_code: None,
            summary: None,
        }
    }
}

impl State {
    /// Moves a job by the table of states, with its run and the revisions of its host and repository.
    pub(super) fn advance(
        &mut self,
        job: &Job,
        event: JobEvent,
        word: Word,
    ) -> Result<JobState, IllegalMove> {
        // Waiting again would run what somebody asked to stop.
        let event = match event {
            JobEvent::Requeue if job.cancel_requested_at.is_some() => JobEvent::Finish(FinalState::Cancelled),
            other => other,
        };
        let state = transition(job.state, event)?;
        let mut job = Job { state, ..job.clone() };
        let heard_at = word.heard_at;
        match state {
            JobState::Queued => job.dispatched_at = None,
            JobState::Dispatched => job.dispatched_at = Some(word.at),
            JobState::Running => job.started_at = Some(word.at),
            JobState::Cancelled => end(&mut job, word, Some(OutcomeClass::Cancelled)),
            JobState::Succeeded
            | JobState::Warning
            | JobState::Failed
            | JobState::Lost
            | JobState::Superseded
            | JobState::Withdrawn => end(&mut job, word, None),
        }
        self.raise_revisions(job.host_id, job.repo_id);
        if state.is_final() {
            self.bring_forward(job.repo_id, heard_at);
        }
        self.follow(&job);
        self.jobs.put(job);
        Ok(state)
    }

    pub(super) fn raise_revisions(&mut self, host_id: HostId, repo_id: RepoId) {
        if let Some(host) = self.hosts.get_mut(&host_id) {
            host.revision += 1;
        }
        if let Some(repo) = self.repos.get_mut(&repo_id) {
            repo.revision += 1;
        }
    }

    /// Takes the open run of a job along.
    fn follow(&mut self, job: &Job) {
        let (Some(state), Some(id)) = (RunState::after(job.state), job.run_id) else { return };
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.state == RunState::Open) else { return };
        run.state = state;
        run.next_attempt_at = None;
        if state == RunState::Abandoned {
            run.why.clone_from(&job.message);
        }
    }
}

fn end(job: &mut Job, word: Word, class: Option<OutcomeClass>) {
    job.finished_at = Some(word.at);
    job.message = Some(word.message);
    job.class = word.class.or(class);
    job.hint = word.hint;
    job.exit_code = word.exit_code;
    job.summary = word.summary;
}
