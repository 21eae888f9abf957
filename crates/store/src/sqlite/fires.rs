//! Runs that schedules fired.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId, ScheduleId};
use restic_manager_core::model::{Job, JobEvent, JobState, Run, RunKey, RunState};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::jobs;
use super::moves::{OPEN, Touched, Word, advance, advance_all};
use super::rows::{self, json};
use super::subjects::Subject;
use crate::reports::SUPERSEDED;
use crate::{FiredRun, Result};

/// Writes runs with their jobs, in a few statements but for runs that are known; answers the jobs that are new.
///
/// A run of another host, or on a repository that is gone, is left out.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    fires: &[(HostId, &FiredRun)],
) -> Result<Vec<(JobId, Subject)>> {
    let own: Vec<&FiredRun> = fires
        .iter()
        .filter(|(host_id, fired)| fired.run.host_id == *host_id)
        .map(|(_, fired)| *fired)
        .collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let runs: Vec<&Run> = own.iter().map(|fired| &fired.run).collect();
    let fresh: BTreeSet<RunId> = jobs::insert_runs(connection, &runs).await?.into_iter().collect();
    let mut late = with_newer_before(connection, &fresh).await?;
    let mut unmet = fresh;
    let (mut first, mut later, mut new) = (Vec::new(), Vec::new(), Vec::new());
    let mut newest: BTreeMap<Line, Timestamp> = BTreeMap::new();
    for fired in own {
        let (id, key) = (fired.run.id, fired.run.key);
        // Removed as it is met: a second attempt in the same batch belongs to a run that is known by then.
        if !unmet.remove(&id) {
            later.push(fired);
            continue;
        }
        let newest = newest.entry(line(&key)).or_insert(key.slot);
        let overtaken = key.slot < *newest || late.contains(&id);
        *newest = (*newest).max(key.slot);
        match &fired.job {
            Some(_) if overtaken => {
                late.insert(id);
            }
            Some(job) => {
                first.push(Job { run_id: Some(id), ..job.clone() });
                new.push(key);
            }
            None => {
                late.remove(&id);
            }
        }
    }
    let mut written = insert(connection, &first).await?;
    miss(connection, &late.into_iter().collect::<Vec<_>>()).await?;
    supersede_older(connection, touched, &new).await?;
    for fired in later {
        if let Some(job) = attempt_of(connection, touched, fired).await? {
            written.extend(insert(connection, &[job]).await?);
        }
    }
    Ok(written)
}

/// What a run shares with those for other slots.
type Line = (ScheduleId, GroupId, RepoId);

fn line(key: &RunKey) -> Line {
    (key.schedule_id, key.group_id, key.repo_id)
}

/// Those of these new runs for which there was one for a newer slot before any of them.
async fn with_newer_before(
    connection: &mut SqliteConnection,
    fresh: &BTreeSet<RunId>,
) -> Result<BTreeSet<RunId>> {
    let found = sqlx::query(
        "select r.id from json_each(?1) v join runs r on r.id = v.value where exists (select 1 from runs n indexed by runs_by_key \
         where n.schedule_id = r.schedule_id and n.group_id = r.group_id and n.repo_id = r.repo_id and n.slot > r.slot \
         and n.id not in (select value from json_each(?1)))",
    )
    .bind(json("ids", fresh)?)
    .fetch_all(connection)
    .await
    .doing("look for runs of newer slots")?;
    Ok(rows::ids(&found, "run")?.into_iter().collect())
}

/// Runs whose place a newer slot took.
async fn miss(connection: &mut SqliteConnection, runs: &[RunId]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update runs set state = ?2, next_attempt_at = null, pending_cause = null, pending_since = null, why = ?3 \
         where id in (select value from json_each(?1))",
    )
    .bind(json("ids", runs)?)
    .bind(RunState::Missed.as_str())
    .bind(SUPERSEDED)
    .execute(connection)
    .await
    .doing("give up runs for a newer slot")?;
    Ok(())
}

/// Gives up the runs for an older slot than one of these that are pending or wait, the latter with their jobs; one that is under way goes
/// on.
pub(super) async fn supersede_older(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    new: &[RunKey],
) -> Result<()> {
    let doing = "give up runs for a newer slot";
    let mut newest: BTreeMap<Line, Timestamp> = BTreeMap::new();
    for key in new {
        let slot = newest.entry(line(key)).or_insert(key.slot);
        *slot = (*slot).max(key.slot);
    }
    let sql = format!(
        "select r.id, (select id from jobs indexed by jobs_open_of_run where run_id = r.id and {OPEN}) as job_id, \
         (select state from jobs indexed by jobs_open_of_run where run_id = r.id and {OPEN}) as job_state \
         from json_each(?1) v join runs r indexed by runs_open on r.schedule_id = v.value->>'$[0][0]' \
         and r.group_id = v.value->>'$[0][1]' and r.repo_id = v.value->>'$[0][2]' and r.slot < v.value->>1 \
         where r.state = 'open'"
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(json("slots", &newest.iter().collect::<Vec<_>>())?)
        .fetch_all(&mut *connection)
        .await
        .doing(doing)?;
    let (mut runs, mut jobs) = (Vec::new(), Vec::new());
    for row in &found {
        let fields = rows::Fields::new(row, "run", "id");
        match fields.named_opt::<JobState>("job_state")? {
            Some(JobState::Queued) => jobs.extend(fields.parsed_opt::<JobId>("job_id")?),
            Some(_) => continue,
            None => {}
        }
        runs.push(fields.parsed("id")?);
    }
    if !jobs.is_empty() {
        let word = Word::new(touched.now, SUPERSEDED);
        advance_all(connection, touched, &jobs, JobEvent::Supersede, &word).await?;
    }
    miss(connection, &runs).await
}

/// The job as a further attempt of the run that is stored under the key, which it opens again; none when it is no higher one.
async fn attempt_of(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    fired: &FiredRun,
) -> Result<Option<Job>> {
    let Some(job) = &fired.job else { return Ok(None) };
    let Some(run) = by_key(connection, &fired.run.key).await? else { return Ok(None) };
    if job.attempt <= run.attempt {
        return Ok(None);
    }
    end_earlier(connection, touched, &run, job).await?;
    sqlx::query(
        "update runs set state = ?2, attempt = ?3, next_attempt_at = null, pending_cause = null, pending_since = null, why = null \
         where id = ?1",
    )
        .bind(run.id.to_string())
        .bind(RunState::Open.as_str())
        .bind(job.attempt)
        .execute(connection)
        .await
        .doing("open a run again")?;
    Ok(Some(Job { run_id: Some(run.id), ..job.clone() }))
}

/// Ends the attempt before, when the server still holds it for open: the agent is past it, and a run has one open job.
async fn end_earlier(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    run: &Run,
    job: &Job,
) -> Result<()> {
    let sql = format!("select * from jobs indexed by jobs_open_of_run where run_id = ?1 and {OPEN}");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(run.id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("look for the open job of a run")?;
    let Some(earlier) = found.as_ref().map(rows::job).transpose()? else { return Ok(()) };
    let event = if earlier.state == JobState::Running { JobEvent::Lose } else { JobEvent::Supersede };
    let word = Word::new(job.created_at, "the agent went on to a later attempt");
    advance(connection, touched, earlier.id, event, &word).await?;
    Ok(())
}

/// The run that is stored under a key.
pub(super) async fn by_key(connection: &mut SqliteConnection, key: &RunKey) -> Result<Option<Run>> {
    let found = sqlx::query(
        "select * from runs where schedule_id = ?1 and group_id = ?2 and repo_id = ?3 and slot = ?4",
    )
    .bind(key.schedule_id.to_string())
    .bind(key.group_id.to_string())
    .bind(key.repo_id.to_string())
    .bind(key.slot.as_millis())
    .fetch_optional(connection)
    .await
    .doing("read a run by its key")?;
    found.as_ref().map(rows::run).transpose()
}

async fn insert(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<(JobId, Subject)>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let fresh: BTreeSet<JobId> = jobs::insert(connection, jobs).await?.into_iter().collect();
    Ok(jobs.iter().filter(|job| fresh.contains(&job.id)).map(|job| (job.id, Subject::of(job))).collect())
}
