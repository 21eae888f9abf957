//! Hosts.

use serde::{Deserialize, Serialize};

use crate::api::JobView;
use crate::model::Host;
use crate::text::{DisplayName, Tag};
use crate::time::Timestamp;

/// Whether a host's agent is in contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Presence {
    /// Connected.
    Online,
    /// Not connected.
    Offline,
    /// Enrolled, but never seen.
    NeverSeen,
}

/// A host as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostView {
    /// The host.
    #[serde(flatten)]
    pub host: Host,
    /// Whether its agent is in contact.
    pub presence: Presence,
    /// Its newest backup, in whatever state.
    pub last_backup: Option<JobView>,
    /// When its next scheduled backup is due.
    pub next_run_at: Option<Timestamp>,
}

/// Changes of a host; what is not given stays.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostPatch {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<DisplayName>,
    /// New labels, replacing the old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
    /// Upload limit in KiB/s; 0 lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_upload_kib: Option<u32>,
    /// Download limit in KiB/s; 0 lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_download_kib: Option<u32>,
}
