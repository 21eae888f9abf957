//! An agent with a state directory of its own, and jobs that do what the test says.

use std::future::Future;

use async_trait::async_trait;
use restic_manager_core::id::{GroupId, HostId, RepoId, ScheduleId};
use restic_manager_core::model::{
    BackupOptions, CredentialKind, CredentialSecret, JobSummary, LogLine, LogStream, RunKey,
};
use restic_manager_core::restic::{OutcomeClass, Progress, Version};
use restic_manager_core::schedule::{Cadence, Zone};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, ResticHost, Tag};
use restic_manager_core::wire::{
    AutoUnlock, BackupSpec, CommandRun, ConfigUpdate, JobProgress, JobSpec, JobStarted, LogBatch,
    PlanSchedule, ScheduleSet,
};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::job::StoredJob;
use crate::restic::ResticBinary;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Fails instead of waiting for ever.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens soon")
}

pub(super) struct World {
    temp: tempfile::TempDir,
    pub(super) on_stop: OnStop,
    pub(super) offline_grace: Duration,
    pub(super) settle: Duration,
    pub(super) stop_after: Option<Duration>,
    jobs: mpsc::UnboundedReceiver<Begun>,
    sender: mpsc::UnboundedSender<Begun>,
    stop: CancellationToken,
    agent: Option<JoinHandle<()>>,
}

/// A job that the agent began.
pub(super) struct Begun {
    pub(super) job: Assignment,
    /// Of a job that was taken over.
    pub(super) stored_lines: Option<Option<u64>>,
    pub(super) cancel: CancellationToken,
    out: mpsc::Sender<AgentMessage>,
    _over: oneshot::Sender<()>,
}

impl Begun {
    pub(super) async fn say(&self, message: AgentMessage) {
        soon(self.out.send(message)).await.unwrap();
    }

    pub(super) const fn id(&self) -> JobId {
        self.job.command.job_id
    }

    pub(super) async fn started(&self) {
        self.say(AgentMessage::JobStarted(JobStarted { job_id: self.id(), at: NOW, run: None })).await;
    }

    /// Ends in a failure of this class at an instant.
    pub(super) async fn fail(self, class: OutcomeClass, at: Timestamp) {
        let finished = JobFinished { job_id: self.id(), class, at, ..finished(0, FinalState::Failed) };
        self.say(AgentMessage::JobFinished(Box::new(finished))).await;
    }

    pub(super) async fn finish(self, state: FinalState) {
        let finished = JobFinished { job_id: self.job.command.job_id, ..finished(0, state) };
        self.say(AgentMessage::JobFinished(Box::new(finished))).await;
    }

    /// Leaves what a real job leaves before it starts restic.
    pub(super) fn write_down(&self) {
        std::fs::create_dir_all(&self.job.dir).unwrap();
        let stored = StoredJob {
            command: self.job.command.clone(),
            accepted_at: NOW,
            restic: ResticBinary::known("/usr/bin/restic", Version::new(0, 18, 0)),
            missing_includes: vec![],
        };
        stored.write(&self.job.dir).unwrap();
    }
}

struct Scripted(mpsc::UnboundedSender<Begun>);

impl Scripted {
    async fn begin(
        &self,
        job: Assignment,
        stored_lines: Option<Option<u64>>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) {
        let (over, done) = oneshot::channel();
        let begun = Begun { job, stored_lines, cancel, out, _over: over };
        self.0.send(begun).map_err(|_| "the test is over").unwrap();
        // Until the test finished the job, or dropped it.
        let _ = done.await;
    }
}

#[async_trait]
impl JobRunner for Scripted {
    async fn look(&self) -> ResticSeen {
        ResticSeen { version: Some("0.18.0".into()), problem: None }
    }

    async fn run(&self, job: Assignment, out: mpsc::Sender<AgentMessage>, cancel: CancellationToken) {
        self.begin(job, None, out, cancel).await;
    }

    async fn resume(
        &self,
        job: Assignment,
        stored_lines: Option<u64>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) {
        self.begin(job, Some(stored_lines), out, cancel).await;
    }
}

impl World {
    pub(super) fn new(server: &Server) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(&temp.path().join("state")).unwrap();
        let identity = Identity::of_this_machine(&state).unwrap();
        let enrolment = Enrolment {
            server: server.url.clone(),
            host_id: HostId::mint(NOW, [9; 10]),
            name: DisplayName::new("host").unwrap(),
            machine_id: identity.machine_id,
            enrolled_at: NOW,
        };
        enrolment.save(&state).unwrap();
        let mut secrets = Secrets::open(&state.join("secrets.age"), &temp.path().join("key")).unwrap();
        secrets.set_token(Secret::new("rma_secret"));
        secrets.save().unwrap();
        let (sender, jobs) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        Self {
            temp,
            on_stop: OnStop::LeaveJob,
            // Long enough for a test that is not about it; no time to settle, as an operator may set it.
            offline_grace: Duration::from_secs(600),
            settle: Duration::ZERO,
            stop_after: None,
            jobs,
            sender,
            stop,
            agent: None,
        }
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    /// What is on disk of the secrets.
    pub(super) fn secrets(&self) -> Secrets {
        Secrets::open(&self.state_dir().join("secrets.age"), &self.temp.path().join("key")).unwrap()
    }

    pub(super) fn open(&self) -> Agent<impl JobRunner> {
        let config = AgentConfig {
            on_stop: self.on_stop,
            offline_grace: self.offline_grace,
            settle: self.settle,
            stop_without_server_after: self.stop_after,
            ..AgentConfig::new(self.temp.path().join("state"), self.temp.path().join("key"))
        };
        Agent::open(config, Scripted(self.sender.clone())).unwrap()
    }

    pub(super) fn start(&mut self) {
        self.stop = CancellationToken::new();
        let agent = self.open();
        self.agent = Some(tokio::spawn(agent.run(self.stop.clone())));
    }

    pub(super) async fn begun(&mut self) -> Begun {
        soon(self.jobs.recv()).await.unwrap()
    }

    pub(super) fn nothing_begun(&mut self) -> bool {
        self.jobs.try_recv().is_err()
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    pub(super) async fn stopped(&mut self) {
        soon(self.agent.take().unwrap()).await.unwrap();
    }

    pub(super) async fn stop(&mut self) {
        self.ask_to_stop();
        self.stopped().await;
    }

    /// Looks at the status file until it says what is awaited.
    pub(super) async fn status_when(&self, is_it: impl Fn(&Status) -> bool) -> Status {
        let state = StateDir::open(&self.temp.path().join("state")).unwrap();
        let mut often = tokio::time::interval(Duration::from_millis(20));
        soon(async {
            loop {
                often.tick().await;
                if let Some(status) = Status::load(&state).unwrap().filter(&is_it) {
                    return status;
                }
            }
        })
        .await
    }
}

pub(super) fn job(n: u8) -> JobId {
    JobId::mint(NOW, [n; 10])
}

pub(super) fn finished(n: u8, state: FinalState) -> JobFinished {
    JobFinished {
        job_id: job(n),
        at: NOW,
        state,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "it is over".into(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }
}

pub(super) fn repo() -> RepoId {
    RepoId::mint(NOW, [1; 10])
}

pub(super) fn run_key() -> RunKey {
    RunKey {
        schedule_id: ScheduleId::mint(NOW, [1; 10]),
        group_id: GroupId::mint(NOW, [1; 10]),
        repo_id: repo(),
        slot: NOW,
    }
}

pub(super) fn command(n: u8, epoch: i64) -> CommandRun {
    CommandRun {
        job_id: job(n),
        epoch,
        repo_id: repo(),
        restic_host: ResticHost::new("host").unwrap(),
        run: None,
        attempt: 1,
        requires_admin_creds: false,
        auto_unlock: AutoUnlock::Off,
        limit_upload_kib: None,
        limit_download_kib: None,
        spec: JobSpec::Stats,
    }
}

pub(super) fn credential(revision: i64) -> ServerMessage {
    update(CredentialKind::Repo, revision, Some("repo-pw"), true)
}

pub(super) fn revocation(revision: i64) -> ServerMessage {
    update(CredentialKind::Repo, revision, None, false)
}

/// The admin credential, which the agent may not keep on disk; none revokes it.
pub(super) fn admin(revision: i64, password: Option<&str>) -> ServerMessage {
    update(CredentialKind::Admin, revision, password, false)
}

fn update(kind: CredentialKind, revision: i64, password: Option<&str>, keep: bool) -> ServerMessage {
    let secret = |password| CredentialSecret {
        url: "/srv/repo".into(),
        password: Secret::new(password),
        rest_user: None,
        rest_password: None,
        env: [].into(),
    };
    ServerMessage::ConfigUpdate(Box::new(ConfigUpdate {
        repo_id: repo(),
        kind,
        revision,
        credential: password.map(secret),
        restic_id: None,
        keep,
    }))
}

/// A job of a kind on one of several repositories.
pub(super) fn command_on(n: u8, repo_n: u8, spec: JobSpec, epoch: i64) -> CommandRun {
    CommandRun { repo_id: RepoId::mint(NOW, [repo_n; 10]), spec, ..command(n, epoch) }
}

pub(super) fn backup() -> JobSpec {
    JobSpec::Backup(BackupSpec {
        tag: Tag::new("t").unwrap(),
        includes: vec![],
        excludes: vec![],
        options: BackupOptions::default(),
    })
}

/// A plan whose only slot of a year lies far from every day on which a test may run twice; with its newest slot and the
/// number of those before it.
pub(super) fn plan_firing_at_new_year(schedule_version: i64) -> (ScheduleSet, Timestamp, u64) {
    let cadence = Cadence { cron: "0 0 1 1 *".parse().unwrap(), zone: Zone::UTC };
    let now = clock::wall();
    let (newest, missed) = (cadence.prev_at_or_before(now).unwrap(), cadence.count_between(NOW, now) - 1);
    let schedule = PlanSchedule {
        schedule_id: ScheduleId::mint(NOW, [1; 10]),
        cron: cadence.cron,
        timezone: cadence.zone,
        since: NOW,
        group_ids: vec![],
        repo_ids: vec![],
    };
    let plan = ScheduleSet {
        schedule_version,
        schedules: vec![schedule],
        groups: vec![],
        repos: vec![],
        limit_upload_kib: None,
        limit_download_kib: None,
    };
    (plan, newest, missed)
}

pub(super) fn started(n: u8) -> AgentMessage {
    AgentMessage::JobStarted(JobStarted { job_id: job(n), at: NOW, run: None })
}

pub(super) fn log(n: u8, line: u64) -> AgentMessage {
    let line = LogLine { n: line, at: NOW, stream: LogStream::Stdout, text: "a line".into() };
    AgentMessage::LogStream(LogBatch { job_id: job(n), lines: vec![line] })
}

pub(super) fn progress(n: u8) -> AgentMessage {
    AgentMessage::JobProgress(JobProgress { job_id: job(n), progress: Progress::default() })
}
