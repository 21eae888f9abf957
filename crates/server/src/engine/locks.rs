//! What follows from the locks that a finished job met.

use std::sync::PoisonError;

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{
    Actor, ActorKind, Host, Job, JobIntent, JobKind, LockOwner, SeenLock, UnlockScope,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::wire::JobFinished;
use restic_manager_store::JobRow;

use super::maintenance::settings_of;
use super::{Engine, EngineError, chain};

/// What a finished job says beyond itself.
#[derive(Debug, Clone)]
pub(super) struct Aftermath {
    job_id: JobId,
    locked: bool,
    locks: Vec<SeenLock>,
    removed: u64,
}

impl Aftermath {
    /// What there is to look after; none for most jobs.
    pub(super) fn of(finished: &JobFinished) -> Option<Self> {
        let removed = finished.summary.locks_removed.unwrap_or(0);
        let locked = finished.class == OutcomeClass::Locked;
        (locked || removed > 0).then(|| Self {
            job_id: finished.job_id,
            locked,
            locks: finished.summary.locks.clone(),
            removed,
        })
    }
}

impl Engine {
    /// Looks after a job whose end was committed. What fails here is logged: the report itself stands.
    pub(super) async fn look_after(&self, host_id: HostId, aftermath: &Aftermath) {
        if let Err(error) = self.try_look_after(host_id, aftermath).await {
            tracing::error!(host = %host_id, job = %aftermath.job_id, error = %chain(&error), "what followed from a finished job was not done");
        }
    }

    async fn try_look_after(&self, host_id: HostId, aftermath: &Aftermath) -> Result<(), EngineError> {
        let Some(row) = self.store.job(aftermath.job_id).await? else { return Ok(()) };
        if aftermath.removed > 0 {
            self.record_unlocked(&row, aftermath).await?;
        }
        if aftermath.locked {
            self.ask_owners(host_id, &row.job, &aftermath.locks).await?;
        }
        Ok(())
    }

    async fn record_unlocked(&self, row: &JobRow, aftermath: &Aftermath) -> Result<(), EngineError> {
        let job = &row.job;
        // An unlock was asked for by somebody; any other job did it on its own.
        let actor = match job.kind {
            JobKind::Unlock => job.actor.clone(),
            JobKind::Backup
            | JobKind::Init
            | JobKind::Forget
            | JobKind::Prune
            | JobKind::Check
            | JobKind::Stats
            | JobKind::Restore
            | JobKind::Diff => Actor { kind: ActorKind::Agent, name: job.host_id.to_string() },
        };
        let listed = aftermath.locks.len() as u64;
        let locks: Vec<String> = aftermath
            .locks
            .iter()
            .map(|lock| format!("{} pid {} since {}", lock.hostname, lock.pid, lock.time))
            .collect();
        let mut detail = vec![
            ("repo", row.repo_name.clone().into()),
            ("job_id", job.id.to_string().into()),
            ("removed", aftermath.removed.into()),
            ("listed", listed.into()),
            ("locks", locks.into()),
        ];
        if aftermath.removed > listed {
            tracing::warn!(
                repo = %row.repo_name, job = %job.id, removed = aftermath.removed, listed,
                "an unlock removed more locks than were listed before it"
            );
            detail.push(("warning", "more locks were removed than were listed before".into()));
        }
        let audit = self.audit(actor, "repo.unlocked", ("repo", job.repo_id.to_string()), detail);
        Ok(self.store.record(audit).await?)
    }

    /// Locks of other hosts of ours: each host is asked once a sighting to remove its own, if their runs are over.
    async fn ask_owners(&self, seen_by: HostId, job: &Job, locks: &[SeenLock]) -> Result<(), EngineError> {
        let repo_id = job.repo_id;
        let Some(view) = self.store.maintenance_views(&[repo_id]).await?.pop() else { return Ok(()) };
        if !settings_of(&view.row).auto_unlock {
            return Ok(());
        }
        let mut hosts = Vec::new();
        for row in self.store.attachments_of_repos(&[repo_id]).await? {
            hosts.extend(self.store.host(row.attachment.host_id).await?);
        }
        let others = hosts.iter().filter(|host| host.id != seen_by && self.dispatch.epoch(host.id).is_some());
        for host in others {
            let theirs: Vec<&SeenLock> = locks
                .iter()
                .filter(|lock| owner(lock, &hosts).is_some_and(|owner| owner.id == host.id))
                .collect();
            if !self.is_new_sighting(job.repo_id, locks, &theirs) {
                continue;
            }
            let mut unlock = self.new_job(JobKind::Unlock, host.id, repo_id, Actor::system());
            unlock.intent = JobIntent { unlock: Some(UnlockScope::Attested), ..JobIntent::default() };
            let audit = self.audit(
                Actor::system(),
                "job.asked",
                ("job", unlock.id.to_string()),
                [
                    ("kind", unlock.kind.as_str().into()),
                    ("host", host.name.to_string().into()),
                    ("repo", view.repo.name.to_string().into()),
                    ("met_by", job.id.to_string().into()),
                ],
            );
            self.store.enqueue(unlock, audit).await?;
            self.poke();
        }
        Ok(())
    }

    /// Whether one of these locks was not asked about yet; what is no longer there is forgotten.
    fn is_new_sighting(&self, repo_id: RepoId, present: &[SeenLock], theirs: &[&SeenLock]) -> bool {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = sightings.entry(repo_id).or_default();
        asked.retain(|id| present.iter().any(|lock| lock.id == *id));
        let mut new = false;
        for lock in theirs {
            new |= asked.insert(lock.id.clone());
        }
        new
    }
}

/// The one host of the repository that goes by the name in a lock that the reporting agent does not know; two of that name are none.
fn owner<'a>(lock: &SeenLock, hosts: &'a [Host]) -> Option<&'a Host> {
    match lock.owner {
        LockOwner::Unknown => {}
        LockOwner::EndedRun | LockOwner::LiveRun => return None,
    }
    let mut named = hosts.iter().filter(|host| host.facts.os_hostname.as_ref() == Some(&lock.hostname));
    let first = named.next()?;
    named.next().is_none().then_some(first)
}
