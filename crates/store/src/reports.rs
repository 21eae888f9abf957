//! What agents report: applied once, in order, and acknowledged after the commit.

use async_trait::async_trait;
use restic_manager_core::id::{AuditId, GroupId, HostId, JobId, RepoId, SpoolId};
use restic_manager_core::model::{
    Actor, AuditEntry, FinalState, Job, JobEvent, JobSummary, LogLine, RepoStats, ResticRepoId, Run, Snapshot,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;

use crate::{Listed, MissedSlots, PageRequest, Result};

/// The most text of a job's log that is kept: 32 MiB, as UTF-8.
pub const LOG_CAP_BYTES: usize = 32 * 1024 * 1024;

/// Why a run is missed whose place a newer slot took, and what its job says.
pub(crate) const SUPERSEDED: &str = "superseded by a newer slot";
/// What a job says in whose stead the agent took the slot for itself.
pub(crate) const TAKEN_BY_AGENT: &str = "the agent did the slot by itself";

/// What is written down when a run succeeds a second time; the entry's id is made of the job's, so that a repeat is the same entry.
pub(crate) fn ran_twice(job_id: JobId, run: &Run, at: Timestamp) -> AuditEntry {
    let mut random = [0; 10];
    random.copy_from_slice(&job_id.as_bytes()[6..]);
    let detail = [
        ("run", run.id.to_string()),
        ("host", run.host_id.to_string()),
        ("repo", run.key.repo_id.to_string()),
        ("slot", run.key.slot.to_string()),
    ];
    AuditEntry {
        id: AuditId::mint(at, random),
        at,
        actor: Actor::system(),
        action: "slot.ran_twice".to_owned(),
        subject_kind: "job".to_owned(),
        subject_id: job_id.to_string(),
        detail: detail.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
    }
}

/// A job that an agent took for itself, with the run it is an attempt of: it is there already, whether anybody likes it or not.
///
/// A job with that id makes it a repeat, which changes nothing. Otherwise the run is made, or opened again unless it succeeded, and the job
/// becomes an attempt of it, with its number where that is free, else with the next; a job of the run that waits is superseded, one that
/// was thought to run is lost. Open runs of the same schedule, group and repository for older slots that are not under way are
/// missed. A run of another host, or on a repository that is gone, is left out, and so is its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// The run, for when there is none with its key.
    pub run: Run,
    /// The job.
    pub job: Job,
}

/// A run that a schedule fired, with its first job; the run's key makes repeats harmless.
///
/// Where there is a run with that key already, that one stays, and the job becomes an attempt of it: a higher one than it had opens it
/// again, any other is left out. A run of another host, or on a repository that is gone, is left out.
///
/// A new run with a job takes the place of open runs of the same schedule, group and repository for older slots that are pending or whose
/// jobs wait: those are missed, their jobs superseded. One whose job was dispatched goes on. Where there is a run for a newer slot
/// already, the new one is missed and gets no job.
#[derive(Debug, Clone, PartialEq)]
pub struct FiredRun {
    /// The run.
    pub run: Run,
    /// Its first attempt, or a later one; none for a slot that is only noted as missed.
    pub job: Option<Job>,
}

/// What a report changes, with every id and decision already made.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing but the number: the message was set aside.
    SetAside {
        /// Written to the audit log.
        audit: AuditEntry,
    },
    /// A schedule fired.
    Fire {
        /// Its runs.
        runs: Vec<FiredRun>,
        /// Slots that passed before it; counted unless all its runs were there already.
        missed: Option<Box<MissedSlots>>,
    },
    /// The agent works by this plan. An older one than it acknowledged before changes nothing.
    PlanAcked {
        /// Its version.
        schedule_version: i64,
    },
    /// The agent will not run the job.
    Refused {
        /// Which.
        job_id: JobId,
        /// Requeue, supersede, withdraw or finish as failed.
        event: JobEvent,
        /// The class, for a failure.
        class: Option<OutcomeClass>,
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Restic is about to run.
    Started {
        /// Which job.
        job_id: JobId,
        /// When, by the agent's clock.
        at: Timestamp,
        /// The run the agent took for itself with it.
        adopt: Option<Box<Adoption>>,
    },
    /// Lines of a job's log, in whatever state it is. Lines at or below the newest number that is known of are repeats.
    Log {
        /// Which job.
        job_id: JobId,
        /// The lines.
        lines: Vec<LogLine>,
    },
    /// Lines that are not kept: the log goes on behind them.
    LogGap {
        /// Which job.
        job_id: JobId,
        /// The first missing line.
        from: u64,
        /// The first line after the gap.
        to: u64,
    },
    /// What is known of a repository; absent fields change nothing, nor do a check or a sighting of locks older than the known ones.
    /// Ignored when the host is not attached to it.
    Stats {
        /// Which.
        repo_id: RepoId,
        /// Restic's own id of it. One that differs from the stored one, or is another row's, is left alone.
        restic_id: Option<ResticRepoId>,
        /// What is known.
        stats: RepoStats,
    },
    /// The host's snapshots in a repository, replacing those it listed before. What it says later counts, whatever its clock says of
    /// when they were listed. Ignored when the host is not attached to the repository.
    Snapshots {
        /// Which repository.
        repo_id: RepoId,
        /// When they were listed, by the agent's clock.
        listed_at: Timestamp,
        /// How many there are.
        total: u64,
        /// The newest of them.
        snapshots: Vec<Snapshot>,
    },
    /// The job is over. Its run follows it (see [`restic_manager_core::model::RunState`]), and so does what is known of the repository:
    /// what a check found, with the hold of the prune that this sets or lifts; when a prune succeeded and what it left; the locks in
    /// the way, none after a job that ran alone; and, after class `append_only`, that the everyday credential may not delete.
    Finished {
        /// Which.
        job_id: JobId,
        /// When, by the agent's clock.
        at: Timestamp,
        /// How.
        state: FinalState,
        /// In which class.
        class: OutcomeClass,
        /// Restic's exit code.
        exit_code: Option<i32>,
        /// In one sentence.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What it produced.
        summary: Box<JobSummary>,
        /// The run the agent took for itself with it.
        adopt: Option<Box<Adoption>>,
    },
}

/// An effect with the number of the message it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedEffect {
    /// The number.
    pub seq: u64,
    /// The effect.
    pub effect: Effect,
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Applied.
    Done,
    /// Its number was applied before: nothing changed.
    Repeat,
    /// It came too late or makes no sense where the job stands: nothing but the number changed.
    Ignored(String),
}

/// Part of a job's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSlice {
    /// Lines in order; numbers that are not there are not kept.
    pub lines: Vec<LogLine>,
    /// Whether there are lines behind these.
    pub more: bool,
}

/// Which snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// In this repository.
    pub repo_id: Option<RepoId>,
    /// With the tag of this group.
    pub group_id: Option<GroupId>,
}

/// A snapshot with the repository it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The repository.
    pub repo_id: RepoId,
    /// The host's source group whose tag it carries, by the groups there are when it is read.
    pub group_id: Option<GroupId>,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// When a host listed its snapshots in a repository, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotList {
    /// The repository.
    pub repo_id: RepoId,
    /// When, by the agent's clock.
    pub listed_at: Timestamp,
    /// How many there were; more than are kept here when the list was longer than a report carries.
    pub total: u64,
}

/// What agents report.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Applies messages of a host in order, in one transaction, and remembers the newest number. Numbers at or below the
    /// one remembered for `(host, spool)` are repeats. An effect on a job of another host, or on one that is not there, is ignored, and
    /// the reason names the job.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] when there is no such host; then nothing is applied.
    async fn apply(
        &self,
        host_id: HostId,
        spool_id: SpoolId,
        effects: Vec<NumberedEffect>,
        now: Timestamp,
    ) -> Result<Vec<Applied>>;

    /// Lines of a job's log from number `from` on, at most about `max_lines` (whole chunks).
    ///
    /// A job keeps at most [`LOG_CAP_BYTES`] of text: its head and its tail, with the middle given up.
    async fn log(&self, job_id: JobId, from: u64, max_lines: u32) -> Result<LogSlice>;
    /// Forgets the logs of jobs that are over and whose end the server learned before an instant, by its own clock: what an agent's
    /// clock says ages nothing. Answers how many jobs lost theirs; reading one then is an empty slice.
    async fn forget_logs(&self, ended_before: Timestamp) -> Result<u64>;

    /// Snapshots of a host, newest first by `time`.
    async fn snapshots(
        &self,
        host_id: HostId,
        filter: &SnapshotFilter,
        page: PageRequest,
    ) -> Result<Listed<SnapshotRow>>;
    /// The lists behind those snapshots, one for each repository that was listed, by repository.
    async fn snapshot_lists(&self, host_id: HostId) -> Result<Vec<SnapshotList>>;
}
