//! What the running agent says of itself, for `status` and for whoever watches the file.

use std::io::Write;

use restic_manager_core::id::{HostId, JobId, ScheduleId};
use restic_manager_core::model::{JobKind, RunKey};
use restic_manager_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::session::UNAUTHORIZED;
use crate::state::{StateDir, StateError};

const FILE: &str = "status.json";

/// What the running agent says of itself; no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The host it is.
    pub host_id: HostId,
    /// The server it talks to.
    pub server: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When this was written.
    pub written_at: Timestamp,
    /// Since when the session stands; none while it does not.
    pub connected_since: Option<Timestamp>,
    /// The session's number.
    pub epoch: Option<i64>,
    /// When a session last stood; none when there never was one.
    #[serde(default)]
    pub last_contact: Option<Timestamp>,
    /// Since when this agent has no session; none while one stands.
    #[serde(default)]
    pub alone_since: Option<Timestamp>,
    /// Scheduled backups stopped, because the server is away for so long and an operator wished it.
    #[serde(default)]
    pub stopped_alone: bool,
    /// Backups that are the agent's own to do and cannot begin yet.
    #[serde(default)]
    pub waiting_runs: Vec<WaitingRun>,
    /// When a further backup may become the agent's own to do.
    #[serde(default)]
    pub next_own_look: Option<Timestamp>,
    /// The version of the plan it works by; 0 when it has none.
    pub schedule_version: i64,
    /// The jobs it runs.
    #[serde(default)]
    pub jobs: Vec<RunningNow>,
    /// Messages the server has not acknowledged.
    pub spooled_messages: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// The next firing times, the earliest first; at most ten.
    pub next_slots: Vec<NextSlot>,
    /// Restic's version.
    pub restic_version: Option<String>,
    /// Why there is no usable restic.
    pub restic_problem: Option<String>,
    /// The last thing that went wrong.
    pub last_error: Option<LastError>,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningNow {
    /// Which.
    pub job_id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// When it was taken.
    pub since: Timestamp,
}

/// A backup that is the agent's own to do and cannot begin yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRun {
    /// Which run.
    #[serde(flatten)]
    pub run: RunKey,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// A firing time to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextSlot {
    /// Of which schedule.
    pub schedule_id: ScheduleId,
    /// When.
    pub at: Timestamp,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What the server called it, or `unauthorized` when it refuses the token; none for everything else.
    #[serde(default)]
    pub code: Option<String>,
    /// What, in one sentence.
    pub message: String,
}

impl LastError {
    /// Whether the server does not want this agent, and a person has to do something about it.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("host_deleted" | "identity_in_use" | "protocol_too_old" | UNAUTHORIZED)
        )
    }
}

impl Status {
    /// Reads what the agent of a state directory last said; none when none ever ran there.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood.
    pub fn load(dir: &StateDir) -> Result<Option<Self>, StateError> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| StateError::Damaged { path, why: error.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io("read", &path)(error)),
        }
    }

    /// Whoever reads it sees all of it; a power failure may take it, for it is not synced.
    pub(super) fn store(&self, dir: &StateDir) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".status-").tempfile_in(dir.path())?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(dir.join(FILE)).map_err(|error| error.error)?;
        Ok(())
    }
}
