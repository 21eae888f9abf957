//! Admission, dispatch, and the sweep that needs no poke.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use restic_manager_core::admission::{Asker, Occupying, Verdict, Waiting, admit};
use restic_manager_core::id::JobId;
use restic_manager_core::model::{Actor, ActorKind, Hold, Job, JobEvent};
use restic_manager_core::time::{DAY, HOUR, MINUTE, SECOND};
use restic_manager_core::wire::{AutoUnlock, ConfigUpdate, ServerMessage};
use restic_manager_store::{DispatchIntent, DispatchOutcome, DispatchRow, QueuedJob};

use super::credentials::Keep;
use super::maintenance::keeps_admin;
use super::payload::{Circumstances, Unsendable, command};
use super::{Engine, EngineError, chain};

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
/// A job whose agent had no admin credential waits so long.
const DEFER_FOR: i64 = MINUTE;
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
        self.watch_clock();
        let mut view = self.store.admission_view().await?;
        let mut holds = self.take_deferred(&mut view.queued);
        let waiting: Vec<Waiting> = view.queued.iter().map(|queued| self.waiting(&queued.job)).collect();
        let occupying: Vec<Occupying> = view.occupying.iter().map(|job| self.occupying(job)).collect();
        let verdicts = admit(&waiting, &occupying, &view.breakers, self.now());
        let mut intents = Vec::new();
        // One verdict for each waiting job, in the same order.
        for (queued, verdict) in view.queued.iter().zip(verdicts) {
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
        let mut rows = Vec::new();
        for outcome in self.store.dispatch(&intents, self.now()).await? {
            match outcome {
                DispatchOutcome::Dispatched(row) => rows.push(*row),
                DispatchOutcome::Stale => report.stale += 1,
                DispatchOutcome::Withdrawn(job_id) => self.feed.finished(job_id),
                DispatchOutcome::NotQueued => {}
            }
        }
        let attested = self.attested(&rows).await?;
        for row in &rows {
            report.sent += usize::from(self.send(row, &attested).await?);
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
        let unanswered = self.store.unanswered(now - RESEND_AFTER).await?;
        let attested = self.attested(&unanswered).await?;
        for row in &unanswered {
            let host_id = row.host.id;
            let since = row.job.dispatched_at.unwrap_or(now);
            // Nobody knows whether an agent that is away has the job: it says so at its next hello, and the job is judged there.
            let Some(epoch) = self.dispatch.epoch(host_id) else { continue };
            if now.millis_since(since) >= GIVE_UP_AFTER {
                tracing::warn!(host = %row.host.name, job = %row.job.id, "the agent did not answer for a command; its connection is closed");
                self.dispatch.close(host_id, epoch, None);
            } else {
                self.resend(row, epoch, &attested).await?;
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
            asker: match job.actor.kind {
                ActorKind::User => Asker::Operator,
                ActorKind::System | ActorKind::Schedule | ActorKind::Agent => Asker::Plan,
            },
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

    /// Puts a job off for a minute.
    pub(super) fn defer(&self, job_id: JobId) {
        let until = self.clock.monotonic_ms().saturating_add(DEFER_FOR);
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).insert(job_id, until);
    }

    /// Takes the jobs that were put off out of the queue, each with its hold.
    fn take_deferred(&self, queued: &mut Vec<QueuedJob>) -> BTreeMap<JobId, Hold> {
        let (now, mark) = (self.now(), self.clock.monotonic_ms());
        let mut deferred = self.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        deferred.retain(|_, until| *until > mark);
        let mut holds = BTreeMap::new();
        queued.retain(|queued| match deferred.get(&queued.job.id) {
            Some(until) => {
                holds.insert(queued.job.id, Hold::WaitingRetry { until: now + (until - mark) });
                false
            }
            None => true,
        });
        holds
    }

    /// Sends a job that was dispatched just now; one that cannot leave is put off, one that may not run any more is withdrawn.
    async fn send(&self, row: &DispatchRow, attested: &BTreeSet<JobId>) -> Result<bool, EngineError> {
        self.feed.publish(row.job.id, super::FeedEvent::Changed);
        let Some(epoch) = self.dispatch.epoch(row.host.id) else {
            self.put_off(&row.job, "the agent left before it took the job").await?;
            return Ok(false);
        };
        let messages = match self.messages(row, epoch, attested).await? {
            Ok(messages) => messages,
            Err(why) => return self.withdraw(row, &why).await,
        };
        for message in messages {
            if let Err(error) = self.dispatch.send(row.host.id, epoch, message).await {
                tracing::warn!(host = %row.host.name, job = %row.job.id, %error, "a job could not be sent; it waits again");
                self.put_off(&row.job, &format!("it could not be sent: {error}")).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a job again that its agent has not answered for. Whatever fails here, the agent may have it already: the job stays as it is.
    async fn resend(
        &self,
        row: &DispatchRow,
        epoch: i64,
        attested: &BTreeSet<JobId>,
    ) -> Result<(), EngineError> {
        let Ok(messages) = self.messages(row, epoch, attested).await? else { return Ok(()) };
        for message in messages {
            if self.dispatch.send(row.host.id, epoch, message).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What an agent is told to run a job: the admin credential when it needs one, then the command.
    async fn messages(
        &self,
        row: &DispatchRow,
        epoch: i64,
        attested: &BTreeSet<JobId>,
    ) -> Result<Result<Vec<ServerMessage>, Unsendable>, EngineError> {
        let around = Circumstances {
            epoch,
            auto_unlock: if attested.contains(&row.job.id) { AutoUnlock::Allowed } else { AutoUnlock::Off },
            clock_suspect: self.clocks.lock().unwrap_or_else(PoisonError::into_inner).is_suspect(),
            now: self.now(),
        };
        let command = match command(row, &around) {
            Ok(command) => command,
            Err(why) => return Ok(Err(why)),
        };
        let mut messages = Vec::new();
        if command.requires_admin_creds {
            match self.admin_for(row).await? {
                Ok(update) => messages.push(ServerMessage::ConfigUpdate(Box::new(update))),
                Err(why) => return Ok(Err(why)),
            }
        }
        messages.push(ServerMessage::CommandRun(Box::new(command)));
        Ok(Ok(messages))
    }

    /// The admin credential that goes right before a command. It is sent to a host that keeps it too: what it has may be gone or old.
    async fn admin_for(&self, row: &DispatchRow) -> Result<Result<ConfigUpdate, Unsendable>, EngineError> {
        let keeps = row
            .maintenance
            .as_ref()
            .is_some_and(|view| view.runner.as_ref().is_some_and(|runner| keeps_admin(&view.row, runner)));
        let keep = if keeps { Keep::OnDisk } else { Keep::ForOneJob };
        match self.admin_update(&row.attachment, row.repo.restic_id.clone(), keep).await {
            Ok(Some(update)) => Ok(Ok(update)),
            Ok(None) => Ok(Err(Unsendable::Held(Hold::AdminCredsRequired))),
            Err(EngineError::Vault(error)) => {
                tracing::error!(host = %row.host.name, repo = %row.repo.name, job = %row.job.id, error = %chain(&error), "an admin credential cannot be read: the job is withdrawn");
                self.note_unreadable(row.repo.id);
                Ok(Err(Unsendable::CredentialUnreadable(chain(&error))))
            }
            Err(error @ EngineError::Store(_)) => Err(error),
        }
    }

    /// A job that did not leave: an attempt of a run makes that a pending run, any other waits again.
    async fn put_off(&self, job: &Job, why: &str) -> Result<(), EngineError> {
        self.store.put_off(job.id, why, self.now()).await?;
        self.feed.publish(job.id, super::FeedEvent::Changed);
        Ok(())
    }

    async fn withdraw(&self, row: &DispatchRow, why: &Unsendable) -> Result<bool, EngineError> {
        let job = &row.job;
        let mut message = why.to_string();
        if let Some(hint) = why.hint() {
            message = format!("{message}; {hint}");
        }
        tracing::warn!(host = %row.host.name, repo = %row.repo.name, job = %job.id, kind = job.kind.as_str(), why = %message, "a job is withdrawn");
        let audit = self.audit(
            Actor::system(),
            "job.withdrawn",
            ("job", job.id.to_string()),
            [
                ("why", message.clone().into()),
                ("kind", job.kind.as_str().into()),
                ("host", row.host.name.to_string().into()),
                ("repo", row.repo.name.to_string().into()),
            ],
        );
        self.store.move_job(job.id, JobEvent::Withdraw, &message, self.now(), Some(audit)).await?;
        self.feed.finished(job.id);
        // What it kept from starting may start.
        self.poke();
        Ok(false)
    }
}
