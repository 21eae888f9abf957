//! The embedded store: one SQLite file.
//!
//! All writes go through one connection, each in a transaction that takes the write lock at once (`BEGIN IMMEDIATE`): SQLite has one
//! writer anyway, and a transaction that begins as a reader can fail halfway when it turns into a writer. Reads have connections of
//! their own and, by the write-ahead log, never wait for the writer. Lists go in as one JSON parameter and are opened by `json_each`:
//! one statement with one text serves one row and ten thousand.

mod accounts;
mod adopt;
mod apply;
mod attachments;
mod audit;
mod dispatch;
mod effects;
mod fault;
mod fires;
mod fleet;
mod glance;
mod hosts;
mod jobs;
mod log;
mod log_chunk;
mod maintenance;
mod meta;
mod moves;
mod paging;
mod pending;
mod pending_runs;
mod plans;
mod reach;
mod reports;
mod repos;
mod rows;
mod runs;
mod schema;
mod session;
mod snapshots;
mod stats;
mod subjects;
#[cfg(test)]
mod tests;
mod views;
mod wake;
mod work;

use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use self::apply::ApplyQueue;
use self::fault::Doing;
use crate::{Result, StoreError};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that only read.
const READERS: u32 = 4;
/// Pages that each of them keeps at most, as SQLite spells 16 MiB: the upper levels of the indexes of a million jobs.
const READER_CACHE: &str = "-16384";
/// Rows that a statement may be ahead of whoever reads them: a page's worth, so that neither has to wait for the other row by row.
const ROWS_AHEAD: usize = 1024;
/// Statements each connection keeps prepared; there are about as many as this in all.
const STATEMENTS: usize = 256;

/// The store in one SQLite file.
///
/// Cheap to share behind an `Arc`. What was answered is on the disk: a commit is synced before it returns, so a power cut takes
/// nothing that was acknowledged. Must be opened within a tokio runtime.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    apply: ApplyQueue,
}

impl SqliteStore {
    /// Opens the database in this file, made with mode 0600 when it is missing, and brings it to the present schema.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooNew`] for a database of a newer build, [`StoreError::OfAnotherProgram`] for one of another program, and
    /// [`StoreError::NotADatabase`] for a file that is none; all of them stay as they are. [`StoreError::Open`] when the file cannot be
    /// made, opened or brought to the present schema, [`StoreError::DiskFull`] when there is no room for it. A folder is never made.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_file(path).await.map_err(|error| fault::of_file(path, error))
    }

    async fn open_file(path: &Path) -> Result<Self> {
        schema::judge_file(path).await?;
        create_private(path)?;
        let options = options()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would lose the last commits in a power cut, and agents forget what was acknowledged.
            .synchronous(SqliteSynchronous::Full);
        let writer = pool(1).connect_with(options.clone()).await.doing("open the database")?;
        schema::migrate(&mut *writer.acquire().await.doing("open the database")?).await?;
        let reading = options.pragma("query_only", "on").pragma("cache_size", READER_CACHE);
        let readers = pool(READERS).connect_with(reading).await.doing("open the database")?;
        Ok(Self::of(writer, readers))
    }

    /// Makes an empty store that lives in memory and ends with it, for tests.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`] when SQLite cannot be had.
    pub async fn in_memory() -> Result<Self> {
        let options = options().in_memory(true);
        // One connection for all: a second one would see another, empty database.
        let writer = pool(1).connect_with(options).await.doing("open the database")?;
        schema::migrate(&mut *writer.acquire().await.doing("open the database")?).await?;
        Ok(Self::of(writer.clone(), writer))
    }

    /// Finishes what is under way and closes the file; what is asked for later is a fault.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    fn of(writer: SqlitePool, readers: SqlitePool) -> Self {
        let apply = ApplyQueue::start(writer.clone());
        Self { writer, readers, apply }
    }

    /// Begins a transaction that writes.
    async fn write(&self, doing: &'static str) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.doing(doing)
    }

    /// A connection for one statement that reads.
    async fn reader(&self, doing: &'static str) -> Result<PoolConnection<Sqlite>> {
        self.readers.acquire().await.doing(doing)
    }

    /// Begins a transaction that reads: all its statements see one moment.
    async fn read(&self, doing: &'static str) -> Result<Transaction<'static, Sqlite>> {
        self.readers.begin().await.doing(doing)
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS_AHEAD)
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .min_connections(connections.min(1))
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        // A file does not go away as a network does: to ask before every use, or to reconnect, would only cost time.
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_fit(connection)))
}

/// Whether a connection can be used again: with no transaction left on it. One that cannot is replaced.
///
/// After some faults, a full disk among them, SQLite rolls back by itself (<https://www.sqlite.org/lang_transaction.html>). The
/// rollback that sqlx sends then fails, and sqlx (0.9.0, `ConnectionWorker`) counts the transaction as open for ever and begins no
/// other on that connection.
async fn is_fit(connection: &mut SqliteConnection) -> std::result::Result<bool, sqlx::Error> {
    // The rollback of a dropped transaction is only sent: the answer to what is sent behind it says that it was done.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

#[cfg(unix)]
fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    create(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600), path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> Result<()> {
    create(std::fs::OpenOptions::new().write(true).create_new(true), path)
}

/// SQLite gives its side files (`-wal`, `-shm`) the mode of the database itself.
fn create(options: &std::fs::OpenOptions, path: &Path) -> Result<()> {
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Open { path: path.to_owned(), source: Box::new(error) }),
    }
}
