//! How long a tick of maintenance takes: what is due is read, and a decision on each is committed. Run by hand:
//! `cargo bench -p restic-manager-store --bench maintenance`.
//!
//! Prints one line a fleet, the median of its rounds: the time must grow with what is due and not with the fleet. The database lies in
//! the folder for temporary files (`TMPDIR`): on a disk in memory a sync costs nothing, so point it at a real one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark stops at the first fault and prints its figures"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use restic_manager_core::model::{Job, JobKind};
use restic_manager_core::time::{HOUR, MINUTE, Timestamp};
use restic_manager_store::{
    Maintenance, MaintenanceCommit, MaintenanceOutcome, MaintenanceView, SqliteStore,
};
use sample::{NOW, audit, job};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

#[path = "../tests/sample/mod.rs"]
mod sample;

const ROUNDS: usize = 9;
const DUE: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for repos in [1_000, 10_000, 100_000] {
        let mut rounds = runtime.block_on(ticks(repos));
        rounds.sort_unstable();
        let (whole, reading) = rounds[ROUNDS / 2];
        println!(
            "{:>8.2} ms a tick ({:.2} ms of it reading): {repos} repositories, {DUE} due",
            whole.as_secs_f64() * 1e3,
            reading.as_secs_f64() * 1e3
        );
    }
}

/// Ticks over a fleet; the time of each, and of its reading.
async fn ticks(repos: usize) -> Vec<(Duration, Duration)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    SqliteStore::open(&file).await.unwrap().close().await;
    fill(&file, repos).await;
    let store = SqliteStore::open(&file).await.unwrap();
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        let now = NOW + i64::try_from(round).unwrap() * HOUR;
        let begun = Instant::now();
        let views = store.due_maintenance(now, 1_000).await.unwrap();
        let reading = begun.elapsed();
        assert_eq!(views.len(), DUE);
        let commits: Vec<_> = views.iter().map(|view| decision(view, now)).collect();
        let outcomes = store.commit_maintenance(&commits, &|_: &Job| audit("job.asked")).await.unwrap();
        rounds.push((begun.elapsed(), reading));
        let made =
            |outcome: &MaintenanceOutcome| matches!(outcome, MaintenanceOutcome::Done(ids) if ids.len() == 1);
        assert!(outcomes.iter().all(made));
    }
    store.close().await;
    rounds
}

/// A check, and a look in a month.
fn decision(view: &MaintenanceView, now: Timestamp) -> MaintenanceCommit {
    let runner = view.runner.as_ref().unwrap();
    assert!(runner.has_admin_creds && runner.os_hostname_unique && runner.only_host);
    assert!(view.last.iter().all(Option::is_some));
    assert!(view.forget.len() == 2 && view.forget.iter().all(|row| row.newest_snapshot_at.is_some()));
    let check = job(runner.host.id, view.repo.id, JobKind::Check);
    MaintenanceCommit {
        repo_id: view.repo.id,
        repo_revision: view.repo.revision,
        wake_at: Some(now + 30 * 24 * HOUR),
        jobs: vec![Job { slot: Some(now - MINUTE), ..check }],
    }
}

/// Writes a fleet: each repository with a host of its own, settings, credentials, two groups, a list of snapshots and a year of jobs.
///
/// By statements on the file itself: one commit a row would take an hour.
async fn fill(file: &Path, repos: usize) {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let settings = restic_manager_core::maintenance::MaintenanceSettings::standard(
        restic_manager_core::schedule::Zone::UTC,
    );
    let settings = serde_json::to_string(&settings).unwrap();
    let number = "with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?1)";
    let id = |digit: u8| format!("printf('0190000{digit}-0000-7000-8000-%012x', i)");
    let (host, repo, tie) = (id(1), id(2), id(3));
    let hour = format!("{} + (i / {DUE} + 1) * {HOUR}", NOW.as_millis());
    let rows = [
        format!(
            "insert into hosts (id, name, name_key, tags, facts, created_at, schedule_version, schedule_version_acked, revision, \
             agent_token) select {host}, 'host ' || i, 'host ' || i, '[]', '{{\"os_hostname\":\"box' || i || '\"}}', 0, 1, 1, 0, \
             randomblob(32) from n"
        ),
        format!(
            "insert into repos (id, name, name_key, created_at, revision, wake_at) \
             select {repo}, 'repo ' || i, 'repo ' || i, 0, 0, {hour} from n"
        ),
        format!(
            "insert into maintenance (repo_id, settings, forget_since, prune_since, check_since) \
             select {repo}, '{settings}', 0, 0, 0 from n"
        ),
        format!(
            "insert into repo_stats (repo_id, total_size_bytes, snapshot_count) select {repo}, 1, 1 from n"
        ),
        format!(
            "insert into attachments (id, host_id, repo_id, role, restic_host, append_only, created_at) \
             select {tie}, {host}, {repo}, 'primary', 'h' || i, 'yes', 0 from n"
        ),
        format!(
            "insert into credentials (attachment_id, kind, url, has_rest_password, env_names, revision, updated_at, blob) \
             select {tie}, 'admin', 'u', 0, '[]', 1, 0, x'00' from n"
        ),
        format!(
            "insert into snapshot_lists (host_id, repo_id, listed_at, total) select {host}, {repo}, 1, 1 from n"
        ),
    ];
    let groups = [4, 5].into_iter().flat_map(|digit| {
        [
            format!(
                "insert into source_groups (id, host_id, name, name_key, tag, includes, excludes, options, keep, retry_max, \
                 retry_backoff_seconds, created_at, updated_at) select {}, {host}, 'g{digit}', 'g{digit}', 't{digit}', \
                 '[\"/srv\"]', '[]', '{{}}', '{{\"daily\":7}}', 3, 60, 0, 0 from n",
                id(digit)
            ),
            format!(
                "insert into newest_snapshots (host_id, repo_id, tag, time) select {host}, {repo}, 't{digit}', 1 from n"
            ),
        ]
    });
    let jobs = [(6, "forget"), (7, "prune"), (8, "check")].map(|(digit, kind)| {
        format!(
            "insert into jobs (id, kind, state, host_id, repo_id, slot, attempt, actor_kind, actor, created_at) \
             select {}, '{kind}', 'succeeded', {host}, {repo}, 1, 1, 'system', '', 1 from n",
            id(digit)
        )
    });
    let mut tx = connection.begin().await.unwrap();
    for statement in rows.into_iter().chain(groups).chain(jobs) {
        // `insert` stands behind the numbers it is made of.
        let sql = format!("{number} {statement}");
        sqlx::query(AssertSqlSafe(sql)).bind(i64::try_from(repos).unwrap()).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    connection.close().await.unwrap();
}
