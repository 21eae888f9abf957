//! What `list locks`, `cat lock`, `cat config` and `unlock` say.

use serde::Deserialize;

use super::snapshot::rfc3339;
use super::{LockId, OutputError};
use crate::text::ResticRepoId;
use crate::time::Timestamp;

/// A lock in a repository, as `cat lock` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lock {
    /// When it was last refreshed, by its host's clock. Restic replaces its lock every 5 minutes, under a new id.
    #[serde(deserialize_with = "rfc3339")]
    pub time: Timestamp,
    /// Whether it keeps out every other lock.
    pub exclusive: bool,
    /// The host that holds it, as its system names it (not `--host`).
    pub hostname: String,
    /// The user who holds it.
    pub username: String,
    /// The restic process that holds it.
    pub pid: i64,
}

/// The configuration of a repository, as `cat config` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RepoConfig {
    /// The format: 2 can compress.
    pub version: u32,
    /// The repository's identity.
    pub id: ResticRepoId,
}

/// Reads the standard output of `list locks`: one id a line.
///
/// # Errors
///
/// A line is no id.
pub fn parse_list_locks(stdout: &str) -> Result<Vec<LockId>, OutputError> {
    let lines = stdout.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(LockId::new)
        .collect::<Result<_, _>>()
        .map_err(|e| OutputError::new("list locks", e.to_string()))
}

/// Reads the standard output of `cat lock`.
///
/// # Errors
///
/// It is no lock.
pub fn parse_cat_lock(stdout: &str) -> Result<Lock, OutputError> {
    serde_json::from_str(stdout.trim()).map_err(|error| OutputError::new("cat lock", error.to_string()))
}

/// Reads the standard output of `cat config`.
///
/// # Errors
///
/// It is no configuration of a repository.
pub fn parse_cat_config(stdout: &str) -> Result<RepoConfig, OutputError> {
    serde_json::from_str(stdout.trim()).map_err(|error| OutputError::new("cat config", error.to_string()))
}

/// How many locks `unlock` says it removed.
///
/// `None` where it does not say: 0.14.0 prints `successfully removed locks` whether there were any or not, 0.18.0 is
/// silent when there were none, 0.19.1 with `--json` always. Count with `list locks` before and after.
pub fn parse_unlocked(stdout: &str) -> Option<u64> {
    let said = stdout.lines().find_map(|line| line.trim().strip_prefix("successfully removed "))?;
    said.strip_suffix(" locks")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_listed_by_full_id() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let ids = parse_list_locks(&format!("{a}\n{b}\n\n")).unwrap();
        assert_eq!(ids.iter().map(LockId::as_str).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(parse_list_locks(""), Ok(vec![]));
        assert!(parse_list_locks("abababab\n").is_err());
    }

    #[test]
    fn a_lock_is_read_without_the_ids_it_may_lack() {
        let text = "{\n \"time\": \"2026-11-23T14:38:14.460190986Z\",\n \"exclusive\": true,\n \"hostname\": \"vm\",\n \
                    \"username\": \"root\",\n \"pid\": 12156\n}\n";
        let lock = parse_cat_lock(text).unwrap();
        assert_eq!((lock.exclusive, lock.pid, lock.hostname.as_str()), (true, 12156, "vm"));
        assert_eq!(lock.time, Timestamp::from_millis(1_795_444_694_460));
        assert!(parse_cat_lock("").is_err());
    }

    #[test]
    fn a_configuration_names_the_repository() {
        let id = "6013b32ad67964e449d73033ff0d01e6152056b240afe0a10c4eadfd33aaf81e";
        let config =
            parse_cat_config(&format!("{{\"version\":2,\"id\":\"{id}\",\"chunker_polynomial\":\"2b\"}}"));
        assert_eq!(config.unwrap().id.as_str(), id);
        assert!(parse_cat_config("{\"version\":2,\"id\":\"6013b32a\"}").is_err());
    }

    #[test]
    fn only_a_number_that_was_said_is_known() {
        assert_eq!(parse_unlocked("successfully removed locks\n"), None);
        assert_eq!(parse_unlocked("successfully removed 3 locks\n"), Some(3));
        assert_eq!(parse_unlocked(""), None);
    }
}
