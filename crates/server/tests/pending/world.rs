//! A host with schedules, and the voice of its agent.

use std::sync::Arc;

use restic_manager_core::api::ScheduleWrite;
use restic_manager_core::id::{GroupId, JobId, RepoId, RunId, ScheduleId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{MemoryStore, PageRequest, PendingOf, PendingRow, Store};

use crate::house::{House, finished, started};

pub(crate) struct World {
    pub(crate) house: House,
    pub(crate) host: Host,
    pub(crate) repo: RepoId,
    pub(crate) group: GroupId,
    pub(crate) schedule: ScheduleId,
    pub(crate) spool: SpoolId,
    seq: u64,
}

impl World {
    /// A connected host whose schedule backs up one group to one repository.
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    /// The same over a store of the caller's.
    pub(crate) async fn over(store: Arc<dyn Store>) -> Self {
        let house = House::over(store);
        let (host, repo, group, spool) = house.ready().await;
        let schedule = schedule(&house, &host, "nightly", vec![group]).await;
        Self { house, host, repo, group, schedule, spool, seq: 2 }
    }

    /// The agent says something new; what the server could not use is answered.
    pub(crate) async fn says(&mut self, message: AgentMessage) -> Vec<String> {
        self.seq += 1;
        let rejected = self.house.report(&self.host, self.spool, self.seq, vec![message]).await;
        rejected.into_iter().map(|(_, why)| why).collect()
    }

    pub(crate) async fn fires(&mut self, slot: Timestamp) {
        let fire = ScheduleFire { schedule_id: self.schedule, slot, missed: 0 };
        assert_eq!(self.says(AgentMessage::ScheduleFire(fire)).await, Vec::<String>::new());
    }

    /// A slot fires, its job is sent and starts.
    pub(crate) async fn fires_and_starts(&mut self, slot: Timestamp) -> JobId {
        self.fires(slot).await;
        self.starts_next().await
    }

    /// The job that the engine sends next starts.
    pub(crate) async fn starts_next(&mut self) -> JobId {
        loop {
            self.house.engine.tick().await.unwrap();
            let command = self.house.take_commands().pop().expect("a job is sent");
            self.says(started(command.job_id)).await;
            if command.spec != JobSpec::Init {
                return command.job_id;
            }
            // Asked for at every hello, as this agent never says restic's own id of the repository.
            self.succeeds(command.job_id).await;
        }
    }

    pub(crate) async fn fails(&mut self, job_id: JobId, class: OutcomeClass) {
        let AgentMessage::JobFinished(mut end) = finished(job_id, FinalState::Failed) else { unreachable!() };
        end.class = class;
        self.says(AgentMessage::JobFinished(end)).await;
    }

    pub(crate) async fn succeeds(&mut self, job_id: JobId) {
        self.says(finished(job_id, FinalState::Succeeded)).await;
    }

    /// The agent's connection breaks; another one says this hello.
    pub(crate) async fn returns(&mut self, change: impl FnOnce(&mut Hello)) {
        self.house.leave(&self.host);
        let mut hello = self.house.hello(&self.host, self.spool);
        change(&mut hello);
        self.house.connect(&self.host, &hello).await;
    }

    pub(crate) fn key(&self, slot: Timestamp) -> RunKey {
        RunKey { schedule_id: self.schedule, group_id: self.group, repo_id: self.repo, slot }
    }

    pub(crate) fn claim(&self, job_id: JobId, slot: Timestamp, attempt: u32) -> SlotClaim {
        SlotClaim { run: self.key(slot), attempt, job_id }
    }

    pub(crate) fn minted(&self) -> JobId {
        JobId::mint(self.house.clock.now(), self.house.random.id_bytes())
    }

    pub(crate) async fn pending(&self) -> Vec<PendingRow> {
        self.house.store.pending_runs(PendingOf::Fleet, PageRequest::first(100)).await.unwrap().items
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.house.store.run(id).await.unwrap().unwrap()
    }

    /// The run of a job.
    pub(crate) async fn run_of(&self, job_id: JobId) -> Run {
        let job = self.house.store.job(job_id).await.unwrap().unwrap().job;
        self.run(job.run_id.expect("the job is an attempt of a run")).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.house.clock.now()
    }

    /// A slot of this hour.
    pub(crate) fn slot(&self) -> Timestamp {
        self.now() - self.now().as_millis() % HOUR
    }

    pub(crate) fn breaks(&self, broken: bool) {
        *self.house.wires.broken.lock().unwrap() = broken;
    }
}

/// A schedule of a host.
pub(crate) async fn schedule(house: &House, host: &Host, name: &str, group_ids: Vec<GroupId>) -> ScheduleId {
    let write = hourly(name, group_ids);
    house.app.create_schedule(&house.caller, host.id, write).await.unwrap().schedule.id
}

/// On the hour, every hour.
pub(crate) fn hourly(name: &str, group_ids: Vec<GroupId>) -> ScheduleWrite {
    ScheduleWrite {
        name: DisplayName::new(name).unwrap(),
        cron: "0 * * * *".parse().unwrap(),
        timezone: "Etc/UTC".parse().unwrap(),
        enabled: true,
        group_ids,
        repo_ids: None,
    }
}
