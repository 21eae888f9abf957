//! How fast pending runs are drained on SQLite. Run by hand: `cargo bench -p restic-manager-server --bench drain`.
//!
//! 1,000 hosts that are online owe 100 attempts each. Prints how long it takes to plan them all and, when their time has come, to make an
//! attempt of each: read in bulk, decided one by one, committed in bulk. The database lies in the folder for temporary files (`TMPDIR`):
//! on a disk in memory a sync costs nothing, so point it at a real one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first fault and prints its figures"
)]

use std::sync::Arc;
use std::time::Instant;

use house::House;
use restic_manager_core::api::ScheduleWrite;
use restic_manager_core::id::{RunId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::HOUR;
use restic_manager_server::clock::Clock;
use restic_manager_server::random::Random;
use restic_manager_store::{Effect, FiredRun, NumberedEffect, SqliteStore, Store};

#[path = "../tests/house/mod.rs"]
mod house;

const HOSTS: usize = 1_000;
const GROUPS: usize = 10;
const REPOS: usize = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(drains());
}

async fn drains() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("store.db")).await.unwrap());
    let house = House::over(store);
    let begun = Instant::now();
    fill(&house).await;
    let rows = house.store.count_pending().await.unwrap();
    println!("{rows} pending runs of {HOSTS} hosts made in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let report = house.engine.drain().await.unwrap();
    print("planned", report.planned, begun);
    house.clock.advance(HOUR);
    let begun = Instant::now();
    let report = house.engine.drain().await.unwrap();
    print("attempts made", report.attempted, begun);
    let begun = Instant::now();
    let report = house.engine.drain().await.unwrap();
    println!("{:>10.1} ms for a drain with nothing due ({report:?})", begun.elapsed().as_secs_f64() * 1e3);
}

fn print(what: &str, count: usize, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:>10.0} rows/s: {count} {what} in {seconds:.2} s", count as f64 / seconds);
}

async fn fill(house: &House) {
    let mut repos = Vec::new();
    for n in 0..REPOS {
        repos.push(house.repo(&format!("repo{n}")).await);
    }
    for n in 0..HOSTS {
        let host = house.host(&format!("host{n}")).await;
        house.wires.epochs.lock().unwrap().insert(host.id, 1);
        for (at, repo) in repos.iter().enumerate() {
            house.attach(&host, *repo, if at == 0 { Role::Primary } else { Role::Copy }).await;
        }
        let mut groups = Vec::new();
        for group in 0..GROUPS {
            groups.push(house.group(&host, &format!("group{group}")).await);
        }
        let write = ScheduleWrite {
            name: DisplayName::new("nightly").unwrap(),
            cron: "0 2 * * *".parse().unwrap(),
            timezone: "Etc/UTC".parse().unwrap(),
            enabled: true,
            group_ids: groups.clone(),
            repo_ids: None,
        };
        let schedule_id = house.app.create_schedule(&house.caller, host.id, write).await.unwrap().schedule.id;
        let now = house.clock.now();
        let keys = groups.iter().flat_map(|group| repos.iter().map(move |repo| (*group, *repo)));
        let runs: Vec<FiredRun> = keys
            .map(|(group_id, repo_id)| {
                fired(house, &host, RunKey { schedule_id, group_id, repo_id, slot: now })
            })
            .collect();
        let jobs: Vec<_> = runs.iter().map(|fired| fired.job.as_ref().unwrap().id).collect();
        let mut effects = vec![Effect::Fire { runs, missed: None }];
        // The quickest way to a run that owes an attempt: its job is refused for one that nobody knows.
        effects.extend(jobs.into_iter().map(|job_id| Effect::Refused {
            job_id,
            event: JobEvent::Supersede,
            class: None,
            message: "taken".into(),
            hint: None,
            at: now,
        }));
        let numbered = (1..).zip(effects).map(|(seq, effect)| NumberedEffect { seq, effect }).collect();
        let spool = SpoolId::mint(now, house.random.id_bytes());
        house.store.apply(host.id, spool, numbered, now).await.unwrap();
    }
}

fn fired(house: &House, host: &Host, key: RunKey) -> FiredRun {
    let now = house.clock.now();
    let run = Run {
        id: RunId::mint(now, house.random.id_bytes()),
        key,
        host_id: host.id,
        state: RunState::Open,
        attempt: 1,
        pending: None,
        why: None,
        created_at: now,
    };
    let id = restic_manager_core::id::JobId::mint(now, house.random.id_bytes());
    let mut job = Job::queued(id, JobKind::Backup, host.id, key.repo_id, Actor::system(), now);
    (job.group_id, job.run_id, job.slot) = (Some(key.group_id), Some(run.id), Some(key.slot));
    FiredRun { run, job: Some(job) }
}
