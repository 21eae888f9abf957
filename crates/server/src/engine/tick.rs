//! Admission, dispatch, and the sweep that needs no poke.

use std::sync::PoisonError;

use restic_manager_core::admission::{Occupying, Verdict, Waiting, admit};
use restic_manager_core::model::{Actor, Job, JobEvent, JobKind, RunKey};
use restic_manager_core::time::{DAY, HOUR, SECOND};
use restic_manager_core::wire::{BackupSpec, CommandRun, JobSpec, ServerMessage};
use restic_manager_store::{DispatchIntent, DispatchOutcome, DispatchRow};

use super::{Engine, EngineError};

/// The pause between two looks without a poke, in milliseconds.
pub(super) const LOOK_EVERY: u64 = 5_000;
/// The pause between two sweeps, in milliseconds.
pub(super) const SWEEP_EVERY: i64 = 5 * SECOND;
/// The pause between two writes of the signs of life, in milliseconds.
pub(super) const FLUSH_SEEN_EVERY: i64 = 60 * SECOND;
/// An agent that has not answered for a command after so long is sent it again.
const RESEND_AFTER: i64 = 5 * SECOND;
/// An agent that has not answered for a command after so long has a dead connection.
const GIVE_UP_AFTER: i64 = 15 * SECOND;
/// An operator's job that could not be dispatched for so long is withdrawn.
const WITHDRAW_AFTER: i64 = HOUR;
/// Logs of jobs that ended so long ago are forgotten.
const LOGS_KEPT_FOR: i64 = 90 * DAY;

/// What one look brought about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Jobs sent to their agents.
    pub sent: usize,
    /// Jobs whose rows changed while the engine decided: it looks again.
    pub stale: usize,
    /// Jobs that wait on.
    pub held: usize,
}

impl Engine {
    /// Looks once: admits what may start, commits it, sends it.
    ///
    /// # Errors
    ///
    /// When the store fails; nothing is lost, the next look finds the same.
    pub async fn tick(&self) -> Result<TickReport, EngineError> {
        let view = self.store.admission_view().await?;
        let waiting: Vec<Waiting> = view.queued.iter().map(|queued| self.waiting(&queued.job)).collect();
        let occupying: Vec<Occupying> = view.occupying.iter().map(|job| self.occupying(job)).collect();
        let mut holds = std::collections::BTreeMap::new();
        let mut intents = Vec::new();
        // One verdict for each waiting job, in the same order.
        for (queued, verdict) in view.queued.iter().zip(admit(&waiting, &occupying, self.now())) {
            match verdict {
                Verdict::Start(job_id) => intents.push(DispatchIntent {
                    job_id,
                    host_revision: queued.host_revision,
                    repo_revision: queued.repo_revision,
                }),
                Verdict::Hold(job_id, hold) => {
                    holds.insert(job_id, hold);
                }
            }
        }
        let mut report = TickReport { held: holds.len(), ..TickReport::default() };
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) = holds;
        if intents.is_empty() {
            return Ok(report);
        }
        for outcome in self.store.dispatch(&intents, self.now()).await? {
            match outcome {
                DispatchOutcome::Dispatched(row) => report.sent += usize::from(self.send(&row).await?),
                DispatchOutcome::Stale => report.stale += 1,
                DispatchOutcome::Withdrawn(job_id) => self.feed.finished(job_id),
                DispatchOutcome::NotQueued => {}
            }
        }
        Ok(report)
    }

    /// Looks after what no poke announces: unanswered commands, stale wishes, old logs.
    ///
    /// # Errors
    ///
    /// When the store fails; the next sweep finds the same.
    pub async fn sweep(&self) -> Result<(), EngineError> {
        let now = self.now();
        for row in self.store.unanswered(now - RESEND_AFTER).await? {
            let host_id = row.host.id;
            let since = row.job.dispatched_at.unwrap_or(now);
            let Some(epoch) = self.dispatch.epoch(host_id) else {
                self.requeue(&row.job, "the agent left before it took the job").await?;
                continue;
            };
            if now.millis_since(since) >= GIVE_UP_AFTER {
                tracing::warn!(host = %row.host.name, job = %row.job.id, "the agent did not answer for a command; its connection is closed");
                self.requeue(&row.job, "the agent did not answer").await?;
                self.dispatch.close(host_id, epoch, None);
            } else {
                self.send(&row).await?;
            }
        }
        for job_id in self.store.withdraw_stale(now - WITHDRAW_AFTER, now).await? {
            self.feed.finished(job_id);
        }
        let forgotten = self.store.forget_logs(now - LOGS_KEPT_FOR).await?;
        if forgotten > 0 {
            tracing::info!(jobs = forgotten, "logs older than 90 days were removed");
        }
        Ok(())
    }

    fn waiting(&self, job: &Job) -> Waiting {
        Waiting {
            job_id: job.id,
            kind: job.kind,
            host_id: job.host_id,
            repo_id: job.repo_id,
            connected: self.dispatch.epoch(job.host_id).is_some(),
            since: job.created_at,
        }
    }

    fn occupying(&self, job: &Job) -> Occupying {
        Occupying {
            job_id: job.id,
            kind: job.kind,
            host_id: job.host_id,
            repo_id: job.repo_id,
            connected: self.dispatch.epoch(job.host_id).is_some(),
        }
    }

    /// Sends a dispatched job to its agent; a job that cannot leave waits again.
    async fn send(&self, row: &DispatchRow) -> Result<bool, EngineError> {
        self.feed.publish(row.job.id, super::FeedEvent::Changed);
        let Some(epoch) = self.dispatch.epoch(row.host.id) else {
            self.requeue(&row.job, "the agent left before it took the job").await?;
            return Ok(false);
        };
        let Some(command) = command(row, epoch) else {
            self.fail_unbuildable(&row.job).await?;
            return Ok(false);
        };
        let message = ServerMessage::CommandRun(Box::new(command));
        match self.dispatch.send(row.host.id, epoch, message).await {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(host = %row.host.name, job = %row.job.id, %error, "a job could not be sent; it waits again");
                self.requeue(&row.job, "the job could not be sent").await?;
                Ok(false)
            }
        }
    }

    async fn requeue(&self, job: &Job, why: &str) -> Result<(), EngineError> {
        self.store.move_job(job.id, JobEvent::Requeue, why, self.now(), None).await?;
        self.feed.publish(job.id, super::FeedEvent::Changed);
        Ok(())
    }

    /// Jobs of kinds that this server does not send yet, written by a newer one.
    async fn fail_unbuildable(&self, job: &Job) -> Result<(), EngineError> {
        let why = "this server cannot send jobs of that kind";
        let audit = self.audit(
            Actor::system(),
            "job.withdrawn",
            ("job", job.id.to_string()),
            [("why", why.into()), ("kind", job.kind.as_str().into())],
        );
        self.store.move_job(job.id, JobEvent::Withdraw, why, self.now(), Some(audit)).await?;
        self.feed.finished(job.id);
        Ok(())
    }
}

/// The payload of a job, from the rows as they are in the dispatching commit.
fn command(row: &DispatchRow, epoch: i64) -> Option<CommandRun> {
    let spec = match row.job.kind {
        JobKind::Init => JobSpec::Init,
        JobKind::Stats => JobSpec::Stats,
        JobKind::Backup => {
            let group = row.group.as_ref()?;
            JobSpec::Backup(BackupSpec {
                tag: group.tag.clone(),
                includes: group.includes.clone(),
                excludes: group.excludes.clone(),
                options: group.options,
            })
        }
        JobKind::Forget
        | JobKind::Prune
        | JobKind::Check
        | JobKind::Unlock
        | JobKind::Restore
        | JobKind::Diff => return None,
    };
    let run: Option<RunKey> = row.run.as_ref().map(|run| run.key);
    Some(CommandRun {
        job_id: row.job.id,
        epoch,
        repo_id: row.repo.id,
        restic_host: row.attachment.restic_host.clone(),
        run,
        attempt: row.job.attempt,
        requires_admin_creds: false,
        limit_upload_kib: row.host.limit_upload_kib,
        limit_download_kib: row.host.limit_download_kib,
        spec,
    })
}
