//! The agent at work: one loop over the server's session, its jobs, the clock and the wish to stop.
//!
//! One thread; one backup at a time, and some maintenance beside it. What must not be lost goes to the [spool](crate::spool) before anything else; the
//! [session](crate::session) sends it from there. Without a server the loop goes on all the same.

mod clockwatch;
mod commands;
mod contact;
mod jobs;
mod lanes;
mod own;
mod runner;
mod status;
mod tick;
mod told;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use restic_manager_core::duty::{OFFLINE_GRACE, SETTLE};
use restic_manager_core::id::JobId;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, AgentVersions, Hello, PROTOCOL, RunningJob};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::ledger::{Ledger, LedgerError};
use crate::secrets::{Secrets, SecretsError};
use crate::server_url::{PlainHttp, ServerUrl, ServerUrlError};
use crate::session::{Session, SessionEvent};
use crate::spool::{DEFAULT_LIMIT, Spool, SpoolError};
use crate::state::{Enrolment, Identity, StateDir, StateError, StateLock};
use clockwatch::ClockWatch;
use contact::LastContact;
pub(crate) use contact::forget_contact;
pub use contact::{ALONE_FOR_TOO_LONG, last_contact};
use lanes::Lanes;
use own::Own;
pub use runner::{Assignment, JobRunner, ResticRunner, ResticSeen};
pub use status::{LastError, NextSlot, RunningNow, Status, WaitingRun};
use tick::{Timers, take_in_fires};
use told::Told;

/// Where an agent lives, and how it behaves.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Its state directory.
    pub state_dir: PathBuf,
    /// The key of its secrets, apart from the state directory.
    pub key_file: PathBuf,
    /// The server, in place of the one it was enrolled at.
    pub server: Option<ServerUrl>,
    /// Whether secrets may cross a network in the clear.
    pub plain_http: PlainHttp,
    /// What happens to running jobs when the agent stops.
    pub on_stop: OnStop,
    /// How many bytes of unacknowledged messages are kept.
    pub spool_limit: u64,
    /// How long it waits for its server before it does a slot by itself.
    pub offline_grace: Duration,
    /// How long a machine that woke up, or an agent that was started, leaves slots alone that came meanwhile.
    pub settle: Duration,
    /// After how long without any session scheduled backups stop; none for never.
    pub stop_without_server_after: Option<Duration>,
}

impl AgentConfig {
    /// What an agent does when nobody says otherwise: it talks to the server of its enrolment, over plain HTTP on this machine only, leaves jobs
    /// running when it stops, keeps [`DEFAULT_LIMIT`] bytes of messages, and waits [`OFFLINE_GRACE`] and [`SETTLE`].
    pub const fn new(state_dir: PathBuf, key_file: PathBuf) -> Self {
        Self {
            state_dir,
            key_file,
            server: None,
            plain_http: PlainHttp::LoopbackOnly,
            on_stop: OnStop::LeaveJob,
            spool_limit: DEFAULT_LIMIT,
            offline_grace: Duration::from_millis(OFFLINE_GRACE as u64),
            settle: Duration::from_millis(SETTLE as u64),
            stop_without_server_after: None,
        }
    }
}

/// What happens to running jobs when the agent stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It runs on, and the next agent takes it over.
    LeaveJob,
    /// It is cancelled gently, and the agent waits for its end.
    EndJob,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The server's address.
    #[error(transparent)]
    Server(#[from] ServerUrlError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl AgentError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::Secrets(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Spool(_) | Self::Ledger(_) => Some("look after the disk of the state directory".to_owned()),
        }
    }
}

/// An agent that is ready to run.
pub struct Agent<R> {
    state: StateDir,
    enrolment: Enrolment,
    server: ServerUrl,
    identity: Identity,
    secrets: Secrets,
    spool: Spool,
    ledger: Ledger,
    session: Session,
    runner: Arc<R>,
    on_stop: OnStop,
    stopping: bool,
    restic: ResticSeen,
    looking: Option<JoinHandle<ResticSeen>>,
    lanes: Lanes,
    /// Messages for which the disk had no room yet, in order.
    unsaid: VecDeque<AgentMessage>,
    told: Told,
    own: Own,
    contact: LastContact,
    clock: ClockWatch,
    settle: i64,
    timers: Timers,
    started_at: Timestamp,
    connected: Option<(Timestamp, i64)>,
    last_error: Option<LastError>,
    // Last: given back when everything else is closed.
    _lock: StateLock,
}

enum Event {
    Stop,
    Session(SessionEvent),
    Job(JobId, Option<AgentMessage>),
    Looked(ResticSeen),
    Time,
}

impl<R: JobRunner> Agent<R> {
    /// Opens everything that an enrolled agent needs; nothing runs yet.
    ///
    /// # Errors
    ///
    /// It is not enrolled, another agent runs in the directory, or a file is damaged; [`AgentError::hint`] says what to do.
    pub fn open(config: AgentConfig, runner: R) -> Result<Self, AgentError> {
        let clocks = clock::read();
        let now = clocks.wall;
        let state = StateDir::open(&config.state_dir)?;
        let enrolment = Enrolment::load(&state)?;
        let lock = state.lock()?;
        let server = config.server.unwrap_or_else(|| enrolment.server.clone());
        server.check(config.plain_http)?;
        let secrets = Secrets::open(&state.join("secrets.age"), &config.key_file)?;
        let token = secrets.token()?.clone();
        let identity = Identity::of_this_machine(&state)?;
        if identity.machine_id != enrolment.machine_id {
            warn!("this is not the machine the agent was enrolled on; if it is a clone, enrol it on its own");
        }
        let spool = Spool::open(&state.folder("spool")?, config.spool_limit, now)?;
        let mut ledger = Ledger::open(&state.folder("plan")?, now)?;
        take_in_fires(&spool, &mut ledger);
        state.folder("jobs")?;
        Ok(Self {
            session: Session::new(server.clone(), token, &spool),
            contact: LastContact::load(&state, clocks.boot),
            own: Own::new(config.offline_grace, config.stop_without_server_after, now, clocks.boot),
            settle: i64::try_from(config.settle.as_millis()).unwrap_or(i64::MAX),
            state,
            enrolment,
            server,
            identity,
            secrets,
            spool,
            ledger,
            runner: Arc::new(runner),
            on_stop: config.on_stop,
            stopping: false,
            restic: ResticSeen::default(),
            looking: None,
            lanes: Lanes::default(),
            unsaid: VecDeque::new(),
            told: Told::default(),
            clock: ClockWatch::new(clocks),
            timers: Timers::new(clocks.boot),
            started_at: now,
            connected: None,
            last_error: None,
            _lock: lock,
        })
    }

    /// Works until `stop` is cancelled; then everything is on disk, and the server was told goodbye.
    ///
    /// Must run within a tokio runtime; dropping the future is a crash, which the next agent recovers from.
    pub async fn run(mut self, stop: CancellationToken) {
        info!(host = %self.enrolment.host_id, server = %self.server, "the agent starts");
        self.look_first(&stop).await;
        self.take_over();
        self.tick();
        while !self.is_done() {
            let pause = self.pause();
            let event = tokio::select! {
                () = stop.cancelled(), if !self.stopping => Event::Stop,
                event = self.session.next(&mut self.spool) => Event::Session(event),
                (job, message) = self.lanes.next_message(&self.unsaid) => Event::Job(job, message),
                seen = looked(&mut self.looking) => Event::Looked(seen),
                () = tokio::time::sleep(pause) => Event::Time,
            };
            match event {
                Event::Stop => self.begin_to_stop(),
                Event::Session(event) => self.session_event(event),
                Event::Job(job, message) => self.job_said(job, message),
                Event::Looked(seen) => self.saw_restic(seen),
                Event::Time => {}
            }
            self.tick();
        }
        self.end().await;
    }

    /// The first hello shall know of restic, but a restic that hangs holds nothing up.
    async fn look_first(&mut self, stop: &CancellationToken) {
        let runner = Arc::clone(&self.runner);
        let mut looking = tokio::spawn(async move { runner.look().await });
        tokio::select! {
            seen = &mut looking => self.saw_restic(seen.unwrap_or_default()),
            () = tokio::time::sleep(FIRST_LOOK) => self.looking = Some(looking),
            () = stop.cancelled() => {}
        }
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        info!(jobs = self.lanes.iter().count(), "the agent stops");
        for job in self.lanes.iter() {
            match self.on_stop {
                OnStop::EndJob => {
                    info!(job = %job.id(), "a job is ended first");
                    job.cancel();
                }
                OnStop::LeaveJob => info!(job = %job.id(), "a job runs on; the next agent takes it over"),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.stopping && (self.lanes.is_empty() || self.on_stop == OnStop::LeaveJob)
    }

    async fn end(mut self) {
        self.leave_jobs();
        self.retry_unsaid();
        if let Err(error) = self.spool.sync() {
            warn!(%error, "the spool cannot be synced");
        }
        self.session_gone();
        self.write_status();
        // What does not get through in time is said by the next agent.
        let _ = tokio::time::timeout(LAST_WORDS, self.session.flush(&mut self.spool)).await;
        self.session.close().await;
    }

    fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::HelloWanted => {
                let hello = self.hello();
                self.session.say_hello(hello);
            }
            SessionEvent::Delivered(message) => self.server_said(message),
            SessionEvent::NotUnderstood(job) => self.refuse_unknown(job),
            SessionEvent::Acknowledged(seq) => self.acknowledged(seq),
            SessionEvent::Down { why, code } => {
                self.secrets.forget_passing();
                self.session_gone();
                self.coded_trouble(code, why);
            }
        }
    }

    fn hello(&self) -> Hello {
        let mut spooled_jobs = self.spool.spooled_jobs();
        // An end that the disk had no room for is told as soon as it has.
        let told = |message: &AgentMessage| match message {
            AgentMessage::JobFinished(finished) => Some(finished.job_id),
            AgentMessage::JobRefused(refused) => Some(refused.job_id),
            AgentMessage::Hello(_)
            | AgentMessage::Heartbeat(_)
            | AgentMessage::ScheduleFire(_)
            | AgentMessage::ScheduleAck(_)
            | AgentMessage::JobStarted(_)
            | AgentMessage::JobProgress(_)
            | AgentMessage::LogStream(_)
            | AgentMessage::LogGap(_)
            | AgentMessage::RepoStats(_)
            | AgentMessage::SnapshotsReport(_) => None,
        };
        spooled_jobs.extend(self.unsaid.iter().filter_map(told));
        spooled_jobs.sort_unstable();
        spooled_jobs.dedup();
        own::leave_out_old(&mut spooled_jobs, |job| self.ledger.own_claim(job).is_some());
        let running = self.lanes.iter().filter(|job| !spooled_jobs.contains(&job.id()));
        let running_jobs =
            running.map(|job| RunningJob { job_id: job.id(), started_at: job.since() }).collect();
        Hello {
            protocol: PROTOCOL,
            versions: AgentVersions {
                agent: env!("CARGO_PKG_VERSION").to_owned(),
                restic: self.restic.version.clone(),
                restic_problem: self.restic.problem.clone(),
                os: std::env::consts::OS.to_owned(),
                arch: std::env::consts::ARCH.to_owned(),
            },
            machine_id: self.identity.machine_id.clone(),
            boot_id: self.identity.boot_id.clone(),
            os_hostname: self.identity.os_hostname.clone(),
            clock: clock::wall(),
            spool_id: self.spool.id(),
            first_seq: self.spool.forgotten() + 1,
            last_seq: self.spool.last_seq(),
            running_jobs,
            claims: self.ledger.claims(&spooled_jobs),
            spooled_jobs,
            schedule_version: self.schedule_version(),
        }
    }

    fn schedule_version(&self) -> i64 {
        self.ledger.plan().map_or(0, |plan| plan.schedule_version)
    }

    /// Remembers what went wrong, for `status`.
    fn trouble(&mut self, message: String) {
        self.coded_trouble(None, message);
    }

    /// The same with a word for programs.
    fn coded_trouble(&mut self, code: Option<String>, message: String) {
        self.last_error = Some(LastError { at: clock::wall(), code, message });
        self.timers.status_changed();
    }
}

async fn looked(looking: &mut Option<JoinHandle<ResticSeen>>) -> ResticSeen {
    let Some(task) = looking else { return std::future::pending().await };
    let seen = task.await;
    *looking = None;
    seen.unwrap_or_default()
}

/// How long the first hello waits for restic to say its version.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long the last messages may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The longest sleep of the loop: the machine may sleep, and its clock be set, without a timer noticing.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
