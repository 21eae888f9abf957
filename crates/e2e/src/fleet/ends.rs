//! What a page shows only now and then: a run that owes an attempt, a job that waits, and what a policy would forget.

use std::path::Path;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Seeded, rows};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

impl Seeded {
    /// Lets the newest run of a host owe an attempt, in the database of a server that is stopped; answers the id of the run.
    ///
    /// # Panics
    ///
    /// When the row cannot be written.
    pub fn owe_an_attempt(&self, database: &Path, number: u32) -> String {
        let at = rows::backup_at(self.now, i64::from(number), 0);
        let run = rows::id(at, rows::RUN, i64::from(number));
        write(
            database,
            "update runs set state = 'open', pending_cause = 'retryable', pending_since = ?2, next_attempt_at = ?3 where id = ?1",
            &[run.clone().into(), at.into(), (self.now + HOUR).into()],
        );
        write(
            database,
            "update jobs set state = 'failed', class = 'unreachable', exit_code = 1, summary = null, \
             message = 'the repository does not answer: connection refused', \
             hint = 'look whether the storage is up; it is tried again by itself' where run_id = ?1",
            &[run.clone().into()],
        );
        run
    }

    /// Adds a check of a host's repository that waits for its turn; answers the job's id.
    ///
    /// # Panics
    ///
    /// When the row cannot be written.
    pub fn add_waiting(&self, database: &Path, number: u32) -> String {
        let id = rows::id(self.now, rows::PREVIEW, i64::from(number));
        write(
            database,
            "insert into jobs (id, kind, state, host_id, repo_id, attempt, actor_kind, actor, created_at) \
             values (?1, 'check', 'queued', ?2, ?3, 1, 'user', 'admin', ?4)",
            &[id.clone().into(), self.host_id(number).into(), self.repo_id(number).into(), self.now.into()],
        );
        id
    }

    /// Adds a check that runs since a minute on a host's repository; answers its id.
    ///
    /// # Panics
    ///
    /// When the row cannot be written.
    pub fn add_running(&self, database: &Path, number: u32) -> String {
        let at = self.now - MINUTE;
        let id = rows::id(at, rows::PREVIEW, i64::from(number));
        write(
            database,
            "insert into jobs (id, kind, state, host_id, repo_id, attempt, actor_kind, actor, created_at, dispatched_at, started_at) \
             values (?1, 'check', 'running', ?2, ?3, 1, 'user', 'admin', ?4, ?4, ?4)",
            &[id.clone().into(), self.host_id(number).into(), self.repo_id(number).into(), at.into()],
        );
        id
    }

    /// Adds what restic said of a host's source group `home` when it was asked what its policy would forget; answers the job's id.
    ///
    /// # Panics
    ///
    /// When the row cannot be written.
    pub fn add_preview(&self, database: &Path, number: u32) -> String {
        let at = self.now - HOUR;
        let id = rows::id(at, rows::PREVIEW, i64::from(number));
        let (host, repo, group) = (self.host_id(number), self.repo_id(number), self.group_id(number));
        let decision = |day: i64, keeps: &[&str]| {
            let time = rows::backup_at(self.now, i64::from(number), day);
            // As restic's own ids look.
            let id = format!("{:08x}{day:056x}", (day + 3) * 0x17a3_55cd % 0xffff_ffff);
            json!({ "snapshot_id": id, "time": time, "keeps": keeps })
        };
        let decisions = [
            decision(0, &["daily snapshot", "weekly snapshot"]),
            decision(1, &["daily snapshot"]),
            decision(9, &[]),
        ];
        let result = json!({
            "group_id": group, "restic_host": "box", "tag": "home", "class": "ok", "message": "1 would go",
            "planned": 1, "removed": 0, "kept": 2, "decisions": decisions,
        });
        write(
            database,
            "insert into jobs (id, kind, state, host_id, repo_id, attempt, actor_kind, actor, created_at, dispatched_at, started_at, \
             finished_at, ended_here_at, class, exit_code, summary, intent) \
             values (?1, 'forget', 'succeeded', ?2, ?3, 1, 'user', 'admin', ?4, ?4, ?4, ?4, ?4, 'ok', 0, ?5, ?6)",
            &[
                id.clone().into(),
                host.into(),
                repo.into(),
                at.into(),
                json!({ "forget": [result] }).to_string().into(),
                json!({ "preview_group": group }).to_string().into(),
            ],
        );
        id
    }
}

fn write(database: &Path, sql: &'static str, values: &[serde_json::Value]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await.expect("the server made its database");
        let query = values.iter().fold(sqlx::query(sql), |query, value| match value.as_i64() {
            Some(number) => query.bind(number),
            None => query.bind(value.as_str().map(str::to_owned)),
        });
        let done = query.execute(&mut connection).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        assert_eq!(done.rows_affected(), 1, "{sql}");
        connection.close().await.expect("the file is closed");
    });
}
