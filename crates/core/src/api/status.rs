//! Is anything wrong?

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The fleet on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetStatus {
    /// Enrolled hosts.
    pub hosts: u64,
    /// Of these, in contact.
    pub hosts_online: u64,
    /// Repositories.
    pub repos: u64,
    /// Jobs that run at present.
    pub jobs_running: u64,
    /// Jobs that wait.
    pub jobs_queued: u64,
    /// Runs that owe an attempt.
    pub runs_pending: u64,
    /// Jobs that failed or were lost within the last 24 hours.
    pub jobs_failed_24h: u64,
    /// What needs a person, worst first, at most 50.
    pub attention: Vec<Attention>,
}

/// One thing that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attention {
    /// For programs: `host_offline`, `never_seen`, `restic_missing`, `job_quiet`, `job_failed`, `job_warning`.
    pub code: String,
    /// What it is about: `host`, `job`.
    pub subject_kind: String,
    /// Its id.
    pub subject_id: String,
    /// In one sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Since when.
    pub since: Option<Timestamp>,
}
