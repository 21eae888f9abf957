//! A house without walls: the engine and the façade over the memory store, with agents that are a list of messages.

#![allow(clippy::unwrap_used, dead_code)] // a test that cannot go on panics; each test file uses its own part

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use restic_manager_core::api::{AttachmentWrite, CredentialWrite, RepoWrite, SourceGroupWrite};
use restic_manager_core::id::{EnrollmentId, GroupId, HostId, JobId, RepoId, SpoolId, UserId};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName, SourcePath};
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_core::wire::*;
use restic_manager_server::app::{App, Caller};
use restic_manager_server::clock::{Clock, ManualClock};
use restic_manager_server::engine::{Dispatch, Engine, Incoming, SendError};
use restic_manager_server::random::{Random, SeededRandom};
use restic_manager_server::vault::Vault;
use restic_manager_store::{
    AuditFilter, EnrollOutcome, EnrollmentRow, MemoryStore, PageRequest, Store, TokenHash,
};

/// Connections that only remember what was sent.
#[derive(Default)]
pub(crate) struct Wires {
    pub(crate) epochs: Mutex<BTreeMap<HostId, i64>>,
    pub(crate) sent: Mutex<Vec<(HostId, ServerMessage)>>,
    pub(crate) closed: Mutex<Vec<HostId>>,
    pub(crate) broken: Mutex<bool>,
}

#[async_trait]
impl Dispatch for Wires {
    fn epoch(&self, host_id: HostId) -> Option<i64> {
        self.epochs.lock().unwrap().get(&host_id).copied()
    }
    fn connected(&self) -> usize {
        self.epochs.lock().unwrap().len()
    }
    fn online(&self) -> Vec<HostId> {
        self.epochs.lock().unwrap().keys().copied().collect()
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

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) wires: Arc<Wires>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) caller: Caller,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// The same over a store of the caller's.
    pub(crate) fn over(store: Arc<dyn Store>) -> Self {
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
    pub(crate) async fn host(&self, name: &str) -> Host {
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
            host_id: None,
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

    pub(crate) fn hello(&self, host: &Host, spool: SpoolId) -> Hello {
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
            os_hostname: host.name.to_string(),
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

    pub(crate) async fn connect(&self, host: &Host, hello: &Hello) -> Vec<ServerMessage> {
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

    pub(crate) fn leave(&self, host: &Host) {
        self.wires.epochs.lock().unwrap().remove(&host.id);
    }

    pub(crate) async fn attach(&self, host: &Host, repo: RepoId, role: Role) {
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

    pub(crate) async fn repo(&self, name: &str) -> RepoId {
        let write = RepoWrite { name: DisplayName::new(name).unwrap() };
        self.app.create_repo(&self.caller, write).await.unwrap().repo.id
    }

    pub(crate) async fn group(&self, host: &Host, name: &str) -> GroupId {
        self.keeping_group(host, name, KeepPolicy::default()).await
    }

    /// A source group with a retention policy.
    pub(crate) async fn keeping_group(&self, host: &Host, name: &str, keep: KeepPolicy) -> GroupId {
        let write = SourceGroupWrite {
            name: DisplayName::new(name).unwrap(),
            tag: None,
            includes: vec![SourcePath::new("/srv").unwrap()],
            excludes: Vec::new(),
            options: BackupOptions::default(),
            keep,
            retry_max: 3,
            retry_backoff_seconds: 60,
        };
        self.app.create_group(&self.caller, host.id, write).await.unwrap().id
    }

    pub(crate) fn take_commands(&self) -> Vec<CommandRun> {
        let sent = std::mem::take(&mut *self.wires.sent.lock().unwrap());
        sent.into_iter()
            .filter_map(|(_, message)| match message {
                ServerMessage::CommandRun(run) => Some(*run),
                _ => None,
            })
            .collect()
    }

    pub(crate) async fn report(
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

    pub(crate) async fn state(&self, job: JobId) -> JobState {
        self.store.job(job).await.unwrap().unwrap().job.state
    }

    pub(crate) async fn audited(&self, action: &str) -> usize {
        let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
        self.store.audit(&filter, PageRequest::first(100)).await.unwrap().items.len()
    }

    /// A connected host with a repository and a group, its init job already over.
    pub(crate) async fn ready(&self) -> (Host, RepoId, GroupId, SpoolId) {
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

pub(crate) fn started(job_id: JobId) -> AgentMessage {
    AgentMessage::JobStarted(JobStarted { job_id, at: Timestamp::from_millis(1_795_000_001_000), run: None })
}

pub(crate) fn finished(job_id: JobId, state: FinalState) -> AgentMessage {
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
