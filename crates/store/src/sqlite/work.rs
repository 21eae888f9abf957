//! Runs and jobs: the trait, with the shorter of its deeds.

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{ActorKind, AuditEntry, Job, JobEvent, JobState, PendingCause, Run};
use restic_manager_core::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::fault::Doing;
use super::moves::{OPEN, Touched, Word, advance, advance_all, by_id};
use super::rows::{self, Fields, JOB, ids};
use super::{SqliteStore, audit, dispatch, hosts, jobs, plans, reach, repos};
use crate::{
    AdmissionView, CancelOutcome, DispatchIntent, DispatchOutcome, DispatchRow, Enqueued, FleetCounts,
    JobFilter, JobMove, JobRow, Listed, PageRequest, QueuedJob, Result, TakeSession, TakenSession, Work,
};

#[async_trait]
impl Work for SqliteStore {
    async fn enqueue(&self, job: Job, audit: AuditEntry) -> Result<Enqueued> {
        let doing = "ask for a job";
        let mut tx = self.write(doing).await?;
        if hosts::by_id(&mut tx, job.host_id).await?.is_none()
            || repos::by_id(&mut tx, job.repo_id).await?.is_none()
        {
            return Ok(Enqueued::NotFound);
        }
        if let Some(id) = job.group_id
            && plans::group(&mut tx, id).await?.is_none_or(|group| group.host_id != job.host_id)
        {
            return Ok(Enqueued::NotFound);
        }
        if let Some(existing) = jobs::open_like(&mut tx, &job).await? {
            return Ok(Enqueued::Existing(existing));
        }
        if let Some(existing) = jobs::of_slot(&mut tx, &job).await? {
            return Ok(Enqueued::Existing(existing));
        }
        jobs::insert(&mut tx, std::slice::from_ref(&job)).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(Enqueued::Created(job))
    }

    async fn admission_view(&self) -> Result<AdmissionView> {
        let doing = "read what waits and what runs";
        let mut tx = self.read(doing).await?;
        let queued = sqlx::query(AssertSqlSafe(queued_sql())).fetch_all(&mut *tx).await.doing(doing)?;
        let occupying = sqlx::query(AssertSqlSafe(occupying_sql())).fetch_all(&mut *tx).await.doing(doing)?;
        let breakers = reach::breakers(&mut tx).await?;
        let queued = queued.iter().map(|row| {
            let fields = Fields::new(row, "job", "id");
            Ok(QueuedJob {
                job: rows::job(row)?,
                host_revision: fields.get("host_revision")?,
                repo_revision: fields.get("repo_revision")?,
            })
        });
        Ok(AdmissionView {
            queued: queued.collect::<Result<_>>()?,
            occupying: occupying.iter().map(rows::job).collect::<Result<_>>()?,
            breakers,
        })
    }

    async fn dispatch(&self, intents: &[DispatchIntent], now: Timestamp) -> Result<Vec<DispatchOutcome>> {
        dispatch::dispatch(self, intents, now).await
    }

    async fn move_job(
        &self,
        id: JobId,
        event: JobEvent,
        message: &str,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> Result<JobMove> {
        let doing = "move a job";
        let mut tx = self.write(doing).await?;
        let mut touched = Touched::at(now);
        let moved = advance(&mut tx, &mut touched, id, event, &Word::new(now, message)).await?;
        match moved {
            JobMove::Moved(_) => {}
            JobMove::Refused(_) | JobMove::NotFound => return Ok(moved),
        }
        touched.raise(&mut tx).await?;
        if let Some(audit) = audit {
            audit::write(&mut tx, &audit).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(moved)
    }

    async fn put_off(&self, id: JobId, message: &str, now: Timestamp) -> Result<JobMove> {
        let doing = "take back a job that could not be sent";
        let mut tx = self.write(doing).await?;
        let Some(job) = by_id(&mut tx, id).await? else { return Ok(JobMove::NotFound) };
        // Cancelled in its stead where somebody asked for that.
        let waits_again = job.run_id.is_none() || job.cancel_requested_at.is_some();
        let event = if waits_again { JobEvent::Requeue } else { JobEvent::Withdraw };
        let owes = (!waits_again).then_some(PendingCause::DispatchFailed);
        let word = Word { owes, ..Word::new(now, message) };
        let mut touched = Touched::at(now);
        let moved = advance(&mut tx, &mut touched, id, event, &word).await?;
        touched.raise(&mut tx).await?;
        tx.commit().await.doing(doing)?;
        Ok(moved)
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp, audit: AuditEntry) -> Result<CancelOutcome> {
        let doing = "ask to cancel a job";
        let mut tx = self.write(doing).await?;
        let Some(mut job) = by_id(&mut tx, id).await? else {
            return Ok(CancelOutcome::NotFound);
        };
        if job.state.is_final() {
            return Ok(CancelOutcome::AlreadyFinal(job.state));
        }
        if job.cancel_requested_at.is_none() {
            job.cancel_requested_at = Some(now);
            sqlx::query("update jobs set cancel_requested_at = ?2 where id = ?1")
                .bind(id.to_string())
                .bind(now.as_millis())
                .execute(&mut *tx)
                .await
                .doing(doing)?;
            audit::write(&mut tx, &audit).await?;
        }
        let mut touched = Touched::at(now);
        let word = Word::new(now, "it was cancelled while it waited");
        let moved = advance(&mut tx, &mut touched, id, JobEvent::CancelQueued, &word).await?;
        touched.raise(&mut tx).await?;
        tx.commit().await.doing(doing)?;
        Ok(match moved {
            JobMove::Moved(_) => CancelOutcome::Cancelled,
            JobMove::Refused(_) => CancelOutcome::Requested(Box::new(job)),
            JobMove::NotFound => CancelOutcome::NotFound,
        })
    }

    async fn unanswered(&self, dispatched_before: Timestamp) -> Result<Vec<DispatchRow>> {
        dispatch::unanswered(self, dispatched_before).await
    }

    async fn withdraw_stale(&self, created_before: Timestamp, now: Timestamp) -> Result<Vec<JobId>> {
        let doing = "withdraw jobs that waited too long";
        let mut tx = self.write(doing).await?;
        let found = sqlx::query(AssertSqlSafe(stale_sql()))
            .bind(created_before.as_millis())
            .bind(ActorKind::User.as_str())
            .fetch_all(&mut *tx)
            .await
            .doing(doing)?;
        let stale: Vec<JobId> = ids(&found, "job")?;
        if stale.is_empty() {
            return Ok(stale);
        }
        let mut touched = Touched::at(now);
        let word = Word::new(now, "it waited too long to be started");
        let withdrawn = advance_all(&mut tx, &mut touched, &stale, JobEvent::Withdraw, &word).await?;
        touched.raise(&mut tx).await?;
        tx.commit().await.doing(doing)?;
        Ok(withdrawn)
    }

    async fn take_session(&self, take: TakeSession) -> Result<Option<TakenSession>> {
        self.apply.take(take).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        jobs::row(self, id).await
    }

    async fn jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Listed<JobRow>> {
        jobs::page(self, filter, &page).await
    }

    async fn last_backups(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>> {
        jobs::last_backups(self, host_ids).await
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        jobs::run(self, id).await
    }

    async fn counts(&self, failed_since: Timestamp) -> Result<FleetCounts> {
        jobs::counts(self, failed_since).await
    }
}

/// What waits, oldest first, with the revisions a dispatch is bound to.
pub(super) fn queued_sql() -> String {
    format!(
        "select {JOB}, coalesce(h.revision, 0) as host_revision, coalesce(r.revision, 0) as repo_revision \
         from jobs j indexed by jobs_open left join hosts h on h.id = j.host_id left join repos r on r.id = j.repo_id \
         where {OPEN} and state = '{}' order by j.created_at, j.id",
        JobState::Queued.as_str()
    )
}

/// What holds a place.
pub(super) fn occupying_sql() -> String {
    format!(
        "select {JOB} from jobs j indexed by jobs_open where {OPEN} and state in ('{}', '{}') order by j.id",
        JobState::Dispatched.as_str(),
        JobState::Running.as_str()
    )
}

/// Users' jobs without a run that still wait; `?1` the instant before which they were asked for, `?2` what a user is called.
fn stale_sql() -> String {
    format!(
        "select id from jobs indexed by jobs_open where {OPEN} and state = '{}' and created_at < ?1 \
         and actor_kind = ?2 and run_id is null",
        JobState::Queued.as_str()
    )
}
