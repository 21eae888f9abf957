//! Pending runs.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{AuditEntry, Job, JobState, Run, RunState};
use restic_manager_core::pending::{Plan, Retry, Target};
use restic_manager_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection};

use super::SqliteStore;
use super::fault::Doing;
use super::paging::{id_after, listed, rows_for};
use super::rows::{self, Fields, json};
use super::{audit, jobs};
use crate::{
    Becomes, Cursor, Listed, PageRequest, PendingOf, PendingRow, PendingRuns, Result, RunNames, Settled,
    Settlement, StoreError,
};

/// A pending run with what is decided on; `r` is the run.
const ROW: &str = "select r.*, s.enabled as schedule_enabled, g.retry_max, g.retry_backoff_seconds, a.id is not null as attached, \
     coalesce(h.name, (select d.name from departed_names d where d.id = r.host_id), '') as host_name, \
     coalesce(p.name, (select d.name from departed_names d where d.id = r.repo_id), '') as repo_name, \
     coalesce(g.name, (select d.name from departed_names d where d.id = r.group_id), '') as group_name, \
     coalesce(s.name, '') as schedule_name, l.id as last_job, l.message as last_message";
const AROUND: &str = "left join schedules s on s.id = r.schedule_id left join source_groups g on g.id = r.group_id \
     left join attachments a on a.host_id = r.host_id and a.repo_id = r.repo_id left join hosts h on h.id = r.host_id \
     left join repos p on p.id = r.repo_id left join jobs l on l.id = \
     (select id from jobs indexed by jobs_by_run where run_id = r.id and run_id is not null order by id desc limit 1)";

#[async_trait]
impl PendingRuns for SqliteStore {
    async fn pending_due(&self, online: &[HostId], now: Timestamp, most: u32) -> Result<Vec<PendingRow>> {
        let found = sqlx::query(AssertSqlSafe(due_sql()))
            .bind(now.as_millis())
            .bind(json("ids", online)?)
            .bind(most)
            .fetch_all(&self.readers)
            .await
            .doing("read the pending runs that are due")?;
        found.iter().map(row).collect()
    }

    async fn pending_of_hosts(&self, host_ids: &[HostId]) -> Result<Vec<PendingRow>> {
        let found = sqlx::query(AssertSqlSafe(of_hosts_sql()))
            .bind(json("ids", host_ids)?)
            .fetch_all(&self.readers)
            .await
            .doing("read the pending runs of hosts")?;
        found.iter().map(row).collect()
    }

    async fn pending_run(&self, id: RunId) -> Result<Option<PendingRow>> {
        let sql = format!("{ROW} from runs r {AROUND} where r.id = ?1 and r.pending_since is not null");
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await
            .doing("read a pending run")?;
        found.as_ref().map(row).transpose()
    }

    async fn pending_runs(&self, of: PendingOf, page: PageRequest) -> Result<Listed<PendingRow>> {
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new(format!("{ROW} from runs r {AROUND} where r.pending_since is not null"));
        match of {
            PendingOf::Fleet => {}
            PendingOf::Host(host_id) => {
                query.push(" and r.host_id = ").push_bind(host_id.to_string());
            }
            PendingOf::Repo(repo_id) => {
                query.push(" and r.repo_id = ").push_bind(repo_id.to_string());
            }
        }
        if let Some(after) = id_after::<RunId>(&page)? {
            query.push(" and r.id < ").push_bind(after.to_string());
        }
        query.push(" order by r.id desc limit ").push_bind(rows_for(&page));
        let found = query.build().fetch_all(&self.readers).await.doing("list pending runs")?;
        let items = found.iter().map(row).collect::<Result<Vec<_>>>()?;
        listed(items, &page, |row| Ok(Cursor(row.run.id.to_string())))
    }

    async fn count_pending(&self) -> Result<u64> {
        let doing = "count pending runs";
        let found = sqlx::query(
            "select count(*) as n from runs indexed by runs_pending where pending_since is not null",
        );
        let row = found.fetch_one(&self.readers).await.doing(doing)?;
        row.try_get::<i64, _>("n").doing(doing).map(i64::unsigned_abs)
    }

    async fn settle(&self, settlements: Vec<Settlement>, _now: Timestamp) -> Result<Vec<Settled>> {
        let doing = "settle pending runs";
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.write(doing).await?;
        let mut standing = standing(&mut tx, &settlements).await?;
        let mut commit = Commit::default();
        let mut settled = Vec::with_capacity(settlements.len());
        for Settlement { run_id, owed, becomes } in settlements {
            // Taken out as it is met: of two that settle one run the first wins.
            let known = standing.get(&run_id).filter(|run| run.pending == Some(owed));
            let Some(attempt) = known.map(|run| run.attempt) else {
                settled.push(Settled::Stale);
                continue;
            };
            standing.remove(&run_id);
            commit.take(run_id, attempt, becomes);
            settled.push(Settled::Done);
        }
        commit.write(&mut tx).await?;
        tx.commit().await.doing(doing)?;
        Ok(settled)
    }
}

/// The statement of what is due; `?1` the time, `?2` the hosts that are online, `?3` how many.
pub(super) fn due_sql() -> String {
    format!(
        "{ROW} from runs r indexed by runs_pending {AROUND} where r.pending_since is not null and r.next_attempt_at <= ?1 \
         and (r.host_id in (select value from json_each(?2)) or s.enabled is not 1 or g.id is null) \
         order by r.next_attempt_at, r.id limit ?3"
    )
}

/// The statement of what hosts owe; `?1` their ids.
pub(super) fn of_hosts_sql() -> String {
    format!(
        "{ROW} from runs r indexed by runs_pending_of_host {AROUND} where r.pending_since is not null \
         and r.host_id in (select value from json_each(?1)) order by r.next_attempt_at, r.id"
    )
}

fn row(row: &SqliteRow) -> Result<PendingRow> {
    let fields = Fields::new(row, "run", "id");
    let run = rows::run(row)?;
    let Some(owed) = run.pending else {
        let why = "it owes nothing".to_owned();
        return Err(StoreError::Unreadable { what: "pending run", id: run.id.to_string(), why });
    };
    let schedule = match fields.get::<Option<bool>>("schedule_enabled")? {
        None => Plan::Gone,
        Some(true) => Plan::Enabled,
        Some(false) => Plan::Disabled,
    };
    let max: Option<u32> = fields.number_opt("retry_max")?;
    let backoff_seconds = fields.number_opt("retry_backoff_seconds")?.unwrap_or(0);
    Ok(PendingRow {
        owed,
        schedule,
        retry: max.map(|max| Retry { max, backoff_seconds }),
        target: if fields.get("attached")? { Target::Attached } else { Target::Detached },
        names: RunNames {
            host: fields.get("host_name")?,
            repo: fields.get("repo_name")?,
            group: fields.get("group_name")?,
            schedule: fields.get("schedule_name")?,
        },
        last_job: fields.parsed_opt("last_job")?,
        last_message: fields.get("last_message")?,
        run,
    })
}

/// The open runs among these, as they stand.
async fn standing(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<BTreeMap<RunId, Run>> {
    let asked: BTreeSet<RunId> = settlements.iter().map(|settlement| settlement.run_id).collect();
    let found = sqlx::query(
        "select r.* from json_each(?1) v join runs r on r.id = v.value where r.state = 'open' and r.pending_since is not null",
    )
    .bind(json("ids", &asked)?)
    .fetch_all(connection)
    .await
    .doing("read pending runs")?;
    found.iter().map(|row| rows::run(row).map(|run| (run.id, run))).collect()
}

/// What a settlement writes, gathered so that one statement serves many runs.
#[derive(Default)]
struct Commit {
    attempts: Vec<(RunId, u32)>,
    jobs: Vec<Job>,
    planned: Vec<(RunId, Timestamp)>,
    abandoned: Vec<(RunId, String)>,
    audits: Vec<AuditEntry>,
}

impl Commit {
    fn take(&mut self, run_id: RunId, attempt: u32, becomes: Becomes) {
        match becomes {
            Becomes::Attempted(job) => {
                let attempt = attempt + 1;
                self.attempts.push((run_id, attempt));
                self.jobs.push(Job { run_id: Some(run_id), attempt, state: JobState::Queued, ..*job });
            }
            Becomes::Planned(at) => self.planned.push((run_id, at)),
            Becomes::Abandoned { why, audit } => {
                self.abandoned.push((run_id, why));
                self.audits.push(audit);
            }
        }
    }

    async fn write(self, connection: &mut SqliteConnection) -> Result<()> {
        let updates = [
            (
                "update runs set attempt = v.value->>1, next_attempt_at = null, pending_cause = null, pending_since = null \
                 from json_each(?1) v where runs.id = v.value->>0",
                json("attempts", &self.attempts)?,
                self.attempts.is_empty(),
            ),
            (
                "update runs set next_attempt_at = v.value->>1 from json_each(?1) v where runs.id = v.value->>0",
                json("times", &self.planned)?,
                self.planned.is_empty(),
            ),
            (
                "update runs set state = ?2, why = v.value->>1, next_attempt_at = null, pending_cause = null, pending_since = null \
                 from json_each(?1) v where runs.id = v.value->>0",
                json("reasons", &self.abandoned)?,
                self.abandoned.is_empty(),
            ),
        ];
        for (sql, values, _) in updates.into_iter().filter(|(.., nothing)| !nothing) {
            sqlx::query(sql)
                .bind(values)
                .bind(RunState::Abandoned.as_str())
                .execute(&mut *connection)
                .await
                .doing("settle pending runs")?;
        }
        if !self.jobs.is_empty() {
            let _written: Vec<JobId> = jobs::insert(connection, &self.jobs).await?;
        }
        audit::write_all(connection, &self.audits).await
    }
}
