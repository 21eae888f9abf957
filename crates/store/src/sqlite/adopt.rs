//! Jobs that agents took for themselves.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, JobId};
use restic_manager_core::model::{Job, JobEvent, JobState, Run, RunState};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::{OPEN, Touched, Word, advance};
use super::rows::{self, ids, json};
use super::subjects::Subject;
use super::{fires, jobs};
use crate::reports::TAKEN_BY_AGENT;
use crate::{Adoption, Result};

/// Takes in jobs that an agent took for itself; answers those that are new.
///
/// One statement where all are known, which is the rule; a few for each that is not.
pub(super) async fn adopt(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    host_id: HostId,
    claims: &[Adoption],
) -> Result<Vec<(JobId, Subject)>> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<JobId> = claims.iter().map(|claim| claim.job.id).collect();
    let known = sqlx::query("select id from jobs where id in (select value from json_each(?1))")
        .bind(json("ids", &asked)?)
        .fetch_all(&mut *connection)
        .await
        .doing("look for jobs of an agent")?;
    let mut known: BTreeSet<JobId> = ids(&known, "job")?.into_iter().collect();
    let mut new = Vec::new();
    for claim in claims {
        if known.insert(claim.job.id)
            && let Some(job) = adopt_one(connection, touched, host_id, claim).await?
        {
            new.push((job.id, Subject::of(&job)));
        }
    }
    Ok(new)
}

async fn adopt_one(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    host_id: HostId,
    claim: &Adoption,
) -> Result<Option<Job>> {
    let ours = claim.run.host_id == host_id && claim.job.host_id == host_id;
    if !ours || is_foreign(connection, host_id, &claim.run).await? {
        return Ok(None);
    }
    jobs::insert_runs(connection, &[&claim.run]).await?;
    let Some(run) = fires::by_key(connection, &claim.run.key).await? else { return Ok(None) };
    if run.host_id != host_id {
        return Ok(None);
    }
    end_open(connection, touched, &run).await?;
    let attempt = free_attempt(connection, &run, claim.job.attempt).await?;
    sqlx::query(
        "update runs set attempt = max(attempt, ?2), next_attempt_at = null, pending_cause = null, pending_since = null, \
         why = iif(state in ('succeeded', 'warning'), why, null), state = iif(state in ('succeeded', 'warning'), state, ?3) \
         where id = ?1",
    )
    .bind(run.id.to_string())
    .bind(attempt)
    .bind(RunState::Open.as_str())
    .execute(&mut *connection)
    .await
    .doing("open a run again")?;
    let job = Job { run_id: Some(run.id), attempt, ..claim.job.clone() };
    jobs::insert(connection, std::slice::from_ref(&job)).await?;
    touched.note(job.host_id, job.repo_id, job.state);
    fires::supersede_older(connection, touched, &[run.key]).await?;
    Ok(Some(job))
}

/// Whether the schedule is another host's: a run of it is none of this agent's.
async fn is_foreign(connection: &mut SqliteConnection, host_id: HostId, run: &Run) -> Result<bool> {
    sqlx::query_scalar("select exists (select 1 from schedules where id = ?1 and host_id <> ?2)")
        .bind(run.key.schedule_id.to_string())
        .bind(host_id.to_string())
        .fetch_one(connection)
        .await
        .doing("look for a schedule")
}

/// Ends what the server holds for open of a run: the agent has one job a slot, and this is not it.
async fn end_open(connection: &mut SqliteConnection, touched: &mut Touched, run: &Run) -> Result<()> {
    let sql = format!("select * from jobs indexed by jobs_open_of_run where run_id = ?1 and {OPEN}");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(run.id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("look for the open job of a run")?;
    let Some(open) = found.as_ref().map(rows::job).transpose()? else { return Ok(()) };
    let event = if open.state == JobState::Running { JobEvent::Lose } else { JobEvent::Supersede };
    advance(connection, touched, open.id, event, &Word::new(touched.now, TAKEN_BY_AGENT)).await?;
    Ok(())
}

/// The number an attempt of a run gets: its own where no attempt that started, or still may, has it; else the next.
async fn free_attempt(connection: &mut SqliteConnection, run: &Run, wanted: u32) -> Result<u32> {
    let taken: Vec<u32> = sqlx::query_scalar(
        "select attempt from jobs indexed by jobs_of_run where run_id = ?1 and run_id is not null and gave_slot_back = 0 \
         order by attempt",
    )
    .bind(run.id.to_string())
    .fetch_all(connection)
    .await
    .doing("read the attempts of a run")?;
    let last = taken.last().copied().unwrap_or(0);
    Ok(if taken.contains(&wanted) { last + 1 } else { wanted })
}
