//! What only the inside can see: pragmas, query plans, a full disk.

use restic_manager_core::id::{GroupId, HostId, JobId, RepoId};
use restic_manager_core::model::{JobKind, JobState};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, Row};

use super::fault::Doing;
use super::{
    SqliteStore, audit, glance, hosts, jobs, maintenance, pending_runs, repos, snapshots, views, work,
};
use crate::{AuditFilter, Cursor, DaysOf, JobFilter, Meta, PageRequest, StoreError};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

async fn file_store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
    (store, folder)
}

#[tokio::test]
async fn every_connection_holds_foreign_keys_and_waits_for_others() {
    let (store, _folder) = file_store().await;
    for pool in [&store.writer, &store.readers] {
        for (pragma, wanted) in [("foreign_keys", 1), ("synchronous", 2), ("busy_timeout", 5000)] {
            let found: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("pragma {pragma}"))).fetch_one(pool).await.unwrap();
            assert_eq!(found, wanted, "{pragma}");
        }
    }
    let orphan = "insert into spools (host_id, spool_id, committed_seq) values ('none', 'none', 0)";
    assert!(sqlx::query(orphan).execute(&store.writer).await.is_err());
    assert!(sqlx::query("delete from facts").execute(&store.readers).await.is_err(), "readers only read");
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_what_was_there_stays() {
    let (store, _folder) = file_store().await;
    store.fact_or_insert("before", "kept").await.unwrap();
    let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&store.writer).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("pragma max_page_count = {pages}")))
        .execute(&store.writer)
        .await
        .unwrap();
    let error = store.fact_or_insert("large", &"x".repeat(1_000_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    assert_eq!(store.fact("before").await.unwrap().as_deref(), Some("kept"));
    assert_eq!(store.fact("large").await.unwrap(), None);
    store.close().await;
}

#[tokio::test]
async fn writes_go_on_when_a_full_disk_has_room_again() {
    let (store, _folder) = file_store().await;
    let limit = async |more: i64| {
        let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&store.writer).await.unwrap();
        let pragma = AssertSqlSafe(format!("pragma max_page_count = {}", pages + more));
        let set: i64 = sqlx::query_scalar(pragma).fetch_one(&store.writer).await.unwrap();
        assert_eq!(set, pages + more);
    };
    for _ in 0..3 {
        // Again for each: the limit is the connection's, and one that met it may have been replaced.
        limit(0).await;
        let error = store.fact_or_insert("large", &"x".repeat(1_000_000)).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull), "{error:?}");
        store.ping().await.unwrap();
    }
    limit(1000).await;
    assert_eq!(store.fact_or_insert("large", &"x".repeat(1_000_000)).await.unwrap().len(), 1_000_000);
    assert_eq!(store.fact("large").await.unwrap().map(|value| value.len()), Some(1_000_000));
    store.close().await;
}

#[tokio::test]
async fn a_failed_statement_says_what_was_to_be_done() {
    let (store, _folder) = file_store().await;
    let failed =
        sqlx::query("select nothing from nowhere").execute(&store.writer).await.doing("look nowhere");
    assert!(failed.unwrap_err().to_string().contains("look nowhere"));
    store.close().await;
}

/// The steps of a query's plan.
async fn plan(store: &SqliteStore, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("explain query plan {sql}"));
    let rows = sqlx::query(explain).fetch_all(&store.writer).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// Whether a step goes through a whole table, other than down an index that is in the order of the page.
fn goes_through_all(step: &str) -> bool {
    let of_json = step.contains("VIRTUAL TABLE") || step.contains("json_each");
    step.starts_with("SCAN")
        && !of_json
        && !step.starts_with("SCAN (subquery")
        && !step.starts_with("SCAN CONSTANT")
}

async fn assert_searches(store: &SqliteStore, what: &str, sql: &str) {
    let steps = plan(store, sql).await;
    let scan = steps.iter().find(|step| goes_through_all(step));
    assert_eq!(scan, None, "{what}: {steps:#?}\n{sql}");
}

#[tokio::test]
async fn admission_reads_what_is_open_and_nothing_of_the_history() {
    let (store, _folder) = file_store().await;
    for sql in [work::queued_sql(), work::occupying_sql()] {
        let steps = plan(&store, &sql).await;
        assert!(steps[0].contains("SEARCH j USING INDEX jobs_open (state=?"), "{steps:#?}");
        assert!(!steps.iter().any(|step| goes_through_all(step)), "{steps:#?}");
    }
    let steps = plan(&store, &work::queued_sql()).await;
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "the queue comes in order: {steps:#?}");
    store.close().await;
}

#[tokio::test]
async fn no_page_of_jobs_goes_through_all_jobs() {
    let (store, _folder) = file_store().await;
    let id = |n: u8| ([n; 10], NOW);
    let host_id = Some(HostId::mint(id(1).1, id(1).0));
    let repo_id = Some(RepoId::mint(id(2).1, id(2).0));
    let group_id = Some(GroupId::mint(id(3).1, id(3).0));
    let kind = Some(JobKind::Prune);
    let states = vec![JobState::Failed, JobState::Lost];
    let since = Some(NOW);
    let none = JobFilter::default();
    let filters = [
        JobFilter { host_id, ..none.clone() },
        JobFilter { host_id, states: states.clone(), ..none.clone() },
        JobFilter { host_id, repo_id, kind, states: states.clone(), since, before: None, group_id },
        JobFilter { repo_id, since, before: since, ..none.clone() },
        JobFilter { host_id, before: since, ..none.clone() },
        JobFilter { repo_id, ..none.clone() },
        JobFilter { repo_id, kind, ..none.clone() },
        JobFilter { repo_id, states: states.clone(), ..none.clone() },
        JobFilter { group_id, ..none.clone() },
        JobFilter { kind, ..none.clone() },
        JobFilter { states: states.clone(), ..none.clone() },
        JobFilter { kind, states, since, ..none.clone() },
        JobFilter { since, ..none.clone() },
    ];
    let after = Some(Cursor(JobId::mint(NOW, [0; 10]).to_string()));
    for filter in filters {
        for page in [PageRequest::first(50), PageRequest { after: after.clone(), limit: 50 }] {
            let sql = jobs::listing(&filter, &page).unwrap();
            assert_searches(&store, &format!("{filter:?}"), sql.sql().as_str()).await;
        }
    }
    // Without any filter the page is read down the ids until it is full.
    let all = jobs::listing(&none, &PageRequest::first(50)).unwrap();
    let steps = plan(&store, all.sql().as_str()).await;
    let scans: Vec<_> = steps.iter().filter(|step| goes_through_all(step)).collect();
    assert_eq!(scans, ["SCAN jobs USING COVERING INDEX sqlite_autoindex_jobs_1"], "{steps:#?}");
    store.close().await;
}

#[tokio::test]
async fn a_tick_of_maintenance_reads_what_is_due_and_nothing_of_the_fleet() {
    let (store, _folder) = file_store().await;
    let steps = plan(&store, maintenance::DUE).await;
    assert_eq!(steps, ["SEARCH repos USING COVERING INDEX repos_by_wake (wake_at>? AND wake_at<?)"]);
    assert_searches(&store, "rows", views::ROWS).await;
    assert_searches(&store, "newest jobs", &views::last_sql().unwrap()).await;
    assert_searches(&store, "runners", &views::runners_sql()).await;
    assert_searches(&store, "groups", &views::forget_sql().unwrap()).await;
    let steps = plan(&store, &views::runners_sql()).await;
    let sorts: Vec<_> = steps.iter().filter(|step| step.contains("TEMP B-TREE")).collect();
    assert!(sorts.is_empty(), "the first of an index is the runner: {steps:#?}");
    store.close().await;
}

#[tokio::test]
async fn the_other_lists_of_the_dashboard_use_their_indexes() {
    let (store, _folder) = file_store().await;
    assert_searches(&store, "last backups", &jobs::last_backups_sql()).await;
    assert_searches(&store, "hosts", &hosts::page_sql(false)).await;
    assert_searches(&store, "few hosts", &hosts::page_sql(true)).await;
    assert_searches(&store, "repositories", repos::PAGE).await;
    assert_searches(&store, "snapshots", snapshots::PAGE).await;
    assert_searches(
        &store,
        "days of a host",
        &glance::job_days_sql(DaysOf::Host(HostId::mint(NOW, [1; 10]))),
    )
    .await;
    assert_searches(
        &store,
        "days of a repository",
        &glance::job_days_sql(DaysOf::Repo(RepoId::mint(NOW, [1; 10]))),
    )
    .await;
    assert_searches(&store, "newest backups of groups", &glance::last_backups_sql()).await;
    let steps = plan(&store, glance::SIZES).await;
    assert!(steps.iter().any(|step| step.starts_with("SEARCH d USING PRIMARY KEY")), "{steps:#?}");
    assert_searches(&store, "what hosts do", &glance::open_jobs_sql()).await;
    assert_searches(&store, "what hosts owe", &pending_runs::of_hosts_sql()).await;
    assert_searches(&store, "what is due", &pending_runs::due_sql()).await;
    let steps = plan(&store, &glance::unmended_sql()).await;
    let scans: Vec<_> =
        steps.iter().filter(|step| goes_through_all(step) && !step.ends_with("SCAN w")).collect();
    assert!(scans.is_empty(), "{steps:#?}");
    let steps = plan(&store, &jobs::counts_sql()).await;
    let scans: Vec<_> = steps.iter().filter(|step| goes_through_all(step) && step.contains("jobs")).collect();
    assert!(scans.is_empty(), "{steps:#?}");
    let subject =
        AuditFilter { subject_id: Some("x".into()), actor: Some("ada".into()), ..AuditFilter::default() };
    let actor = AuditFilter { actor: Some("ada".into()), since: Some(NOW), ..AuditFilter::default() };
    let action = AuditFilter { action: Some("host.enrolled".into()), ..AuditFilter::default() };
    for filter in [subject, actor, action] {
        let sql = audit::listing(&filter, &PageRequest::first(50)).unwrap();
        let steps = plan(&store, sql.sql().as_str()).await;
        assert!(steps[0].starts_with("SEARCH audit USING INDEX audit_by_"), "{filter:?}: {steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{filter:?}: {steps:#?}");
    }
    store.close().await;
}
