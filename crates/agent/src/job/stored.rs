//! What of a job is on disk before restic starts, for the agent that comes after a crash.

use std::io;
use std::path::Path;

use restic_manager_core::id::JobId;
use restic_manager_core::restic::Version;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::CommandRun;
use serde::{Deserialize, Serialize};

use super::ending::Ending;
use crate::restic::ResticBinary;
use crate::state::write_atomically;

const NAME: &str = "job.json";

/// What of a job is on disk before restic starts. No secret is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// What was asked for.
    pub command: CommandRun,
    /// When the agent took it.
    pub accepted_at: Timestamp,
    /// The restic that was to run.
    pub restic: ResticBinary,
    /// Included paths that did not exist.
    pub missing_includes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    command: CommandRun,
    accepted_at: Timestamp,
    restic: std::path::PathBuf,
    restic_version: Version,
    missing_includes: Vec<String>,
}

/// Reads what [`run_job`](super::run_job) stored in a job's folder.
///
/// # Errors
///
/// There is nothing (the job never got that far), or it is damaged.
pub fn read_stored_job(dir: &Path) -> io::Result<StoredJob> {
    let written: Written = serde_json::from_slice(&std::fs::read(dir.join(NAME))?)?;
    Ok(StoredJob {
        command: written.command,
        accepted_at: written.accepted_at,
        restic: ResticBinary::known(written.restic, written.restic_version),
        missing_includes: written.missing_includes,
    })
}

/// A folder in which another job stands is not used: what restic said there would count as said for this one.
pub(super) fn refuse_other_job(dir: &Path, job_id: JobId) -> Result<(), Ending> {
    match read_stored_job(dir) {
        Ok(stored) if stored.command.job_id != job_id => {
            let other = stored.command.job_id;
            Err(Ending::used_folder(&format!("the folder {} belongs to job {other}", dir.display())))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

impl StoredJob {
    /// Writes it; synced when this returns.
    pub(crate) fn write(self, dir: &Path) -> io::Result<()> {
        let written = Written {
            command: self.command,
            accepted_at: self.accepted_at,
            restic: self.restic.path,
            restic_version: self.restic.version,
            missing_includes: self.missing_includes,
        };
        write_atomically(&dir.join(NAME), &serde_json::to_vec(&written)?)
    }
}
