//! The slot ledger, and the plan it belongs to: which slots this agent took, and how they ended.
//!
//! The plan (`plan.json`) and the ledger (`ledger.log`) carry the same random mark: when one is lost, both are given up,
//! because a plan without its ledger would run slots again that are done. A slot is claimed and synced before restic
//! starts; what that means is decided by the [`SlotBook`]. Records older than [`KEPT_FOR`] are dropped.

mod files;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::RunKey;
use restic_manager_core::slots::{Claimant, Entry, Record, SlotBook, Standing, Verdict};
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_core::wire::{JobFinished, ScheduleSet, SlotClaim};
use tracing::warn;

use crate::journal;
use crate::state::write_atomically;
use files::{
    StoredPlan, begin, line, opening_mark, read_if_there, read_plan, records, set_aside, without_damage,
    write_plan,
};

/// How long the ledger remembers what is over, in milliseconds: 45 days.
pub const KEPT_FOR: i64 = 45 * DAY;

/// What is wrong with the ledger or the plan.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct LedgerError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The ledger and its plan. Only one process may have them open.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    mark: String,
    file: File,
    book: SlotBook,
    /// What the disk had no room for, in order; the book knows it.
    unwritten: VecDeque<Record>,
    plan: Option<ScheduleSet>,
}

impl Ledger {
    /// Opens what is in a folder, which must exist, and drops what is too old.
    ///
    /// When the plan or the ledger is missing or damaged, both are set aside and a new pair is begun.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, LedgerError> {
        let stored = read_plan(&folder.join("plan.json"))?;
        let bytes = read_if_there(&folder.join("ledger.log"))?;
        let mark = bytes.as_deref().and_then(opening_mark);
        let (mark, bytes, plan) = match (stored, mark, bytes) {
            (Some(stored), Some(mark), Some(bytes)) if stored.mark == mark => (mark, bytes, stored.plan),
            (None, None, None) => begin(folder)?,
            (_, _, _) => {
                set_aside(folder, now)?;
                begin(folder)?
            }
        };
        let path = folder.join("ledger.log");
        let bytes = without_damage(&path, bytes, now)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        let mut ledger = Self {
            folder: folder.to_owned(),
            mark,
            file,
            book: SlotBook::default(),
            unwritten: VecDeque::new(),
            plan,
        };
        ledger.replay(&bytes);
        if let Err(error) = ledger.prune(now) {
            warn!(%error, "the slot ledger cannot be shortened");
        }
        Ok(ledger)
    }

    /// The plan the agent works by.
    pub const fn plan(&self) -> Option<&ScheduleSet> {
        self.plan.as_ref()
    }

    /// Stores a plan in place of the one before.
    ///
    /// # Errors
    ///
    /// Those of the operating system; the old plan stands then.
    pub fn set_plan(&mut self, plan: ScheduleSet) -> Result<(), LedgerError> {
        let stored = StoredPlan { mark: self.mark.clone(), plan: Some(plan) };
        write_plan(&self.folder.join("plan.json"), &stored)?;
        self.plan = stored.plan;
        Ok(())
    }

    /// The slots that were taken.
    pub const fn book(&self) -> &SlotBook {
        &self.book
    }

    /// The newest slot of a schedule that fired.
    pub fn last_fired(&self, schedule: ScheduleId) -> Option<Timestamp> {
        self.book.last_fired(schedule)
    }

    /// Remembers that a slot fired; call it after the fire is in the spool.
    ///
    /// # Errors
    ///
    /// Those of the operating system, as with [`Self::write_what_waits`]: after a crash the slot may fire again, which the server knows
    /// how to take.
    pub fn fired(&mut self, schedule: ScheduleId, slot: Timestamp) -> Result<(), LedgerError> {
        self.keep(Record::Fired { schedule_id: schedule, slot })
    }

    /// What to answer to a command.
    pub fn judge(&self, job: JobId, run: Option<&RunKey>, attempt: u32) -> Verdict {
        self.book.judge(job, run, attempt)
    }

    /// Claims a job and its slot; returns when that survives a power failure.
    ///
    /// # Errors
    ///
    /// Those of the operating system: the job must not start, and nothing of the claim is kept.
    pub fn claim(
        &mut self,
        job: JobId,
        run: Option<RunKey>,
        attempt: u32,
        by: Claimant,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write_what_waits()?;
        let record = Record::Claimed { job_id: job, run, attempt, at: now, by };
        self.write(&record)?;
        self.book.take(&record);
        Ok(())
    }

    /// Restic runs.
    ///
    /// # Errors
    ///
    /// Those of the operating system, as with [`Self::write_what_waits`].
    pub fn started(&mut self, job: JobId) -> Result<(), LedgerError> {
        self.keep(Record::Started { job_id: job })
    }

    /// A job is over.
    ///
    /// # Errors
    ///
    /// Those of the operating system, as with [`Self::write_what_waits`].
    pub fn finished(&mut self, finished: &JobFinished) -> Result<(), LedgerError> {
        self.keep(Record::Finished { finished: Box::new(finished.clone()) })
    }

    /// A job was claimed, and nobody can say how it ended.
    ///
    /// # Errors
    ///
    /// Those of the operating system, as with [`Self::write_what_waits`].
    pub fn lost(&mut self, job: JobId, now: Timestamp) -> Result<(), LedgerError> {
        self.keep(Record::Lost { job_id: job, at: Some(now) })
    }

    /// Whether something is known that the disk had no room for.
    pub fn waits(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Writes down what the disk had no room for.
    ///
    /// # Errors
    ///
    /// Those of the operating system. What could not be written counts all the same; it is written with the next record, or by calling this.
    pub fn write_what_waits(&mut self) -> Result<(), LedgerError> {
        while let Some(record) = self.unwritten.front() {
            let record = record.clone();
            self.write(&record)?;
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// How a job ended, as it was told; read from the file.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn ending(&self, job: JobId) -> Result<Option<JobFinished>, LedgerError> {
        let path = self.folder.join("ledger.log");
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let all = records(&bytes).chain(self.unwritten.iter().cloned());
        let of_job = |record| match record {
            Record::Finished { finished } if finished.job_id == job => Some(*finished),
            Record::Opened { .. }
            | Record::Fired { .. }
            | Record::Claimed { .. }
            | Record::Started { .. }
            | Record::Finished { .. }
            | Record::Lost { .. } => None,
        };
        Ok(all.filter_map(of_job).last())
    }

    /// Where a job stands; none when the ledger never heard of it, or forgot.
    pub fn standing(&self, job: JobId) -> Option<Standing> {
        self.book.job(job).map(|entry| entry.standing)
    }

    /// Jobs that were claimed and are not known to be over.
    pub fn open_jobs(&self) -> Vec<JobId> {
        self.book.open_jobs()
    }

    /// The slots of jobs that are open, or whose end is not acknowledged yet.
    pub fn claims(&self, unacknowledged: &[JobId]) -> Vec<SlotClaim> {
        self.book.claims(unacknowledged)
    }

    /// The slot that the agent took for itself with this job; none for a job that the server sent.
    pub fn own_claim(&self, job: JobId) -> Option<SlotClaim> {
        self.book.own_claim(job)
    }

    /// Forgets what is over for longer than [`KEPT_FOR`], but for the newest slot of each schedule; the file is rewritten only when something goes.
    ///
    /// # Errors
    ///
    /// Those of the operating system; the old file stands then.
    pub fn prune(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        self.write_what_waits()?;
        let is_newest = |run: &RunKey| self.book.last_fired(run.schedule_id) == Some(run.slot);
        let is_old = |entry: &Entry| {
            !entry.standing.is_open()
                // A clock that was wrong when it ended must not bring the slot back.
                && !entry.run.as_ref().is_some_and(is_newest)
                && now.millis_since(entry.at) > KEPT_FOR
        };
        if !self.book.jobs().any(is_old) {
            return Ok(());
        }
        let path = self.folder.join("ledger.log");
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let kept = |record: &Record| match record {
            Record::Opened { .. } => true,
            Record::Fired { schedule_id, slot } => self.book.last_fired(*schedule_id) == Some(*slot),
            Record::Claimed { .. }
            | Record::Started { .. }
            | Record::Finished { .. }
            | Record::Lost { .. } => {
                record.job().and_then(|job| self.book.job(job)).is_some_and(|entry| !is_old(entry))
            }
        };
        let mut content = Vec::new();
        for json in journal::lines(&bytes).filter_map(|line| line.json) {
            if serde_json::from_str(json).is_ok_and(|record| kept(&record)) {
                content.extend(journal::line(json));
            }
        }
        write_atomically(&path, &content).map_err(failed("rewrite", &path))?;
        self.file = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        self.book = SlotBook::default();
        self.replay(&content);
        Ok(())
    }

    fn replay(&mut self, bytes: &[u8]) {
        for record in records(bytes) {
            self.book.take(&record);
        }
    }

    /// What happened counts from now on, whether the disk has room for it or not.
    fn keep(&mut self, record: Record) -> Result<(), LedgerError> {
        self.book.take(&record);
        self.unwritten.push_back(record);
        self.write_what_waits()
    }

    fn write(&mut self, record: &Record) -> Result<(), LedgerError> {
        let path = self.folder.join("ledger.log");
        let length = self.file.metadata().map_err(failed("look at", &path))?.len();
        let written = self.file.write_all(&line(record)).and_then(|()| self.file.sync_data());
        if written.is_err() {
            let _ = self.file.set_len(length);
        }
        written.map_err(failed("write to", &path))
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError { what, path, source }
}

#[cfg(test)]
mod tests;
