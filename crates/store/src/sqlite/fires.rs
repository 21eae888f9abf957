//! Runs that schedules fired.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{Job, JobEvent, JobState, Run, RunKey, RunState};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::jobs;
use super::moves::{OPEN, Touched, Word, advance};
use super::rows;
use super::subjects::Subject;
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
    for fired in own {
        match &fired.job {
            // Removed as it is met: a second attempt in the same batch belongs to a run that is known by then.
            _ if !fresh.remove(&fired.run.id) => later.push(fired),
            Some(job) => first.push(Job { run_id: Some(fired.run.id), ..job.clone() }),
            None => {}
        }
    }
    let mut written = insert(connection, &first).await?;
    for fired in later {
        if let Some(job) = attempt_of(connection, touched, fired).await? {
            written.extend(insert(connection, &[job]).await?);
        }
    }
    Ok(written)
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
