//! Maintenance of repositories.

use serde::{Deserialize, Serialize};

use crate::id::HostId;
use crate::maintenance::MaintenanceKind;
use crate::model::{CredentialInfo, Hold};
use crate::text::DisplayName;
use crate::time::Timestamp;

/// The admin credential of a repository, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdminCredentialView {
    /// The runner: the only host that ever receives it.
    pub host_id: HostId,
    /// That host's name.
    pub host_name: DisplayName,
    /// Whether that host keeps it on its disk, or gets it anew for each job.
    pub kept_on_host: bool,
    /// What may be shown of it.
    pub credential: CredentialInfo,
}

/// Removes locks.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnlockRequest {
    /// The name of the repository, typed: removes every lock, live ones included. Without it only stale ones go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_all: Option<String>,
}

/// Why maintenance of a repository does what it does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhyView {
    /// The host that does it.
    pub runner: Option<DisplayName>,
    /// Forget, prune and check.
    pub kinds: Vec<KindView>,
}

/// What is to be said of one kind of maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KindView {
    /// Which kind.
    pub kind: MaintenanceKind,
    /// When its newest job was asked for.
    pub last_at: Option<Timestamp>,
    /// When it starts next, the repository's own delay included.
    pub next_at: Option<Timestamp>,
    /// What holds it at present.
    pub hold: Option<Hold>,
    /// All of it in one sentence.
    pub sentence: String,
}

/// What was known of a repository at the end of a day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatsDay {
    /// The day, as its first instant in UTC.
    pub day: Timestamp,
    /// Bytes stored.
    pub total_size_bytes: Option<u64>,
    /// Number of snapshots.
    pub snapshot_count: Option<u64>,
}
