//! What `list locks`, `cat lock`, `cat config` and `unlock` say.

use serde::Deserialize;

use super::snapshot::rfc3339;
use super::{LockId, OutputError};
use crate::text::ResticRepoId;
use crate::time::{MINUTE, Timestamp};

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

/// Whether the process that a lock names is there, on the host that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A process with that number runs, be it restic or not.
    Running,
    /// There is none.
    Gone,
}

/// What plain `unlock` does with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// Removes it: its process on this very host is gone.
    RemovesEnded,
    /// Removes it: it was not refreshed for 30 minutes.
    RemovesOld,
    /// Keeps it: its process runs on this host.
    KeepsRunning,
    /// Keeps it: it is another host's, and young, or dated in the future.
    KeepsForeign,
}

/// A lock that was not refreshed for so long is stale wherever its process runs: `staleTimeout` in restic's `internal/restic/lock.go`.
const STALE_AFTER: i64 = 30 * MINUTE;

impl Lock {
    /// What plain `unlock` would do with this lock when it runs on the host that its system calls `here`, at `now` by that host's clock.
    ///
    /// `holder` is asked at most once, with the process number, and only for a lock of this host. (Restic itself asks by sending SIGHUP to that
    /// process, which ends one that does not handle it.) Two machines, or containers, of one
    /// name judge each other's processes wrongly, as restic does.
    pub fn unlock(&self, here: &str, holder: impl FnOnce(i64) -> Holder, now: Timestamp) -> Unlock {
        if now.millis_since(self.time) > STALE_AFTER {
            return Unlock::RemovesOld;
        }
        if self.hostname != here {
            return Unlock::KeepsForeign;
        }
        match holder(self.pid) {
            Holder::Running => Unlock::KeepsRunning,
            Holder::Gone => Unlock::RemovesEnded,
        }
    }
}

impl Unlock {
    /// Whether the lock goes.
    pub const fn removes(self) -> bool {
        match self {
            Self::RemovesEnded | Self::RemovesOld => true,
            Self::KeepsRunning | Self::KeepsForeign => false,
        }
    }

    /// The reason in one sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::RemovesEnded => "stale: its process on this host is gone; plain `unlock` removes it",
            Self::RemovesOld => "stale: not refreshed for 30 minutes; plain `unlock` removes it",
            Self::KeepsRunning => "live: its process runs on this host; wait for it",
            Self::KeepsForeign => {
                "another host's, and young: look there; it is stale when it was not refreshed for 30 minutes"
            }
        }
    }
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
    fn what_unlock_does_depends_on_host_process_and_age() {
        let now = Timestamp::from_millis(1_795_444_694_460);
        let lock = |hostname: &str, age: i64| Lock {
            time: now - age,
            exclusive: true,
            hostname: hostname.into(),
            username: "root".into(),
            pid: 7,
        };
        let told = |lock: Lock, holder| lock.unlock("here", |_| holder, now);
        assert_eq!(told(lock("here", MINUTE), Holder::Gone), Unlock::RemovesEnded);
        assert_eq!(told(lock("here", 30 * MINUTE), Holder::Running), Unlock::KeepsRunning);
        assert_eq!(told(lock("here", 30 * MINUTE + 1), Holder::Running), Unlock::RemovesOld);
        assert_eq!(told(lock("there", 30 * MINUTE), Holder::Gone), Unlock::KeepsForeign);
        assert_eq!(told(lock("there", 30 * MINUTE + 1), Holder::Gone), Unlock::RemovesOld);
        assert_eq!(told(lock("there", -90 * MINUTE), Holder::Gone), Unlock::KeepsForeign);
        assert_eq!(told(lock("here", -90 * MINUTE), Holder::Gone), Unlock::RemovesEnded);
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

    #[test]
    fn whether_a_lock_goes_is_said_as_it_is() {
        for (unlock, goes, word) in [
            (Unlock::RemovesEnded, true, "stale: its process"),
            (Unlock::RemovesOld, true, "stale: not refreshed"),
            (Unlock::KeepsRunning, false, "live"),
            (Unlock::KeepsForeign, false, "another host's"),
        ] {
            assert_eq!(unlock.removes(), goes, "{unlock:?}");
            assert!(unlock.sentence().starts_with(word), "{unlock:?}");
        }
    }
}
