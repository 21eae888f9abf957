//! Source groups and schedules.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, RepoId};
use crate::model::{BackupOptions, Schedule};
use crate::retention::KeepPolicy;
use crate::schedule::{CronExpr, Zone};
use crate::text::{DisplayName, ExcludePattern, SourcePath, Tag};
use crate::time::Timestamp;

/// A source group as it is written: all of it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceGroupWrite {
    /// Its name, unique on the host.
    pub name: DisplayName,
    /// The tag of its snapshots; made from the name when not given. It cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Files and folders: at least one absolute path.
    pub includes: Vec<SourcePath>,
    /// Patterns to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<ExcludePattern>,
    /// How restic walks the folders.
    #[serde(default)]
    pub options: BackupOptions,
    /// How long snapshots are kept; empty keeps everything.
    #[serde(default)]
    pub keep: KeepPolicy,
    /// Attempts of a run including the first: 1 to 20, 3 when not given.
    #[serde(default = "default_retry_max")]
    pub retry_max: u32,
    /// Seconds before the second attempt: 10 to 1800, 60 when not given.
    #[serde(default = "default_retry_backoff")]
    pub retry_backoff_seconds: u32,
}

const fn default_retry_max() -> u32 {
    3
}

const fn default_retry_backoff() -> u32 {
    60
}

/// A schedule as it is written: all of it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduleWrite {
    /// Its name, unique on the host.
    pub name: DisplayName,
    /// Five cron fields.
    pub cron: CronExpr,
    /// The time zone in which they are read.
    pub timezone: Zone,
    /// Whether it fires.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The groups it backs up: at least one, of this host.
    pub group_ids: Vec<GroupId>,
    /// The repositories it backs up to; all attachments with the role primary or copy when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_ids: Option<Vec<RepoId>>,
}

const fn yes() -> bool {
    true
}

/// A schedule as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduleView {
    /// The schedule.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// Its next five slots, empty when it is disabled.
    pub upcoming: Vec<Timestamp>,
}
