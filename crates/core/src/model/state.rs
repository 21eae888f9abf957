//! The one table of the states of a job.

use serde::{Deserialize, Serialize};

use crate::restic::OutcomeClass;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobState {
    /// Waits for admission or for its host.
    Queued,
    /// Sent to the agent, which has not answered yet.
    Dispatched,
    /// The agent says that restic runs.
    Running,
    /// Restic said so, and a backup has a snapshot id.
    Succeeded,
    /// The snapshot exists, but items could not be read.
    Warning,
    /// It did not do what was asked; `class` says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// The agent no longer knows of it: nobody can say how it ended.
    Lost,
    /// The agent already did that slot.
    Superseded,
    /// It never started: the host left, or the world changed meanwhile.
    Withdrawn,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Dispatched,
        Self::Running,
        Self::Succeeded,
        Self::Warning,
        Self::Failed,
        Self::Cancelled,
        Self::Lost,
        Self::Superseded,
        Self::Withdrawn,
    ];

    /// Its name in SQL, wire, JSON and CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it is over. What was only presumed (lost, withdrawn) may still be corrected by what the agent says.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Dispatched | Self::Running => false,
            Self::Succeeded
            | Self::Warning
            | Self::Failed
            | Self::Cancelled
            | Self::Lost
            | Self::Superseded
            | Self::Withdrawn => true,
        }
    }

    /// Whether it takes a place on its host and its repository.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Dispatched | Self::Running)
    }
}

/// How the agent says a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FinalState {
    /// Restic said so, and a backup has a snapshot id.
    Succeeded,
    /// The snapshot exists, but items could not be read.
    Warning,
    /// It did not do what was asked.
    Failed,
    /// It was stopped on request.
    Cancelled,
}

/// What a job is that ended so.
impl From<OutcomeClass> for FinalState {
    fn from(class: OutcomeClass) -> Self {
        match class {
            OutcomeClass::Ok => Self::Succeeded,
            OutcomeClass::Partial => Self::Warning,
            OutcomeClass::Cancelled => Self::Cancelled,
            OutcomeClass::Locked
            | OutcomeClass::Unreachable
            | OutcomeClass::NoRepository
            | OutcomeClass::WrongPassword
            | OutcomeClass::AppendOnly
            | OutcomeClass::NoSpace
            | OutcomeClass::SourceMissing
            | OutcomeClass::ResticMissing
            | OutcomeClass::Killed
            | OutcomeClass::Unknown => Self::Failed,
        }
    }
}

impl From<FinalState> for JobState {
    fn from(state: FinalState) -> Self {
        match state {
            FinalState::Succeeded => Self::Succeeded,
            FinalState::Warning => Self::Warning,
            FinalState::Failed => Self::Failed,
            FinalState::Cancelled => Self::Cancelled,
        }
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// The dispatching commit.
    Dispatch,
    /// The agent said that it started.
    Start,
    /// The agent cannot take it at present; it waits again.
    Requeue,
    /// The agent said how it ended.
    Finish(FinalState),
    /// The agent already did that slot.
    Supersede,
    /// It will not be started.
    Withdraw,
    /// It was cancelled before the agent had it.
    CancelQueued,
    /// The agent no longer knows of it.
    Lose,
}

impl JobEvent {
    /// The states in which this can happen; the store's guards (`... and state in (...)`) are made from it.
    pub const fn allowed_from(self) -> &'static [JobState] {
        match self {
            Self::Dispatch | Self::CancelQueued => &[JobState::Queued],
            Self::Requeue => &[JobState::Dispatched],
            // A job that was put back in the queue may have reached its agent all the same.
            Self::Start => &[JobState::Queued, JobState::Dispatched],
            // Evidence beats presumption: a job that was given up is over as its agent says, whenever it says so.
            Self::Finish(_) => &[
                JobState::Queued,
                JobState::Dispatched,
                JobState::Running,
                JobState::Lost,
                JobState::Withdrawn,
            ],
            Self::Lose => &[JobState::Dispatched, JobState::Running],
            Self::Supersede | Self::Withdraw => &[JobState::Queued, JobState::Dispatched],
        }
    }

    /// The state that follows.
    pub const fn leads_to(self) -> JobState {
        match self {
            Self::Dispatch => JobState::Dispatched,
            Self::Start => JobState::Running,
            Self::Requeue => JobState::Queued,
            Self::Finish(FinalState::Succeeded) => JobState::Succeeded,
            Self::Finish(FinalState::Warning) => JobState::Warning,
            Self::Finish(FinalState::Failed) => JobState::Failed,
            Self::Finish(FinalState::Cancelled) | Self::CancelQueued => JobState::Cancelled,
            Self::Supersede => JobState::Superseded,
            Self::Withdraw => JobState::Withdrawn,
            Self::Lose => JobState::Lost,
        }
    }
}

/// An event that cannot happen in a state: a late or double report, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot become {}", from.as_str(), to.as_str())]
pub struct IllegalMove {
    /// Where the job stands.
    pub from: JobState,
    /// Where the event would have led.
    pub to: JobState,
}

/// The state after `event`.
///
/// # Errors
///
/// [`IllegalMove`] when the event cannot happen in this state; the job stays as it is.
pub fn transition(state: JobState, event: JobEvent) -> Result<JobState, IllegalMove> {
    let to = event.leads_to();
    if event.allowed_from().contains(&state) { Ok(to) } else { Err(IllegalMove { from: state, to }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobKind;

    /// The moves of RULES, written down apart from the code.
    const LEGAL: &[(JobState, JobState)] = &[
        (JobState::Queued, JobState::Dispatched),
        (JobState::Queued, JobState::Cancelled),
        (JobState::Queued, JobState::Superseded),
        (JobState::Queued, JobState::Withdrawn),
        (JobState::Queued, JobState::Running),
        (JobState::Queued, JobState::Succeeded),
        (JobState::Queued, JobState::Warning),
        (JobState::Queued, JobState::Failed),
        (JobState::Lost, JobState::Succeeded),
        (JobState::Lost, JobState::Warning),
        (JobState::Lost, JobState::Failed),
        (JobState::Lost, JobState::Cancelled),
        (JobState::Withdrawn, JobState::Succeeded),
        (JobState::Withdrawn, JobState::Warning),
        (JobState::Withdrawn, JobState::Failed),
        (JobState::Withdrawn, JobState::Cancelled),
        (JobState::Dispatched, JobState::Queued),
        (JobState::Dispatched, JobState::Running),
        (JobState::Dispatched, JobState::Succeeded),
        (JobState::Dispatched, JobState::Warning),
        (JobState::Dispatched, JobState::Failed),
        (JobState::Dispatched, JobState::Cancelled),
        (JobState::Dispatched, JobState::Lost),
        (JobState::Dispatched, JobState::Superseded),
        (JobState::Dispatched, JobState::Withdrawn),
        (JobState::Running, JobState::Succeeded),
        (JobState::Running, JobState::Warning),
        (JobState::Running, JobState::Failed),
        (JobState::Running, JobState::Cancelled),
        (JobState::Running, JobState::Lost),
    ];

    const EVENTS: [JobEvent; 11] = [
        JobEvent::Dispatch,
        JobEvent::Start,
        JobEvent::Requeue,
        JobEvent::Finish(FinalState::Succeeded),
        JobEvent::Finish(FinalState::Warning),
        JobEvent::Finish(FinalState::Failed),
        JobEvent::Finish(FinalState::Cancelled),
        JobEvent::Supersede,
        JobEvent::Withdraw,
        JobEvent::CancelQueued,
        JobEvent::Lose,
    ];

    #[test]
    fn the_table_allows_exactly_the_written_moves() {
        let mut reached = std::collections::BTreeSet::new();
        for state in JobState::ALL {
            for event in EVENTS {
                if let Ok(to) = transition(state, event) {
                    assert!(LEGAL.contains(&(state, to)), "{state:?} -> {to:?} by {event:?}");
                    reached.insert((state, to));
                }
            }
        }
        assert_eq!(reached.len(), LEGAL.len());
    }

    #[test]
    fn only_evidence_follows_a_final_state_and_only_one_that_was_presumed() {
        for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
            let presumed = matches!(state, JobState::Lost | JobState::Withdrawn);
            for event in EVENTS {
                let evidence = matches!(event, JobEvent::Finish(_));
                assert_eq!(transition(state, event).is_ok(), presumed && evidence, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn names_are_their_own_inverse() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_name(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for kind in JobKind::ALL {
            assert_eq!(JobKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
