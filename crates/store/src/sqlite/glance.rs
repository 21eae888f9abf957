//! Bulk reads for pages.

use std::ops::Range;

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{Host, JobKind, JobState, Role, Schedule};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{DAY, Timestamp};
use sqlx::AssertSqlSafe;

use super::SqliteStore;
use super::fault::Doing;
use super::moves::OPEN;
use super::rows::{self, Fields, JOB, JOB_NAMES, ids, json, name_of};
use crate::stats::day_of;
use crate::{DaysOf, Glance, JobDay, JobRow, PrimaryRepo, Result};

/// Enabled schedules that back up nowhere; `?1` how many. Of each schedule only the attachments of its host are looked up.
pub(super) const WITHOUT_TARGET: &str = "select s.*, h.name as host_name from schedules s join hosts h on h.id = s.host_id \
     where s.enabled and not exists (select 1 from attachments a where a.host_id = s.host_id and a.role <> 'maintenance' \
     and (s.repo_ids is null or a.repo_id in (select value from json_each(s.repo_ids)))) \
     order by h.name_key, s.name_key, s.id limit ?1";

/// The statement of jobs that ended badly and were not mended; `?1` an instant, `?2` how many.
///
/// Each walk goes down one stretch of an index in the order of the id, and the lowest id since the instant ends it.
pub(super) fn unmended_sql() -> String {
    let bad = [JobState::Failed, JobState::Lost, JobState::Warning];
    let over: Vec<String> = JobState::ALL
        .into_iter()
        .filter(|state| state.is_final())
        .map(|state| format!("'{}'", state.as_str()))
        .collect();
    let walks: Vec<String> = JobKind::ALL
        .into_iter()
        .flat_map(|kind| bad.map(|state| (kind.as_str(), state.as_str())))
        .map(|(kind, state)| {
            format!(
                "select id from jobs indexed by jobs_of_kind where kind = '{kind}' and state = '{state}' and id >= \
                 (select min(s.id) from jobs s indexed by jobs_by_age where s.created_at >= ?1)"
            )
        })
        .collect();
    format!(
        "select {JOB}, {JOB_NAMES} from ({}) w cross join jobs j on j.id = w.id where j.created_at >= ?1 and not exists \
         (select 1 from jobs n indexed by jobs_of_host where n.host_id = j.host_id and n.kind = j.kind and n.id > j.id \
         and n.repo_id = j.repo_id and n.group_id is j.group_id and n.state in ({})) order by j.id desc limit ?2",
        walks.join(" union all "),
        over.join(", ")
    )
}

/// The days of repositories, a row a repository: to hand over a month of rows for each costs more than to read them. `?1` the ids,
/// `?2` the first day.
pub(super) const SIZES: &str = "select v.value as repo_id, (select json_group_array(json_array(d.day, d.total_size_bytes, \
     d.snapshot_count)) from stats_days d where d.repo_id = v.value and d.day >= ?2) as days \
     from (select distinct value from json_each(?1)) v order by v.value";

/// The statement of the newest backups of source groups; `?1` their ids.
pub(super) fn last_backups_sql() -> String {
    format!(
        "select {JOB}, {JOB_NAMES} from json_each(?1) v join jobs j on j.id = (select b.id from jobs b indexed by jobs_of_group \
         where b.group_id = v.value and b.kind = '{}' order by b.id desc limit 1) order by v.key",
        JobKind::Backup.as_str(),
    )
}

/// The statement of the jobs of hosts that are not over; `?1` their ids.
pub(super) fn open_jobs_sql() -> String {
    format!(
        "select {JOB}, {JOB_NAMES} from json_each(?1) v cross join jobs j indexed by jobs_open_of_host on j.host_id = v.value \
         where j.{OPEN} order by j.id"
    )
}

/// The statement of the days of a host's or a repository's jobs; `?1` whose, `?2` the kind, `?3` the first day, `?4` the end.
pub(super) fn job_days_sql(of: DaysOf) -> String {
    let (index, column) = match of {
        DaysOf::Host(_) => ("jobs_of_host", "host_id"),
        DaysOf::Repo(_) => ("jobs_of_repo", "repo_id"),
    };
    format!(
        "select created_at / {DAY} * {DAY} as day, state, count(*) as jobs from jobs indexed by {index} \
         where {column} = ?1 and kind = ?2 and created_at >= ?3 and created_at < ?4 group by 1, 2 order by 1, 2"
    )
}

#[async_trait]
impl Glance for SqliteStore {
    async fn primary_repos(&self, host_ids: &[HostId]) -> Result<Vec<PrimaryRepo>> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select a.host_id, r.id, r.name from json_each(?1) v join attachments a on a.host_id = v.value and a.role = '{}' \
             join repos r on r.id = a.repo_id order by v.key",
            name_of(&Role::Primary)?
        )))
        .bind(json("ids", host_ids)?)
        .fetch_all(&self.readers)
        .await
        .doing("read the repositories of hosts")?;
        let row = |row| {
            let fields = Fields::new(row, "repository", "id");
            Ok(PrimaryRepo {
                host_id: fields.parsed("host_id")?,
                repo_id: fields.parsed("id")?,
                name: fields.parsed("name")?,
            })
        };
        found.iter().map(row).collect()
    }

    async fn sizes(&self, repo_ids: &[RepoId], since: Timestamp) -> Result<Vec<(RepoId, StatsDay)>> {
        let found = sqlx::query(SIZES)
            .bind(json("ids", repo_ids)?)
            .bind(day_of(since).as_millis())
            .fetch_all(&self.readers)
            .await
            .doing("read how large repositories were")?;
        let mut sizes = Vec::new();
        for row in &found {
            let fields = Fields::new(row, "days of the repository", "repo_id");
            let repo_id = fields.parsed("repo_id")?;
            let mut days: Vec<(Timestamp, Option<u64>, Option<u64>)> = fields.json("days")?;
            days.sort_unstable();
            sizes.extend(days.into_iter().map(|(day, total_size_bytes, snapshot_count)| {
                (repo_id, StatsDay { day, total_size_bytes, snapshot_count })
            }));
        }
        Ok(sizes)
    }

    async fn last_backups_of_groups(&self, group_ids: &[GroupId]) -> Result<Vec<JobRow>> {
        let found = sqlx::query(AssertSqlSafe(last_backups_sql()))
            .bind(json("ids", group_ids)?)
            .fetch_all(&self.readers)
            .await
            .doing("read the newest backups of source groups")?;
        found.iter().map(rows::job_row).collect()
    }

    async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobRow>> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select {JOB}, {JOB_NAMES} from jobs j where j.id in (select value from json_each(?1)) order by j.id"
        )))
        .bind(json("ids", ids)?)
        .fetch_all(&self.readers)
        .await
        .doing("read jobs")?;
        found.iter().map(rows::job_row).collect()
    }

    async fn open_jobs_of(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>> {
        let found = sqlx::query(AssertSqlSafe(open_jobs_sql()))
            .bind(json("ids", host_ids)?)
            .fetch_all(&self.readers)
            .await
            .doing("read what hosts are doing")?;
        found.iter().map(rows::job_row).collect()
    }

    async fn busy_hosts(&self) -> Result<Vec<HostId>> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select distinct host_id as id from jobs indexed by jobs_open where {OPEN} and state <> 'queued' order by host_id"
        )))
        .fetch_all(&self.readers)
        .await
        .doing("read which hosts are busy")?;
        ids(&found, "host")
    }

    async fn hosts_besides(&self, some: &[HostId]) -> Result<Vec<HostId>> {
        let found =
            sqlx::query("select id from hosts where id not in (select value from json_each(?1)) order by id")
                .bind(json("ids", some)?)
                .fetch_all(&self.readers)
                .await
                .doing("read which hosts there are besides")?;
        ids(&found, "host")
    }

    async fn hosts_without_restic(&self, limit: u32) -> Result<Vec<Host>> {
        let found = sqlx::query(
            "select * from hosts where facts ->> 'restic_problem' is not null order by name_key, id limit ?1",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .doing("read which hosts have no usable restic")?;
        found.iter().map(rows::host).collect()
    }

    async fn schedules_without_target(&self, limit: u32) -> Result<Vec<(Schedule, DisplayName)>> {
        let found = sqlx::query(WITHOUT_TARGET)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .doing("read which schedules back up nowhere")?;
        found
            .iter()
            .map(|row| {
                let schedule = rows::schedule(row)?;
                let host = Fields::new(row, "schedule", "id").parsed("host_name")?;
                Ok((schedule, host))
            })
            .collect()
    }

    async fn unmended(&self, since: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        let found = sqlx::query(AssertSqlSafe(unmended_sql()))
            .bind(since.as_millis())
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .doing("read which jobs ended badly")?;
        found.iter().map(rows::job_row).collect()
    }

    async fn attempts(&self, run_id: RunId) -> Result<Vec<JobRow>> {
        let found = sqlx::query(AssertSqlSafe(format!(
            "select {JOB}, {JOB_NAMES} from jobs j indexed by jobs_by_run where j.run_id = ?1 and j.run_id is not null order by j.attempt"
        )))
        .bind(run_id.to_string())
        .fetch_all(&self.readers)
        .await
        .doing("read the jobs of a run")?;
        found.iter().map(rows::job_row).collect()
    }

    async fn job_days(&self, of: DaysOf, kind: JobKind, within: Range<Timestamp>) -> Result<Vec<JobDay>> {
        let id = match of {
            DaysOf::Host(id) => id.to_string(),
            DaysOf::Repo(id) => id.to_string(),
        };
        let found = sqlx::query(AssertSqlSafe(job_days_sql(of)))
            .bind(id)
            .bind(kind.as_str())
            .bind(day_of(within.start).as_millis())
            .bind(within.end.as_millis())
            .fetch_all(&self.readers)
            .await
            .doing("count the jobs of days")?;
        let day = |row| {
            let fields = Fields::new(row, "day of jobs", "state");
            Ok(JobDay {
                day: fields.at("day")?,
                state: fields.named("state")?,
                jobs: fields.get::<i64>("jobs")?.unsigned_abs(),
            })
        };
        found.iter().map(day).collect()
    }
}
