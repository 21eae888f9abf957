//! What `stats --json --mode raw-data` says.

use serde::Deserialize;

use super::OutputError;

/// Data that the snapshots of a repository refer to.
///
/// Not the size of the repository on disk: what prune would remove is not counted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RawDataStats {
    /// Bytes as stored.
    pub total_size: u64,
    /// Bytes before compression; 0.14.0 does not say, nor does an empty repository.
    #[serde(default)]
    pub total_uncompressed_size: Option<u64>,
    /// Uncompressed by stored bytes, likewise.
    #[serde(default)]
    pub compression_ratio: Option<f64>,
    /// Number of blobs; absent for an empty repository.
    #[serde(default)]
    pub total_blob_count: Option<u64>,
    /// Number of snapshots; no snapshots is a valid answer.
    pub snapshots_count: u64,
}

/// Reads the standard output of `stats --json --mode raw-data`.
///
/// # Errors
///
/// No line of it is the object that restic writes.
pub fn parse_stats(stdout: &str) -> Result<RawDataStats, OutputError> {
    let object = stdout.lines().map(str::trim).find(|line| line.starts_with('{'));
    let object = object.ok_or_else(|| OutputError::new("stats", "there is no JSON object in it"))?;
    serde_json::from_str(object).map_err(|error| OutputError::new("stats", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_snapshots_is_a_valid_answer() {
        let stats = parse_stats("{\"total_size\":0,\"snapshots_count\":0}\n").unwrap();
        assert_eq!((stats.total_size, stats.snapshots_count, stats.total_blob_count), (0, 0, None));
    }

    #[test]
    fn no_json_is_an_error() {
        for text in ["", "Stats in raw-data mode:\n", "{\"total_size\":-1,\"snapshots_count\":0}", "{}", "[]"]
        {
            assert!(parse_stats(text).is_err(), "{text}");
        }
    }
}
