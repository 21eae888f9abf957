//! One line of the ledger.

use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::RunKey;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::JobFinished;
use serde::{Deserialize, Serialize};

use crate::journal;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// The first line.
    Opened { mark: String },
    /// A slot of a schedule fired.
    Fired { schedule_id: ScheduleId, slot: Timestamp },
    /// A job was accepted.
    Claimed { job_id: JobId, run: Option<RunKey>, attempt: u32, at: Timestamp },
    /// Restic runs.
    Started { job_id: JobId },
    /// It is over.
    Finished { finished: Box<JobFinished> },
    /// Nobody can say how it ended.
    Lost { job_id: JobId },
}

impl Record {
    pub(super) fn line(&self) -> Vec<u8> {
        // No map with other keys than strings, no failing Serialize.
        journal::line(&serde_json::to_string(self).unwrap_or_default())
    }

    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::Opened { .. } | Self::Fired { .. } => None,
            Self::Claimed { job_id, .. } | Self::Started { job_id } | Self::Lost { job_id } => Some(*job_id),
            Self::Finished { finished } => Some(finished.job_id),
        }
    }

    pub(super) fn into_ending(self, job: JobId) -> Option<JobFinished> {
        match self {
            Self::Finished { finished } if finished.job_id == job => Some(*finished),
            Self::Opened { .. }
            | Self::Fired { .. }
            | Self::Claimed { .. }
            | Self::Started { .. }
            | Self::Finished { .. }
            | Self::Lost { .. } => None,
        }
    }
}
