//! The files of one supervised process in its job's folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use restic_manager_core::restic::{Exit, Sent};
use restic_manager_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ProcessIdentity;
use crate::state::{sync_dir, write_atomically};

/// What restic writes to its standard output.
pub(crate) const STDOUT: &str = "stdout";
/// What restic writes to its standard error.
pub(super) const STDERR: &str = "stderr";
/// What the supervisor says when it fails.
pub(super) const SUPERVISOR_LOG: &str = "supervisor.log";
/// Held by the supervisor as long as it lives.
pub(super) const LOCK: &str = "supervisor.lock";
/// Its presence forbids a supervisor that comes late to start restic.
pub(super) const VOID: &str = "void";

/// What the supervisor shall run. No secret is in it: those are inherited in the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// The process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRecord {
    /// Which it is; leader of its own process group.
    #[serde(flatten)]
    pub identity: ProcessIdentity,
    /// The process that waits for its end.
    pub supervisor_pid: u32,
    /// When it was started.
    pub started_at: Timestamp,
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Code or signal; `not_started` when the operating system could not run the program.
    pub exit: Exit,
    /// When.
    pub at: Timestamp,
    /// Seconds from its start to its end, by a monotonic clock.
    pub seconds: f64,
    /// Why it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the agent sent to the process: that a run was cancelled is known from this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// The strongest signal so far.
    pub sent: Sent,
    /// When.
    pub at: Timestamp,
}

/// A record with its own file.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The file's name.
    const NAME: &'static str;

    /// Reads it; none when it was never written.
    fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(Self::NAME)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it so that a crash leaves all of it or nothing.
    fn write(&self, dir: &Path) -> io::Result<()> {
        write_atomically(&dir.join(Self::NAME), &serde_json::to_vec(self)?)
    }
}

impl Record for Spec {
    const NAME: &'static str = "spec.json";
}
impl Record for ChildRecord {
    const NAME: &'static str = "child.json";
}
impl Record for ExitRecord {
    const NAME: &'static str = "exit.json";
}
impl Record for StopRecord {
    const NAME: &'static str = "stop.json";
}

/// Room on the disk for a record, taken before it is needed: how a run ended must be told on a full disk too.
#[derive(Debug)]
pub(super) struct Reserved {
    file: File,
    dir: PathBuf,
    temporary: PathBuf,
}

/// More than any record needs; the rest stays blank, which JSON allows.
const ROOM: usize = 1024;

impl Reserved {
    pub(super) fn new<R: Record>(dir: &Path) -> io::Result<Self> {
        let temporary = dir.join(format!("{}.reserved", R::NAME));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&[b' '; ROOM])?;
        file.sync_all()?;
        Ok(Self { file, dir: dir.to_owned(), temporary })
    }

    /// Writes the record into its room and gives it its name.
    pub(super) fn commit<R: Record>(mut self, record: &R) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(record)?;
        bytes.resize(bytes.len().max(ROOM), b' ');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)?;
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, self.dir.join(R::NAME))?;
        sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_file_and_leaves_nothing_beside_it() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(ExitRecord::read(temp.path()).unwrap(), None);
        for exit in [Exit::Code(3), Exit::Signal(9), Exit::NotStarted] {
            let record = ExitRecord { exit, at: Timestamp::from_millis(7), seconds: 1.5, error: None };
            Reserved::new::<ExitRecord>(temp.path()).unwrap().commit(&record).unwrap();
            assert_eq!(ExitRecord::read(temp.path()).unwrap(), Some(record));
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_an_absent_one() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(ChildRecord::NAME), "{\"pid\":").unwrap();
        assert!(ChildRecord::read(temp.path()).is_err());
    }
}
