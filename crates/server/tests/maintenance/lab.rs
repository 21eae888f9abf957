//! Hosts with agents that keep count, and what the tests ask of them.

use std::collections::BTreeMap;

use crate::house::*;
use restic_manager_core::api::CredentialWrite;
use restic_manager_core::id::{GroupId, JobId, RepoId, SpoolId};
use restic_manager_core::maintenance::{MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::MINUTE;
use restic_manager_core::wire::*;
use restic_manager_server::app::{AdminCredentialWritten, MaintenanceAsk};
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{JobFilter, PageRequest};

pub(crate) fn weekly() -> KeepPolicy {
    serde_json::from_str(r#"{"weekly": 4}"#).unwrap()
}

pub(crate) fn admin() -> CredentialWrite {
    CredentialWrite {
        url: "rest:http://admin:planted-admin@127.0.0.1:8001/r/".into(),
        password: Secret::new("planted-password"),
        rest_user: None,
        rest_password: None,
        env: BTreeMap::new(),
    }
}

/// A host that is connected, and what its agent counts.
pub(crate) struct Agent {
    pub(crate) host: Host,
    pub(crate) spool: SpoolId,
    pub(crate) seq: u64,
}

impl Agent {
    pub(crate) async fn new(house: &House, name: &str) -> Self {
        let host = house.host(name).await;
        let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
        let agent = Self { host, spool, seq: 0 };
        agent.connect(house).await;
        agent
    }

    pub(crate) async fn connect(&self, house: &House) -> Vec<ServerMessage> {
        let host = house.store.host(self.host.id).await.unwrap().unwrap();
        let mut hello = house.hello(&host, self.spool);
        hello.machine_id = format!("machine-{}", self.host.name);
        house.connect(&host, &hello).await
    }

    pub(crate) async fn report(&mut self, house: &House, messages: Vec<AgentMessage>) {
        let from = self.seq + 1;
        self.seq += messages.len() as u64;
        assert_eq!(house.report(&self.host, self.spool, from, messages).await, []);
    }

    pub(crate) async fn start(&mut self, house: &House, job_id: JobId) {
        let at = house.clock.now();
        self.report(house, vec![AgentMessage::JobStarted(JobStarted { job_id, at, run: None })]).await;
    }

    pub(crate) async fn end(
        &mut self,
        house: &House,
        job_id: JobId,
        class: OutcomeClass,
        summary: JobSummary,
    ) {
        let state = if class == OutcomeClass::Ok { FinalState::Succeeded } else { FinalState::Failed };
        let finished = JobFinished {
            job_id,
            at: house.clock.now(),
            state,
            class,
            exit_code: Some(0),
            message: "said so".into(),
            hint: None,
            summary,
            run: None,
        };
        self.report(house, vec![AgentMessage::JobFinished(Box::new(finished))]).await;
    }

    /// Runs a job from its start to a good end.
    pub(crate) async fn run(&mut self, house: &House, job_id: JobId) {
        self.start(house, job_id).await;
        let summary = JobSummary { snapshot_id: Some("a".repeat(64)), ..JobSummary::default() };
        self.end(house, job_id, OutcomeClass::Ok, summary).await;
    }
}

/// What the engine does in a round of its loop.
pub(crate) async fn look(house: &House) -> Vec<CommandRun> {
    house.engine.maintain().await.unwrap();
    house.engine.tick().await.unwrap();
    house.take_commands()
}

/// Lets time pass as the loop sees it.
pub(crate) async fn pass(house: &House, millis: i64) -> Vec<CommandRun> {
    let mut commands = Vec::new();
    let mut left = millis;
    while left > 0 {
        house.clock.advance(left.min(30 * MINUTE));
        left -= 30 * MINUTE;
        commands.extend(look(house).await);
    }
    commands
}

/// A connected host with a repository of its own and a group that has a policy; the init job is over.
pub(crate) async fn ready(house: &House) -> (Agent, RepoId, GroupId) {
    let mut agent = Agent::new(house, "web1").await;
    let repo = house.repo("vault").await;
    house.attach(&agent.host, repo, Role::Primary).await;
    let group = house.keeping_group(&agent.host, "Home", weekly()).await;
    settle(house, &mut agent).await;
    let opened = RepoStatsReport {
        job_id: None,
        repo_id: repo,
        restic_id: Some(ResticRepoId::new("c".repeat(64)).unwrap()),
        stats: RepoStats::default(),
    };
    agent.report(house, vec![AgentMessage::RepoStats(opened)]).await;
    (agent, repo, group)
}

/// Runs whatever the host has to do at present.
pub(crate) async fn settle(house: &House, agent: &mut Agent) {
    loop {
        let commands = look(house).await;
        if commands.is_empty() {
            return;
        }
        for command in commands {
            agent.run(house, command.job_id).await;
        }
    }
}

pub(crate) async fn set(house: &House, repo: RepoId, change: impl FnOnce(&mut MaintenanceSettings)) {
    let mut settings = house.app.maintenance(repo).await.unwrap();
    change(&mut settings);
    house.app.put_maintenance(&house.caller, repo, settings).await.unwrap();
}

/// Only this kind fires.
pub(crate) async fn only(house: &House, repo: RepoId, kind: MaintenanceKind) {
    set(house, repo, |settings| {
        settings.policy.forget.enabled = kind == MaintenanceKind::Forget;
        settings.policy.prune.enabled = kind == MaintenanceKind::Prune;
        settings.policy.check.enabled = kind == MaintenanceKind::Check;
    })
    .await;
}

pub(crate) async fn set_admin(house: &House, repo: RepoId) {
    let written = house.app.put_admin_credential(&house.caller, repo, admin()).await.unwrap();
    assert!(matches!(written, AdminCredentialWritten::Changed(_)));
}

pub(crate) async fn hold(house: &House, repo: RepoId, kind: MaintenanceKind) -> Option<Hold> {
    let why = house.app.why(repo).await.unwrap();
    why.kinds.into_iter().find(|view| view.kind == kind).unwrap().hold
}

pub(crate) async fn jobs(house: &House, repo: RepoId, kind: JobKind) -> Vec<Job> {
    let filter = JobFilter { repo_id: Some(repo), kind: Some(kind), ..JobFilter::default() };
    let rows = house.store.jobs(&filter, PageRequest::first(500)).await.unwrap().items;
    rows.into_iter().rev().map(|row| row.job).collect()
}

pub(crate) fn kinds(commands: &[CommandRun]) -> Vec<JobKind> {
    commands.iter().map(|command| command.spec.kind()).collect()
}

pub(crate) async fn press(house: &House, repo: RepoId, ask: MaintenanceAsk) -> JobId {
    house.app.ask_maintenance(&house.caller, repo, ask).await.unwrap().job_id
}

pub(crate) async fn refusal(house: &House, repo: RepoId, ask: MaintenanceAsk) -> (String, String) {
    let error = house.app.ask_maintenance(&house.caller, repo, ask).await.unwrap_err();
    (error.code().to_owned(), error.to_string())
}
