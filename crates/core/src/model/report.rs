//! What restic said, in the shape it is stored and shown.

use serde::{Deserialize, Serialize};

use crate::model::{CheckStatus, SeenLock};
use crate::restic::SnapshotId;
use crate::time::Timestamp;

/// Where a line of a job's log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LogStream {
    /// Restic's standard output.
    Stdout,
    /// Restic's standard error.
    Stderr,
    /// The agent's own word about the job.
    Agent,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Its number within the job, from 0 and without holes unless a gap is named.
    pub n: u64,
    /// When the agent read it, by the agent's clock.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The text without its line end; bytes that are no UTF-8 stand as U+FFFD, secrets as `***`.
    pub text: String,
}

/// A snapshot as restic lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Its full id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: SnapshotId,
    /// When it was made, by the clock of the host that made it.
    pub time: Timestamp,
    /// The restic host name it carries.
    pub hostname: String,
    /// The user who ran restic.
    pub username: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The paths it holds.
    pub paths: Vec<String>,
    /// Bytes of all its files, where the restic that made it wrote a summary (0.17 and later).
    pub size_bytes: Option<u64>,
    /// Number of its files, likewise.
    pub files: Option<u64>,
    /// Bytes its backup added to the repository, compressed as they lie there, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<u64>,
}

/// What a size measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StatsKind {
    /// `stats --mode raw-data`: data that snapshots refer to, without what prune would remove.
    ReferencedData,
    /// The `remaining` line of prune: all that lies in the repository.
    AfterPrune,
}

/// A partial picture of a repository: absent means unknown, and never blanks what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepoStats {
    /// Bytes stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_size_bytes: Option<u64>,
    /// What these bytes measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_kind: Option<StatsKind>,
    /// Bytes before compression, where the repository compresses (format 2, restic 0.14.0 and later reports it since 0.16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompressed_bytes: Option<u64>,
    /// Number of snapshots in the whole repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<u64>,
    /// When this was measured, by the agent's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
    /// What the last check found; one that could not look says so and does not hide what an earlier one found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<CheckStatus>,
    /// When that check ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_at: Option<Timestamp>,
    /// How much of the data it read, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check_subset_pct: Option<u8>,
    /// When the last prune succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_prune_at: Option<Timestamp>,
    /// The locks that were seen last; empty means that none was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<SeenLock>>,
    /// When these locks were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks_seen_at: Option<Timestamp>,
}
