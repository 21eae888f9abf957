//! Runs: one slot of a schedule, whatever number of attempts it takes.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, RepoId, RunId, ScheduleId};
use crate::model::JobState;
use crate::time::Timestamp;

/// The idempotency key of a scheduled run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunKey {
    /// The schedule that fired.
    pub schedule_id: ScheduleId,
    /// The group to back up.
    pub group_id: GroupId,
    /// The repository to back up to.
    pub repo_id: RepoId,
    /// The firing time.
    pub slot: Timestamp,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunState {
    /// A job of it is not final, or it owes an attempt.
    Open,
    /// One of its jobs succeeded.
    Succeeded,
    /// One of its jobs made a snapshot with unreadable items.
    Warning,
    /// Its last job failed in a way that no retry mends.
    Failed,
    /// It never ran; `why` says so.
    Missed,
    /// Its attempts are used up, or its schedule or group is gone; `why` says so.
    Abandoned,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Succeeded, Self::Warning, Self::Failed, Self::Missed, Self::Abandoned];

    /// Its name in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Abandoned => "abandoned",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl RunState {
    /// Where a run stands after one of its jobs ended like this; none while that job goes on or waits again.
    ///
    /// A job that was superseded leaves its run to the job that did the slot.
    pub const fn after(job: JobState) -> Option<Self> {
        match job {
            JobState::Queued | JobState::Dispatched | JobState::Running | JobState::Superseded => None,
            JobState::Succeeded => Some(Self::Succeeded),
            JobState::Warning => Some(Self::Warning),
            JobState::Failed | JobState::Lost | JobState::Cancelled => Some(Self::Failed),
            JobState::Withdrawn => Some(Self::Abandoned),
        }
    }
}

/// One source group of one schedule to one repository at one slot, whatever number of attempts it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// Its key, unique.
    pub key: RunKey,
    /// The host it runs on.
    pub host_id: HostId,
    /// Where it stands.
    pub state: RunState,
    /// The number of its newest attempt, from 1.
    pub attempt: u32,
    /// When the next attempt is owed; set only while it is a pending run.
    pub next_attempt_at: Option<Timestamp>,
    /// Why it was missed, abandoned or is pending.
    pub why: Option<String>,
    /// When the server first knew of it.
    pub created_at: Timestamp,
}
