//! Sessions of agents.

use restic_manager_core::model::{Host, Job, JobEvent, JobState};

use super::State;
use super::jobs::Word;
use crate::{TakeSession, TakenSession};

impl State {
    pub(super) fn take_session(&mut self, take: TakeSession) -> Option<TakenSession> {
        let TakeSession { host_id, facts, spool_id, schedule_version, known_jobs, claims, now } = take;
        let host = self.hosts.get_mut(&host_id)?;
        host.facts = facts;
        host.last_seen_at = host.last_seen_at.max(Some(now));
        host.schedule_version_acked = schedule_version;
        let epoch = self.epochs.entry(host_id).and_modify(|epoch| *epoch += 1).or_insert(1);
        let mut taken = TakenSession {
            epoch: *epoch,
            committed_seq: *self.spools.entry((host_id, spool_id)).or_insert(0),
            host: host.clone(),
            lost: Vec::new(),
            requeued: Vec::new(),
            cancel: Vec::new(),
        };
        for claim in claims {
            self.adopt(host_id, claim, now);
        }
        let occupying = self.jobs.unfinished().filter(|job| job.host_id == host_id && job.state.occupies());
        let (known, unknown): (Vec<Job>, Vec<Job>) =
            occupying.cloned().partition(|job| known_jobs.contains(&job.id));
        let asked = known.iter().filter(|job| job.cancel_requested_at.is_some());
        taken.cancel = asked.map(|job| job.id).collect();
        for job in &unknown {
            let (event, why) = if job.state == JobState::Running {
                (JobEvent::Lose, "the agent came back and no longer knew of it")
            } else {
                (JobEvent::Requeue, "it was cancelled before it reached the agent")
            };
            let moved = self.advance(job, event, Word::new(now, why));
            if moved == Ok(JobState::Lost) {
                taken.lost.push(job.id);
            } else if moved == Ok(JobState::Queued) {
                taken.requeued.push(job.id);
            }
        }
        self.wake_repos_run_by(host_id, now);
        taken.host = self.hosts.get(&host_id).map_or(taken.host, Host::clone);
        Some(taken)
    }
}
