//! Runs: one slot of a schedule, whatever number of attempts it takes.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, RepoId, RunId, ScheduleId};
use crate::model::JobState;
use crate::restic::OutcomeClass;
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
    /// Whether one of its jobs made a snapshot.
    pub const fn is_success(self) -> bool {
        match self {
            Self::Succeeded | Self::Warning => true,
            Self::Open | Self::Failed | Self::Missed | Self::Abandoned => false,
        }
    }
}

/// Why an open run owes an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PendingCause {
    /// Its job could not be sent to the agent.
    DispatchFailed,
    /// Its job was lost: the agent died or its host was switched off, and nobody can say how it ended.
    Lost,
    /// Its job failed in a way that may mend itself: the repository locked or out of reach, restic killed.
    Retryable,
}

impl PendingCause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::DispatchFailed, Self::Lost, Self::Retryable];

    /// Its name in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DispatchFailed => "dispatch_failed",
            Self::Lost => "lost",
            Self::Retryable => "retryable",
        }
    }

    /// The cause with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// The cause in words, about the job before.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::DispatchFailed => "the last attempt could not be sent to the agent",
            Self::Lost => "the last attempt was lost with its agent",
            Self::Retryable => "the last attempt failed in a way that may mend itself",
        }
    }
}

/// What makes an open run a pending one: it owes an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pending {
    /// Why.
    pub cause: PendingCause,
    /// Since when, by the server's clock.
    pub since: Timestamp,
    /// When the attempt is due. As long as it is `since` itself nobody has planned it yet; a planned one is later.
    pub next_attempt_at: Timestamp,
}

impl Pending {
    /// An attempt that is owed and not planned yet: it is looked at as soon as anybody looks.
    pub const fn unplanned(cause: PendingCause, since: Timestamp) -> Self {
        Self { cause, since, next_attempt_at: since }
    }

    /// When the attempt was planned for; none while nobody planned it.
    pub fn planned_at(&self) -> Option<Timestamp> {
        (self.next_attempt_at > self.since).then_some(self.next_attempt_at)
    }
}

/// What the end of a job means for the run it was an attempt of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAfter {
    /// Nothing: the job goes on or waits again, or another job did the slot.
    Same,
    /// It ends with its job.
    Ends(RunState),
    /// It stays open and owes an attempt.
    Owes(PendingCause),
}

impl RunAfter {
    /// What a job in this state, ended in this class, means for its run.
    ///
    /// A lost job and one that failed in a retryable class owe another attempt, whatever the settings say: whether there is one is
    /// decided by [`crate::pending::decide`]. A job that was superseded leaves its run to the job that did the slot.
    pub fn job(state: JobState, class: Option<OutcomeClass>) -> Self {
        match state {
            JobState::Queued | JobState::Dispatched | JobState::Running | JobState::Superseded => Self::Same,
            JobState::Succeeded => Self::Ends(RunState::Succeeded),
            JobState::Warning => Self::Ends(RunState::Warning),
            JobState::Lost => Self::Owes(PendingCause::Lost),
            JobState::Failed if class.is_some_and(OutcomeClass::is_retryable) => {
                Self::Owes(PendingCause::Retryable)
            }
            JobState::Failed | JobState::Cancelled => Self::Ends(RunState::Failed),
            JobState::Withdrawn => Self::Ends(RunState::Abandoned),
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
    /// The attempt it owes; set only while it is open, and then it is a pending run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Why it was missed, abandoned or is pending.
    pub why: Option<String>,
    /// When the server first knew of it.
    pub created_at: Timestamp,
}

impl Run {
    /// Ends it: it owes nothing from here on.
    pub fn end(&mut self, state: RunState, why: Option<String>) {
        (self.state, self.why, self.pending) = (state, why, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_run_that_ended_owes_nothing_and_says_why() {
        let mut run = Run {
            id: RunId::mint(NOW, [1; 10]),
            key: RunKey {
                schedule_id: ScheduleId::mint(NOW, [2; 10]),
                group_id: GroupId::mint(NOW, [3; 10]),
                repo_id: RepoId::mint(NOW, [4; 10]),
                slot: NOW,
            },
            host_id: HostId::mint(NOW, [5; 10]),
            state: RunState::Open,
            attempt: 2,
            pending: Some(Pending::unplanned(PendingCause::Lost, NOW)),
            why: Some("the last attempt was lost".to_owned()),
            created_at: NOW,
        };
        let open = run.clone();
        run.end(RunState::Abandoned, Some("its schedule is disabled".to_owned()));
        let why = Some("its schedule is disabled".to_owned());
        assert_eq!(run, Run { state: RunState::Abandoned, pending: None, why, ..open.clone() });
        run.end(RunState::Succeeded, None);
        assert_eq!(run, Run { state: RunState::Succeeded, pending: None, why: None, ..open });
    }
}
