//! What `snapshots --json` says.

use serde::{Deserialize, Deserializer};

use super::{OutputError, SnapshotId, SnapshotTime};
use crate::time::Timestamp;

/// A snapshot as restic lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its full id.
    pub id: SnapshotId,
    /// The first 8 digits.
    pub short_id: SnapshotId,
    /// When it was made, by the clock of the host that made it.
    pub time: SnapshotTime,
    /// The snapshot it was compared with.
    #[serde(default)]
    pub parent: Option<SnapshotId>,
    /// The host name it carries.
    #[serde(default, deserialize_with = "null_as_default")]
    pub hostname: String,
    /// The user who ran restic.
    #[serde(default, deserialize_with = "null_as_default")]
    pub username: String,
    /// Its tags.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// The paths it holds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub paths: Vec<String>,
    /// The restic that made it, such as `restic 0.18.0`; 0.14.0 did not write it.
    #[serde(default)]
    pub program_version: Option<String>,
    /// What its backup did; snapshots made by 0.14.0 have none.
    #[serde(default)]
    pub summary: Option<SnapshotSummary>,
}

/// What the backup of a snapshot did, as stored in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SnapshotSummary {
    /// When the backup began.
    #[serde(deserialize_with = "rfc3339")]
    pub backup_start: Timestamp,
    /// When it ended.
    #[serde(deserialize_with = "rfc3339")]
    pub backup_end: Timestamp,
    /// Files that were not in the parent.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from the parent.
    #[serde(default)]
    pub files_changed: u64,
    /// Bytes added before compression.
    #[serde(default)]
    pub data_added: u64,
    /// Bytes added after compression.
    #[serde(default)]
    pub data_added_packed: u64,
    /// Files in the snapshot.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes of these files.
    #[serde(default)]
    pub total_bytes_processed: u64,
}

/// Reads the standard output of `snapshots --json` (ungrouped): oldest first, as restic lists them.
///
/// # Errors
///
/// It is not one JSON array of snapshots; no snapshots is `[]`, not nothing.
pub fn parse_snapshots(stdout: &str) -> Result<Vec<Snapshot>, OutputError> {
    serde_json::from_str(stdout.trim()).map_err(|error| OutputError::new("snapshots", error.to_string()))
}

/// Counts the snapshot files that restic could not load and left out of the list while exiting with 0.
pub fn count_ignored_snapshots(stderr: &str) -> u64 {
    let ignored = |line: &&str| {
        let new = line.starts_with("Ignoring \"") && line.contains("\": failed to load snapshot ");
        // 0.14.0
        new || line.starts_with("could not load snapshot ")
    };
    stderr.lines().filter(ignored).count() as u64
}

pub(super) fn rfc3339<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_snapshots_is_an_empty_array_and_not_nothing() {
        assert_eq!(parse_snapshots("[]\n").unwrap(), vec![]);
        assert!(parse_snapshots("").is_err());
        assert!(parse_snapshots("null").is_err());
    }

    #[test]
    fn a_time_with_an_offset_is_the_same_instant() {
        let text = |time: &str| {
            let id = "ab".repeat(32);
            format!(r#"[{{"time":"{time}","id":"{id}","short_id":"abababab","tags":null}}]"#)
        };
        let utc = parse_snapshots(&text("2026-11-23T14:36:57.655296587Z")).unwrap();
        let local = parse_snapshots(&text("2026-11-23T16:36:57.655296587+02:00")).unwrap();
        assert_eq!(utc[0].time.at(), local[0].time.at());
        assert_eq!(utc[0].time.at(), Timestamp::from_millis(1_795_444_617_655));
        assert!(parse_snapshots(&text("yesterday")).is_err());
    }

    #[test]
    fn damaged_snapshots_are_counted_and_unknown_ids_are_not() {
        let stderr = "Ignoring \"deadbeef\": no matching ID found for prefix \"deadbeef\"\n\
                      Ignoring \"d76a\": failed to load snapshot d76a1b57: LoadRaw(<snapshot/d7>): invalid data\n\
                      could not load snapshot 10493212: load <snapshot/10493212ab>: invalid data returned\n";
        assert_eq!(count_ignored_snapshots(stderr), 2);
    }
}
