//! The two files, the plan's and the ledger's, and the mark by which they know each other.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::ScheduleSet;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::record::Record;
use super::{LedgerError, failed};
use crate::journal;
use crate::random;
use crate::state::write_atomically;

/// The plan as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPlan {
    pub(super) mark: String,
    pub(super) plan: Option<ScheduleSet>,
}

/// Takes out lines that a crash tore, so that the next one does not continue half a line.
pub(super) fn without_damage(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, LedgerError> {
    let damaged = journal::lines(&bytes).filter(|line| line.json.is_none()).count();
    if damaged == 0 {
        return Ok(bytes);
    }
    warn!(lines = damaged, file = %path.display(), "the slot ledger has damaged lines; they are taken out");
    let whole: Vec<u8> = journal::lines(&bytes)
        .filter(|line| line.json.is_some())
        .flat_map(|line| line.bytes.iter().copied())
        .collect();
    write_atomically(path, &whole).map_err(failed("rewrite", path))?;
    Ok(whole)
}

pub(super) fn opening_mark(bytes: &[u8]) -> Option<String> {
    match serde_json::from_str(journal::lines(bytes).next()?.json?).ok()? {
        Record::Opened { mark } => Some(mark),
        Record::Fired { .. }
        | Record::Claimed { .. }
        | Record::Started { .. }
        | Record::Finished { .. }
        | Record::Lost { .. } => None,
    }
}

pub(super) type Begun = (String, Vec<u8>, Option<ScheduleSet>);

pub(super) fn begin(folder: &Path) -> Result<Begun, LedgerError> {
    let mark = random::hex(&random::bytes::<16>());
    let bytes = Record::Opened { mark: mark.clone() }.line();
    let path = folder.join("ledger.log");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("create", &path))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed("write to", &path))?;
    // Only with its plan the ledger counts; a crash between the two begins both again.
    write_plan(&folder.join("plan.json"), &StoredPlan { mark: mark.clone(), plan: None })?;
    Ok((mark, bytes, None))
}

pub(super) fn set_aside(folder: &Path, now: Timestamp) -> Result<(), LedgerError> {
    for name in ["plan.json", "ledger.log"] {
        let (path, aside) = (folder.join(name), folder.join(format!("{name}.lost-{}", now.as_millis())));
        match std::fs::rename(&path, &aside) {
            Ok(()) => {
                warn!(file = %aside.display(), "the plan and the slot ledger do not belong together; set aside");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("set aside", &path)(error)),
        }
    }
    Ok(())
}

pub(super) fn read_plan(path: &Path) -> Result<Option<StoredPlan>, LedgerError> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let read = serde_json::from_slice(&bytes);
    if let Err(error) = &read {
        warn!(file = %path.display(), %error, "the stored plan cannot be understood");
    }
    // A damaged plan is a lost one, and its ledger goes with it.
    Ok(Some(read.unwrap_or(StoredPlan { mark: String::new(), plan: None })))
}

pub(super) fn write_plan(path: &Path, plan: &StoredPlan) -> Result<(), LedgerError> {
    let text = serde_json::to_vec(plan).map_err(|error| failed("write", path)(error.into()))?;
    write_atomically(path, &text).map_err(failed("write", path))
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}
