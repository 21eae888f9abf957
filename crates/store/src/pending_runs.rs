//! Pending runs: open runs that owe an attempt.

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, RepoId, RunId, ScheduleId};
use restic_manager_core::model::{AuditEntry, Job, Pending as Owed, Run};
use restic_manager_core::pending::{Plan, Retry, Target};
use restic_manager_core::time::Timestamp;

use crate::{Listed, PageRequest, Result};

/// A run that owes an attempt, with all that is looked at when it is decided about.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingRow {
    /// The run, open.
    pub run: Run,
    /// What it owes: `run.pending`.
    pub owed: Owed,
    /// Where its schedule stands.
    pub schedule: Plan,
    /// How its group tries again; none when the group is gone.
    pub retry: Option<Retry>,
    /// Whether its host may still use its repository.
    pub target: Target,
    /// The names around it, as they are, or were when their owners were deleted.
    pub names: RunNames,
    /// Its newest job.
    pub last_job: Option<JobId>,
    /// How that ended, in one sentence.
    pub last_message: Option<String>,
}

/// The names around a run; empty where nobody remembers one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunNames {
    /// The host's.
    pub host: String,
    /// The repository's.
    pub repo: String,
    /// The source group's.
    pub group: String,
    /// The schedule's.
    pub schedule: String,
}

/// Which pending runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingOf {
    /// All there are.
    Fleet,
    /// Those of a host.
    Host(HostId),
    /// Those on a repository.
    Repo(RepoId),
}

/// What shall become of a pending run, bound to the state in which it was decided about.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Which.
    pub run_id: RunId,
    /// What it owed when it was read: with anything else it is left alone.
    pub owed: Owed,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// What becomes of a pending run.
#[derive(Debug, Clone, PartialEq)]
pub enum Becomes {
    /// It gets this job, as its next attempt whatever number the job carries, and owes nothing for the time being.
    Attempted(Box<Job>),
    /// Its attempt is due at this instant.
    Planned(Timestamp),
    /// There will be no further attempt.
    Abandoned {
        /// Why.
        why: String,
        /// Written with it.
        audit: AuditEntry,
    },
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done as asked for.
    Done,
    /// Somebody else settled it meanwhile, or its end became known: nothing changed.
    Stale,
}

/// Slots of a schedule that passed without a run.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedSlots {
    /// Which schedule.
    pub schedule_id: ScheduleId,
    /// How many.
    pub count: u64,
    /// The slot that ran in their stead.
    pub until: Timestamp,
    /// Written with it.
    pub audit: AuditEntry,
}

/// Pending runs.
///
/// A run becomes one by [`restic_manager_core::model::RunAfter`] when its last open job ends, or by [`crate::Work::put_off`].
#[async_trait]
pub trait PendingRuns: Send + Sync {
    /// Pending runs whose time has come by `now`, the longest due first, at most `most`: those of the hosts named, and those of any
    /// host whose schedule or group is gone or switched off.
    async fn pending_due(&self, online: &[HostId], now: Timestamp, most: u32) -> Result<Vec<PendingRow>>;
    /// All pending runs of these hosts, the longest due first.
    async fn pending_of_hosts(&self, host_ids: &[HostId]) -> Result<Vec<PendingRow>>;
    /// A pending run; none when there is no such run or it owes nothing.
    async fn pending_run(&self, id: RunId) -> Result<Option<PendingRow>>;
    /// Pending runs, newest first by id.
    async fn pending_runs(&self, of: PendingOf, page: PageRequest) -> Result<Listed<PendingRow>>;
    /// How many pending runs there are.
    async fn count_pending(&self) -> Result<u64>;
    /// Settles pending runs in one transaction; what became of each, in order. Of several that settle one run at the same time one wins.
    async fn settle(&self, settlements: Vec<Settlement>, now: Timestamp) -> Result<Vec<Settled>>;
}
