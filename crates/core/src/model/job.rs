//! Jobs: one attempt of a run, or one operation asked for.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, JobId, RepoId, RunId};
use crate::model::{Actor, CheckStatus, ForgetResult, JobState, PruneResult, SeenLock};
use crate::restic::OutcomeClass;
use crate::time::Timestamp;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobKind {
    /// Backs up one source group.
    Backup,
    /// Makes the repository, or adopts the one that is there.
    Init,
    /// Forgets snapshots by policy.
    Forget,
    /// Removes data that no snapshot needs.
    Prune,
    /// Verifies the repository.
    Check,
    /// Removes stale locks.
    Unlock,
    /// Measures the repository and lists snapshots.
    Stats,
    /// Restores files.
    Restore,
    /// Compares two snapshots.
    Diff,
}

/// How a job uses its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Overlaps with other shared jobs.
    Shared,
    /// Runs alone.
    Exclusive,
    /// Takes no lock at all.
    None,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Backup,
        Self::Init,
        Self::Forget,
        Self::Prune,
        Self::Check,
        Self::Unlock,
        Self::Stats,
        Self::Restore,
        Self::Diff,
    ];

    /// Its name in SQL, wire, JSON and CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Init => "init",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Unlock => "unlock",
            Self::Stats => "stats",
            Self::Restore => "restore",
            Self::Diff => "diff",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The lock restic takes (tried on 0.14.0, 0.18.0 and 0.19.1: `init` and `unlock` take none).
    pub const fn lock_mode(self) -> LockMode {
        match self {
            Self::Backup | Self::Stats | Self::Restore | Self::Diff => LockMode::Shared,
            Self::Forget | Self::Prune | Self::Check => LockMode::Exclusive,
            Self::Init | Self::Unlock => LockMode::None,
        }
    }
}

/// One attempt of a run, or one operation asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// The host that runs it.
    pub host_id: HostId,
    /// The repository it works on.
    pub repo_id: RepoId,
    /// The group of a backup.
    pub group_id: Option<GroupId>,
    /// The run it is an attempt of.
    pub run_id: Option<RunId>,
    /// The slot of its run or maintenance.
    pub slot: Option<Timestamp>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Who asked for it.
    pub actor: Actor,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was sent to the agent.
    pub dispatched_at: Option<Timestamp>,
    /// When restic started, by the agent's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the agent's clock; by the server's where the agent never had it.
    pub finished_at: Option<Timestamp>,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<Timestamp>,
    /// How it ended, in classes that can be acted on.
    pub class: Option<OutcomeClass>,
    /// Restic's exit code, where there is one.
    pub exit_code: Option<i32>,
    /// How it ended, in one sentence.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What it produced.
    pub summary: Option<JobSummary>,
    /// What its asker wanted beyond its kind.
    #[serde(default, skip_serializing_if = "JobIntent::is_plain")]
    pub intent: JobIntent,
}

impl Job {
    /// A job that was just asked for: the first attempt, of no run, in the queue.
    pub fn queued(
        id: JobId,
        kind: JobKind,
        host_id: HostId,
        repo_id: RepoId,
        actor: Actor,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            state: JobState::Queued,
            host_id,
            repo_id,
            group_id: None,
            run_id: None,
            slot: None,
            attempt: 1,
            actor,
            created_at,
            dispatched_at: None,
            started_at: None,
            finished_at: None,
            cancel_requested_at: None,
            class: None,
            exit_code: None,
            message: None,
            hint: None,
            summary: None,
            intent: JobIntent::default(),
        }
    }
}

/// What the asker of a job wanted beyond its kind. A job stores intent; its payload is made when it is dispatched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobIntent {
    /// For a forget: only say what would go of this group. Such a job is no forget as far as the cadence is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_group: Option<GroupId>,
    /// For a check: how much of the data it reads, in place of the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset_pct: Option<u8>,
    /// For an unlock: which locks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlock: Option<UnlockScope>,
}

impl JobIntent {
    /// Whether nothing beyond the kind is wanted.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Which locks an unlock removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UnlockScope {
    /// Those restic itself calls stale.
    Stale,
    /// Stale ones, but only when every lock that is there belongs to a run of this host that is known to be over.
    Attested,
    /// All, live ones included.
    All,
}

/// What a job produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobSummary {
    /// The full id of the snapshot a backup made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Files that were not in the parent snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_new: Option<u64>,
    /// Files that changed since the parent snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_changed: Option<u64>,
    /// Files that did not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_unmodified: Option<u64>,
    /// Bytes added to the repository, before compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_added: Option<u64>,
    /// Bytes added to the repository as stored (restic 0.16 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_stored: Option<u64>,
    /// Files that restic looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_processed: Option<u64>,
    /// Bytes that restic looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_processed: Option<u64>,
    /// Items that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_items: Option<u64>,
    /// Included paths that were not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_paths: Vec<String>,
    /// Seconds from the start of restic to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Whether `init` found a repository that was already there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<bool>,
    /// What a check found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckStatus>,
    /// How much of the data a check read, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_subset_pct: Option<u8>,
    /// What a forget did, group by group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<ForgetResult>,
    /// What a prune did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneResult>,
    /// The locks that were in the way, or that an unlock found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<SeenLock>,
    /// How many locks were removed, counted by listing before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks_removed: Option<u64>,
}
