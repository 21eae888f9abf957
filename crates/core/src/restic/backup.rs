//! What `backup --json` says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SnapshotId;

/// How far a backup is.
///
/// Totals grow until the scan ends, so the percentage may fall. It counts bytes read, not sent: it reaches 100 long
/// before the end when the upload is slow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// Files read.
    pub files_done: u64,
    /// Files found so far.
    pub files_total: u64,
    /// Bytes read.
    pub bytes_done: u64,
    /// Bytes found so far.
    pub bytes_total: u64,
    /// Restic's guess of what remains, in seconds; absent while it has none.
    pub seconds_remaining: Option<u64>,
    /// Files being read.
    pub current_files: Vec<String>,
    /// Files that could not be read so far.
    pub error_count: u64,
}

impl Progress {
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let current = value.get("current_files").and_then(Value::as_array);
        Some(Self {
            percent: value.get("percent_done").and_then(Value::as_f64).unwrap_or(0.0).clamp(0.0, 1.0) * 100.0,
            files_done: number("files_done").unwrap_or(0),
            files_total: number("total_files").unwrap_or(0),
            bytes_done: number("bytes_done").unwrap_or(0),
            bytes_total: number("total_bytes").unwrap_or(0),
            seconds_remaining: number("seconds_remaining"),
            current_files: current
                .map(|files| files.iter().filter_map(|file| Some(file.as_str()?.to_owned())).collect())
                .unwrap_or_default(),
            error_count: number("error_count").unwrap_or(0),
        })
    }
}

/// What a backup did: restic's last line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Files that were not in the parent snapshot.
    pub files_new: u64,
    /// Files that differ from the parent snapshot.
    pub files_changed: u64,
    /// Files as in the parent snapshot.
    pub files_unmodified: u64,
    /// Folders that were not in the parent snapshot.
    pub dirs_new: u64,
    /// Folders that differ from the parent snapshot.
    pub dirs_changed: u64,
    /// Folders as in the parent snapshot.
    pub dirs_unmodified: u64,
    /// Bytes added before compression.
    pub bytes_added: u64,
    /// Bytes added to the repository after compression; 0.14.0 does not say.
    pub bytes_added_packed: Option<u64>,
    /// Files in the snapshot.
    pub files_processed: u64,
    /// Bytes of these files.
    pub bytes_processed: u64,
    /// How long it took by restic's clock, in seconds.
    pub seconds: f64,
    /// The snapshot's id, short on 0.14.0. A dry run names one that does not exist: see [`Self::evidence`].
    pub snapshot_id: Option<SnapshotId>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

impl BackupSummary {
    /// The snapshot that this summary proves: none for a dry run.
    pub fn evidence(&self) -> Option<&SnapshotId> {
        self.snapshot_id.as_ref().filter(|_| !self.dry_run)
    }

    /// `check --json` and `restore --json` write summaries too: one without any of backup's own fields is not ours.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        if value.get("files_new").is_none() && value.get("snapshot_id").is_none() {
            return None;
        }
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let id = value.get("snapshot_id").and_then(Value::as_str);
        let seconds = value.get("total_duration").and_then(Value::as_f64).unwrap_or(0.0);
        Some(Self {
            files_new: number("files_new").unwrap_or(0),
            files_changed: number("files_changed").unwrap_or(0),
            files_unmodified: number("files_unmodified").unwrap_or(0),
            dirs_new: number("dirs_new").unwrap_or(0),
            dirs_changed: number("dirs_changed").unwrap_or(0),
            dirs_unmodified: number("dirs_unmodified").unwrap_or(0),
            bytes_added: number("data_added").unwrap_or(0),
            bytes_added_packed: number("data_added_packed"),
            files_processed: number("total_files_processed").unwrap_or(0),
            bytes_processed: number("total_bytes_processed").unwrap_or(0),
            seconds: seconds.max(0.0),
            snapshot_id: id.and_then(|id| SnapshotId::new(id).ok()),
            dry_run: value.get("dry_run").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// A file or folder that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// Its path; bytes that are no UTF-8 stand as U+FFFD.
    pub item: String,
    /// `scan` or `archival`: the same folder may be named in both.
    pub during: String,
    /// Why, where restic says so; 0.14.0 often does not.
    pub message: Option<String>,
}

impl ItemError {
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let error = value.get("error")?;
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let item = text(value, "item").unwrap_or_default();
        let message = text(error, "message").or_else(|| {
            // 0.14.0 writes Go's error value: the operation, the path and the number of the system's error.
            let reason = match error.get("Err").and_then(Value::as_u64)? {
                2 => "no such file or directory".to_owned(),
                5 => "input/output error".to_owned(),
                13 => "permission denied".to_owned(),
                number => format!("system error {number}"),
            };
            Some(format!("{} {}: {reason}", text(error, "Op")?, text(error, "Path")?))
        });
        Some(Self { item, during: text(value, "during").unwrap_or_default(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dry_run_proves_no_snapshot() {
        let summary =
            json!({"message_type": "summary", "files_new": 1, "snapshot_id": "abababab", "dry_run": true});
        let summary = BackupSummary::from_json(&summary).unwrap();
        assert!(summary.snapshot_id.is_some());
        assert_eq!(summary.evidence(), None);
    }

    #[test]
    fn an_id_that_is_none_proves_nothing() {
        for id in ["", "latest", "zzzzzzzz"] {
            let summary = BackupSummary::from_json(&json!({"files_new": 1, "snapshot_id": id})).unwrap();
            assert_eq!(summary.evidence(), None, "{id}");
        }
    }

    #[test]
    fn the_summary_of_a_check_is_no_backup() {
        let check = json!({"message_type": "summary", "num_errors": 1, "broken_packs": null});
        assert_eq!(BackupSummary::from_json(&check), None);
    }
}
