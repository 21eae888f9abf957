//! A database of every released schema, with a row of every kind: each later build must open it, bring it to its own schema, and read
//! all of it.
//!
//! The file of a new schema is made with `RM_BLESS=1 cargo test -p restic-manager-store --test golden_databases`; one that exists is
//! never rewritten. They lie compressed (`lz4 -d` unpacks them) in `tests/golden/`.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use restic_manager_store::{Meta, SqliteStore};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};

mod fleet;
mod reading;
#[path = "../sample/mod.rs"]
mod sample;
mod work;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_of(version: i64) -> PathBuf {
    folder().join(format!("schema-{version}.db.lz4"))
}

fn schema_of(file: &Path) -> i64 {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.strip_prefix("schema-").and_then(|rest| rest.strip_suffix(".db.lz4")).unwrap().parse().unwrap()
}

/// All that was released, by name.
fn released() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "lz4")).collect();
    files.sort();
    assert!(!files.is_empty(), "no database in {}", folder().display());
    files
}

fn unpacked(packed: &Path, into: &Path) -> PathBuf {
    let mut bytes = Vec::new();
    lz4_flex::frame::FrameDecoder::new(std::fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
    let path = into.join("store.db");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn pack(database: &Path, into: &Path) {
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(&std::fs::read(database).unwrap()).unwrap();
    std::fs::write(into, frame.finish().unwrap()).unwrap();
}

async fn raw(path: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// A new database of this build with the whole fleet in it.
async fn written(path: &Path) -> i64 {
    let store = SqliteStore::open(path).await.unwrap();
    fleet::write(&store).await;
    store.close().await;
    let mut raw = raw(path).await;
    let version = sqlx::query_scalar("pragma user_version").fetch_one(&mut raw).await.unwrap();
    // One file, without the log that is written ahead.
    sqlx::raw_sql("pragma journal_mode = delete; vacuum").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    version
}

type Columns = BTreeSet<String>;

/// Tables and their columns, generated ones included.
async fn tables(raw: &mut SqliteConnection) -> BTreeMap<String, Columns> {
    let listed = "select m.name, c.name from sqlite_master m, pragma_table_xinfo(m.name) c where m.type = 'table' \
                  and m.name not like 'sqlite_%'";
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    for row in sqlx::query(listed).fetch_all(raw).await.unwrap() {
        tables.entry(row.get(0)).or_default().insert(row.get(1));
    }
    tables
}

/// Every row of a table as text, reduced to these columns.
async fn rows(raw: &mut SqliteConnection, table: &str, columns: &Columns) -> Vec<String> {
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
    let select = format!("select {} from {table}", quoted.join(" || ',' || "));
    let mut rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(raw).await.unwrap();
    rows.sort();
    rows
}

/// Makes the file of the present schema where there is none, and only when asked to.
#[tokio::test]
async fn every_released_database_has_a_row_of_every_kind() {
    if std::env::var_os("RM_BLESS").is_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let file = file_of(written(&path).await);
        if !file.exists() {
            pack(&path, &file);
        }
    }
    for packed in released() {
        let folder = tempfile::tempdir().unwrap();
        let mut golden = raw(&unpacked(&packed, folder.path())).await;
        for (table, columns) in &tables(&mut golden).await {
            let found = rows(&mut golden, table, columns).await;
            assert!(!found.is_empty(), "{}: `{table}` is empty", packed.display());
        }
        golden.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_present_schema_has_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut fresh = raw(&path).await;
    let version = sqlx::query_scalar("pragma user_version").fetch_one(&mut fresh).await.unwrap();
    fresh.close().await.unwrap();
    let file = file_of(version);
    assert!(file.exists(), "{} is missing; make it with RM_BLESS=1 and commit it", file.display());
}

#[tokio::test]
async fn every_released_database_is_brought_to_the_present_schema_and_loses_no_value() {
    let new = tempfile::tempdir().unwrap();
    let path = new.path().join("store.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut fresh = raw(&path).await;
    let expected = tables(&mut fresh).await;
    fresh.close().await.unwrap();
    for packed in released() {
        let folder = tempfile::tempdir().unwrap();
        let path = unpacked(&packed, folder.path());
        let mut before = raw(&path).await;
        let old = tables(&mut before).await;
        let mut values = BTreeMap::new();
        for (table, columns) in &old {
            values.insert(table, rows(&mut before, table, columns).await);
        }
        before.close().await.unwrap();
        SqliteStore::open(&path).await.unwrap().close().await;
        let mut after = raw(&path).await;
        assert_eq!(tables(&mut after).await, expected, "{} ends in another schema", packed.display());
        for (table, columns) in &old {
            let found = rows(&mut after, table, columns).await;
            assert_eq!(&found, &values[table], "{}: `{table}` changed", packed.display());
        }
        let faults: Vec<String> =
            sqlx::query_scalar("pragma integrity_check").fetch_all(&mut after).await.unwrap();
        assert_eq!(faults, ["ok"], "{}", packed.display());
        after.close().await.unwrap();
    }
}

#[tokio::test]
async fn everything_in_every_released_database_is_read() {
    for packed in released() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&unpacked(&packed, folder.path())).await.unwrap();
        reading::all(&store, schema_of(&packed)).await;
        store.ping().await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_read_of_a_released_database_is_what_the_memory_store_answers() {
    let store = restic_manager_store::MemoryStore::new();
    fleet::write(&store).await;
    reading::all(&store, i64::MAX).await;
}
