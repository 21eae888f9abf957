//! The slot ledger, and the plan it belongs to: which slots this agent took, and how they ended.
//!
//! The plan (`plan.json`) and the ledger (`ledger.log`) carry the same random mark: when one is lost, both are given up,
//! because a plan without its ledger would run slots again that are done. A slot is claimed and synced before restic
//! starts; what was claimed is a set of keys, not a high-water mark. Records older than [`KEPT_FOR`] are dropped.

mod files;
mod record;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::{FinalState, RunKey};
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_core::wire::{JobFinished, ScheduleSet, SlotClaim};

use crate::journal;
use crate::state::write_atomically;
use files::{
    StoredPlan, begin, opening_mark, read_if_there, read_plan, set_aside, without_damage, write_plan,
};
use record::Record;

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

/// Where a job of the ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Accepted; restic may have started.
    Claimed,
    /// Restic runs.
    Running,
    /// It is over.
    Ended(FinalState),
    /// The agent went down and cannot tell how it ended.
    Lost,
}

/// What a `command.run` is answered with (RULES: one slot, one run).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be claimed.
    Accept,
    /// The job is known: its state is to be repeated.
    Repeat(Standing),
    /// Another job has that slot, or did it.
    SupersededBy(JobId),
}

#[derive(Debug, Clone)]
struct Entry {
    at: Timestamp,
    run: Option<RunKey>,
    attempt: u32,
    standing: Standing,
}

/// The ledger and its plan. Only one process may have them open.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    mark: String,
    file: File,
    jobs: BTreeMap<JobId, Entry>,
    runs: BTreeMap<RunKey, Vec<JobId>>,
    fired: BTreeMap<ScheduleId, Timestamp>,
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
        let bytes = without_damage(&path, bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        let mut ledger = Self {
            folder: folder.to_owned(),
            mark,
            file,
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            fired: BTreeMap::new(),
            plan,
        };
        ledger.replay(&bytes);
        ledger.prune(now)?;
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

    /// The newest slot of a schedule that fired.
    pub fn last_fired(&self, schedule: ScheduleId) -> Option<Timestamp> {
        self.fired.get(&schedule).copied()
    }

    /// Remembers that a slot fired; call it after the fire is in the spool.
    ///
    /// # Errors
    ///
    /// Those of the operating system: the slot may fire again, which the server knows how to take.
    pub fn fired(&mut self, schedule: ScheduleId, slot: Timestamp) -> Result<(), LedgerError> {
        self.write(&Record::Fired { schedule_id: schedule, slot })?;
        self.fired.insert(schedule, slot);
        Ok(())
    }

    /// What to answer to a command.
    pub fn judge(&self, job: JobId, run: Option<&RunKey>, attempt: u32) -> Verdict {
        if let Some(entry) = self.jobs.get(&job) {
            return Verdict::Repeat(entry.standing);
        }
        let claims = run.and_then(|run| self.runs.get(run)).map_or(&[][..], Vec::as_slice);
        for (other, entry) in claims.iter().rev().filter_map(|id| Some((*id, self.jobs.get(id)?))) {
            let stands = match entry.standing {
                Standing::Claimed
                | Standing::Running
                | Standing::Ended(FinalState::Succeeded | FinalState::Warning) => true,
                Standing::Ended(FinalState::Failed | FinalState::Cancelled) | Standing::Lost => {
                    attempt <= entry.attempt
                }
            };
            if stands {
                return Verdict::SupersededBy(other);
            }
        }
        Verdict::Accept
    }

    /// Claims a job and its slot; returns when that survives a power failure.
    ///
    /// # Errors
    ///
    /// Those of the operating system: the job must not start.
    pub fn claim(
        &mut self,
        job: JobId,
        run: Option<RunKey>,
        attempt: u32,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let record = Record::Claimed { job_id: job, run, attempt, at: now };
        self.write(&record)?;
        self.take(record);
        Ok(())
    }

    /// Restic runs.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn started(&mut self, job: JobId) -> Result<(), LedgerError> {
        self.keep(Record::Started { job_id: job })
    }

    /// A job is over.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn finished(&mut self, finished: &JobFinished) -> Result<(), LedgerError> {
        self.keep(Record::Finished { finished: Box::new(finished.clone()) })
    }

    /// A job was claimed, and nobody can say how it ended.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn lost(&mut self, job: JobId) -> Result<(), LedgerError> {
        self.keep(Record::Lost { job_id: job })
    }

    /// How a job ended, as it was told; read from the file.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn ending(&self, job: JobId) -> Result<Option<JobFinished>, LedgerError> {
        let path = self.folder.join("ledger.log");
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        Ok(records(&bytes).filter_map(|record| record.into_ending(job)).last())
    }

    /// Where a job stands; none when the ledger never heard of it, or forgot.
    pub fn standing(&self, job: JobId) -> Option<Standing> {
        self.jobs.get(&job).map(|entry| entry.standing)
    }

    /// Jobs that were claimed and are not known to be over.
    pub fn open_jobs(&self) -> Vec<JobId> {
        let open = |entry: &Entry| matches!(entry.standing, Standing::Claimed | Standing::Running);
        self.jobs.iter().filter(|(_, entry)| open(entry)).map(|(job, _)| *job).collect()
    }

    /// The slots of jobs that are open, or whose end is not acknowledged yet.
    pub fn claims(&self, unacknowledged: &[JobId]) -> Vec<SlotClaim> {
        let mut jobs = self.open_jobs();
        jobs.extend(unacknowledged.iter().filter(|job| self.jobs.contains_key(job)));
        jobs.sort_unstable();
        jobs.dedup();
        jobs.into_iter().filter_map(|job| self.claim_of(job)).collect()
    }

    /// The slot a job was claimed for.
    pub fn claim_of(&self, job: JobId) -> Option<SlotClaim> {
        let entry = self.jobs.get(&job)?;
        Some(SlotClaim { run: entry.run?, attempt: entry.attempt, job_id: job })
    }

    /// Forgets what is over for longer than [`KEPT_FOR`]; the file is rewritten only when something goes.
    ///
    /// # Errors
    ///
    /// Those of the operating system; the old file stands then.
    pub fn prune(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let is_old = |entry: &Entry| {
            !matches!(entry.standing, Standing::Claimed | Standing::Running)
                && now.millis_since(entry.at) > KEPT_FOR
        };
        if !self.jobs.values().any(is_old) {
            return Ok(());
        }
        let path = self.folder.join("ledger.log");
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let kept = |record: &Record| match record {
            Record::Opened { .. } => true,
            Record::Fired { schedule_id, slot } => self.fired.get(schedule_id) == Some(slot),
            Record::Claimed { .. }
            | Record::Started { .. }
            | Record::Finished { .. }
            | Record::Lost { .. } => {
                record.job().and_then(|job| self.jobs.get(&job)).is_some_and(|entry| !is_old(entry))
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
        self.jobs.clear();
        self.runs.clear();
        self.replay(&content);
        Ok(())
    }

    fn replay(&mut self, bytes: &[u8]) {
        for record in records(bytes) {
            self.take(record);
        }
    }

    fn keep(&mut self, record: Record) -> Result<(), LedgerError> {
        self.write(&record)?;
        self.take(record);
        Ok(())
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Opened { .. } => {}
            Record::Fired { schedule_id, slot } => {
                self.fired.insert(schedule_id, slot);
            }
            Record::Claimed { job_id, run, attempt, at } => {
                if let Some(run) = run {
                    let claims = self.runs.entry(run).or_default();
                    claims.retain(|job| *job != job_id);
                    claims.push(job_id);
                }
                self.jobs.insert(job_id, Entry { at, run, attempt, standing: Standing::Claimed });
            }
            Record::Started { job_id } => self.stand(job_id, Standing::Running),
            Record::Finished { finished } => self.stand(finished.job_id, Standing::Ended(finished.state)),
            Record::Lost { job_id } => self.stand(job_id, Standing::Lost),
        }
    }

    fn stand(&mut self, job: JobId, standing: Standing) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.standing = standing;
        }
    }

    fn write(&mut self, record: &Record) -> Result<(), LedgerError> {
        let path = self.folder.join("ledger.log");
        let length = self.file.metadata().map_err(failed("look at", &path))?.len();
        let written = self.file.write_all(&record.line()).and_then(|()| self.file.sync_data());
        if written.is_err() {
            let _ = self.file.set_len(length);
        }
        written.map_err(failed("write to", &path))
    }
}

fn records(bytes: &[u8]) -> impl Iterator<Item = Record> {
    journal::lines(bytes).filter_map(|line| serde_json::from_str(line.json?).ok())
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError { what, path, source }
}

#[cfg(test)]
mod tests;
