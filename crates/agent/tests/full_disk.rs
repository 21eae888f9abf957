//! An agent whose disk is full, through its start, a backup of its own and the recovery.
//!
//! A limit on the size of files (`RLIMIT_FSIZE`) stands for the full disk: it needs no privilege and is lifted at will. It holds for the whole
//! process, so this file has one test.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod alone_lab;

use std::path::{Path, PathBuf};
use std::time::Duration;

use alone_lab::{Home, THEN, Target, enrolled, told};
use async_trait::async_trait;
use restic_manager_agent::agent::{Agent, AgentConfig, Assignment, JobRunner, ResticSeen, Status};
use restic_manager_agent::ledger::Ledger;
use restic_manager_agent::spool::{DEFAULT_LIMIT, Spool};
use restic_manager_agent::state::StateDir;
use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::{FinalState, JobSummary, LogLine, LogStream};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::slots::Standing;
use restic_manager_core::wire::{AgentMessage, JobFinished, JobStarted, LogBatch};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// No file grows beyond so many bytes; none lifts the limit.
fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

/// A job that the agent began; it is over when this is dropped.
struct Begun {
    id: JobId,
    out: mpsc::Sender<AgentMessage>,
    _over: oneshot::Sender<()>,
}

struct Scripted(mpsc::UnboundedSender<Begun>);

#[async_trait]
impl JobRunner for Scripted {
    async fn look(&self) -> ResticSeen {
        ResticSeen { version: Some("0.18.0".into()), problem: None }
    }

    async fn run(&self, job: Assignment, out: mpsc::Sender<AgentMessage>, _cancel: CancellationToken) {
        let (over, done) = oneshot::channel();
        self.0
            .send(Begun { id: job.command.job_id, out, _over: over })
            .map_err(|_| "the test is over")
            .unwrap();
        let _ = done.await;
    }

    async fn resume(
        &self,
        job: Assignment,
        _stored_lines: Option<u64>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) {
        self.run(job, out, cancel).await;
    }
}

/// An enrolled agent that is alone, and spoke of a job before.
fn alone(root: &Path) -> AgentConfig {
    let target = Target { source: Path::new("/data"), repository: "/srv/repo", password: "pw" };
    let Home { state: state_dir, key_file } = enrolled(root, &target);
    let mut ledger = Ledger::open(&state_dir.join("plan"), THEN).unwrap();
    ledger.fired(ScheduleId::mint(THEN, [7; 10]), THEN).unwrap();
    let folder = StateDir::open(&state_dir).unwrap().folder("spool").unwrap();
    let mut spool = Spool::open(&folder, DEFAULT_LIMIT, THEN).unwrap();
    spool.append(&AgentMessage::JobStarted(JobStarted { job_id: earlier(), at: THEN, run: None })).unwrap();
    AgentConfig {
        offline_grace: Duration::ZERO,
        settle: Duration::ZERO,
        ..AgentConfig::new(state_dir, key_file)
    }
}

fn earlier() -> JobId {
    JobId::mint(THEN, [5; 10])
}

/// Half a line at the end of a file, as a full disk leaves it.
fn tear(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef {\"torn");
    std::fs::write(path, bytes).unwrap();
}

fn log(job_id: JobId, n: u64) -> AgentMessage {
    let line = LogLine { n, at: THEN, stream: LogStream::Stdout, text: format!("line {n}") };
    AgentMessage::LogStream(LogBatch { job_id, lines: vec![line] })
}

fn finished(job_id: JobId) -> AgentMessage {
    AgentMessage::JobFinished(Box::new(JobFinished {
        job_id,
        at: THEN,
        state: FinalState::Succeeded,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "done".into(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }))
}

async fn status_when(state: &Path, is_it: impl Fn(&Status) -> bool) {
    let dir = StateDir::open(state).unwrap();
    let mut often = tokio::time::interval(Duration::from_millis(20));
    let seen = async {
        loop {
            often.tick().await;
            if Status::load(&dir).unwrap().is_some_and(|status| is_it(&status)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("it recovers by itself");
}

#[tokio::test]
async fn an_agent_on_a_full_disk_starts_gives_up_log_lines_alone_and_recovers_by_itself() {
    // Without a handler, whoever meets the limit is killed.
    let _handled = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let config = alone(temp.path());
    let state: PathBuf = config.state_dir.clone();
    tear(&state.join("plan/ledger.log"));
    tear(&state.join("spool/00000000000000000001.seg"));

    limit_files(Some(0));
    let (sender, mut begun) = mpsc::unbounded_channel();
    let agent = Agent::open(config, Scripted(sender)).expect("an agent starts on a full disk");
    let stop = CancellationToken::new();
    let agent = tokio::spawn(agent.run(stop.clone()));
    // It cannot even say that it runs; as soon as it can, it works.
    limit_files(None);
    let begun = tokio::time::timeout(Duration::from_secs(20), begun.recv()).await.unwrap().unwrap();
    let (job, out) = (begun.id, &begun.out);
    out.send(AgentMessage::JobStarted(JobStarted { job_id: job, at: THEN, run: None })).await.unwrap();
    out.send(log(job, 0)).await.unwrap();
    status_when(&state, |status| status.spooled_messages > 0 && status.jobs.len() == 1).await;

    limit_files(Some(0));
    for n in 1..=200 {
        out.send(log(job, n)).await.unwrap();
    }
    out.send(finished(job)).await.unwrap();
    // The agent took it all in, as the channel is empty; nothing of it is on disk.
    while out.capacity() < out.max_capacity() {
        tokio::task::yield_now().await;
    }
    drop(begun);
    limit_files(None);
    status_when(&state, |status| status.jobs.is_empty()).await;
    stop.cancel();
    agent.await.unwrap();

    let ledger = Ledger::open(&state.join("plan"), THEN).unwrap();
    assert_eq!(ledger.standing(job), Some(Standing::Ended(FinalState::Succeeded)));
    let told = told(&state);
    assert!(matches!(&told[0], AgentMessage::JobStarted(started) if started.job_id == earlier()));
    assert!(matches!(told[1], AgentMessage::ScheduleFire(_)));
    assert!(matches!(&told[2], AgentMessage::JobStarted(started) if started.run.is_some()));
    let mut next = 0;
    for message in &told[3..told.len() - 1] {
        let (from, to) = match message {
            AgentMessage::LogStream(batch) => (batch.lines[0].n, batch.lines[0].n + 1),
            AgentMessage::LogGap(gap) => (gap.from, gap.to),
            other => panic!("{other:?}"),
        };
        assert_eq!(from, next, "every line is there or named as missing");
        next = to;
    }
    assert_eq!(next, 201);
    assert!(told.iter().any(|message| matches!(message, AgentMessage::LogGap(_))), "the disk was full");
    let AgentMessage::JobFinished(end) = &told[told.len() - 1] else { panic!("{:?}", told.last()) };
    assert_eq!((end.job_id, end.state, end.run.is_some()), (job, FinalState::Succeeded, true));
}
