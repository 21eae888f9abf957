//! The agent's state directory: who may read it, who runs in it, and how files in it are replaced.

mod atomic;
#[cfg(feature = "agent")]
mod enrolment;
mod identity;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

#[cfg(feature = "agent")]
pub(crate) use atomic::cut_torn_end;
pub use atomic::{sync_dir, write_atomically};
#[cfg(feature = "agent")]
pub use enrolment::Enrolment;
pub use identity::{Identity, os_hostname};

/// What is wrong with the state directory or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something else stands where the directory should be.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory belongs to somebody else.
    #[error("{} belongs to user {owner}, but the agent runs as user {me}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user the agent runs as.
        me: u32,
    },
    /// The directory holds files, and none that an agent left.
    #[error("{} is not empty and was never an agent's", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("{} is open to other users (mode {mode:04o})", path.display())]
    TooOpen {
        /// The directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another agent runs in it.
    #[error("another agent runs in {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// No agent was enrolled in it.
    #[error("{} holds no enrolment", path.display())]
    NotEnrolled {
        /// The directory.
        path: PathBuf,
    },
    /// A file is not what the agent wrote.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl StateError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as the user who owns the directory, or name another one with --state-dir".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room on the file system of the state directory".to_owned())
            }
            Self::Io { .. } => None,
            Self::NotADirectory { .. } | Self::NotOurs { .. } => Some("name another directory with --state-dir".to_owned()),
            Self::Foreign { path, me, .. } => {
                Some(format!("if it is the agent's: chown -R {me} {}; else name another with --state-dir", path.display()))
            }
            Self::TooOpen { path, .. } => Some(format!("chmod go-rwx {}", path.display())),
            Self::InUse { .. } => Some("stop the other agent, or name another directory with --state-dir".to_owned()),
            Self::NotEnrolled { .. } => Some(
                "make a token on the server's dashboard and run: restic-manager-agent enrol --server URL --token TOKEN"
                    .to_owned(),
            ),
            Self::Damaged { .. } => Some("restore the file from a copy, or move it away and enrol again".to_owned()),
        }
    }

    /// The operating system does not let this process watch its signals.
    pub fn signals(source: io::Error) -> Self {
        Self::Io { what: "watch the signals of", path: PathBuf::from("this process"), source }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A directory that only the agent's user may enter.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// The right to run in a state directory; given back when dropped or when the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateDir {
    /// Opens the directory, and makes it (mode 0700) where there is none.
    ///
    /// # Errors
    ///
    /// It is no directory, belongs to another user, or others may enter it; nothing is changed then.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        match std::fs::metadata(root) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = root.parent() {
                    std::fs::create_dir_all(parent).map_err(StateError::io("create", parent))?;
                }
                DirBuilder::new().mode(0o700).create(root).map_err(StateError::io("create", root))?;
            }
            Err(error) => return Err(StateError::io("look at", root)(error)),
        }
        Self::existing(root)
    }

    /// Opens the directory, which must be there.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and when it does not exist.
    pub fn existing(root: &Path) -> Result<Self, StateError> {
        let found = std::fs::metadata(root).map_err(StateError::io("look at", root))?;
        if !found.is_dir() {
            return Err(StateError::NotADirectory { path: root.to_owned() });
        }
        let me = rustix::process::geteuid().as_raw();
        if found.uid() != me {
            return Err(StateError::Foreign { path: root.to_owned(), owner: found.uid(), me });
        }
        refuse_foreign_files(root)?;
        refuse_open(root, found.permissions().mode())?;
        let root = std::fs::canonicalize(root).map_err(StateError::io("look at", root))?;
        Ok(Self { root })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A folder in it, made where there is none.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn folder(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_dir(&self.root).map_err(StateError::io("sync", &self.root))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StateError::io("create", &path)(error)),
        }
        Ok(path)
    }

    /// Takes the right to run in it.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] when another process has it.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.join("agent.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse { path: self.root.clone() }),
            Err(error) => Err(StateError::io("lock", &path)(error.into())),
        }
    }
}

/// Files by one of which a directory is known as an agent's.
const MARKS: [&str; 4] = ["agent.lock", "agent.json", "status.json", "secrets.age"];

/// Refuses a directory that somebody uses for something else: a typo must not make an agent's of it.
fn refuse_foreign_files(root: &Path) -> Result<(), StateError> {
    if MARKS.iter().any(|mark| root.join(mark).exists()) {
        return Ok(());
    }
    let entries = std::fs::read_dir(root).map_err(StateError::io("read", root))?;
    // The root of a file system of its own has that folder.
    let mut foreign = entries.flatten().filter(|entry| entry.file_name() != "lost+found");
    match foreign.next() {
        None => Ok(()),
        Some(_) => Err(StateError::NotOurs { path: root.to_owned() }),
    }
}

/// Refuses a file or directory that its group or others may use.
pub(crate) fn refuse_open(path: &Path, mode: u32) -> Result<(), StateError> {
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(StateError::TooOpen { path: path.to_owned(), mode: mode & 0o7777 })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_directory_that_is_missing_is_made_for_the_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a/b");
        let dir = StateDir::open(&root).unwrap();
        assert_eq!(std::fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
        assert!(StateDir::existing(&temp.path().join("none")).is_err());
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_with_its_remedy() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o750)).unwrap();
        let error = StateDir::open(temp.path()).unwrap_err();
        assert!(matches!(error, StateError::TooOpen { mode: 0o750, .. }), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod go-rwx "));
        assert_eq!(std::fs::metadata(temp.path()).unwrap().mode() & 0o7777, 0o750, "nothing was changed");
    }

    #[test]
    fn a_directory_that_holds_something_else_is_refused_before_its_mode_is_looked_at() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("thesis.txt"), "mine").unwrap();
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        let error = StateDir::open(temp.path()).unwrap_err();
        assert!(matches!(error, StateError::NotOurs { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--state-dir"));
        std::fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(StateDir::open(temp.path()), Err(StateError::NotOurs { .. })));
        std::fs::write(temp.path().join("agent.lock"), "").unwrap();
        StateDir::open(temp.path()).unwrap().lock().unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        // The root directory belongs to root; to root itself nothing of this test's making can be foreign but a chown.
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("state");
        std::fs::create_dir(&root).unwrap();
        let path = match std::os::unix::fs::chown(&root, Some(54_321), None) {
            Ok(()) => root,
            Err(_) => PathBuf::from("/"),
        };
        let error = StateDir::open(&path).unwrap_err();
        assert!(matches!(error, StateError::Foreign { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--state-dir"));
    }

    #[test]
    fn a_file_in_its_place_is_refused() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(StateDir::open(temp.path()), Err(StateError::NotADirectory { .. })));
    }

    #[test]
    fn only_one_agent_runs_in_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&temp.path().join("s")).unwrap();
        let held = dir.lock().unwrap();
        assert!(matches!(dir.lock(), Err(StateError::InUse { .. })));
        drop(held);
        dir.lock().unwrap();
    }
}
