//! The slot book: which slots an agent took, for whom, and how they ended.
//!
//! Server dispatch and the agent's own work without a server end at the same agent; the book makes one run of one slot out of both. It is
//! fed with [`Record`]s: an agent writes each to its disk, then [`SlotBook::take`]s it, and after a restart takes them all again. What was
//! claimed is a set of keys, not a high-water mark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, ScheduleId};
use crate::model::{FinalState, RunKey};
use crate::restic::OutcomeClass;
use crate::time::Timestamp;
use crate::wire::{JobFinished, SlotClaim};

/// One change of the book, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first line of a stored book; `mark` ties it to the plan it belongs to.
    Opened {
        /// The mark.
        mark: String,
    },
    /// A slot of a schedule fired.
    Fired {
        /// Which schedule.
        schedule_id: ScheduleId,
        /// Which slot.
        slot: Timestamp,
    },
    /// A job was accepted, and with it its slot.
    Claimed {
        /// Which job.
        job_id: JobId,
        /// The run it is an attempt of.
        run: Option<RunKey>,
        /// Which attempt, from 1.
        attempt: u32,
        /// When.
        at: Timestamp,
        /// On whose word.
        #[serde(default, skip_serializing_if = "Claimant::is_server")]
        by: Claimant,
    },
    /// Restic runs.
    Started {
        /// Which job.
        job_id: JobId,
    },
    /// It is over.
    Finished {
        /// How.
        finished: Box<JobFinished>,
    },
    /// Nobody can say how it ended.
    Lost {
        /// Which job.
        job_id: JobId,
        /// When that was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
}

impl Record {
    /// The job it speaks of.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Opened { .. } | Self::Fired { .. } => None,
            Self::Claimed { job_id, .. } | Self::Started { job_id } | Self::Lost { job_id, .. } => {
                Some(*job_id)
            }
            Self::Finished { finished } => Some(finished.job_id),
        }
    }
}

/// On whose word a job was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimant {
    /// The server sent it.
    #[default]
    Server,
    /// The agent took it for itself, without a server.
    Agent,
}

impl Claimant {
    const fn is_server(&self) -> bool {
        match self {
            Self::Server => true,
            Self::Agent => false,
        }
    }
}

/// Where a job of the book stands.
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

impl Standing {
    /// Whether it is not known to be over.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Claimed | Self::Running => true,
            Self::Ended(_) | Self::Lost => false,
        }
    }
}

/// What a `command.run` is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be claimed.
    Accept,
    /// The job is known: its state is to be repeated.
    Repeat(Standing),
    /// Another job has that slot, or did it.
    SupersededBy(JobId),
}

/// A job of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub job_id: JobId,
    /// The run it is an attempt of.
    pub run: Option<RunKey>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// On whose word.
    pub by: Claimant,
    /// Where it stands.
    pub standing: Standing,
    /// When it was claimed or, once it is over, when it ended.
    pub at: Timestamp,
    /// In which class it ended.
    pub class: Option<OutcomeClass>,
}

/// Which slots an agent took, and how they ended.
#[derive(Debug, Clone, Default)]
pub struct SlotBook {
    jobs: BTreeMap<JobId, Entry>,
    /// In the order in which they were claimed.
    runs: BTreeMap<RunKey, Vec<JobId>>,
    fired: BTreeMap<ScheduleId, Timestamp>,
}

impl SlotBook {
    /// Takes in a record that is on disk.
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Opened { .. } => {}
            Record::Fired { schedule_id, slot } => {
                self.fired.insert(*schedule_id, *slot);
            }
            Record::Claimed { job_id, run, attempt, at, by } => {
                if let Some(run) = run {
                    let claims = self.runs.entry(*run).or_default();
                    claims.retain(|job| job != job_id);
                    claims.push(*job_id);
                }
                let entry = Entry {
                    job_id: *job_id,
                    run: *run,
                    attempt: *attempt,
                    by: *by,
                    standing: Standing::Claimed,
                    at: *at,
                    class: None,
                };
                self.jobs.insert(*job_id, entry);
            }
            Record::Started { job_id } => self.stand(*job_id, Standing::Running, None),
            Record::Finished { finished } => {
                self.stand(finished.job_id, Standing::Ended(finished.state), Some(finished.at));
                if let Some(entry) = self.jobs.get_mut(&finished.job_id) {
                    entry.class = Some(finished.class);
                }
            }
            Record::Lost { job_id, at } => self.stand(*job_id, Standing::Lost, *at),
        }
    }

    fn stand(&mut self, job: JobId, standing: Standing, at: Option<Timestamp>) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.standing = standing;
            entry.at = at.unwrap_or(entry.at);
        }
    }

    /// What to answer to a command: the same job again repeats its state; another live or successful claim of the slot has it; over a
    /// claim that failed or was lost only a higher attempt goes.
    pub fn judge(&self, job: JobId, run: Option<&RunKey>, attempt: u32) -> Verdict {
        if let Some(entry) = self.jobs.get(&job) {
            return Verdict::Repeat(entry.standing);
        }
        let Some(run) = run else { return Verdict::Accept };
        for entry in self.attempts(run).rev() {
            let stands = match entry.standing {
                Standing::Claimed
                | Standing::Running
                | Standing::Ended(FinalState::Succeeded | FinalState::Warning) => true,
                Standing::Ended(FinalState::Failed | FinalState::Cancelled) | Standing::Lost => {
                    attempt <= entry.attempt
                }
            };
            if stands {
                return Verdict::SupersededBy(entry.job_id);
            }
        }
        Verdict::Accept
    }

    /// The attempts of a run that were claimed here, the oldest first.
    pub fn attempts(&self, run: &RunKey) -> impl DoubleEndedIterator<Item = &Entry> {
        let claims = self.runs.get(run).map_or(&[][..], Vec::as_slice);
        claims.iter().filter_map(|job| self.jobs.get(job))
    }

    /// A job; none when the book never heard of it, or forgot.
    pub fn job(&self, job: JobId) -> Option<&Entry> {
        self.jobs.get(&job)
    }

    /// Every job, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Entry> {
        self.jobs.values()
    }

    /// Jobs that were claimed and are not known to be over.
    pub fn open_jobs(&self) -> Vec<JobId> {
        self.jobs().filter(|entry| entry.standing.is_open()).map(|entry| entry.job_id).collect()
    }

    /// The newest slot of a schedule that fired.
    pub fn last_fired(&self, schedule: ScheduleId) -> Option<Timestamp> {
        self.fired.get(&schedule).copied()
    }

    /// The slots of jobs that are open, or whose end is not acknowledged yet: what a hello claims.
    pub fn claims(&self, unacknowledged: &[JobId]) -> Vec<SlotClaim> {
        let mut jobs = self.open_jobs();
        jobs.extend(unacknowledged);
        jobs.sort_unstable();
        jobs.dedup();
        jobs.into_iter().filter_map(|job| self.claim_of(job)).collect()
    }

    /// The slot a job was claimed for.
    pub fn claim_of(&self, job: JobId) -> Option<SlotClaim> {
        let entry = self.jobs.get(&job)?;
        Some(SlotClaim { run: entry.run?, attempt: entry.attempt, job_id: job })
    }

    /// The slot that the agent took for itself with this job; none for a job that the server sent.
    pub fn own_claim(&self, job: JobId) -> Option<SlotClaim> {
        match self.jobs.get(&job)?.by {
            Claimant::Agent => self.claim_of(job),
            Claimant::Server => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupId, RepoId};
    use crate::model::JobSummary;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn job(n: u8) -> JobId {
        JobId::mint(NOW, [n; 10])
    }

    fn run(slot: i64) -> RunKey {
        RunKey {
            schedule_id: ScheduleId::mint(NOW, [1; 10]),
            group_id: GroupId::mint(NOW, [2; 10]),
            repo_id: RepoId::mint(NOW, [3; 10]),
            slot: Timestamp::from_millis(slot),
        }
    }

    fn claim(book: &mut SlotBook, n: u8, slot: Option<i64>, attempt: u32, by: Claimant) {
        book.take(&Record::Claimed { job_id: job(n), run: slot.map(run), attempt, at: NOW, by });
    }

    fn finish(book: &mut SlotBook, n: u8, state: FinalState) {
        let finished = JobFinished {
            job_id: job(n),
            at: NOW + 5,
            state,
            class: OutcomeClass::Unknown,
            exit_code: None,
            message: String::new(),
            hint: None,
            summary: JobSummary::default(),
            run: None,
        };
        book.take(&Record::Finished { finished: Box::new(finished) });
    }

    #[test]
    fn a_success_of_any_attempt_ends_the_slot_for_everybody() {
        let mut book = SlotBook::default();
        claim(&mut book, 1, Some(1), 1, Claimant::Agent);
        finish(&mut book, 1, FinalState::Succeeded);
        claim(&mut book, 2, Some(1), 2, Claimant::Server);
        finish(&mut book, 2, FinalState::Failed);
        assert_eq!(book.judge(job(3), Some(&run(1)), 9), Verdict::SupersededBy(job(1)));
        assert_eq!(book.judge(job(3), Some(&run(2)), 1), Verdict::Accept, "another slot");
        assert_eq!(book.judge(job(3), None, 1), Verdict::Accept, "no slot at all");
    }

    #[test]
    fn a_lost_attempt_gives_way_to_a_higher_one_and_repeats_for_itself() {
        let mut book = SlotBook::default();
        claim(&mut book, 1, Some(1), 2, Claimant::Server);
        assert_eq!(book.judge(job(2), Some(&run(1)), 3), Verdict::SupersededBy(job(1)), "it is alive");
        book.take(&Record::Lost { job_id: job(1), at: Some(NOW + 9) });
        assert_eq!(book.judge(job(2), Some(&run(1)), 2), Verdict::SupersededBy(job(1)));
        assert_eq!(book.judge(job(2), Some(&run(1)), 3), Verdict::Accept);
        assert_eq!(book.judge(job(1), Some(&run(1)), 2), Verdict::Repeat(Standing::Lost));
        assert_eq!(book.job(job(1)).map(|entry| entry.at), Some(NOW + 9));
    }

    #[test]
    fn a_hello_claims_what_is_open_or_untold_and_only_what_has_a_slot() {
        let mut book = SlotBook::default();
        for n in 1..=3 {
            claim(&mut book, n, Some(i64::from(n)), 1, Claimant::Server);
        }
        claim(&mut book, 4, None, 1, Claimant::Server);
        finish(&mut book, 2, FinalState::Failed);
        finish(&mut book, 3, FinalState::Failed);
        let claims: Vec<JobId> = book.claims(&[job(3), job(9)]).iter().map(|claim| claim.job_id).collect();
        assert_eq!(claims, [job(1), job(3)]);
    }

    #[test]
    fn only_what_the_agent_took_for_itself_is_its_own() {
        let mut book = SlotBook::default();
        claim(&mut book, 1, Some(1), 1, Claimant::Server);
        claim(&mut book, 2, Some(2), 4, Claimant::Agent);
        assert_eq!(book.own_claim(job(1)), None);
        assert_eq!(book.own_claim(job(2)), Some(SlotClaim { run: run(2), attempt: 4, job_id: job(2) }));
    }

    #[test]
    fn records_written_before_agents_worked_alone_are_read() {
        let claimed = r#"{"record":"claimed","job_id":"018bcfe5-6800-7101-8101-010101010101","run":null,"attempt":1,"at":1700000000000}"#;
        let read: Record = serde_json::from_str(claimed).unwrap();
        assert!(matches!(read, Record::Claimed { by: Claimant::Server, .. }));
        assert_eq!(serde_json::to_string(&read).unwrap(), claimed);
        let lost = r#"{"record":"lost","job_id":"018bcfe5-6800-7101-8101-010101010101"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Record>(lost).unwrap()).unwrap(), lost);
    }

    #[test]
    fn what_the_agent_took_for_itself_is_its_own_after_a_restart_too() {
        let mut book = SlotBook::default();
        let record =
            Record::Claimed { job_id: job(1), run: Some(run(1)), attempt: 2, at: NOW, by: Claimant::Agent };
        let stored = serde_json::to_string(&record).unwrap();
        book.take(&serde_json::from_str(&stored).unwrap());
        assert!(book.own_claim(job(1)).is_some(), "{stored}");
    }

    #[test]
    fn a_record_names_the_job_it_speaks_of() {
        assert_eq!(Record::Opened { mark: String::new() }.job(), None);
        assert_eq!(Record::Started { job_id: job(1) }.job(), Some(job(1)));
        assert_eq!(Record::Lost { job_id: job(2), at: None }.job(), Some(job(2)));
        let mut book = SlotBook::default();
        claim(&mut book, 3, None, 1, Claimant::Server);
        finish(&mut book, 3, FinalState::Failed);
        assert_eq!(book.job(job(3)).map(|entry| entry.job_id), Some(job(3)));
    }
}
