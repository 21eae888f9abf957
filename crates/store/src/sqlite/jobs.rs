//! Jobs and runs as rows: written, listed, counted.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{Job, JobKind, JobState, Run};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite, SqliteConnection};

use super::SqliteStore;
use super::fault::Doing;
use super::moves::OPEN;
use super::paging::{id_after, listed, rows_for};
use super::rows::{self, JOB, JOB_NAMES, ids, json};
use crate::{Cursor, FleetCounts, JobFilter, JobRow, Listed, PageRequest, Result};

/// Writes jobs as they are; answers those that were not there before.
pub(super) async fn insert(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<JobId>> {
    let written = sqlx::query(
        "insert into jobs (id, kind, state, host_id, repo_id, group_id, run_id, slot, attempt, actor_kind, actor, \
         created_at, dispatched_at, started_at, finished_at, cancel_requested_at, class, exit_code, message, hint, summary, intent) \
         select value->>'id', value->>'kind', value->>'state', value->>'host_id', value->>'repo_id', value->>'group_id', \
         value->>'run_id', value->>'slot', value->>'attempt', value->>'$.actor.kind', value->>'$.actor.name', \
         value->>'created_at', value->>'dispatched_at', value->>'started_at', value->>'finished_at', \
         value->>'cancel_requested_at', value->>'class', value->>'exit_code', value->>'message', value->>'hint', \
         value->>'summary', value->>'intent' from json_each(?1) where true on conflict do nothing returning id",
    )
    .bind(json("jobs", jobs)?)
    .fetch_all(connection)
    .await
    .doing("write jobs")?;
    ids(&written, "job")
}

/// Writes runs on repositories that are there; answers those whose key was not there before.
pub(super) async fn insert_runs(connection: &mut SqliteConnection, runs: &[&Run]) -> Result<Vec<RunId>> {
    let written = sqlx::query(
        "insert into runs (id, schedule_id, group_id, repo_id, slot, host_id, state, attempt, next_attempt_at, pending_cause, pending_since, why, created_at) \
         select value->>'id', value->>'$.key.schedule_id', value->>'$.key.group_id', value->>'$.key.repo_id', \
         value->>'$.key.slot', value->>'host_id', value->>'state', value->>'attempt', value->>'$.pending.next_attempt_at', \
         value->>'$.pending.cause', value->>'$.pending.since', \
         value->>'why', value->>'created_at' from json_each(?1) \
         where value->>'$.key.repo_id' in (select id from repos) on conflict do nothing returning id",
    )
    .bind(json("runs", runs)?)
    .fetch_all(connection)
    .await
    .doing("write runs")?;
    ids(&written, "run")
}

/// The job of maintenance that was made for the same slot and attempt; one that was given up gave its slot back.
pub(super) async fn of_slot(connection: &mut SqliteConnection, job: &Job) -> Result<Option<Job>> {
    let (None, Some(slot)) = (job.run_id, job.slot) else { return Ok(None) };
    let found = sqlx::query(
        "select * from jobs indexed by jobs_of_slot where repo_id = ?1 and kind = ?2 and slot = ?3 and attempt = ?4 \
         and run_id is null and slot is not null and gave_slot_back = 0",
    )
    .bind(job.repo_id.to_string())
    .bind(job.kind.as_str())
    .bind(slot.as_millis())
    .bind(job.attempt)
    .fetch_optional(connection)
    .await
    .doing("look for the job of a slot")?;
    found.as_ref().map(rows::job).transpose()
}

/// The job of the same kind on the same host, repository and group, with the same preview, that is not final and was not asked to stop.
pub(super) async fn open_like(connection: &mut SqliteConnection, job: &Job) -> Result<Option<Job>> {
    let sql = format!(
        "select * from jobs indexed by jobs_open_of_host where host_id = ?1 and repo_id = ?2 and kind = ?3 \
         and group_id is ?4 and preview_group is ?5 and cancel_requested_at is null and {OPEN} order by id limit 1"
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(job.host_id.to_string())
        .bind(job.repo_id.to_string())
        .bind(job.kind.as_str())
        .bind(job.group_id.map(|id| id.to_string()))
        .bind(job.intent.preview_group.map(|id| id.to_string()))
        .fetch_optional(connection)
        .await
        .doing("look for a job like it")?;
    found.as_ref().map(rows::job).transpose()
}

pub(super) async fn row(store: &SqliteStore, id: JobId) -> Result<Option<JobRow>> {
    let sql = format!("select {JOB}, {JOB_NAMES} from jobs j where j.id = ?1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(&store.readers)
        .await
        .doing("read a job")?;
    found.as_ref().map(rows::job_row).transpose()
}

pub(super) async fn page(
    store: &SqliteStore,
    filter: &JobFilter,
    page: &PageRequest,
) -> Result<Listed<JobRow>> {
    let mut query = listing(filter, page)?;
    let found = query.build().fetch_all(&store.readers).await.doing("list jobs")?;
    let items = found.iter().map(rows::job_row).collect::<Result<Vec<_>>>()?;
    listed(items, page, |row| Ok(Cursor(row.job.id.to_string())))
}

/// The statement of a page of jobs.
///
/// It is a union of walks, each down one stretch of one index that is in order of the id, and each as long as the page: whatever
/// the filter, the cost follows the page and not the history.
pub(super) fn listing(filter: &JobFilter, page: &PageRequest) -> Result<QueryBuilder<Sqlite>> {
    let after = id_after::<JobId>(page)?;
    let kinds = filter.kind.map_or_else(|| JobKind::ALL.to_vec(), |kind| vec![kind]);
    let asked: BTreeSet<JobState> = filter.states.iter().copied().collect();
    let states = if asked.is_empty() { JobState::ALL.to_vec() } else { asked.into_iter().collect() };
    let mut query = QueryBuilder::new(format!("select {JOB}, {JOB_NAMES} from jobs j where j.id in ("));
    let mut walk = Walk { query: &mut query, filter, after, limit: rows_for(page), walks: 0 };
    if filter.group_id.is_some() {
        walk.push("jobs_of_group", None, None);
    } else if filter.host_id.is_some() {
        kinds.iter().for_each(|kind| walk.push("jobs_of_host", Some(*kind), None));
    } else if filter.repo_id.is_some() || filter.kind.is_some() || !filter.states.is_empty() {
        let index = if filter.repo_id.is_some() { "jobs_of_repo" } else { "jobs_of_kind" };
        for kind in kinds {
            states.iter().for_each(|state| walk.push(index, Some(kind), Some(*state)));
        }
    } else {
        walk.push("sqlite_autoindex_jobs_1", None, None);
    }
    query.push(") order by j.id desc limit ").push_bind(rows_for(page));
    Ok(query)
}

/// Writes the walks of a listing.
struct Walk<'a> {
    query: &'a mut QueryBuilder<Sqlite>,
    filter: &'a JobFilter,
    after: Option<JobId>,
    limit: i64,
    walks: usize,
}

impl Walk<'_> {
    fn push(&mut self, index: &str, kind: Option<JobKind>, state: Option<JobState>) {
        let filter = self.filter;
        self.query.push(if self.walks == 0 { "" } else { " union all " });
        self.walks += 1;
        self.query.push("select id from (select id from jobs indexed by ").push(index).push(" where true");
        self.equal("host_id", filter.host_id.map(|id| id.to_string()));
        self.equal("repo_id", filter.repo_id.map(|id| id.to_string()));
        self.equal("group_id", filter.group_id.map(|id| id.to_string()));
        self.equal("kind", kind.or(filter.kind).map(|kind| kind.as_str().to_owned()));
        self.equal("state", state.map(|state| state.as_str().to_owned()));
        if state.is_none() && !filter.states.is_empty() {
            let names: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            self.query.push(" and state in ('").push(names.join("', '")).push("')");
        }
        self.equal_or_later();
        self.earlier();
        if let Some(after) = self.after {
            self.query.push(" and id < ").push_bind(after.to_string());
        }
        self.query.push(" order by id desc limit ").push_bind(self.limit).push(")");
    }

    fn equal(&mut self, column: &str, value: Option<String>) {
        if let Some(value) = value {
            self.query.push(" and ").push(column).push(" = ").push_bind(value);
        }
    }

    fn earlier(&mut self) {
        let Some(before) = self.filter.before.map(Timestamp::as_millis) else { return };
        self.query.push(" and created_at < ").push_bind(before);
        if let Some(since) = self.filter.since.map(Timestamp::as_millis) {
            // The highest id of the stretch, as the lowest below: where it begins, the walk begins.
            self.query
                .push(
                    " and id <= (select max(s.id) from jobs s indexed by jobs_by_age where s.created_at >= ",
                )
                .push_bind(since)
                .push(" and s.created_at < ")
                .push_bind(before)
                .push(")");
        }
    }

    fn equal_or_later(&mut self) {
        let Some(since) = self.filter.since.map(Timestamp::as_millis) else { return };
        self.query.push(" and created_at >= ").push_bind(since);
        if self.filter.host_id.is_none() && self.filter.group_id.is_none() {
            // Ids sort by minting, on whatever clock, and not by `created_at`: the lowest id among the jobs since then ends the
            // walk without missing any. One host, or one group, has too few jobs for that to pay.
            self.query
                .push(
                    " and id >= (select min(s.id) from jobs s indexed by jobs_by_age where s.created_at >= ",
                )
                .push_bind(since)
                .push(")");
        }
    }
}

/// The statement of the newest backups of hosts; `?1` their ids.
pub(super) fn last_backups_sql() -> String {
    format!(
        "select {JOB}, {JOB_NAMES} from json_each(?1) v join jobs j on j.id = (select b.id from jobs b indexed by jobs_of_host \
         where b.host_id = v.value and b.kind = '{}' and b.state not in ('{}', '{}') order by b.id desc limit 1) \
         order by v.key",
        JobKind::Backup.as_str(),
        JobState::Superseded.as_str(),
        JobState::Withdrawn.as_str(),
    )
}

pub(super) async fn last_backups(store: &SqliteStore, host_ids: &[HostId]) -> Result<Vec<JobRow>> {
    let found = sqlx::query(AssertSqlSafe(last_backups_sql()))
        .bind(json("ids", host_ids)?)
        .fetch_all(&store.readers)
        .await
        .doing("read the newest backups of hosts")?;
    found.iter().map(rows::job_row).collect()
}

pub(super) async fn run(store: &SqliteStore, id: RunId) -> Result<Option<Run>> {
    let found = sqlx::query("select * from runs where id = ?1")
        .bind(id.to_string())
        .fetch_optional(&store.readers)
        .await
        .doing("read a run")?;
    found.as_ref().map(rows::run).transpose()
}

/// The statement of the counts; `?1` is the instant since which failures count.
pub(super) fn counts_sql() -> String {
    format!(
        "select (select count(*) from hosts) as hosts, (select count(*) from repos) as repos, \
         (select count(*) from jobs indexed by jobs_open where {OPEN} and state <> 'queued') as running, \
         (select count(*) from jobs indexed by jobs_open where {OPEN} and state = 'queued') as queued, \
         (select count(*) from jobs indexed by jobs_failed where state in ('failed', 'lost') and finished_at >= ?1) as failed"
    )
}

pub(super) async fn counts(store: &SqliteStore, failed_since: Timestamp) -> Result<FleetCounts> {
    let doing = "count the fleet";
    let row = sqlx::query(AssertSqlSafe(counts_sql()))
        .bind(failed_since.as_millis())
        .fetch_one(&store.readers)
        .await
        .doing(doing)?;
    let count = |column: &str| row.try_get::<i64, _>(column).doing(doing).map(i64::unsigned_abs);
    Ok(FleetCounts {
        hosts: count("hosts")?,
        repos: count("repos")?,
        jobs_running: count("running")?,
        jobs_queued: count("queued")?,
        jobs_failed: count("failed")?,
    })
}
