//! What becomes of runs when their jobs move.

use restic_manager_core::id::JobId;
use restic_manager_core::model::{PendingCause, RunAfter, RunState};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::audit;
use super::fault::Doing;
use super::moves::OPEN;
use super::rows::{self, Fields, json};
use crate::Result;
use crate::reports::ran_twice;

/// Takes the runs of jobs along, all of which ended alike.
///
/// A success counts whatever became of the run meanwhile; any other end counts for an open run of which no other job is open, and for one
/// that was given up with this very attempt.
pub(super) async fn follow(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    after: RunAfter,
    message: &str,
    now: Timestamp,
) -> Result<()> {
    match after {
        RunAfter::Same => Ok(()),
        RunAfter::Ends(state) if state.is_success() => succeed(connection, jobs, state, now).await,
        RunAfter::Ends(state) => {
            let why = (state == RunState::Abandoned).then_some(message);
            end(connection, jobs, state, why).await
        }
        RunAfter::Owes(cause) => {
            // What was given up stays so, but with the end its job really had.
            end_given_up(connection, jobs, RunState::Failed, None).await?;
            owe(connection, jobs, cause, now).await
        }
    }
}

async fn succeed(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    state: RunState,
    now: Timestamp,
) -> Result<()> {
    let doing = "end the runs of jobs";
    let ids = json("ids", jobs)?;
    let known = sqlx::query(
        "select r.*, j.id as job_id from jobs j join runs r on r.id = j.run_id \
         where j.id in (select value from json_each(?1)) and r.state in ('succeeded', 'warning')",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await
    .doing(doing)?;
    let twice = known.iter().map(|row| {
        let job_id = Fields::new(row, "run", "id").parsed("job_id")?;
        Ok(ran_twice(job_id, &rows::run(row)?, now))
    });
    let twice = twice.collect::<Result<Vec<_>>>()?;
    audit::write_all(connection, &twice).await?;
    sqlx::query(
        "update runs set state = ?2, why = null, next_attempt_at = null, pending_cause = null, pending_since = null from jobs j \
         where j.id in (select value from json_each(?1)) and runs.id = j.run_id and runs.state not in ('succeeded', 'warning')",
    )
    .bind(&ids)
    .bind(state.as_str())
    .execute(connection)
    .await
    .doing(doing)?;
    Ok(())
}

/// The runs of jobs that are open and have no other job that is; `?1` the jobs.
fn alone() -> String {
    format!(
        "from jobs j where j.id in (select value from json_each(?1)) and runs.id = j.run_id and runs.state = 'open' \
         and not exists (select 1 from jobs indexed by jobs_open_of_run where run_id = runs.id and id <> j.id and {OPEN})"
    )
}

async fn end(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    state: RunState,
    why: Option<&str>,
) -> Result<()> {
    end_given_up(connection, jobs, state, why).await?;
    let sql = format!(
        "update runs set state = ?2, why = ?3, next_attempt_at = null, pending_cause = null, pending_since = null {}",
        alone()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(json("ids", jobs)?)
        .bind(state.as_str())
        .bind(why)
        .execute(connection)
        .await
        .doing("end the runs of jobs")?;
    Ok(())
}

/// Corrects runs that were given up with this very attempt.
async fn end_given_up(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    state: RunState,
    why: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "update runs set state = ?2, why = ?3 from jobs j where j.id in (select value from json_each(?1)) \
         and runs.id = j.run_id and runs.state in ('failed', 'abandoned') and runs.attempt = j.attempt",
    )
    .bind(json("ids", jobs)?)
    .bind(state.as_str())
    .bind(why)
    .execute(connection)
    .await
    .doing("correct the runs of jobs")?;
    Ok(())
}

async fn owe(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
    cause: PendingCause,
    now: Timestamp,
) -> Result<()> {
    let sql =
        format!("update runs set pending_cause = ?2, pending_since = ?3, next_attempt_at = ?3 {}", alone());
    sqlx::query(AssertSqlSafe(sql))
        .bind(json("ids", jobs)?)
        .bind(cause.as_str())
        .bind(now.as_millis())
        .execute(connection)
        .await
        .doing("note what the runs of jobs owe")?;
    Ok(())
}

/// A job whose slot another one has leaves its run to that one; where there is none, the run owes an attempt.
pub(super) async fn leave_to_another(
    connection: &mut SqliteConnection,
    job: JobId,
    now: Timestamp,
) -> Result<()> {
    let sql = format!(
        "update runs set pending_cause = ?2, pending_since = ?3, next_attempt_at = ?3 {} and runs.pending_since is null",
        alone()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(json("ids", &[job])?)
        .bind(PendingCause::Lost.as_str())
        .bind(now.as_millis())
        .execute(connection)
        .await
        .doing("note what the run of a job owes")?;
    Ok(())
}
