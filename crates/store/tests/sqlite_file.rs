//! The file of the embedded store: what is on the disk is what was answered.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::error::Error as _;
use std::path::Path;

use restic_manager_core::id::SpoolId;
use restic_manager_core::model::JobKind;
use restic_manager_store::{
    Applied, Audit, AuditFilter, Effect, Enqueued, Fleet, HostFilter, Meta, PageRequest, RepoFilter, Reports,
    SqliteStore, StoreError, Work,
};
use sample::{NOW, audit, fires, job, lines, mint, numbered};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

mod sample;

/// Byte 18 of a database's header says how it is written; 2 is the write-ahead log (sqlite.org/fileformat.html, 1.3.3).
const WRITE_VERSION_AT: usize = 18;

#[tokio::test]
async fn all_that_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    let asked = job(host_id, repo_id, JobKind::Check);
    store.enqueue(asked.clone(), audit("job.created")).await.unwrap();
    let spool_id = mint(SpoolId::mint);
    let effects =
        numbered(1, [fires(host_id, repo_id, 3), Effect::Log { job_id: asked.id, lines: lines(0, 500) }]);
    store.apply(host_id, spool_id, effects.clone(), NOW).await.unwrap();
    store.fact_or_insert("id", "first").await.unwrap();
    let before = everything(&store, &asked.id).await;
    store.close().await;

    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(everything(&store, &asked.id).await, before);
    assert_eq!(store.fact_or_insert("id", "second").await.unwrap(), "first");
    let repeated = store.apply(host_id, spool_id, effects, NOW).await.unwrap();
    assert_eq!(repeated, [Applied::Repeat, Applied::Repeat]);
    store.close().await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    let asked = job(host_id, repo_id, JobKind::Check);
    store.enqueue(asked.clone(), audit("job.created")).await.unwrap();
    let effects = numbered(1, [Effect::Log { job_id: asked.id, lines: lines(0, 500) }]);
    store.apply(host_id, mint(SpoolId::mint), effects, NOW).await.unwrap();
    let before = everything(&store, &asked.id).await;

    // What a crash at this moment leaves: the files as they are, nothing closed and nothing written back.
    let left = folder.path().join("left.db");
    std::fs::copy(&path, &left).unwrap();
    std::fs::copy(folder.path().join("store.db-wal"), folder.path().join("left.db-wal")).unwrap();
    drop(store);

    let store = SqliteStore::open(&left).await.unwrap();
    assert_eq!(everything(&store, &asked.id).await, before);
    store.close().await;
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut raw = raw(&path).await;
    sqlx::query("pragma user_version = 4711").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();

    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 4711, known: 4 }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.db");
    std::fs::File::create(&path).unwrap();
    let mut raw = raw(&path).await;
    sqlx::query("create table photos (id integer primary key)").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();

    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is a database of another program and was left as it is: name another path",
            path.display()
        )
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_as_such_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["milk".to_owned(), "remember the milk\n".repeat(1_000)] {
        std::fs::write(&path, &text).unwrap();
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} is no SQLite database and was left as it is: name another path", path.display())
        );
        assert!(matches!(error, StoreError::NotADatabase { path: named } if named == path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_folder_that_is_missing_is_told_with_the_path_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/store.db");
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the database {} cannot be opened: make its folder, or name another path", path.display())
    );
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
    assert!(!folder.path().join("none").exists());
}

#[tokio::test]
async fn a_folder_in_place_of_the_file_is_told_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    let told = format!("the database {} cannot be opened: see that file, folder", folder.path().display());
    assert!(error.to_string().starts_with(&told), "{error}");
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    let source = error.source().and_then(|source| source.downcast_ref::<StoreError>());
    assert!(matches!(source, Some(StoreError::Backend { .. })), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    sample::repo(&store, "repo").await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    assert!(folder.path().join("store.db-wal").exists());
    assert_eq!(std::fs::read(&path).unwrap()[WRITE_VERSION_AT], 2, "the database has a write-ahead log");
    store.close().await;
}

#[tokio::test]
async fn readers_do_not_wait_for_a_writer_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    sample::repo(&store, "repo").await;
    let mut other = raw(&path).await;
    let writing = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(store.repos(&RepoFilter::default(), PageRequest::first(10)).await.unwrap().items.len(), 1);
    writing.rollback().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_named_by_table_and_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let repo_id = sample::repo(&store, "repo").await;
    let host_id = sample::host(&store, "host", repo_id).await;
    let asked = job(host_id, repo_id, JobKind::Check);
    let created = store.enqueue(asked.clone(), audit("job.created")).await.unwrap();
    assert_eq!(created, Enqueued::Created(asked.clone()));
    let mut raw = raw(&path).await;
    sqlx::query("update jobs set state = 'pondering'").execute(&mut raw).await.unwrap();
    let error = store.job(asked.id).await.unwrap_err().to_string();
    assert!(error.contains(&format!("job {}", asked.id)) && error.contains("pondering"), "{error}");
    raw.close().await.unwrap();
    store.close().await;
}

/// What a test compares: hosts, what waits, the log of a job, the audit log.
async fn everything(store: &SqliteStore, job_id: &restic_manager_core::id::JobId) -> String {
    let hosts = store.hosts(&HostFilter::default(), PageRequest::first(100)).await.unwrap();
    let view = store.admission_view().await.unwrap();
    let log = store.log(*job_id, 0, u32::MAX).await.unwrap();
    assert_eq!(log.lines, lines(0, 500));
    let audit = store.audit(&AuditFilter::default(), PageRequest::first(100)).await.unwrap();
    format!("{hosts:?} {view:?} {audit:?}")
}

async fn raw(path: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}
