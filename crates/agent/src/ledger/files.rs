//! The two files, the plan's and the ledger's, and the mark by which they know each other.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use restic_manager_core::slots::Record;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::ScheduleSet;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{LedgerError, failed};
use crate::journal;
use crate::random;
use crate::state::{cut_torn_end, write_atomically};

/// The plan as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPlan {
    pub(super) mark: String,
    pub(super) plan: Option<ScheduleSet>,
}

/// A record as a line of the file.
pub(super) fn line(record: &Record) -> Vec<u8> {
    // No map with other keys than strings, no failing Serialize.
    journal::line(&serde_json::to_string(record).unwrap_or_default())
}

/// The records in the lines of the file; what this version does not understand is passed over.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = Record> {
    journal::lines(bytes).filter_map(|line| serde_json::from_str(line.json?).ok())
}

/// Sets lines aside that a crash tore, so that the next one does not continue half a line.
pub(super) fn without_damage(path: &Path, bytes: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, LedgerError> {
    let part = |is_whole: bool| -> Vec<u8> {
        let lines = journal::lines(&bytes).filter(|line| line.json.is_some() == is_whole);
        lines.flat_map(|line| line.bytes.iter().copied()).collect()
    };
    let damaged = part(false);
    if damaged.is_empty() {
        return Ok(bytes);
    }
    let aside = path.with_extension(format!("log.damaged-{}", now.as_millis()));
    // Worth a look, but not worth an agent that does not start.
    match write_atomically(&aside, &damaged) {
        Ok(()) => warn!(file = %aside.display(), "the slot ledger had damaged lines; they are set aside"),
        Err(error) => {
            warn!(file = %path.display(), bytes = damaged.len(), %error, "damaged lines of the slot ledger are dropped");
        }
    }
    let whole = part(true);
    if let Err(error) = write_atomically(path, &whole) {
        warn!(file = %path.display(), %error, "damaged lines stay in the slot ledger; what is torn at its end is cut off");
        cut_torn_end(path).map_err(failed("shorten", path))?;
    }
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
    let bytes = line(&Record::Opened { mark: mark.clone() });
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
