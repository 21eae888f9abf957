//! The schema and how a database gets to it: forward only.
//!
//! The version stands in `user_version` and the product's mark in `application_id`, both in the file's header: a database can be judged
//! before a byte of it is written. Each step is one transaction that also raises the version, so a crash leaves a whole step behind.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::fault::Doing;
use crate::{Result, StoreError};

/// The steps in order; the schema's version is how many were taken. A step that was published is never edited, and none rebuilds a
/// table that others refer to: with foreign keys on, the cascade would empty its children.
const STEPS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_pending_runs.sql"),
    include_str!("../../migrations/sqlite/0003_pending_hosts.sql"),
    include_str!("../../migrations/sqlite/0004_added_bytes.sql"),
];

/// `RSTM` in ASCII: tells our databases from those of other programs.
const APPLICATION_ID: i64 = 0x5253_544D;

/// The newest schema this build knows.
pub(super) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Refuses a file that this build must not touch: a newer schema, or another program's database.
///
/// Reads only. A missing or empty file passes.
///
/// # Errors
///
/// [`StoreError::TooNew`], [`StoreError::OfAnotherProgram`], or a fault.
pub(super) async fn judge_file(path: &Path) -> Result<()> {
    let doing = "look at the file of the database";
    if std::fs::metadata(path).map_or(0, |facts| facts.len()) == 0 {
        return Ok(());
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await.doing(doing)?;
    let verdict = judge(&mut connection, path).await;
    connection.close().await.doing(doing)?;
    verdict
}

async fn judge(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let found = header(connection, "pragma user_version").await?;
    let mark = header(connection, "pragma application_id").await?;
    let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .doing("count the tables of the database")?;
    if mark != APPLICATION_ID && (tables > 0 || found != 0) {
        return Err(StoreError::OfAnotherProgram { path: path.to_owned() });
    }
    if found > newest() {
        return Err(StoreError::TooNew { found, known: newest() });
    }
    Ok(())
}

/// Takes the steps that are missing.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    let doing = "bring the database to the present schema";
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    // Looked at again under the lock: another process may have been here since.
    let found = header(&mut tx, "pragma user_version").await?;
    if found > newest() {
        return Err(StoreError::TooNew { found, known: newest() });
    }
    let taken = usize::try_from(found).unwrap_or(0);
    for step in &STEPS[taken..] {
        sqlx::raw_sql(*step).execute(&mut *tx).await.doing(doing)?;
    }
    if taken < STEPS.len() {
        let marks = format!("pragma application_id = {APPLICATION_ID}; pragma user_version = {}", newest());
        sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *tx).await.doing(doing)?;
        tracing::info!(from = found, to = newest(), "brought the database to the present schema");
    }
    tx.commit().await.doing(doing)
}

async fn header(connection: &mut SqliteConnection, pragma: &'static str) -> Result<i64> {
    sqlx::query_scalar(pragma).fetch_one(connection).await.doing("read the version of the database")
}
