//! An agent's slot ledger, read past the agent.

use std::collections::BTreeMap;
use std::path::Path;

use restic_manager_core::id::JobId;
use restic_manager_core::model::RunKey;
use restic_manager_core::slots::{Claimant, Record};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::JobFinished;

/// What an agent wrote down about the jobs it took.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Each job that was claimed.
    pub claims: BTreeMap<JobId, Claim>,
}

/// A job that was claimed, and what became of it.
#[derive(Debug)]
pub struct Claim {
    /// The slot it is an attempt of; none for one that somebody asked for.
    pub run: Option<RunKey>,
    /// Which attempt.
    pub attempt: u32,
    /// When it was claimed.
    pub at: Timestamp,
    /// On whose word.
    pub by: Claimant,
    /// Every end that was written down; a job has one.
    pub ends: Vec<JobFinished>,
    /// Whether the last word about it is that nobody can say how it ended.
    pub lost: bool,
    /// How often it was claimed without having been lost before: once. A lost one may be sent and claimed again.
    pub times: u32,
}

impl Ledger {
    /// Reads the ledger of the agent in that folder; a line that a kill tore is no record.
    pub fn of(agent_folder: &Path) -> Self {
        let text = std::fs::read(agent_folder.join("state/plan/ledger.log")).unwrap_or_default();
        let mut ledger = Self::default();
        // Each line is a checksum of 16 digits, a space, and the record.
        for line in text.split(|byte| *byte == b'\n').filter_map(|line| line.get(17..)) {
            if let Ok(record) = serde_json::from_slice(line) {
                ledger.take(record);
            }
        }
        ledger
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Opened { .. } | Record::Fired { .. } | Record::Started { .. } => {}
            Record::Claimed { job_id, run, attempt, at, by } => {
                let claim = Claim { run, attempt, at, by, ends: Vec::new(), lost: false, times: 0 };
                let claim = self.claims.entry(job_id).or_insert(claim);
                claim.times += u32::from(!std::mem::take(&mut claim.lost));
            }
            Record::Finished { finished } => {
                if let Some(claim) = self.claims.get_mut(&finished.job_id) {
                    claim.ends.push(*finished);
                }
            }
            Record::Lost { job_id, .. } => {
                if let Some(claim) = self.claims.get_mut(&job_id) {
                    claim.lost = true;
                }
            }
        }
    }

    /// Claimed and not known to be over.
    pub fn open_jobs(&self) -> usize {
        self.claims.values().filter(|claim| claim.ends.is_empty() && !claim.lost).count()
    }
}
