//! A fleet as large as one likes, for pictures and benchmarks: hosts, repositories, and months of jobs.
//!
//! Through the store's own verbs a million jobs would take hours, one commit after another, so the rows are written by statements on the
//! file that the real store made; the real server opens it afterwards, and whatever it could not read would show at once.

mod agents;
mod ends;
mod rows;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

pub use agents::Connected;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Hosts, each with a repository, two groups and a schedule.
    pub hosts: u32,
    /// Days of history; each host has a backup on each, and maintenance on some.
    pub days: u32,
}

impl Size {
    /// How many jobs that makes.
    pub const fn jobs(self) -> u64 {
        self.hosts as u64 * (self.days as u64 + rows::MAINTENANCE_JOBS)
    }
}

/// A fleet that was written.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    /// How much of everything.
    pub size: Size,
    /// The moment it was written at, in milliseconds.
    pub now: i64,
}

impl Seeded {
    /// Writes a fleet into the database of a server that is stopped.
    ///
    /// # Panics
    ///
    /// When a row cannot be written.
    pub fn write(database: &Path, size: Size) -> Self {
        let seeded = Self { size, now: now_millis() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(seeded.fill(database));
        seeded
    }

    async fn fill(&self, database: &Path) {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-400000")
            .connect()
            .await
            .expect("the server made its database");
        let mut tx = connection.begin().await.expect("a transaction");
        for statement in rows::statements(self) {
            let done = sqlx::query(AssertSqlSafe(statement.sql.clone()))
                .bind(statement.count)
                .bind(statement.list)
                .execute(&mut *tx)
                .await;
            done.unwrap_or_else(|error| panic!("{error}: {}", statement.sql));
        }
        tx.commit().await.expect("the fleet is written");
        sqlx::query("analyze").execute(&mut connection).await.expect("statistics");
        connection.close().await.expect("the file is closed");
    }

    /// The id of a host.
    pub fn host_id(&self, number: u32) -> String {
        self.id(rows::HOST, number)
    }

    /// The id of a host's repository.
    pub fn repo_id(&self, number: u32) -> String {
        self.id(rows::REPO, number)
    }

    /// The id of a host's source group `home`.
    pub fn group_id(&self, number: u32) -> String {
        self.id(rows::GROUP, number)
    }

    /// The id of a host's schedule.
    pub fn schedule_id(&self, number: u32) -> String {
        self.id(rows::SCHEDULE, number)
    }

    /// The id of a host's backup of so many days ago.
    pub fn job_id(&self, number: u32, day: u32) -> String {
        let at = rows::backup_at(self.now, i64::from(number), i64::from(day));
        rows::id(at, rows::JOB, i64::from(number))
    }

    fn id(&self, kind: u16, number: u32) -> String {
        rows::id(self.now - rows::ENROLLED, kind, i64::from(number))
    }

    /// The token by which the agent of a host connects.
    fn agent_token(number: u32) -> String {
        format!("seeded-agent-{number}")
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it fits")
}
