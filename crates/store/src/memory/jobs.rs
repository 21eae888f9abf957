//! The jobs, and how one moves.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{
    FinalState, IllegalMove, Job, JobEvent, JobKind, JobState, JobSummary, Pending, PendingCause, RunAfter,
    RunState, transition,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;

use super::State;
use crate::reports::ran_twice;

/// All jobs, with the few that are not final at hand.
#[derive(Default)]
pub(super) struct Jobs {
    by_id: BTreeMap<JobId, Job>,
    unfinished: BTreeSet<JobId>,
    anchors: BTreeMap<(RepoId, JobKind), BTreeSet<JobId>>,
    slots: BTreeMap<Slot, JobId>,
    gave_slot_back: BTreeSet<JobId>,
    of_run: BTreeMap<RunId, BTreeSet<JobId>>,
    /// When the server learned of their ends.
    ended_here_at: BTreeMap<JobId, Timestamp>,
    /// The first of them.
    first_end: Option<Timestamp>,
}

/// The key of a job of maintenance: repository, kind, slot and attempt.
type Slot = (RepoId, JobKind, Timestamp, u32);

fn slot_of(job: &Job) -> Option<Slot> {
    let slot = job.slot.filter(|_| job.run_id.is_none())?;
    Some((job.repo_id, job.kind, slot, job.attempt))
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

    /// The newest job of a kind on a repository that is no preview and was not given up before it started.
    pub(super) fn anchor(&self, repo_id: RepoId, kind: JobKind) -> Option<&Job> {
        self.by_id.get(self.anchors.get(&(repo_id, kind))?.last()?)
    }

    /// The job that was made for the same slot and attempt of maintenance; one that was given up gave its slot back.
    pub(super) fn of_slot(&self, job: &Job) -> Option<&Job> {
        self.by_id.get(self.slots.get(&slot_of(job)?)?)
    }

    /// The jobs of a run, by id.
    pub(super) fn of_run(&self, run_id: RunId) -> impl Iterator<Item = &Job> {
        self.of_run.get(&run_id).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// The number that an attempt of a run gets: its own where no attempt that started, or still may, has it; else the next.
    pub(super) fn free_attempt(&self, run_id: RunId, wanted: u32) -> u32 {
        let counted = self.of_run(run_id).filter(|job| !self.gave_slot_back.contains(&job.id));
        let taken: BTreeSet<u32> = counted.map(|job| job.attempt).collect();
        match taken.last() {
            Some(last) if taken.contains(&wanted) => last + 1,
            Some(_) | None => wanted,
        }
    }

    /// When the server learned that a job is over, by its own clock.
    pub(super) fn ended_here_at(&self, id: JobId) -> Option<Timestamp> {
        self.ended_here_at.get(&id).copied()
    }

    /// Notes when the server learned that a job is over.
    fn ended_here(&mut self, id: JobId, at: Timestamp) {
        self.ended_here_at.insert(id, at);
        self.first_end = Some(self.first_end.map_or(at, |first| first.min(at)));
    }

    /// Whether any job at all was over before an instant.
    pub(super) fn any_ended_before(&self, at: Timestamp) -> bool {
        self.first_end.is_some_and(|first| first < at)
    }

    pub(super) fn put(&mut self, job: Job) {
        self.index(&job);
        if job.state.is_final() {
            self.unfinished.remove(&job.id);
        } else {
            self.unfinished.insert(job.id);
        }
        self.by_id.insert(job.id, job);
    }

    fn index(&mut self, job: &Job) {
        let counts = counts(job);
        let anchors = self.anchors.entry((job.repo_id, job.kind)).or_default();
        if counts && job.intent.preview_group.is_none() {
            anchors.insert(job.id);
        } else {
            anchors.remove(&job.id);
        }
        if !counts {
            self.gave_slot_back.insert(job.id);
        }
        if let Some(run_id) = job.run_id {
            self.of_run.entry(run_id).or_default().insert(job.id);
        }
        let Some(slot) = slot_of(job) else { return };
        if !self.gave_slot_back.contains(&job.id) {
            self.slots.insert(slot, job.id);
        } else if self.slots.get(&slot) == Some(&job.id) {
            self.slots.remove(&slot);
        }
    }
}

/// Whether a job started or still may.
fn counts(job: &Job) -> bool {
    match job.state {
        JobState::Superseded | JobState::Withdrawn => false,
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Warning
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Lost => true,
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
    /// What its run owes with it, whatever the end says.
    pub(super) owes: Option<PendingCause>,
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
            owes: None,
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
            JobEvent::Requeue if is_to_stop(job) => JobEvent::Finish(FinalState::Cancelled),
            other => other,
        };
        let state = transition(job.state, event)?;
        let mut job = Job { state, ..job.clone() };
        let (heard_at, owes) = (word.heard_at, word.owes);
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
            self.jobs.ended_here(job.id, heard_at);
        }
        let after = owes.map_or_else(|| RunAfter::job(job.state, job.class), RunAfter::Owes);
        self.follow(&job, after, heard_at);
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

    /// Takes the run of a job along. A success counts whatever became of the run meanwhile; any other end counts for an open run of which
    /// no other job is open, and for one that was given up with this very attempt.
    fn follow(&mut self, job: &Job, after: RunAfter, heard_at: Timestamp) {
        let Some(id) = job.run_id else { return };
        let alone = self.jobs.of_run(id).all(|other| other.id == job.id || other.state.is_final());
        let Some(run) = self.runs.get_mut(&id) else { return };
        let given_up =
            matches!(run.state, RunState::Failed | RunState::Abandoned) && run.attempt == job.attempt;
        let counts = run.state == RunState::Open && alone || given_up;
        match after {
            RunAfter::Same => {}
            RunAfter::Ends(RunState::Succeeded | RunState::Warning) if run.state.is_success() => {
                let audit = ran_twice(job.id, run, heard_at);
                self.write_audit(audit);
            }
            RunAfter::Ends(state @ (RunState::Succeeded | RunState::Warning)) => run.end(state, None),
            RunAfter::Ends(state) if counts => {
                let why = (state == RunState::Abandoned).then(|| job.message.clone()).flatten();
                run.end(state, why);
            }
            RunAfter::Owes(cause) if counts && run.state == RunState::Open => {
                run.pending = Some(Pending::unplanned(cause, heard_at));
            }
            RunAfter::Owes(_) if counts => run.end(RunState::Failed, None),
            RunAfter::Ends(_) | RunAfter::Owes(_) => {}
        }
    }

    /// A job whose slot another one has leaves its run to that one; where there is none, the run owes an attempt.
    pub(super) fn leave_to_another(&mut self, job_id: JobId, heard_at: Timestamp) {
        let Some(id) = self.jobs.get(job_id).and_then(|job| job.run_id) else { return };
        let alone = self.jobs.of_run(id).all(|job| job.state.is_final());
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.state == RunState::Open && alone) {
            run.pending = run.pending.or(Some(Pending::unplanned(PendingCause::Lost, heard_at)));
        }
    }
}

/// Whether a job that could wait again was asked to stop.
fn is_to_stop(job: &Job) -> bool {
    job.cancel_requested_at.is_some() && JobEvent::Requeue.allowed_from().contains(&job.state)
}

fn end(job: &mut Job, word: Word, class: Option<OutcomeClass>) {
    job.finished_at = Some(word.at);
    job.message = Some(word.message);
    job.class = word.class.or(class);
    job.hint = word.hint;
    job.exit_code = word.exit_code;
    job.summary = word.summary;
}
