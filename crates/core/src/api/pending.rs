//! Pending runs.

use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::model::{Hold, Run};

/// A run that owes an attempt, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PendingRunView {
    /// The run; `pending` says why it owes an attempt, since when, and when that is due.
    #[serde(flatten)]
    pub run: Run,
    /// The host's name.
    pub host_name: String,
    /// The repository's name.
    pub repo_name: String,
    /// The source group's name.
    pub group_name: String,
    /// The schedule's name; empty when it was deleted.
    pub schedule_name: String,
    /// How many attempts the group allows, the first included; none when it was deleted.
    pub retry_max: Option<u32>,
    /// The job of the last attempt.
    pub last_job_id: Option<JobId>,
    /// How that ended, in one sentence.
    pub last_message: Option<String>,
    /// Why the attempt is not made at present; none when it is about to be.
    pub hold: Option<Hold>,
    /// Why it owes an attempt and what that waits for, in one sentence.
    pub sentence: String,
}
