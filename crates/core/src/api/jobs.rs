//! Jobs.

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::model::{Hold, Job, JobState, LogLine};
use crate::restic::Progress;

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobView {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The host's name.
    pub host_name: String,
    /// The repository's name.
    pub repo_name: String,
    /// The group's name.
    pub group_name: Option<String>,
    /// Why it waits, while it does.
    pub hold: Option<Hold>,
    /// The same in one sentence.
    pub hold_sentence: Option<String>,
    /// How far it is, while it runs and somebody said so.
    pub progress: Option<Progress>,
}

/// The answer to a request that starts work.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Whether it was there already.
    pub existing: bool,
    /// Why it waits, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// For a check: how much of the data it reads, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset_pct: Option<u8>,
}

/// What a follower of a job is told, one JSON text a message.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobEventView {
    /// Where the job stands: the first message, and one at every change.
    Job {
        /// The job.
        job: Box<JobView>,
    },
    /// Lines of its log, in order.
    Log {
        /// The lines.
        lines: Vec<LogLine>,
    },
    /// Lines that are not kept, or that this follower was too slow for.
    Gap {
        /// The number of the first missing line.
        from: u64,
        /// The number of the first line after the gap.
        to: u64,
    },
    /// How far it is.
    Progress {
        /// What restic said.
        progress: Progress,
    },
    /// The job is over and all of its log was sent: nothing follows.
    End,
}
