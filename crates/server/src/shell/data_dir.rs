//! The folder that holds the database: ours alone, for one server at a time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Marks a folder as a data folder; the server that uses it holds a lock on this file.
const MARKER: &str = ".restic-manager-data";
const MARKER_TEXT: &str = "This folder belongs to a restic-manager server.\n";
/// What a file system of its own brings along.
const NOT_COUNTED: [&str; 1] = ["lost+found"];

/// A data folder that is refused.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It could not be made, read or written.
    #[error("the data folder {} cannot be {doing}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Made, read or written.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something else has its name.
    #[error("{} is no folder", path.display())]
    NoFolder {
        /// Which.
        path: PathBuf,
    },
    /// It is another user's.
    #[error("the data folder {} belongs to user {owner}, not to user {user} who runs the server", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is, by number.
        owner: u32,
        /// Who asks, by number.
        user: u32,
    },
    /// It holds other things.
    #[error("the folder {} holds other files (such as `{example}`) and was never a data folder", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// One of them.
        example: String,
    },
    /// Another server uses it.
    #[error("another server uses the data folder {}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// No server ever started with it.
    #[error("there is no data folder {}", path.display())]
    Absent {
        /// Which.
        path: PathBuf,
    },
}

impl DataDirError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unusable { .. } => {
                "give another folder with --data-dir, or let the user who runs the server write there"
                    .to_owned()
            }
            Self::NoFolder { .. } => "give a folder with --data-dir".to_owned(),
            Self::Foreign { path, user, .. } => {
                format!("run the server as its owner, or run `chown -R {user} {}`", path.display())
            }
            Self::NotOurs { .. } => {
                "give an empty folder, or one that does not exist yet, with --data-dir".to_owned()
            }
            Self::InUse { .. } => {
                "stop the other server, or give this one another folder with --data-dir".to_owned()
            }
            Self::Absent { .. } => "name the data folder of the server with --data-dir".to_owned(),
        }
    }
}

/// A data folder, checked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held while the server runs; the lock goes with it, also when the process is killed.
    _lock: Option<File>,
}

impl DataDir {
    /// Makes the folder (mode 0700) or takes the one that is there, and keeps other servers out until it is dropped.
    ///
    /// # Errors
    ///
    /// [`DataDirError`]; nothing was changed then in a folder that is not ours.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |doing| move |source| DataDirError::Unusable { path: path.to_owned(), doing, source };
        if !path.exists() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(unusable("made"))?;
        }
        let metadata = fs::metadata(path).map_err(unusable("read"))?;
        if !metadata.is_dir() {
            return Err(DataDirError::NoFolder { path: path.to_owned() });
        }
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(DataDirError::Foreign { path: path.to_owned(), owner: metadata.uid(), user });
        }
        if !path.join(MARKER).exists()
            && let Some(example) = first_entry(path).map_err(unusable("read"))?
        {
            return Err(DataDirError::NotOurs { path: path.to_owned(), example });
        }
        let lock = lock(path).map_err(unusable("written"))?;
        let Some(lock) = lock else { return Err(DataDirError::InUse { path: path.to_owned() }) };
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable("written"))?;
        // A marker that is there already does not prove that new files can be made: the disk may be mounted read-only.
        tempfile::tempfile_in(path).map_err(unusable("written"))?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Looks into the folder of a server that may be running.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Absent`] when there is no data folder; [`DataDirError::Foreign`] when it is another user's, whose
    /// files would end up belonging to the wrong one.
    pub fn visit(path: &Path) -> Result<Self, DataDirError> {
        let metadata = match fs::metadata(path.join(MARKER)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(DataDirError::Unusable { path: path.to_owned(), doing: "read", source: error });
            }
            Err(_) => return Err(DataDirError::Absent { path: path.to_owned() }),
        };
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(DataDirError::Foreign { path: path.to_owned(), owner: metadata.uid(), user });
        }
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the SQLite database.
    pub fn database(&self) -> PathBuf {
        self.path.join("restic-manager.db")
    }

    /// The file of the bootstrap token.
    pub fn bootstrap_token(&self) -> PathBuf {
        self.path.join("bootstrap-token")
    }

    /// The file that holds the server's address while it runs.
    pub fn address(&self) -> PathBuf {
        self.path.join("address")
    }
}

fn first_entry(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !NOT_COUNTED.iter().any(|ignored| name == *ignored) {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// Writes the marker if it is not there and locks it; none when another process holds the lock.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = fs::OpenOptions::new();
    let mut marker = options.read(true).append(true).create(true).mode(0o600).open(path.join(MARKER))?;
    match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    if marker.metadata()?.len() == 0 {
        marker.write_all(MARKER_TEXT.as_bytes())?;
        marker.sync_all()?;
    }
    Ok(Some(marker))
}

/// Writes a file of mode 0600 in place of the one that is there, whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|refused| refused.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_folder_is_for_its_owner_alone_and_known_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("var/lib/rm");
        drop(DataDir::open(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        fs::write(path.join("restic-manager.db"), "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = DataDir::open(&path).unwrap();
        assert_eq!((mode(&path), folder.database()), (0o700, path.join("restic-manager.db")));
    }

    #[test]
    fn a_folder_of_other_things_is_refused_and_left_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.path().join("thesis.tex"), "x").unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert!(error.to_string().contains("holds other files (such as `thesis.tex`)"), "{error}");
        assert_eq!((mode(root.path()), fs::read_dir(root.path()).unwrap().count()), (0o755, 1));
    }

    #[test]
    fn an_empty_file_system_is_an_empty_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        DataDir::open(root.path()).unwrap();
    }

    #[test]
    fn one_folder_serves_one_server_and_any_number_of_visitors() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        assert!(matches!(DataDir::visit(&path).unwrap_err(), DataDirError::Absent { .. }));
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path).unwrap_err(), DataDirError::InUse { .. }));
        DataDir::visit(&path).unwrap();
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn what_is_no_folder_or_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(DataDir::open(&file).unwrap_err(), DataDirError::NoFolder { .. }));
        let error = DataDir::open(&file.join("below")).unwrap_err();
        assert!(matches!(error, DataDirError::Unusable { doing: "made", .. }), "{error}");
        // A folder in which nobody can make files, root included.
        let error = DataDir::open(Path::new("/proc/self/task")).unwrap_err();
        assert!(matches!(error, DataDirError::NotOurs { .. } | DataDirError::Unusable { .. }), "{error}");
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        // Root may give folders away; anybody else finds one that is root's.
        let root = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let path = if user == 0 {
            std::os::unix::fs::chown(root.path(), Some(12_345), None).unwrap();
            root.path()
        } else {
            Path::new("/")
        };
        let error = DataDir::open(path).unwrap_err();
        let DataDirError::Foreign { owner, .. } = &error else { panic!("{error}") };
        assert_eq!(*owner, if user == 0 { 12_345 } else { 0 });
        assert!(error.hint().contains(&format!("chown -R {user}")), "{}", error.hint());
    }
}
