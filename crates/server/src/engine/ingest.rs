//! What agents report, turned into effects with every id and decision made.

use std::collections::BTreeMap;
use std::sync::Arc;

use restic_manager_core::id::{HostId, JobId, RunId, SpoolId};
use restic_manager_core::model::{Actor, ActorKind, FinalState, JobEvent, JobKind, Run, RunKey, RunState};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, JobFinished, JobRefused, RefusedReason, ScheduleFire};
use restic_manager_store::{Applied, Effect, FiredRun, NumberedEffect};

use super::locks::Aftermath;
use super::plan::target_repos;
use super::{Engine, EngineError, FeedEvent};

/// A reliable message, or one that could not be understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A message.
    Message {
        /// Its number.
        seq: u64,
        /// The message.
        message: AgentMessage,
    },
    /// One that is set aside, by name, so that it does not come back for ever.
    SetAside {
        /// Its number.
        seq: u64,
        /// Why.
        why: String,
    },
}

impl Incoming {
    /// Its number.
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Message { seq, .. } | Self::SetAside { seq, .. } => *seq,
        }
    }
}

impl Engine {
    /// Applies messages of a host in order and in one transaction; afterwards they may be acknowledged. Answers the
    /// numbers that could not be applied, with the reason.
    ///
    /// # Errors
    ///
    /// When the store fails: nothing was applied, nothing may be acknowledged.
    pub async fn ingest(
        &self,
        host_id: HostId,
        spool_id: SpoolId,
        incoming: Vec<Incoming>,
    ) -> Result<Vec<(u64, String)>, EngineError> {
        let mut effects = Vec::with_capacity(incoming.len());
        let mut news = Vec::new();
        let mut aftermaths = BTreeMap::new();
        for item in incoming {
            let (seq, effect) = match item {
                Incoming::Message { seq, message } => {
                    if let AgentMessage::JobFinished(finished) = &message {
                        aftermaths.extend(Aftermath::of(finished).map(|aftermath| (seq, aftermath)));
                    }
                    (seq, self.effect(host_id, message, &mut news).await?)
                }
                Incoming::SetAside { seq, why } => (seq, self.set_aside(host_id, &why)),
            };
            effects.push(NumberedEffect { seq, effect });
        }
        let numbers: Vec<u64> = effects.iter().map(|effect| effect.seq).collect();
        let applied = self.store.apply(host_id, spool_id, effects, self.now()).await?;
        let mut rejected = Vec::new();
        for (seq, outcome) in numbers.into_iter().zip(applied) {
            match outcome {
                Applied::Done => {
                    if let Some(aftermath) = aftermaths.remove(&seq) {
                        self.look_after(host_id, &aftermath).await;
                    }
                }
                Applied::Repeat => {}
                Applied::Ignored(why) => {
                    tracing::info!(host = %host_id, seq, why, "a report changed nothing");
                    rejected.push((seq, why));
                }
            }
        }
        self.spread(news);
        Ok(rejected)
    }

    /// A lossy message: shown, never stored.
    pub fn show(&self, message: AgentMessage) {
        if let AgentMessage::JobProgress(progress) = message {
            self.feed.publish(progress.job_id, FeedEvent::Progress(Arc::new(progress.progress)));
        }
    }

    fn spread(&self, news: Vec<News>) {
        let mut poke = false;
        for item in news {
            match item {
                News::Event(job_id, event) => self.feed.publish(job_id, event),
                News::Over(job_id) => {
                    self.feed.finished(job_id);
                    poke = true;
                }
                News::Work => poke = true,
            }
        }
        if poke {
            self.poke();
        }
    }

    async fn effect(
        &self,
        host_id: HostId,
        message: AgentMessage,
        news: &mut Vec<News>,
    ) -> Result<Effect, EngineError> {
        Ok(match message {
            AgentMessage::ScheduleFire(fire) => {
                news.push(News::Work);
                self.fire(host_id, &fire).await?
            }
            AgentMessage::ScheduleAck(ack) => Effect::PlanAcked { schedule_version: ack.schedule_version },
            AgentMessage::JobRefused(refused) => {
                news.push(News::Over(refused.job_id));
                self.refused(&refused)
            }
            AgentMessage::JobStarted(started) => {
                news.push(News::Event(started.job_id, FeedEvent::Changed));
                Effect::Started { job_id: started.job_id, at: started.at }
            }
            AgentMessage::LogStream(batch) => {
                news.push(News::Event(batch.job_id, FeedEvent::Log(Arc::new(batch.lines.clone()))));
                Effect::Log { job_id: batch.job_id, lines: batch.lines }
            }
            AgentMessage::LogGap(gap) => Effect::LogGap { job_id: gap.job_id, from: gap.from, to: gap.to },
            AgentMessage::RepoStats(report) => {
                Effect::Stats { repo_id: report.repo_id, restic_id: report.restic_id, stats: report.stats }
            }
            AgentMessage::SnapshotsReport(report) => Effect::Snapshots {
                repo_id: report.repo_id,
                listed_at: report.listed_at,
                total: report.total,
                snapshots: report.snapshots,
            },
            AgentMessage::JobFinished(finished) => {
                news.push(News::Over(finished.job_id));
                finish(*finished)
            }
            AgentMessage::Hello(_) | AgentMessage::Heartbeat(_) | AgentMessage::JobProgress(_) => {
                self.set_aside(host_id, "a lossy message came with a number")
            }
        })
    }

    fn set_aside(&self, host_id: HostId, why: &str) -> Effect {
        tracing::warn!(host = %host_id, why, "a message of an agent was set aside");
        let audit = self.audit(
            Actor { kind: ActorKind::Agent, name: host_id.to_string() },
            "message.set_aside",
            ("host", host_id.to_string()),
            [("why", why.into())],
        );
        Effect::SetAside { audit }
    }

    /// A schedule fired: one run for each of its groups and repositories, made once whatever is repeated.
    async fn fire(&self, host_id: HostId, fire: &ScheduleFire) -> Result<Effect, EngineError> {
        let now = self.now();
        let plan = self.store.plan(host_id).await?;
        let schedule = plan.as_ref().and_then(|plan| {
            plan.schedules.iter().find(|schedule| schedule.id == fire.schedule_id).map(|found| (plan, found))
        });
        let Some((plan, schedule)) = schedule else {
            return Ok(
                self.set_aside(host_id, &format!("schedule {} fired, but it is gone", fire.schedule_id))
            );
        };
        if !schedule.enabled {
            return Ok(
                self.set_aside(host_id, &format!("schedule `{}` fired, but it is disabled", schedule.name))
            );
        }
        if fire.missed > 0 {
            let audit = self.audit(
                Actor { kind: ActorKind::Schedule, name: schedule.name.to_string() },
                "schedule.missed",
                ("schedule", schedule.id.to_string()),
                [("missed", fire.missed.into()), ("slot", fire.slot.as_millis().into())],
            );
            self.store.record(audit).await?;
        }
        let actor = Actor { kind: ActorKind::Schedule, name: schedule.name.to_string() };
        let mut runs = Vec::new();
        for group_id in &schedule.group_ids {
            for repo_id in target_repos(schedule, &plan.attachments) {
                let key = RunKey { schedule_id: schedule.id, group_id: *group_id, repo_id, slot: fire.slot };
                runs.push(self.first_attempt(host_id, key, actor.clone(), now));
            }
        }
        Ok(Effect::Fire { runs })
    }

    fn first_attempt(&self, host_id: HostId, key: RunKey, actor: Actor, now: Timestamp) -> FiredRun {
        let run = Run {
            id: RunId::mint(now, self.id_bytes()),
            key,
            host_id,
            state: RunState::Open,
            attempt: 1,
            next_attempt_at: None,
            why: None,
            created_at: now,
        };
        let mut job = self.new_job(JobKind::Backup, host_id, key.repo_id, actor);
        job.group_id = Some(key.group_id);
        job.run_id = Some(run.id);
        job.slot = Some(key.slot);
        FiredRun { run, job: Some(job) }
    }

    fn refused(&self, refused: &JobRefused) -> Effect {
        let failed = JobEvent::Finish(FinalState::Failed);
        let (event, class, message, hint) = match &refused.reason {
            RefusedReason::SupersededBy { job_id } => {
                (JobEvent::Supersede, None, format!("job {job_id} has this slot already"), None)
            }
            RefusedReason::Busy { job_id } => {
                (JobEvent::Requeue, None, format!("the agent was busy with job {job_id}"), None)
            }
            RefusedReason::NoAdminCredential => {
                // It came right before the command: sending both again at once would only go in circles.
                self.defer(refused.job_id);
                let message = "the agent has no admin credential of the repository".to_owned();
                (JobEvent::Requeue, None, message, None)
            }
            RefusedReason::NoCredential => (
                failed,
                Some(OutcomeClass::WrongPassword),
                "the agent has no credential of the repository".to_owned(),
                Some("set it with `rmctl creds set`"),
            ),
            RefusedReason::UnknownKind => (
                failed,
                Some(OutcomeClass::Unknown),
                "the agent cannot do jobs of that kind".to_owned(),
                Some("update the agent on the host"),
            ),
            RefusedReason::NoSpace { message } => (
                failed,
                Some(OutcomeClass::NoSpace),
                format!("the agent cannot keep the job's files: {message}"),
                Some("free some space on the disk of the agent's state directory"),
            ),
        };
        Effect::Refused {
            job_id: refused.job_id,
            event,
            class,
            message,
            hint: hint.map(str::to_owned),
            at: self.now(),
        }
    }
}

enum News {
    Event(JobId, FeedEvent),
    Over(JobId),
    Work,
}

fn finish(finished: JobFinished) -> Effect {
    // Success is only what restic called so; a contradiction is shown, not believed.
    let (state, message) = match finished.state {
        FinalState::Succeeded if finished.class != OutcomeClass::Ok => {
            (FinalState::Failed, format!("the agent reported success in class {}", finished.class.as_str()))
        }
        state => (state, finished.message),
    };
    Effect::Finished {
        job_id: finished.job_id,
        at: finished.at,
        state,
        class: finished.class,
        exit_code: finished.exit_code,
        message,
        hint: finished.hint,
        summary: Box::new(finished.summary),
    }
}
