//! What one report changes.

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{
    IllegalMove, Job, JobEvent, JobState, RepoStats, ResticRepoId, Run, RunKey, RunState, Snapshot,
};
use restic_manager_core::time::Timestamp;

use super::State;
use super::jobs::Word;
use crate::reports::SUPERSEDED;
use crate::{Effect, FiredRun, LOG_CAP_BYTES};

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
            Effect::Fire { runs } => {
                runs.into_iter().for_each(|fired| self.fire(host_id, fired, now));
                Ok(())
            }
            Effect::PlanAcked { schedule_version } => {
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.schedule_version_acked = host.schedule_version_acked.max(schedule_version);
                }
                Ok(())
            }
            Effect::Refused { job_id, event, class, message, hint, at } => self.report(
                host_id,
                job_id,
                event,
                Word { heard_at: now, class, hint, ..Word::new(at, &message) },
            ),
            Effect::Started { job_id, at } => self.report(host_id, job_id, JobEvent::Start, Word::at(at)),
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
            Effect::Snapshots { repo_id, listed_at: _, total: _, snapshots } => {
                self.list_snapshots(host_id, repo_id, snapshots)
            }
            Effect::Finished { job_id, at, state, class, exit_code, message, hint, summary } => {
                let summary = Some(*summary);
                let word = Word { at, heard_at: now, message, class: Some(class), hint, exit_code, summary };
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

    fn fire(&mut self, host_id: HostId, fired: FiredRun, now: Timestamp) {
        let FiredRun { run, job } = fired;
        if run.host_id != host_id || !self.repos.contains_key(&run.key.repo_id) {
            return;
        }
        let stored = self.run_keys.get(&run.key).and_then(|id| self.runs.get_mut(id));
        match (stored, job) {
            (Some(stored), Some(job)) if job.attempt > stored.attempt => {
                reopen(stored, job.attempt);
                let run_id = Some(stored.id);
                self.jobs.put(Job { run_id, ..job });
            }
            (Some(_), _) => {}
            (None, job) => {
                let (key, run_id) = (run.key, Some(run.id));
                self.run_keys.insert(key, run.id);
                self.runs.insert(run.id, run);
                if let Some(job) = job {
                    self.jobs.put(Job { run_id, ..job });
                    self.supersede_older(&key, now);
                }
            }
        }
    }

    /// Gives up the runs that wait for an older slot than this, each with its job; one that is under way goes on.
    fn supersede_older(&mut self, newer: &RunKey, now: Timestamp) {
        let is_older = |job: &&Job| {
            let run = job.run_id.and_then(|id| self.runs.get(&id));
            job.state == JobState::Queued
                && run.is_some_and(|run| {
                    let same_but_slot = RunKey { slot: newer.slot, ..run.key } == *newer;
                    same_but_slot && run.key.slot < newer.slot && run.state == RunState::Open
                })
        };
        let waiting: Vec<Job> = self.jobs.unfinished().filter(is_older).cloned().collect();
        for job in waiting {
            if self.advance(&job, JobEvent::Supersede, Word::new(now, SUPERSEDED)).is_err() {
                continue;
            }
            if let Some(run) = job.run_id.and_then(|id| self.runs.get_mut(&id)) {
                run.state = RunState::Missed;
                run.next_attempt_at = None;
                run.why = Some(SUPERSEDED.to_owned());
            }
        }
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

    fn list_snapshots(
        &mut self,
        host_id: HostId,
        repo_id: RepoId,
        snapshots: Vec<Snapshot>,
    ) -> Result<(), Ignored> {
        self.attachment_between(host_id, repo_id).ok_or(Ignored::NotAttached(repo_id))?;
        self.snapshots.insert((host_id, repo_id), snapshots);
        Ok(())
    }
}

fn reopen(run: &mut Run, attempt: u32) {
    run.state = RunState::Open;
    run.attempt = attempt;
    run.next_attempt_at = None;
    run.why = None;
}
