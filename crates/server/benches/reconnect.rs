//! How long it takes until all agents of a fleet are heard again after the server came back. Run by hand:
//! `cargo bench -p restic-manager-server --bench reconnect`.
//!
//! 10,000 agents say hello as soon as they can, are greeted, and send 20 spooled messages each: the start of a job, 18 batches of log
//! lines, its end. Prints the time until the last is welcomed and until the last message is acknowledged, on SQLite, without sockets. The
//! database lies in the folder for temporary files (`TMPDIR`): on a disk in memory a sync costs nothing, so point it at a real one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first fault and prints its figures"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use house::{House, finished, started};
use restic_manager_core::id::{JobId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::wire::*;
use restic_manager_server::clock::Clock;
use restic_manager_server::engine::Incoming;
use restic_manager_server::random::Random;
use restic_manager_store::{DispatchIntent, SqliteStore, Store};

#[path = "../tests/house/mod.rs"]
mod house;

const HOSTS: usize = 10_000;
const SPOOLED: u64 = 20;
/// How many agents the server serves at a time: those behind wait in front of its sockets.
const AT_ONCE: usize = 512;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(reconnect());
}

async fn reconnect() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("store.db")).await.unwrap());
    let house = Arc::new(House::over(store));
    let begun = Instant::now();
    let agents = fill(&house).await;
    println!("{HOSTS} hosts with a running job each made in {:.1} s", begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    let welcomed = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let last_welcome = Arc::new(std::sync::Mutex::new(begun));
    let tasks: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let (house, places) = (Arc::clone(&house), Arc::clone(&places));
            let (welcomed, last) = (Arc::clone(&welcomed), Arc::clone(&last_welcome));
            tokio::spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                agent.comes_back(&house, &welcomed, &last).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = begun.elapsed().as_secs_f64();
    let welcome = last_welcome.lock().unwrap().duration_since(begun).as_secs_f64();
    assert_eq!(welcomed.load(Ordering::Relaxed), HOSTS);
    println!("{welcome:>10.1} s until all {HOSTS} agents were welcomed");
    println!(
        "{all:>10.1} s until all {} messages were acknowledged ({:.0} a second)",
        HOSTS as u64 * SPOOLED,
        (HOSTS as u64 * SPOOLED) as f64 / all
    );
}

struct Agent {
    host: Host,
    spool: SpoolId,
    job_id: JobId,
}

impl Agent {
    async fn comes_back(&self, house: &House, welcomed: &AtomicUsize, last: &std::sync::Mutex<Instant>) {
        let mut hello = house.hello(&self.host, self.spool);
        hello.spooled_jobs = vec![self.job_id];
        hello.last_seq = SPOOLED;
        let greeting = house.engine.hello(&self.host, &hello, |_| {}).await.unwrap();
        assert!(matches!(greeting.messages[0], ServerMessage::Welcome(_)));
        if welcomed.fetch_add(1, Ordering::Relaxed) + 1 == HOSTS {
            *last.lock().unwrap() = Instant::now();
        }
        let incoming = (1..=SPOOLED).map(|seq| Incoming::Message { seq, message: self.message(house, seq) });
        let rejected = house.engine.ingest(self.host.id, self.spool, incoming.collect()).await.unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    fn message(&self, house: &House, seq: u64) -> AgentMessage {
        match seq {
            1 => started(self.job_id),
            SPOOLED => finished(self.job_id, FinalState::Succeeded),
            seq => {
                let line = |n| LogLine {
                    n: (seq - 2) * 10 + n,
                    at: house.clock.now(),
                    stream: LogStream::Stdout,
                    text: format!("scan finished in 3.{n} s: 4,711 files, 12.5 GiB, of which some are new"),
                };
                AgentMessage::LogStream(LogBatch { job_id: self.job_id, lines: (0..10).map(line).collect() })
            }
        }
    }
}

async fn fill(house: &House) -> Vec<Agent> {
    let repo = house.repo("vault").await;
    let mut agents = Vec::with_capacity(HOSTS);
    for n in 0..HOSTS {
        let host = house.host(&format!("host{n}")).await;
        house.attach(&host, repo, Role::Primary).await;
        let now = house.clock.now();
        let spool = SpoolId::mint(now, house.random.id_bytes());
        let job_id = JobId::mint(now, house.random.id_bytes());
        let job = Job::queued(job_id, JobKind::Stats, host.id, repo, Actor::system(), now);
        let audit = AuditEntry {
            id: restic_manager_core::id::AuditId::mint(now, house.random.id_bytes()),
            at: now,
            actor: Actor::system(),
            action: "job.asked".into(),
            subject_kind: "job".into(),
            subject_id: job_id.to_string(),
            detail: serde_json::Map::new(),
        };
        house.store.enqueue(job, audit).await.unwrap();
        agents.push(Agent { host, spool, job_id });
    }
    let view = house.store.admission_view().await.unwrap();
    let intents: Vec<DispatchIntent> = view
        .queued
        .iter()
        .map(|queued| DispatchIntent {
            job_id: queued.job.id,
            host_revision: queued.host_revision,
            repo_revision: queued.repo_revision,
        })
        .collect();
    house.store.dispatch(&intents, house.clock.now()).await.unwrap();
    agents
}
