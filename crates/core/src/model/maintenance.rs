//! What maintenance found and did.

use serde::{Deserialize, Serialize};

use crate::id::GroupId;
use crate::restic::OutcomeClass;
use crate::text::{ResticHost, Tag};
use crate::time::Timestamp;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckStatus {
    /// Nothing wrong in what it looked at.
    Ok,
    /// Damage.
    ErrorsFound,
    /// It could not look: the repository was locked.
    Locked,
    /// It could not look, for another reason.
    Failed,
}

impl CheckStatus {
    /// Its name in SQL, wire and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ErrorsFound => "errors_found",
            Self::Locked => "locked",
            Self::Failed => "failed",
        }
    }

    /// The status with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::ErrorsFound, Self::Locked, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// What a forget did with the snapshots of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForgetResult {
    /// Which group.
    pub group_id: GroupId,
    /// The restic host its snapshots carry.
    pub restic_host: ResticHost,
    /// The tag they carry.
    pub tag: Tag,
    /// How its restic call ended; `ok` only when what restic meant to remove is really gone.
    pub class: OutcomeClass,
    /// The same in one sentence.
    pub message: String,
    /// How many snapshots restic meant to remove.
    pub planned: u64,
    /// How many are really gone, known by listing again; 0 for a preview.
    pub removed: u64,
    /// How many are left.
    pub kept: u64,
    /// For a preview: what is said of each snapshot, newest first, at most 2,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<SnapshotDecision>,
}

/// What a policy says of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotDecision {
    /// The full id.
    pub snapshot_id: String,
    /// When it was made.
    pub time: Timestamp,
    /// Why it stays, in restic's words, such as `daily snapshot`; empty means that it goes.
    pub keeps: Vec<String>,
}

/// What a prune did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PruneResult {
    /// Bytes it removed.
    pub removed_bytes: Option<u64>,
    /// Bytes that are left in the repository.
    pub remaining_bytes: Option<u64>,
}

/// A lock as `restic cat lock` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenLock {
    /// Its id; a refresh every five minutes gives it a new one.
    pub id: String,
    /// The machine, by the name its operating system goes by.
    pub hostname: String,
    /// Who.
    pub username: String,
    /// The process there.
    pub pid: u64,
    /// Whether it excludes all others.
    pub exclusive: bool,
    /// When it was made or last refreshed, by that machine's clock.
    pub time: Timestamp,
    /// What the agent that saw it knows of its process.
    pub owner: LockOwner,
}

/// What an agent knows of the process behind a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LockOwner {
    /// A run of this agent that is known to be over: the lock is stale.
    EndedRun,
    /// A run of this agent that goes on.
    LiveRun,
    /// Not a run of this agent.
    Unknown,
}
