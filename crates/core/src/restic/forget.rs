//! What `forget --json` says.

use serde::Deserialize;

use super::snapshot::null_as_default;
use super::{OutputError, Snapshot};

/// What a policy means for one group of snapshots.
///
/// `remove` is an intention: 0.18.0 exits with 0 although the repository refused. What is gone is known by listing again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForgetGroup {
    /// The host of the group.
    #[serde(default, deserialize_with = "null_as_default")]
    pub host: String,
    /// The tags of the group; empty when not grouped by tags.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// The paths of the group; empty when not grouped by paths.
    #[serde(default, deserialize_with = "null_as_default")]
    pub paths: Vec<String>,
    /// What stays.
    #[serde(default, deserialize_with = "null_as_default")]
    pub keep: Vec<Snapshot>,
    /// What was to be removed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub remove: Vec<Snapshot>,
}

/// Reads the standard output of `forget --json`; nothing at all means that no snapshot matched.
///
/// Only the first line is read: with `--prune` text follows it on 0.14.0 and 0.18.0.
///
/// # Errors
///
/// The first line is no JSON array of groups.
pub fn parse_forget(stdout: &str) -> Result<Vec<ForgetGroup>, OutputError> {
    let first = stdout.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(first).map_err(|error| OutputError::new("forget", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_nothing_matched() {
        assert_eq!(parse_forget(""), Ok(vec![]));
        assert_eq!(parse_forget("\n"), Ok(vec![]));
    }

    #[test]
    fn null_lists_are_empty_and_later_lines_are_not_read() {
        let text = "[{\"tags\":null,\"host\":\"h\",\"paths\":null,\"keep\":null,\"remove\":null}]\nloading indexes...\n";
        let groups = parse_forget(text).unwrap();
        assert_eq!((groups.len(), groups[0].host.as_str()), (1, "h"));
        assert!(groups[0].keep.is_empty() && groups[0].remove.is_empty());
        assert!(parse_forget("loading indexes...").is_err());
    }
}
