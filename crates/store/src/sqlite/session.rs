//! Sessions of agents.

use restic_manager_core::id::{HostId, JobId, SpoolId};
use restic_manager_core::model::{Job, JobEvent, JobState};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::{OPEN, Touched, Word, advance, advance_all};
use super::rows::{self, json};
use super::{adopt, hosts, wake};
use crate::{JobMove, Result, TakeSession, TakenSession};

/// Takes a session within a transaction; none when there is no such host.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    take: &TakeSession,
) -> Result<Option<TakenSession>> {
    let Some(epoch) = meet(connection, take).await? else {
        return Ok(None);
    };
    let mut touched = Touched::at(take.now);
    adopt::adopt(connection, &mut touched, take.host_id, &take.claims).await?;
    touched.raise(connection).await?;
    let committed_seq = join_spool(connection, take.host_id, take.spool_id).await?;
    let (known, unknown): (Vec<Job>, Vec<Job>) = occupying(connection, take.host_id)
        .await?
        .into_iter()
        .partition(|job| take.known_jobs.contains(&job.id));
    let cancel = known.iter().filter(|job| job.cancel_requested_at.is_some()).map(|job| job.id).collect();
    let (lost, requeued) = judge(connection, &unknown, take).await?;
    wake::run_by(connection, take.host_id, take.now).await?;
    let host = hosts::by_id(connection, take.host_id).await?;
    Ok(host.map(|host| TakenSession { epoch, committed_seq, host, lost, requeued, cancel }))
}

/// Stores what the agent says of itself; answers the number of the session, or none when there is no such host.
async fn meet(connection: &mut SqliteConnection, take: &TakeSession) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "update hosts set facts = ?2, last_seen_at = max(coalesce(last_seen_at, ?3), ?3), schedule_version_acked = ?4, \
         session_epoch = session_epoch + 1 where id = ?1 returning session_epoch",
    )
    .bind(take.host_id.to_string())
    .bind(json("facts", &take.facts)?)
    .bind(take.now.as_millis())
    .bind(take.schedule_version)
    .fetch_optional(connection)
    .await
    .doing("store what an agent says of itself")
}

/// The newest number applied of a spool, which is known from here on.
async fn join_spool(connection: &mut SqliteConnection, host_id: HostId, spool_id: SpoolId) -> Result<u64> {
    let seq: i64 = sqlx::query_scalar(
        "insert into spools (host_id, spool_id, committed_seq) values (?1, ?2, 0) \
         on conflict do update set committed_seq = committed_seq returning committed_seq",
    )
    .bind(host_id.to_string())
    .bind(spool_id.to_string())
    .fetch_one(connection)
    .await
    .doing("join the spool of an agent")?;
    Ok(seq.unsigned_abs())
}

async fn occupying(connection: &mut SqliteConnection, host_id: HostId) -> Result<Vec<Job>> {
    let sql = format!(
        "select * from jobs indexed by jobs_open_of_host where host_id = ?1 and {OPEN} and state <> '{}' order by id",
        JobState::Queued.as_str()
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(host_id.to_string())
        .fetch_all(connection)
        .await
        .doing("read the jobs that a host holds")?;
    found.iter().map(rows::job).collect()
}

/// Jobs the agent does not know: those that ran are lost, those that never reached it wait again. One statement each, but for jobs
/// that somebody asked to cancel.
async fn judge(
    connection: &mut SqliteConnection,
    unknown: &[Job],
    take: &TakeSession,
) -> Result<(Vec<JobId>, Vec<JobId>)> {
    if unknown.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let ids_of = |wanted: &dyn Fn(&Job) -> bool| -> Vec<JobId> {
        unknown.iter().filter(|job| wanted(job)).map(|job| job.id).collect()
    };
    let ran = ids_of(&|job| job.state == JobState::Running);
    let unreached = ids_of(&|job| job.state != JobState::Running && job.cancel_requested_at.is_none());
    let unwanted = ids_of(&|job| job.state != JobState::Running && job.cancel_requested_at.is_some());
    let mut touched = Touched::at(take.now);
    let gone = Word::new(take.now, "the agent came back and no longer knew of it");
    let lost = advance_all(connection, &mut touched, &ran, JobEvent::Lose, &gone).await?;
    let again = Word::new(take.now, "it was cancelled before it reached the agent");
    let mut requeued = advance_all(connection, &mut touched, &unreached, JobEvent::Requeue, &again).await?;
    for id in unwanted {
        match advance(connection, &mut touched, id, JobEvent::Requeue, &again).await? {
            JobMove::Moved(JobState::Queued) => requeued.push(id),
            JobMove::Moved(_) | JobMove::Refused(_) | JobMove::NotFound => {}
        }
    }
    touched.raise(connection).await?;
    Ok((lost, requeued))
}
