//! Jobs that agents took for themselves while no server took care of their slots.

use restic_manager_core::id::{HostId, RunId};
use restic_manager_core::model::{Actor, ActorKind, Job, JobKind, JobState, Run, RunState};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{Hello, SlotClaim};
use restic_manager_store::{Adoption, HostPlan};

use super::{Engine, EngineError};

/// The most slots that one hello claims; what is beyond comes with its own messages.
const MOST_CLAIMS: usize = 4_096;

impl Engine {
    /// The slots that a hello claims, ready to be adopted where they are not known.
    pub(super) async fn adoptions(
        &self,
        host_id: HostId,
        hello: &Hello,
    ) -> Result<Vec<Adoption>, EngineError> {
        if hello.claims.is_empty() {
            return Ok(Vec::new());
        }
        let plan = self.store.plan(host_id).await?;
        let claims = hello.claims.iter().take(MOST_CLAIMS);
        Ok(claims
            .map(|claim| {
                let running = hello.running_jobs.iter().find(|job| job.job_id == claim.job_id);
                self.claimed(host_id, claim, running.map(|job| job.started_at), plan.as_ref())
            })
            .collect())
    }

    /// The slot that a message of a job claims.
    pub(super) async fn adoption(
        &self,
        host_id: HostId,
        claim: Option<&SlotClaim>,
    ) -> Result<Option<Box<Adoption>>, EngineError> {
        let Some(claim) = claim else { return Ok(None) };
        let plan = self.store.plan(host_id).await?;
        Ok(Some(Box::new(self.claimed(host_id, claim, None, plan.as_ref()))))
    }

    /// The agent has the job, so it is taken for one that runs: what became of it is told by its own messages.
    fn claimed(
        &self,
        host_id: HostId,
        claim: &SlotClaim,
        started_at: Option<Timestamp>,
        plan: Option<&HostPlan>,
    ) -> Adoption {
        let now = self.now();
        let SlotClaim { run: key, attempt, job_id } = *claim;
        let taken_at = job_id.minted_at().min(now);
        let schedule =
            plan.and_then(|plan| plan.schedules.iter().find(|schedule| schedule.id == key.schedule_id));
        let actor = match schedule {
            Some(schedule) => Actor { kind: ActorKind::Schedule, name: schedule.name.to_string() },
            None => Actor { kind: ActorKind::Agent, name: host_id.to_string() },
        };
        let job = Job {
            state: JobState::Running,
            group_id: Some(key.group_id),
            slot: Some(key.slot),
            attempt: attempt.max(1),
            dispatched_at: Some(taken_at),
            started_at: Some(started_at.map_or(taken_at, |at| at.max(taken_at).min(now))),
            ..Job::queued(job_id, JobKind::Backup, host_id, key.repo_id, actor, taken_at)
        };
        let run = Run {
            id: RunId::mint(now, self.id_bytes()),
            key,
            host_id,
            state: RunState::Open,
            attempt: job.attempt,
            pending: None,
            why: None,
            created_at: now,
        };
        Adoption { run, job }
    }
}
