//! The engine and the façade over the memory store, with agents that are a list of messages: no HTTP, no process, no real time.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use restic_manager_core::api::{
    AttachmentWrite, CredentialWrite, RepoWrite, ScheduleWrite, SourceGroupWrite,
};
use restic_manager_core::id::{EnrollmentId, GroupId, HostId, JobId, RepoId, SpoolId, UserId};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName, SourcePath};
use restic_manager_core::time::{HOUR, MINUTE, SECOND, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::{App, Caller};
use restic_manager_server::clock::{Clock, ManualClock};
use restic_manager_server::engine::{Dispatch, Engine, HelloRefused, Incoming, SendError};
use restic_manager_server::random::{Random, SeededRandom};
use restic_manager_server::vault::Vault;
use restic_manager_store::{
    AuditFilter, EnrollOutcome, EnrollmentRow, MemoryStore, PageRequest, Store, TokenHash,
};

/// Connections that only remember what was sent.
#[derive(Default)]
struct Wires {
    epochs: Mutex<BTreeMap<HostId, i64>>,
    sent: Mutex<Vec<(HostId, ServerMessage)>>,
    closed: Mutex<Vec<HostId>>,
    broken: Mutex<bool>,
}

#[async_trait]
impl Dispatch for Wires {
    fn epoch(&self, host_id: HostId) -> Option<i64> {
        self.epochs.lock().unwrap().get(&host_id).copied()
    }
    fn connected(&self) -> usize {
        self.epochs.lock().unwrap().len()
    }
    async fn send(&self, host_id: HostId, epoch: i64, message: ServerMessage) -> Result<(), SendError> {
        if *self.broken.lock().unwrap() || self.epoch(host_id) != Some(epoch) {
            return Err(SendError::Offline);
        }
        self.sent.lock().unwrap().push((host_id, message));
        Ok(())
    }
    fn close(&self, host_id: HostId, _epoch: i64, _why: Option<WireError>) {
        self.epochs.lock().unwrap().remove(&host_id);
        self.closed.lock().unwrap().push(host_id);
    }
}

struct House {
    app: App,
    engine: Arc<Engine>,
    store: Arc<dyn Store>,
    wires: Arc<Wires>,
    clock: Arc<ManualClock>,
    random: Arc<SeededRandom>,
    caller: Caller,
}

impl House {
    fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let wires = Arc::new(Wires::default());
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_795_000_000_000)));
        let random = Arc::new(SeededRandom::new(7));
        let engine = Arc::new(Engine::new(
            Arc::clone(&store),
            Arc::clone(&wires) as Arc<dyn Dispatch>,
            Arc::new(Vault::in_memory()),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&random) as Arc<dyn Random>,
        ));
        let app = App::new(
            Arc::clone(&store),
            Arc::clone(&engine),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&random) as Arc<dyn Random>,
        );
        let caller = Caller {
            user_id: UserId::mint(clock.now(), random.id_bytes()),
            username: LoginName::new("ada").unwrap(),
        };
        Self { app, engine, store, wires, clock, random, caller }
    }

    /// An enrolled host that was never connected.
    async fn host(&self, name: &str) -> Host {
        let now = self.clock.now();
        let host = Host {
            id: HostId::mint(now, self.random.id_bytes()),
            name: DisplayName::new(name).unwrap(),
            tags: Vec::new(),
            facts: HostFacts { machine_id: Some(format!("machine-{name}")), ..HostFacts::default() },
            limit_upload_kib: None,
            limit_download_kib: None,
            created_at: now,
            last_seen_at: None,
            schedule_version: 0,
            schedule_version_acked: 0,
            revision: 0,
        };
        let mut hash = [0; 32];
        self.random.fill(&mut hash);
        let audit = |action: &str| AuditEntry {
            id: restic_manager_core::id::AuditId::mint(now, self.random.id_bytes()),
            at: now,
            actor: Actor::system(),
            action: action.into(),
            subject_kind: "host".into(),
            subject_id: host.id.to_string(),
            detail: serde_json::Map::new(),
        };
        let row = EnrollmentRow {
            id: EnrollmentId::mint(now, self.random.id_bytes()),
            hash: TokenHash(hash),
            host_name: None,
            created_at: now,
            expires_at: now + HOUR,
            used_at: None,
        };
        self.store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
        let mut agent = [0; 32];
        self.random.fill(&mut agent);
        let outcome = self
            .store
            .enroll(&TokenHash(hash), host.clone(), TokenHash(agent), now, audit("host.enrolled"))
            .await
            .unwrap();
        assert_eq!(outcome, EnrollOutcome::Enrolled);
        self.store.host(host.id).await.unwrap().unwrap()
    }

    fn hello(&self, host: &Host, spool: SpoolId) -> Hello {
        Hello {
            protocol: PROTOCOL,
            versions: AgentVersions {
                agent: "0.1.0".into(),
                restic: Some("0.19.1".into()),
                restic_problem: None,
                os: "linux".into(),
                arch: "x86_64".into(),
            },
            machine_id: host.facts.machine_id.clone().unwrap(),
            boot_id: "boot".into(),
            os_hostname: "os".into(),
            clock: self.clock.now(),
            spool_id: spool,
            first_seq: 1,
            last_seq: 0,
            running_jobs: Vec::new(),
            spooled_jobs: Vec::new(),
            claims: Vec::new(),
            schedule_version: 0,
        }
    }

    async fn connect(&self, host: &Host, hello: &Hello) -> Vec<ServerMessage> {
        let greeting = self
            .engine
            .hello(host, hello, |epoch| {
                self.wires.epochs.lock().unwrap().insert(host.id, epoch);
            })
            .await
            .unwrap();
        self.engine.init_unopened(host.id).await.unwrap();
        greeting.messages
    }

    fn leave(&self, host: &Host) {
        self.wires.epochs.lock().unwrap().remove(&host.id);
    }

    async fn attach(&self, host: &Host, repo: RepoId, role: Role) {
        let write = AttachmentWrite {
            role,
            restic_host: None,
            append_only: None,
            credential: Some(CredentialWrite {
                url: "rest:http://web1:planted-rest@127.0.0.1:8000/r/".into(),
                password: Secret::new("planted-password"),
                rest_user: None,
                rest_password: None,
                env: BTreeMap::new(),
            }),
        };
        self.app.put_attachment(&self.caller, host.id, repo, write).await.unwrap();
    }

    async fn repo(&self, name: &str) -> RepoId {
        let write = RepoWrite { name: DisplayName::new(name).unwrap() };
        self.app.create_repo(&self.caller, write).await.unwrap().repo.id
    }

    async fn group(&self, host: &Host, name: &str) -> GroupId {
        let write = SourceGroupWrite {
            name: DisplayName::new(name).unwrap(),
            tag: None,
            includes: vec![SourcePath::new("/srv").unwrap()],
            excludes: Vec::new(),
            options: BackupOptions::default(),
            keep: restic_manager_core::retention::KeepPolicy::default(),
            retry_max: 3,
            retry_backoff_seconds: 60,
        };
        self.app.create_group(&self.caller, host.id, write).await.unwrap().id
    }

    fn take_commands(&self) -> Vec<CommandRun> {
        let sent = std::mem::take(&mut *self.wires.sent.lock().unwrap());
        sent.into_iter()
            .filter_map(|(_, message)| match message {
                ServerMessage::CommandRun(run) => Some(*run),
                _ => None,
            })
            .collect()
    }

    async fn report(
        &self,
        host: &Host,
        spool: SpoolId,
        from: u64,
        messages: Vec<AgentMessage>,
    ) -> Vec<(u64, String)> {
        let incoming = messages
            .into_iter()
            .enumerate()
            .map(|(n, message)| Incoming::Message { seq: from + n as u64, message })
            .collect();
        self.engine.ingest(host.id, spool, incoming).await.unwrap()
    }

    async fn state(&self, job: JobId) -> JobState {
        self.store.job(job).await.unwrap().unwrap().job.state
    }

    async fn audited(&self, action: &str) -> usize {
        let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
        self.store.audit(&filter, PageRequest::first(100)).await.unwrap().items.len()
    }

    /// A connected host with a repository and a group, its init job already over.
    async fn ready(&self) -> (Host, RepoId, GroupId, SpoolId) {
        let host = self.host("web1").await;
        let spool = SpoolId::mint(self.clock.now(), self.random.id_bytes());
        self.connect(&host, &self.hello(&host, spool)).await;
        let repo = self.repo("vault").await;
        self.attach(&host, repo, Role::Primary).await;
        let group = self.group(&host, "Home").await;
        self.engine.tick().await.unwrap();
        let init = self.take_commands().pop().expect("the repository is initialised by itself");
        assert_eq!(init.spec, JobSpec::Init);
        self.report(
            &host,
            spool,
            1,
            vec![started(init.job_id), finished(init.job_id, FinalState::Succeeded)],
        )
        .await;
        (host, repo, group, spool)
    }
}

fn started(job_id: JobId) -> AgentMessage {
    AgentMessage::JobStarted(JobStarted { job_id, at: Timestamp::from_millis(1_795_000_001_000) })
}

fn finished(job_id: JobId, state: FinalState) -> AgentMessage {
    let class = match state {
        FinalState::Succeeded => OutcomeClass::Ok,
        FinalState::Warning => OutcomeClass::Partial,
        FinalState::Failed => OutcomeClass::WrongPassword,
        FinalState::Cancelled => OutcomeClass::Cancelled,
    };
    AgentMessage::JobFinished(Box::new(JobFinished {
        job_id,
        at: Timestamp::from_millis(1_795_000_002_000),
        state,
        class,
        exit_code: Some(0),
        message: "said so".into(),
        hint: None,
        summary: JobSummary { snapshot_id: Some("a".repeat(64)), ..JobSummary::default() },
        run: None,
    }))
}

#[tokio::test]
async fn hello_brings_welcome_first_then_credentials_and_the_plan() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let messages = house.connect(&host, &house.hello(&host, spool)).await;
    let kinds: Vec<&str> = messages
        .iter()
        .map(|message| match message {
            ServerMessage::Welcome(_) => "welcome",
            ServerMessage::ConfigUpdate(_) => "config.update",
            ServerMessage::ScheduleSet(_) => "schedule.set",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["welcome", "config.update", "schedule.set"]);
    let ServerMessage::Welcome(welcome) = &messages[0] else { unreachable!() };
    assert_eq!(welcome.acked_seq, 2, "the two reports of the init job are committed");
    let ServerMessage::ConfigUpdate(update) = &messages[1] else { unreachable!() };
    let credential = update.credential.as_ref().unwrap();
    assert_eq!((update.repo_id, credential.url.as_str()), (repo, "rest:http://127.0.0.1:8000/r/"));
    assert_eq!(credential.rest_user.as_deref(), Some("web1"));
    assert_eq!(credential.rest_password.as_ref().unwrap().expose(), "planted-rest");
    let ServerMessage::ScheduleSet(plan) = &messages[2] else { unreachable!() };
    assert_eq!(plan.groups[0].group_id, group);
    assert_eq!(plan.schedule_version, house.store.host(host.id).await.unwrap().unwrap().schedule_version);
}

#[tokio::test]
async fn a_backup_goes_from_the_button_to_its_final_state() {
    let house = House::new();
    let (host, repo, group, spool) = house.ready().await;
    let accepted = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    assert_eq!(accepted.len(), 1);
    let job_id = accepted[0].job_id;
    assert_eq!(house.state(job_id).await, JobState::Queued);
    house.engine.tick().await.unwrap();
    let command = house.take_commands().pop().unwrap();
    assert_eq!((command.job_id, command.repo_id, command.restic_host.as_str()), (job_id, repo, "web1"));
    assert!(matches!(&command.spec, JobSpec::Backup(spec) if spec.tag.as_str() == "home"));
    assert_eq!(house.state(job_id).await, JobState::Dispatched);
    let line = LogLine { n: 0, at: house.clock.now(), stream: LogStream::Stdout, text: "hello".into() };
    let log = AgentMessage::LogStream(LogBatch { job_id, lines: vec![line.clone()] });
    let done = vec![started(job_id), log, finished(job_id, FinalState::Succeeded)];
    assert!(house.report(&host, spool, 3, done).await.is_empty());
    let view = house.app.job(job_id).await.unwrap();
    assert_eq!(view.job.state, JobState::Succeeded);
    assert_eq!(view.job.summary.unwrap().snapshot_id, Some("a".repeat(64)));
    assert_eq!(house.app.job_log(job_id, 0, 100).await.unwrap().lines, [line]);
}

#[tokio::test]
async fn pressing_run_twice_gives_the_same_job() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let first = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    let second = house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    assert_eq!(first[0].job_id, second[0].job_id);
    assert!(!first[0].existing && second[0].existing);
    assert_eq!(house.audited("job.asked").await, 2, "one for init, one for the backup");
}

#[tokio::test]
async fn running_a_group_of_a_host_that_is_away_leaves_no_job_behind() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    house.leave(&host);
    let error = house.app.run_group(&house.caller, host.id, group, None).await.unwrap_err();
    assert_eq!(error.code(), "host_offline");
    assert!(error.body().message.contains("web1") && error.body().hint.is_some());
    assert!(house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test]
async fn a_send_that_fails_leaves_the_job_waiting_and_only_once() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    *house.wires.broken.lock().unwrap() = true;
    let report = house.engine.tick().await.unwrap();
    assert_eq!(report.sent, 0);
    assert_eq!(house.state(job_id).await, JobState::Queued);
    *house.wires.broken.lock().unwrap() = false;
    house.engine.tick().await.unwrap();
    let commands = house.take_commands();
    assert_eq!(commands.iter().map(|command| command.job_id).collect::<Vec<_>>(), [job_id]);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_sent_the_command_again_and_then_given_up() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    assert_eq!(house.take_commands().len(), 1);
    house.clock.advance(6 * SECOND);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.take_commands().len(), 1, "the same command again");
    house.clock.advance(10 * SECOND);
    house.engine.sweep().await.unwrap();
    assert_eq!(*house.wires.closed.lock().unwrap(), [host.id]);
    assert_eq!(house.state(job_id).await, JobState::Queued);
    house.engine.tick().await.unwrap();
    assert_eq!(house.engine.hold(job_id), Some(Hold::HostOffline));
}

#[tokio::test]
async fn an_operators_job_that_never_starts_is_withdrawn_after_an_hour() {
    let house = House::new();
    let (host, _, group, _) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.leave(&host);
    house.clock.advance(59 * MINUTE);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.state(job_id).await, JobState::Queued);
    house.clock.advance(2 * MINUTE);
    house.engine.sweep().await.unwrap();
    assert_eq!(house.state(job_id).await, JobState::Withdrawn);
}

#[tokio::test]
async fn a_schedule_that_fires_twice_makes_one_run_and_a_later_finish_changes_nothing() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let write = ScheduleWrite {
        name: DisplayName::new("nightly").unwrap(),
        cron: "0 3 * * *".parse().unwrap(),
        timezone: "UTC".parse().unwrap(),
        enabled: true,
        group_ids: vec![group],
        repo_ids: None,
    };
    let schedule = house.app.create_schedule(&house.caller, host.id, write).await.unwrap();
    let fire = || {
        AgentMessage::ScheduleFire(ScheduleFire {
            schedule_id: schedule.schedule.id,
            slot: schedule.upcoming[0],
            missed: 0,
        })
    };
    house.report(&host, spool, 3, vec![fire(), fire()]).await;
    house.engine.tick().await.unwrap();
    let commands = house.take_commands();
    assert_eq!(commands.len(), 1);
    let run = commands[0].run.expect("a scheduled run carries its key");
    assert_eq!(
        (run.schedule_id, run.group_id, run.slot),
        (schedule.schedule.id, group, schedule.upcoming[0])
    );
    let job_id = commands[0].job_id;
    house.report(&host, spool, 5, vec![started(job_id), finished(job_id, FinalState::Succeeded)]).await;
    let rejected = house.report(&host, spool, 7, vec![finished(job_id, FinalState::Failed)]).await;
    assert_eq!(rejected.len(), 1, "a late report changes nothing and says so");
    let job = house.store.job(job_id).await.unwrap().unwrap().job;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(house.store.run(job.run_id.unwrap()).await.unwrap().unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_schedule_that_is_gone_is_set_aside_by_name() {
    let house = House::new();
    let (host, _, _, spool) = house.ready().await;
    let schedule_id = restic_manager_core::id::ScheduleId::mint(house.clock.now(), [9; 10]);
    let fire = AgentMessage::ScheduleFire(ScheduleFire { schedule_id, slot: house.clock.now(), missed: 0 });
    house.report(&host, spool, 3, vec![fire]).await;
    assert_eq!(house.audited("message.set_aside").await, 1);
    assert!(house.store.admission_view().await.unwrap().queued.is_empty());
}

#[tokio::test]
async fn a_running_job_the_agent_does_not_know_is_lost_and_one_it_never_got_waits_again() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.leave(&host);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Queued, "dispatched, but it never arrived");
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id)]).await;
    house.leave(&host);
    let mut knows = house.hello(&host, spool);
    knows.running_jobs = vec![RunningJob { job_id, started_at: house.clock.now() }];
    house.connect(&host, &knows).await;
    assert_eq!(house.state(job_id).await, JobState::Running, "the agent still has it");
    house.leave(&host);
    house.connect(&host, &house.hello(&host, spool)).await;
    assert_eq!(house.state(job_id).await, JobState::Lost);
}

#[tokio::test]
async fn a_cancel_reaches_the_agent_at_once_and_again_at_hello() {
    let house = House::new();
    let (host, _, group, spool) = house.ready().await;
    let job_id = house.app.run_group(&house.caller, host.id, group, None).await.unwrap()[0].job_id;
    house.engine.tick().await.unwrap();
    house.report(&host, spool, 3, vec![started(job_id)]).await;
    house.app.cancel_job(&house.caller, job_id).await.unwrap();
    let cancel = ServerMessage::CommandCancel(CommandCancel { job_id });
    assert!(house.wires.sent.lock().unwrap().contains(&(host.id, cancel.clone())));
    let mut knows = house.hello(&host, spool);
    knows.running_jobs = vec![RunningJob { job_id, started_at: house.clock.now() }];
    assert!(house.connect(&host, &knows).await.contains(&cancel));
    house.report(&host, spool, 4, vec![finished(job_id, FinalState::Cancelled)]).await;
    assert_eq!(house.state(job_id).await, JobState::Cancelled);
    let error = house.app.cancel_job(&house.caller, job_id).await.unwrap_err();
    assert_eq!(error.code(), "job_over");
}

#[tokio::test]
async fn a_cloned_machine_is_refused_by_name_and_changes_nothing() {
    let house = House::new();
    let (host, _, _, spool) = house.ready().await;
    let host = house.store.host(host.id).await.unwrap().unwrap();
    let mut clone = house.hello(&host, spool);
    clone.machine_id = "another".into();
    let refused = house.engine.hello(&host, &clone, |_| panic!("it must not be taken")).await.unwrap_err();
    let HelloRefused::Told(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code, "identity_in_use");
    assert_eq!(house.audited("host.identity_refused").await, 1);
    assert_eq!(house.store.host(host.id).await.unwrap().unwrap().facts.machine_id, host.facts.machine_id);
}

#[tokio::test]
async fn two_hosts_share_a_repository_and_the_names_of_their_snapshots_differ() {
    let house = House::new();
    let (_, repo, _, _) = house.ready().await;
    let other = house.host("web2").await;
    let spool = SpoolId::mint(house.clock.now(), house.random.id_bytes());
    house.connect(&other, &house.hello(&other, spool)).await;
    house.attach(&other, repo, Role::Primary).await;
    let rows = house.store.attachments_of_repos(&[repo]).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.attachment.restic_host.as_str()).collect();
    assert_eq!(names, ["web1", "web2"]);
}

#[tokio::test]
async fn what_is_refused_names_the_thing_and_the_remedy() {
    let house = House::new();
    let (host, repo, group, _) = house.ready().await;
    let write = ScheduleWrite {
        name: DisplayName::new("nightly").unwrap(),
        cron: "0 3 * * *".parse().unwrap(),
        timezone: "UTC".parse().unwrap(),
        enabled: true,
        group_ids: vec![group],
        repo_ids: None,
    };
    house.app.create_schedule(&house.caller, host.id, write).await.unwrap();
    let in_use = house.app.delete_group(&house.caller, host.id, group).await.unwrap_err();
    assert_eq!(in_use.code(), "group_in_use");
    assert!(in_use.body().message.contains("`nightly`"));
    let attached = house.app.delete_repo(&house.caller, repo).await.unwrap_err();
    assert_eq!(attached.code(), "has_attachments");
    house.app.run_group(&house.caller, host.id, group, None).await.unwrap();
    let busy = house.app.delete_host(&house.caller, host.id).await.unwrap_err();
    assert_eq!(busy.code(), "has_jobs");
}

#[tokio::test]
async fn no_secret_reaches_the_audit_log_or_an_answer() {
    let house = House::new();
    let (host, repo, ..) = house.ready().await;
    let rows = house.store.audit(&AuditFilter::default(), PageRequest::first(500)).await.unwrap();
    let shown = house.app.attachment(host.id, repo).await.unwrap();
    let text =
        format!("{}{}", serde_json::to_string(&rows.items).unwrap(), serde_json::to_string(&shown).unwrap());
    assert!(!text.contains("planted"), "{text}");
    assert!(text.contains("rest:http://127.0.0.1:8000/r/"));
}
