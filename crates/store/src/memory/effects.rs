//! What one report changes.

use std::ops::Bound;

use restic_manager_core::id::{HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{
    IllegalMove, Job, JobEvent, JobState, RepoStats, ResticRepoId, Run, RunKey, RunState,
};
use restic_manager_core::time::Timestamp;

use super::State;
use super::jobs::Word;
use super::snapshots::Listing;
use crate::reports::{SUPERSEDED, TAKEN_BY_AGENT};
use crate::{Adoption, Effect, FiredRun, LOG_CAP_BYTES, MissedSlots};

/// Why an effect changes nothing but the number.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ignored {
    #[error("job {0} is not there")]
    NoJob(JobId),
    #[error("job {0} is another host's")]
    ForeignJob(JobId),
    #[error("job {id}: {why}")]
    Late { id: JobId, why: IllegalMove },
    #[error("the host is not attached to repository {0}")]
    NotAttached(RepoId),
}

impl State {
    /// Applies an effect reported by a host, whole or not at all.
    pub(super) fn take_effect(
        &mut self,
        host_id: HostId,
        effect: Effect,
        now: Timestamp,
    ) -> Result<(), Ignored> {
        match effect {
            Effect::SetAside { audit } => {
                self.write_audit(audit);
                Ok(())
            }
            Effect::Fire { runs, missed } => {
                for fired in runs {
                    self.fire(host_id, fired, now);
                }
                if let Some(missed) = missed {
                    self.count_missed(host_id, *missed);
                }
                Ok(())
            }
            Effect::PlanAcked { schedule_version } => {
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.schedule_version_acked = host.schedule_version_acked.max(schedule_version);
                }
                Ok(())
            }
            Effect::Refused { job_id, event, class, message, hint, at } => {
                let word = Word { heard_at: now, class, hint, ..Word::new(at, &message) };
                self.report(host_id, job_id, event, word)?;
                if event == JobEvent::Supersede {
                    self.leave_to_another(job_id, now);
                }
                Ok(())
            }
            Effect::Started { job_id, at, adopt } => {
                let own = adopt.is_some();
                self.adopt_all(host_id, adopt, now);
                match self.report(host_id, job_id, JobEvent::Start, Word::at(at)) {
                    // Adopted as running: there is nothing to add.
                    Err(Ignored::Late { .. }) if own => Ok(()),
                    reported => reported,
                }
            }
            Effect::Log { job_id, lines } => {
                self.job_of(host_id, job_id)?;
                self.logs.entry(job_id).or_default().append(lines, LOG_CAP_BYTES);
                Ok(())
            }
            Effect::LogGap { job_id, from: _, to } => {
                self.job_of(host_id, job_id)?;
                self.logs.entry(job_id).or_default().skip_to(to);
                Ok(())
            }
            Effect::Stats { repo_id, restic_id, stats } => {
                self.record_stats(host_id, repo_id, restic_id, &stats, now)
            }
            Effect::Snapshots { repo_id, listed_at, total, snapshots } => {
                self.list_snapshots(host_id, repo_id, Listing { listed_at, total, snapshots })
            }
            Effect::Finished { job_id, at, state, class, exit_code, message, hint, summary, adopt } => {
                self.adopt_all(host_id, adopt, now);
                let summary = Some(*summary);
                let word = Word {
                    at,
                    heard_at: now,
                    message,
                    class: Some(class),
                    hint,
                    exit_code,
                    summary,
                    owes: None,
                };
                self.report(host_id, job_id, JobEvent::Finish(state), word)?;
                if let Some(job) = self.jobs.get(job_id).cloned() {
                    self.learn_from(&job, now);
                }
                Ok(())
            }
        }
    }

    fn job_of(&self, host_id: HostId, job_id: JobId) -> Result<&Job, Ignored> {
        let job = self.jobs.get(job_id).ok_or(Ignored::NoJob(job_id))?;
        if job.host_id == host_id { Ok(job) } else { Err(Ignored::ForeignJob(job_id)) }
    }

    fn report(&mut self, host_id: HostId, id: JobId, event: JobEvent, word: Word) -> Result<(), Ignored> {
        let job = self.job_of(host_id, id)?.clone();
        self.advance(&job, event, word).map(|_| ()).map_err(|why| Ignored::Late { id, why })
    }

    /// Takes a run that fired.
    fn fire(&mut self, host_id: HostId, fired: FiredRun, now: Timestamp) {
        let FiredRun { run, job } = fired;
        if run.host_id != host_id || !self.repos.contains_key(&run.key.repo_id) {
            return;
        }
        let overtaken = job.is_some() && self.has_newer(&run.key);
        let stored = self.run_keys.get(&run.key).and_then(|id| self.runs.get_mut(id));
        match (stored, job) {
            (Some(stored), Some(job)) if job.attempt > stored.attempt => {
                reopen(stored, job.attempt);
                let run_id = Some(stored.id);
                self.jobs.put(Job { run_id, ..job });
            }
            (Some(_), _) => {}
            (None, job) => {
                let (key, id) = (run.key, run.id);
                self.run_keys.insert(key, id);
                self.runs.insert(id, run);
                match job {
                    Some(_) if overtaken => self.miss(id),
                    Some(job) => {
                        self.jobs.put(Job { run_id: Some(id), ..job });
                        self.supersede_older(&key, now);
                    }
                    None => {}
                }
            }
        }
    }

    fn has_newer(&self, key: &RunKey) -> bool {
        let latest = RunKey { slot: Timestamp::from_millis(i64::MAX), ..*key };
        self.run_keys.range((Bound::Excluded(*key), Bound::Included(latest))).next().is_some()
    }

    fn miss(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.end(RunState::Missed, Some(SUPERSEDED.to_owned()));
        }
    }

    /// Counts the slots that were missed before a slot, once however often that is told. Whether its runs are new is no matter: the agent may
    /// have told of those it did by itself before.
    fn count_missed(&mut self, host_id: HostId, missed: MissedSlots) {
        let schedule = self.schedules.get_mut(&missed.schedule_id);
        let Some(schedule) = schedule.filter(|schedule| schedule.host_id == host_id) else { return };
        if schedule.missed.until < Some(missed.until) {
            schedule.missed.count += missed.count;
            schedule.missed.until = Some(missed.until);
            self.write_audit(missed.audit);
        }
    }

    /// Gives up the runs for an older slot than this that are pending or wait, the latter with their jobs; one that is under way goes on.
    pub(super) fn supersede_older(&mut self, newer: &RunKey, now: Timestamp) {
        let oldest = RunKey { slot: Timestamp::from_millis(i64::MIN), ..*newer };
        let older: Vec<RunId> = self
            .run_keys
            .range(oldest..*newer)
            .map(|(_, id)| *id)
            .filter(|id| self.runs.get(id).is_some_and(|run| run.state == RunState::Open))
            .collect();
        for id in older {
            let open = self.jobs.of_run(id).find(|job| !job.state.is_final()).cloned();
            match open {
                Some(job) if job.state != JobState::Queued => continue,
                Some(job) => {
                    let word = Word::new(now, SUPERSEDED);
                    if self.advance(&job, JobEvent::Supersede, word).is_err() {
                        continue;
                    }
                }
                None => {}
            }
            self.miss(id);
        }
    }

    fn adopt_all(&mut self, host_id: HostId, adopt: Option<Box<Adoption>>, now: Timestamp) {
        if let Some(adoption) = adopt {
            self.adopt(host_id, *adoption, now);
        }
    }

    /// Takes in a job that the agent took for itself; one that is known is left alone.
    pub(super) fn adopt(&mut self, host_id: HostId, adoption: Adoption, now: Timestamp) {
        let Adoption { run, job } = adoption;
        let foreign = self.schedules.get(&run.key.schedule_id).is_some_and(|known| known.host_id != host_id);
        let ours = run.host_id == host_id && job.host_id == host_id && !foreign;
        if self.jobs.get(job.id).is_some() || !ours || !self.repos.contains_key(&run.key.repo_id) {
            return;
        }
        let key = run.key;
        let run_id = *self.run_keys.entry(key).or_insert(run.id);
        if self.runs.entry(run_id).or_insert(run).host_id != host_id {
            return;
        }
        let open: Vec<Job> = self.jobs.of_run(run_id).filter(|job| !job.state.is_final()).cloned().collect();
        for earlier in open {
            let event = if earlier.state == JobState::Running { JobEvent::Lose } else { JobEvent::Supersede };
            // Open, as they were just found: the move is legal.
            let _moved = self.advance(&earlier, event, Word::new(now, TAKEN_BY_AGENT));
        }
        let attempt = self.jobs.free_attempt(run_id, job.attempt);
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.attempt = run.attempt.max(attempt);
            run.pending = None;
            if !run.state.is_success() {
                run.end(RunState::Open, None);
            }
        }
        self.raise_revisions(job.host_id, job.repo_id);
        self.jobs.put(Job { run_id: Some(run_id), attempt, ..job });
        self.supersede_older(&key, now);
    }

    fn record_stats(
        &mut self,
        host_id: HostId,
        repo_id: RepoId,
        restic_id: Option<ResticRepoId>,
        news: &RepoStats,
        now: Timestamp,
    ) -> Result<(), Ignored> {
        self.attachment_between(host_id, repo_id).ok_or(Ignored::NotAttached(repo_id))?;
        if let Some(restic_id) = restic_id {
            // What became of it is no matter here: an id that does not fit is left alone.
            self.learn_restic_id(repo_id, &restic_id);
        }
        self.learn_stats(repo_id, news, now);
        if news.locks.is_some() {
            self.wake(repo_id, now);
        }
        Ok(())
    }

    fn list_snapshots(&mut self, host_id: HostId, repo_id: RepoId, listing: Listing) -> Result<(), Ignored> {
        self.attachment_between(host_id, repo_id).ok_or(Ignored::NotAttached(repo_id))?;
        self.snapshots.insert((host_id, repo_id), listing);
        Ok(())
    }
}

fn reopen(run: &mut Run, attempt: u32) {
    run.state = RunState::Open;
    run.attempt = attempt;
    run.pending = None;
    run.why = None;
}
