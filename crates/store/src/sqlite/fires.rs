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

/// Writes runs with their jobs, in two statements but for runs that are known; answers the jobs that are new.
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
    let mut fresh: BTreeSet<RunId> = jobs::insert_runs(connection, &runs).await?.into_iter().collect();
    let mut first = Vec::new();
    let mut later = Vec::new();
    let mut new = Vec::new();
    for fired in own {
        match &fired.job {
            // Removed as it is met: a second attempt in the same batch belongs to a run that is known by then.
            _ if !fresh.remove(&fired.run.id) => later.push(fired),
            Some(job) => {
                first.push(Job { run_id: Some(fired.run.id), ..job.clone() });
                new.push((fired.run.id, fired.run.key));
            }
            None => {}
        }
    }
    let mut written = insert(connection, &first).await?;
    supersede_older(connection, touched, &new).await?;
    for fired in later {
        if let Some(job) = attempt_of(connection, touched, fired).await? {
            written.extend(insert(connection, &[job]).await?);
        }
    }
    Ok(written)
}

/// Gives up the runs that wait for an older slot than one of these new runs, each with its job; one that is under way goes on.
///
/// Of the runs given, one makes only those before it older: that is how they would stand had each come alone.
async fn supersede_older(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    new: &[(RunId, RunKey)],
) -> Result<()> {
    let doing = "give up runs for a newer slot";
    let mut newest: BTreeMap<(ScheduleId, GroupId, RepoId), Timestamp> = BTreeMap::new();
    let mut goes_on: BTreeSet<RunId> = BTreeSet::new();
    for (id, key) in new.iter().rev() {
        let slot = newest.entry((key.schedule_id, key.group_id, key.repo_id)).or_insert(key.slot);
        if *slot <= key.slot {
            *slot = key.slot;
            goes_on.insert(*id);
        }
    }
    let found = sqlx::query(
        "select r.id from json_each(?1) v join runs r indexed by runs_open on r.schedule_id = v.value->>'$[0][0]' \
         and r.group_id = v.value->>'$[0][1]' and r.repo_id = v.value->>'$[0][2]' and r.slot < v.value->>1 \
         where r.state = 'open'",
    )
    .bind(json("slots", &newest.iter().collect::<Vec<_>>())?)
    .fetch_all(&mut *connection)
    .await
    .doing(doing)?;
    let mut older: Vec<RunId> = rows::ids(&found, "run")?;
    older.retain(|id| !goes_on.contains(id));
    if older.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "select id, run_id from jobs indexed by jobs_open_of_run where run_id in (select value from json_each(?1)) \
         and {OPEN} and state = '{}'",
        JobState::Queued.as_str()
    );
    let waiting = sqlx::query(AssertSqlSafe(sql))
        .bind(json("ids", &older)?)
        .fetch_all(&mut *connection)
        .await
        .doing(doing)?;
    let jobs: Vec<JobId> = rows::ids(&waiting, "job")?;
    let runs = waiting.iter().map(|row| rows::Fields::new(row, "job", "id").parsed("run_id"));
    let runs = runs.collect::<Result<Vec<RunId>>>()?;
    let word = Word::new(touched.now, SUPERSEDED);
    advance_all(connection, touched, &jobs, JobEvent::Supersede, &word).await?;
    sqlx::query(
        "update runs set state = ?2, next_attempt_at = null, why = ?3 where id in (select value from json_each(?1))",
    )
    .bind(json("ids", &runs)?)
    .bind(RunState::Missed.as_str())
    .bind(SUPERSEDED)
    .execute(connection)
    .await
    .doing(doing)?;
    Ok(())
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
    sqlx::query("update runs set state = ?2, attempt = ?3, next_attempt_at = null, why = null where id = ?1")
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

async fn by_key(connection: &mut SqliteConnection, key: &RunKey) -> Result<Option<Run>> {
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
