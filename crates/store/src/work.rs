//! Runs and jobs: asked for, admitted, dispatched, ended.

use async_trait::async_trait;
use restic_manager_core::admission::OpenBreakers;
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId, SpoolId};
use restic_manager_core::model::{
    Attachment, AuditEntry, Host, HostFacts, Job, JobEvent, JobKind, JobState, Repo, Run, SourceGroup,
};
use restic_manager_core::time::Timestamp;

use crate::{Adoption, Listed, MaintenanceView, PageRequest, Result};

/// What became of a job that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It waits.
    Created(Job),
    /// There is one like it that is not final: same kind, host, repository, group and preview; or one of maintenance that was made for
    /// the same slot and attempt.
    Existing(Job),
    /// The host, the repository or the group is gone, or the group is another host's.
    NotFound,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this host.
    pub host_id: Option<HostId>,
    /// On this repository.
    pub repo_id: Option<RepoId>,
    /// Of this group.
    pub group_id: Option<GroupId>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In one of these states; empty means any.
    pub states: Vec<JobState>,
    /// Asked for at or after this instant.
    pub since: Option<Timestamp>,
    /// Asked for before this instant.
    pub before: Option<Timestamp>,
}

/// A job with the names around it, as they are, or were when their owners were deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The job.
    pub job: Job,
    /// The host's name.
    pub host_name: String,
    /// The repository's name.
    pub repo_name: String,
    /// The group's name.
    pub group_name: Option<String>,
}

/// A job that waits, with the revisions its dispatch is bound to.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedJob {
    /// The job.
    pub job: Job,
    /// The host's revision when it was read.
    pub host_revision: i64,
    /// The repository's revision when it was read.
    pub repo_revision: i64,
}

/// All that admission looks at, read at one moment. Its size grows with the work there is, not with the fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdmissionView {
    /// Jobs that wait, oldest first (by `created_at`, then id).
    pub queued: Vec<QueuedJob>,
    /// Jobs that are dispatched or running, by id.
    pub occupying: Vec<Job>,
    /// Repositories that at least [`restic_manager_core::admission::BREAKER_HOSTS`] hosts could not reach since the last time that
    /// anybody did.
    pub breakers: OpenBreakers,
}

/// The wish to dispatch a job, as it was decided on a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchIntent {
    /// Which job.
    pub job_id: JobId,
    /// The revision of its host in the view.
    pub host_revision: i64,
    /// The revision of its repository in the view.
    pub repo_revision: i64,
}

/// What the payload of a dispatched job is made of: the rows as they are in the dispatching commit.
#[derive(Debug, Clone, PartialEq)]
pub struct DispatchRow {
    /// The job, dispatched.
    pub job: Job,
    /// Its run.
    pub run: Option<Run>,
    /// Its host.
    pub host: Host,
    /// Its repository.
    pub repo: Repo,
    /// How they are tied.
    pub attachment: Attachment,
    /// The group of a backup.
    pub group: Option<SourceGroup>,
    /// For forget, prune, check and unlock: all that their payloads are made of.
    pub maintenance: Option<Box<MaintenanceView>>,
}

/// What became of the wish to dispatch a job.
#[derive(Debug, Clone, PartialEq)]
pub enum DispatchOutcome {
    /// It is dispatched; the revisions of its host and repository were raised.
    Dispatched(Box<DispatchRow>),
    /// A revision is not the one that was read: look again.
    Stale,
    /// What it needs is gone: it was withdrawn, and its run abandoned. What it needs is its attachment and its group; a forget also
    /// a group with a policy (a preview, its group's), and the admin credential where the everyday one may not delete; a prune the
    /// admin credential and no errors of a check; each of these and a check, previews aside, a runner that is still this host, and,
    /// when the system asked for it, a cadence that is still enabled.
    Withdrawn(JobId),
    /// It no longer waits.
    NotQueued,
}

/// What became of a move of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobMove {
    /// It moved; the revisions of its host and repository were raised.
    Moved(JobState),
    /// It stands where that move is not possible; nothing changed.
    Refused(JobState),
    /// There is no such job.
    NotFound,
}

/// What became of the wish to cancel a job.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelOutcome {
    /// It waited; now it is cancelled.
    Cancelled,
    /// Its agent has it and is to be told; the wish is stored and delivered again at hello. The job is as it stands.
    Requested(Box<Job>),
    /// It was over already.
    AlreadyFinal(JobState),
    /// There is no such job.
    NotFound,
}

/// A hello, as far as the store is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct TakeSession {
    /// Which host.
    pub host_id: HostId,
    /// What its agent says of the machine.
    pub facts: HostFacts,
    /// The life of its spool.
    pub spool_id: SpoolId,
    /// The version of the plan it works by.
    pub schedule_version: i64,
    /// The jobs it runs or whose end it still holds: all others it does not know.
    pub known_jobs: Vec<JobId>,
    /// The slots it claims with them, for what it took for itself.
    pub claims: Vec<Adoption>,
    /// The server's time.
    pub now: Timestamp,
}

/// A session that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenSession {
    /// Its number, higher than any before on this host.
    pub epoch: i64,
    /// The newest reliable message of that spool that is applied; 0 for a spool not seen before.
    pub committed_seq: u64,
    /// The host, with the facts just stored.
    pub host: Host,
    /// Jobs that were running and that the agent does not know: lost now, their runs owe an attempt. By id, as the lists below.
    pub lost: Vec<JobId>,
    /// Jobs that were dispatched and never reached it: they wait again. One that somebody asked to cancel is cancelled instead and
    /// not listed.
    pub requeued: Vec<JobId>,
    /// Jobs of this host, known to the agent, that somebody asked to cancel.
    pub cancel: Vec<JobId>,
}

/// The fleet in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Enrolled hosts.
    pub hosts: u64,
    /// Repositories.
    pub repos: u64,
    /// Jobs dispatched or running.
    pub jobs_running: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Jobs that failed or were lost and ended at or after the given instant.
    pub jobs_failed: u64,
}

/// Runs and jobs.
///
/// Every move of a job follows [`restic_manager_core::model::transition`] and raises the revisions of its host and its repository. A
/// job that ends takes its run along when that is open, or was given up with this very attempt: to
/// [`restic_manager_core::model::RunAfter`], with the job's message as the reason where the run is abandoned; a success counts whatever
/// became of the run meanwhile, any other end only where no other job of the run is open. A second success of a run is kept and audited
/// as `slot.ran_twice`. A job that is to wait again loses its `dispatched_at`; one that somebody asked to cancel is
/// cancelled instead.
#[async_trait]
pub trait Work: Send + Sync {
    /// Asks for a job, unless one like it is not final yet and nobody asked to stop that; of several at once one is made and the others are told of it. The audit row
    /// is written only for a new one.
    async fn enqueue(&self, job: Job, audit: AuditEntry) -> Result<Enqueued>;
    /// What admission looks at.
    async fn admission_view(&self) -> Result<AdmissionView>;
    /// Dispatches jobs at the revisions that were read, each with its outcome in the order given. The intents of one call come
    /// from one view: several on one repository or host are compared with the same revision. Whether it still waits is looked at first,
    /// then the revisions, then what it needs. A job that is named twice is dispatched once.
    async fn dispatch(&self, intents: &[DispatchIntent], now: Timestamp) -> Result<Vec<DispatchOutcome>>;
    /// Moves a job by an event that comes from the server itself (requeue, withdraw, lose), guarded by the table of states. One that is
    /// over then has ended at `now` with this message; one that waits again keeps no message.
    async fn move_job(
        &self,
        id: JobId,
        event: JobEvent,
        message: &str,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> Result<JobMove>;
    /// Takes back a job that could not be sent: one of a run is withdrawn, and the run owes an attempt since `now`; any other waits again.
    async fn put_off(&self, id: JobId, message: &str, now: Timestamp) -> Result<JobMove>;
    /// Asks to cancel a job. Asking twice keeps the first time and writes no second audit row.
    async fn request_cancel(&self, id: JobId, now: Timestamp, audit: AuditEntry) -> Result<CancelOutcome>;
    /// Jobs that were dispatched before an instant and that their agents have not answered for (state dispatched), by id.
    async fn unanswered(&self, dispatched_before: Timestamp) -> Result<Vec<DispatchRow>>;
    /// Withdraws users' jobs without a run that were asked for before an instant and still wait; answers their ids, in order.
    async fn withdraw_stale(&self, created_before: Timestamp, now: Timestamp) -> Result<Vec<JobId>>;

    /// Takes a session: stores the facts, the plan version the agent works by (which may be lower than what it once acknowledged) and
    /// `now` as the last sign of life, adopts what the agent took for itself, and then judges the host's jobs that the agent does not know. Jobs that wait are left alone.
    /// None when there is no such host.
    async fn take_session(&self, take: TakeSession) -> Result<Option<TakenSession>>;

    /// A job.
    async fn job(&self, id: JobId) -> Result<Option<JobRow>>;
    /// Jobs, newest first by id.
    async fn jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Listed<JobRow>>;
    /// The newest backup job (by id) of each of these hosts that has one, in whatever state but superseded and withdrawn; in the order
    /// of `host_ids`.
    async fn last_backups(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>>;
    /// A run.
    async fn run(&self, id: RunId) -> Result<Option<Run>>;
    /// The fleet in numbers.
    async fn counts(&self, failed_since: Timestamp) -> Result<FleetCounts>;
}
