//! What is backed up, and when.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, RepoId, ScheduleId};
use crate::retention::KeepPolicy;
use crate::schedule::{CronExpr, Zone};
use crate::text::{DisplayName, ExcludePattern, SourcePath, Tag};
use crate::time::Timestamp;

/// A source group: what is backed up, how long it is kept, and how often a failed attempt is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceGroup {
    /// Its identifier.
    pub id: GroupId,
    /// The host whose files these are.
    pub host_id: HostId,
    /// The name people see.
    pub name: DisplayName,
    /// The restic tag that marks its snapshots: fixed when the group is made, unique on the host.
    pub tag: Tag,
    /// Files and folders, at least one.
    pub includes: Vec<SourcePath>,
    /// Patterns that are left out.
    pub excludes: Vec<ExcludePattern>,
    /// How restic walks the folders.
    pub options: BackupOptions,
    /// How long snapshots are kept; an empty policy keeps everything.
    pub keep: KeepPolicy,
    /// Attempts of a run including the first.
    pub retry_max: u32,
    /// Seconds before the second attempt; doubled after each further one, at most 30 minutes.
    pub retry_backoff_seconds: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// How restic walks the folders of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupOptions {
    /// Leaves out folders that carry a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Stays on the file system of each included path.
    pub one_file_system: bool,
}

/// A schedule: when which groups are backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Schedule {
    /// Its identifier.
    pub id: ScheduleId,
    /// The host it fires on.
    pub host_id: HostId,
    /// The name people see.
    pub name: DisplayName,
    /// Five cron fields.
    pub cron: CronExpr,
    /// The time zone in which they are read.
    pub timezone: Zone,
    /// Whether it fires.
    pub enabled: bool,
    /// The groups it backs up, in this order.
    pub group_ids: Vec<GroupId>,
    /// The repositories it backs up to; none means every attachment with the role primary or copy.
    pub repo_ids: Option<Vec<RepoId>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The slots that passed without a run since it was made.
    #[serde(default)]
    pub missed: MissedSoFar,
}

/// Slots that passed without a run because the host was asleep, switched off or behind: only the newest is made up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissedSoFar {
    /// How many.
    pub count: u64,
    /// The slot that ran in the stead of the last of them.
    pub until: Option<Timestamp>,
}
