//! How fast reports and dispatches reach the disk. Run by hand: `cargo bench -p restic-manager-store --bench ingest`.
//!
//! Prints one line a figure, the median of its rounds. The database lies in the folder for temporary files (`TMPDIR`): on a disk in
//! memory a sync costs nothing, so point it at a real one for figures that mean something.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first fault and prints its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use restic_manager_core::id::{JobId, SpoolId};
use restic_manager_core::model::JobKind;
use restic_manager_store::{
    Applied, DispatchIntent, DispatchOutcome, Effect, Enqueued, NumberedEffect, Reports, SqliteStore, Work,
};
use sample::{NOW, audit, fires, job, lines, mint, numbered};

#[path = "../tests/sample/mod.rs"]
mod sample;

const ROUNDS: usize = 5;
const LINES: usize = 200_000;
const HOSTS: usize = 100;
const JOBS_A_HOST: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The shapes of DESIGN: one busy agent, and many agents that talk at once.
    for (agents, messages, size) in [(1, 1, 256), (1, 16, 64), (1, 16, 256), (16, 1, 64), (64, 1, 256)] {
        let what = format!("lines/s: agents {agents}, messages a report {messages}, lines a message {size}");
        report(&what, || runtime.block_on(ingest(agents, messages, size)));
    }
    report("jobs/s fired, one a report, 10000 at once", || runtime.block_on(fire()));
    report("jobs/s dispatched, 10000 in one call", || runtime.block_on(dispatch()));
}

/// Prints the median figure of the rounds.
fn report(what: &str, mut round: impl FnMut() -> (usize, Duration)) {
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (done, took) = round();
            done as f64 / took.as_secs_f64()
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    println!("{:>10.0} {what}", figures[ROUNDS / 2]);
}

/// Agents that report the lines of one job each, one report after the other, until all are acknowledged.
async fn ingest(agents: usize, messages: usize, size: usize) -> (usize, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db")).await.unwrap());
    let repo_id = sample::repo(&*store, "repo").await;
    let reports = LINES / (agents * messages * size);
    let mut work = Vec::new();
    for n in 0..agents {
        let host_id = sample::host(&*store, &format!("host {n}"), repo_id).await;
        let asked = job(host_id, repo_id, JobKind::Backup);
        let job_id = asked.id;
        assert!(matches!(store.enqueue(asked, audit("job.created")).await.unwrap(), Enqueued::Created(_)));
        work.push((host_id, (0..reports).map(|n| log_report(job_id, n, messages, size)).collect::<Vec<_>>()));
    }
    let begun = Instant::now();
    let mut running = Vec::new();
    for (host_id, reports) in work {
        let (store, spool_id) = (Arc::clone(&store), mint(SpoolId::mint));
        running.push(tokio::spawn(async move {
            for effects in reports {
                let applied = store.apply(host_id, spool_id, effects, NOW).await.unwrap();
                assert!(applied.iter().all(|applied| *applied == Applied::Done));
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    let took = begun.elapsed();
    store.close().await;
    (agents * reports * messages * size, took)
}

fn log_report(job_id: JobId, report: usize, messages: usize, size: usize) -> Vec<NumberedEffect> {
    let first = report * messages;
    let message = |n: usize| Effect::Log { job_id, lines: lines(((first + n) * size) as u64, size) };
    numbered(first as u64 + 1, (0..messages).map(message))
}

/// Hosts whose schedules all fire at one moment, each fire a report of its own.
async fn fire() -> (usize, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db")).await.unwrap());
    let repo_id = sample::repo(&*store, "repo").await;
    let mut work = Vec::new();
    for n in 0..HOSTS {
        let host_id = sample::host(&*store, &format!("host {n}"), repo_id).await;
        work.extend(
            (0..JOBS_A_HOST)
                .map(|_| (host_id, mint(SpoolId::mint), numbered(1, [fires(host_id, repo_id, 1)]))),
        );
    }
    let begun = Instant::now();
    let mut running = Vec::new();
    for (host_id, spool_id, effects) in work {
        let store = Arc::clone(&store);
        running
            .push(tokio::spawn(async move { store.apply(host_id, spool_id, effects, NOW).await.unwrap() }));
    }
    for task in running {
        assert_eq!(task.await.unwrap(), [Applied::Done]);
    }
    let took = begun.elapsed();
    store.close().await;
    (HOSTS * JOBS_A_HOST, took)
}

/// Ten thousand jobs that wait, dispatched in one call.
async fn dispatch() -> (usize, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    for n in 0..HOSTS {
        let host_id = sample::host(&store, &format!("host {n}"), repo_id).await;
        let effects = numbered(1, [fires(host_id, repo_id, JOBS_A_HOST)]);
        store.apply(host_id, mint(SpoolId::mint), effects, NOW).await.unwrap();
    }
    let view = store.admission_view().await.unwrap();
    let intent = |queued: &restic_manager_store::QueuedJob| DispatchIntent {
        job_id: queued.job.id,
        host_revision: queued.host_revision,
        repo_revision: queued.repo_revision,
    };
    let intents: Vec<DispatchIntent> = view.queued.iter().map(intent).collect();
    assert_eq!(intents.len(), HOSTS * JOBS_A_HOST);
    let begun = Instant::now();
    let outcomes = store.dispatch(&intents, NOW).await.unwrap();
    let took = begun.elapsed();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, DispatchOutcome::Dispatched(_))));
    store.close().await;
    (outcomes.len(), took)
}
