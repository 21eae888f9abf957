//! Reports of many agents, written together and kept apart.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::error::Error;
use std::sync::Arc;

use restic_manager_core::id::{HostId, SpoolId};
use restic_manager_core::model::{HostFacts, Job, JobEvent, JobKind, JobState, RunState};
use restic_manager_store::{
    Applied, DispatchIntent, DispatchOutcome, Effect, Enqueued, FiredRun, JobMove, Reports, SqliteStore,
    StoreError, TakeSession, Work,
};
use sqlx::{Connection, SqliteConnection};

use sample::{NOW, audit, fires, job, lines, mint, numbered};

mod sample;

/// More agents than fit in one commit.
const AGENTS: usize = 700;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_share_a_commit_have_answers_of_their_own() {
    let store = Arc::new(SqliteStore::in_memory().await.unwrap());
    let repo_id = sample::repo(&*store, "repo").await;
    let host_id = sample::host(&*store, "host", repo_id).await;
    let mut asked = Vec::new();
    for n in 0..AGENTS {
        let nobody = n % 7 == 0;
        let reporter = if nobody { mint(HostId::mint) } else { host_id };
        let effects = numbered(1, [fires(reporter, repo_id, 2)]);
        let store = Arc::clone(&store);
        asked.push((
            nobody,
            tokio::spawn(async move { store.apply(reporter, mint(SpoolId::mint), effects, NOW).await }),
        ));
    }
    let mut heard = 0;
    for (nobody, answer) in asked {
        match answer.await.unwrap() {
            Ok(applied) => {
                assert!(!nobody && applied == [Applied::Done]);
                heard += 1;
            }
            Err(error) => {
                assert!(nobody && matches!(error, StoreError::Missing { what: "host", .. }), "{error}");
            }
        }
    }
    assert_eq!(store.admission_view().await.unwrap().queued.len(), 2 * heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hellos_that_share_a_commit_with_one_that_fails_are_taken_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let repo_id = sample::repo(&*store, "repo").await;
    let mut hosts = Vec::new();
    for n in 0..30 {
        hosts.push(sample::host(&*store, &format!("host{n}"), repo_id).await);
    }
    let mut raw = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query(
        "create trigger broken before update on hosts when new.facts like '%broken%' begin select raise(abort, 'broken'); end",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let mut asked = Vec::new();
    for (n, host_id) in hosts.into_iter().chain([mint(HostId::mint)]).enumerate() {
        let machine_id = Some(if n % 5 == 0 { "broken" } else { "sound" }.to_owned());
        let take = TakeSession {
            host_id,
            facts: HostFacts { machine_id, ..HostFacts::default() },
            spool_id: mint(SpoolId::mint),
            schedule_version: 0,
            known_jobs: Vec::new(),
            claims: Vec::new(),
            now: NOW,
        };
        let (hello, report) = (Arc::clone(&store), Arc::clone(&store));
        let effects = numbered(1, [fires(host_id, repo_id, 1)]);
        asked.push((
            n,
            tokio::spawn(async move { report.apply(host_id, mint(SpoolId::mint), effects, NOW).await }),
            tokio::spawn(async move { hello.take_session(take).await }),
        ));
    }
    for (n, reported, taken) in asked {
        let (reported, taken) = (reported.await.unwrap(), taken.await.unwrap());
        match (n, reported, taken) {
            (30, Err(StoreError::Missing { what: "host", .. }), Ok(None)) => {}
            (_, Ok(applied), Err(error)) if n % 5 == 0 => {
                assert!(error.source().is_some_and(|cause| cause.to_string().contains("broken")), "{error}");
                assert_eq!(applied, [Applied::Done]);
            }
            (_, Ok(applied), Ok(Some(taken))) => {
                assert_eq!((applied, taken.epoch), (vec![Applied::Done], 1), "host {n}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_later_attempt_ends_the_one_that_the_server_still_holds_for_open() {
    let store = SqliteStore::in_memory().await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    for (ran, left) in [(JobState::Queued, JobState::Superseded), (JobState::Running, JobState::Lost)] {
        let Effect::Fire { runs, missed: None } = fires(host_id, repo_id, 1) else {
            unreachable!("it is a fire")
        };
        let FiredRun { run, job: Some(first) } = runs[0].clone() else { unreachable!("it has a job") };
        let mut effects = vec![Effect::Fire { runs, missed: None }];
        apply(&store, host_id, std::mem::take(&mut effects)).await;
        if ran == JobState::Running {
            start(&store, &first).await;
        }
        let second = Job { attempt: 2, ..job(host_id, repo_id, JobKind::Backup) };
        let again = FiredRun { run: run.clone(), job: Some(second.clone()) };
        apply(&store, host_id, vec![Effect::Fire { runs: vec![again.clone()], missed: None }]).await;
        apply(&store, host_id, vec![Effect::Fire { runs: vec![again], missed: None }]).await;

        assert_eq!(store.job(first.id).await.unwrap().unwrap().job.state, left);
        let stored = store.job(second.id).await.unwrap().unwrap().job;
        assert_eq!((stored.state, stored.run_id, stored.attempt), (JobState::Queued, Some(run.id), 2));
        let run = store.run(run.id).await.unwrap().unwrap();
        assert_eq!((run.state, run.attempt), (RunState::Open, 2));
        let moved = store.move_job(second.id, JobEvent::Withdraw, "done with it", NOW, None).await.unwrap();
        assert_eq!(moved, JobMove::Moved(JobState::Withdrawn));
    }
}

#[tokio::test]
async fn a_fire_its_start_and_its_lines_may_come_in_one_report() {
    let store = SqliteStore::in_memory().await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    let Effect::Fire { mut runs, missed: _ } = fires(host_id, repo_id, 1) else {
        unreachable!("it is a fire")
    };
    let Some(job) = &mut runs[0].job else { unreachable!("it has a job") };
    job.state = JobState::Dispatched;
    let job_id = job.id;
    let effects = numbered(
        1,
        [
            Effect::Log { job_id, lines: lines(0, 3) },
            Effect::Fire { runs, missed: None },
            Effect::Log { job_id, lines: lines(0, 5000) },
            Effect::Started { job_id, at: NOW, adopt: None },
            Effect::LogGap { job_id, from: 5000, to: 6000 },
            Effect::Log { job_id, lines: lines(6000, 10) },
        ],
    );
    let applied = store.apply(host_id, mint(SpoolId::mint), effects, NOW).await.unwrap();
    assert!(matches!(&applied[0], Applied::Ignored(why) if why.contains(&job_id.to_string())), "{applied:?}");
    assert!(applied[1..].iter().all(|applied| *applied == Applied::Done), "{applied:?}");
    assert_eq!(store.job(job_id).await.unwrap().unwrap().job.state, JobState::Running);

    let mut read = Vec::new();
    loop {
        let from = read.last().map_or(0, |line: &restic_manager_core::model::LogLine| line.n + 1);
        let slice = store.log(job_id, from, 100).await.unwrap();
        assert!(slice.lines.len() <= 2048, "whole chunks, but no more than are needed");
        read.extend(slice.lines);
        if !slice.more {
            break;
        }
    }
    assert_eq!(read, [lines(0, 5000), lines(6000, 10)].concat());
}

#[tokio::test]
async fn a_dispatch_of_thousands_answers_each_in_order() {
    let store = SqliteStore::in_memory().await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    apply(&store, host_id, vec![fires(host_id, repo_id, 3000)]).await;
    let view = store.admission_view().await.unwrap();
    let intents: Vec<DispatchIntent> = view
        .queued
        .iter()
        .enumerate()
        .map(|(n, queued)| DispatchIntent {
            job_id: queued.job.id,
            host_revision: queued.host_revision,
            repo_revision: queued.repo_revision + i64::from(n % 3 == 0),
        })
        .collect();
    let outcomes = store.dispatch(&intents, NOW).await.unwrap();
    assert_eq!(outcomes.len(), 3000);
    for (n, (intent, outcome)) in intents.iter().zip(&outcomes).enumerate() {
        match outcome {
            DispatchOutcome::Stale => assert_eq!(n % 3, 0),
            DispatchOutcome::Dispatched(row) => assert!(n % 3 != 0 && row.job.id == intent.job_id),
            DispatchOutcome::Withdrawn(_) | DispatchOutcome::NotQueued => panic!("{outcome:?}"),
        }
    }
    let view = store.admission_view().await.unwrap();
    assert_eq!((view.queued.len(), view.occupying.len()), (1000, 2000));
    let asked = job(host_id, repo_id, JobKind::Check);
    assert!(matches!(store.enqueue(asked, audit("job.created")).await.unwrap(), Enqueued::Created(_)));
}

async fn apply(store: &SqliteStore, host_id: HostId, effects: Vec<Effect>) {
    let applied = store.apply(host_id, mint(SpoolId::mint), numbered(1, effects), NOW).await.unwrap();
    assert!(applied.iter().all(|applied| *applied == Applied::Done), "{applied:?}");
}

async fn start(store: &SqliteStore, job: &Job) {
    let view = store.admission_view().await.unwrap();
    let queued = view.queued.iter().find(|queued| queued.job.id == job.id).unwrap();
    let intent = DispatchIntent {
        job_id: job.id,
        host_revision: queued.host_revision,
        repo_revision: queued.repo_revision,
    };
    let outcome = store.dispatch(&[intent], NOW).await.unwrap();
    assert!(matches!(outcome[..], [DispatchOutcome::Dispatched(_)]), "{outcome:?}");
    apply(store, job.host_id, vec![Effect::Started { job_id: job.id, at: NOW, adopt: None }]).await;
}
