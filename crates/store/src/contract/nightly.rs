//! A host that backs one group up to one repository by a schedule.

use std::sync::Arc;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{Actor, Host, Job, JobKind, Repo, Run, Schedule, SourceGroup};

use super::fixture::{Agent, at, fired, made_group, made_schedule, mint, run, tied};
use crate::{Applied, Effect, FiredRun, Store};

pub(super) struct Nightly {
    pub(super) host: Host,
    pub(super) repo: Repo,
    pub(super) group: SourceGroup,
    pub(super) schedule: Schedule,
    pub(super) agent: Agent,
}

impl Nightly {
    pub(super) async fn of(store: &Arc<dyn Store>, name: &str) -> Self {
        let (host, repo) = tied(store, name).await;
        let group = made_group(store, &host, "home").await;
        let schedule = made_schedule(store, &host, "nightly", &[&group]).await;
        let agent = Agent::of(store, &host);
        Self { host, repo, group, schedule, agent }
    }

    pub(super) fn run(&self, slot: i64) -> Run {
        run(&self.host, &self.repo, &self.group, &self.schedule, at(slot))
    }

    /// A backup of its group that nobody asked for yet.
    pub(super) fn backup(&self, created_at: i64) -> Job {
        let (host, repo) = (self.host.id, self.repo.id);
        let asked =
            Job::queued(mint(JobId::mint), JobKind::Backup, host, repo, Actor::system(), at(created_at));
        Job { group_id: Some(self.group.id), ..asked }
    }

    pub(super) async fn fires(&mut self, runs: Vec<FiredRun>) {
        let applied = self.agent.says(Effect::Fire { runs, missed: None }).await;
        assert_ne!(applied, Applied::Repeat);
    }

    /// Fires one run and answers it with its job.
    pub(super) async fn fires_one(&mut self, slot: i64) -> (Run, JobId) {
        let run = self.run(slot);
        let fired = fired(&run);
        let job = fired.job.as_ref().unwrap().id;
        self.fires(vec![fired]).await;
        (run, job)
    }
}
