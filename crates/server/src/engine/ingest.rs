//! What agents report, turned into effects with every id and decision made.

use std::collections::BTreeMap;
use std::sync::Arc;

use restic_manager_core::humane::does;
use restic_manager_core::id::{HostId, JobId, RunId, SpoolId};
use restic_manager_core::model::{
    Actor, ActorKind, CredentialKind, FinalState, JobEvent, JobKind, LogLine, RepoStats, Run, RunKey,
    RunState,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, JobFinished, JobRefused, RefusedReason, RepoStatsReport, ScheduleFire,
};
use restic_manager_store::{
    Adoption, Applied, Effect, FiredRun, MissedSlots, NumberedEffect, ResticIdLearned,
};

use super::locks::Aftermath;
use super::plan::target_repos;
use super::{Engine, EngineError, FeedEvent, logged};

/// How much of the reason why a message is set aside is kept: an agent may have written it.
const LONGEST_WHY: usize = 200;

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
        let mut news = BTreeMap::new();
        let mut aftermaths = BTreeMap::new();
        let mut bad_ends = BTreeMap::new();
        for item in incoming {
            let (seq, effect) = match item {
                Incoming::Message { seq, message } => {
                    if let AgentMessage::JobFinished(finished) = &message {
                        aftermaths.extend(Aftermath::of(finished).map(|aftermath| (seq, aftermath)));
                        if matches!(finished.state, FinalState::Failed | FinalState::Warning) {
                            bad_ends.insert(seq, finished.job_id);
                        }
                    }
                    news.insert(seq, News::of(&message));
                    (seq, self.effect(host_id, message).await?)
                }
                Incoming::SetAside { seq, why } => (seq, self.set_aside(host_id, &why)),
            };
            effects.push(NumberedEffect { seq, effect });
        }
        let numbers: Vec<u64> = effects.iter().map(|effect| effect.seq).collect();
        let applied = self.store.apply(host_id, spool_id, effects, self.now()).await?;
        let mut rejected = Vec::new();
        let mut ended_badly = Vec::new();
        for (seq, outcome) in numbers.into_iter().zip(applied) {
            match outcome {
                Applied::Done => {
                    // What the store did not take from this host is no news for anybody.
                    if let Some(news) = news.remove(&seq) {
                        self.spread(host_id, news);
                    }
                    if let Some(aftermath) = aftermaths.remove(&seq) {
                        self.look_after(host_id, &aftermath).await;
                    }
                    ended_badly.extend(bad_ends.remove(&seq));
                }
                Applied::Repeat => {}
                Applied::Ignored(why) => {
                    tracing::info!(host = %host_id, seq, why, "a report changed nothing");
                    rejected.push((seq, why));
                }
            }
        }
        self.log_bad_ends(&ended_badly).await;
        Ok(rejected)
    }

    /// Whoever reads the log of the server shall not have to ask for what failed.
    async fn log_bad_ends(&self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        let read = self.store.jobs_by_id(jobs).await.map_err(EngineError::from);
        let Some(rows) = logged(read, "jobs that ended badly could not be read") else {
            return;
        };
        for row in rows {
            tracing::warn!(
                job = %row.job.id,
                kind = row.job.kind.as_str(),
                host = %row.host_name,
                repo = %row.repo_name,
                source = row.group_name.as_deref(),
                why = row.job.message.as_deref(),
                "a job {}",
                does(row.job.state)
            );
        }
    }

    /// A lossy message: shown, never stored, and only of a job that this host runs.
    pub fn show(&self, host_id: HostId, message: AgentMessage) {
        if let AgentMessage::JobProgress(progress) = message
            && self.heard_of(progress.job_id, host_id)
        {
            self.feed.publish(progress.job_id, FeedEvent::Progress(Arc::new(progress.progress)));
        }
    }

    fn spread(&self, host_id: HostId, news: News) {
        match news {
            News::None => {}
            News::Started(job_id) => {
                self.runs(job_id, host_id);
                self.feed.publish(job_id, FeedEvent::Changed);
            }
            News::Log(job_id, lines) => {
                self.heard_of(job_id, host_id);
                self.feed.publish(job_id, FeedEvent::Log(lines));
            }
            News::Waits(job_id) => self.feed.publish(job_id, FeedEvent::Changed),
            News::Over(job_id) => {
                self.running().remove(&job_id);
                self.feed.finished(job_id);
                self.poke();
            }
            News::Work => self.poke(),
        }
    }

    async fn effect(&self, host_id: HostId, message: AgentMessage) -> Result<Effect, EngineError> {
        let now = self.now();
        Ok(match message {
            AgentMessage::ScheduleFire(fire) => self.fire(host_id, &fire).await?,
            AgentMessage::ScheduleAck(ack) => Effect::PlanAcked { schedule_version: ack.schedule_version },
            AgentMessage::JobRefused(refused) => self.refused(&refused),
            AgentMessage::JobStarted(started) => Effect::Started {
                job_id: started.job_id,
                at: plausible(started.job_id, started.at, now),
                adopt: self.adoption(host_id, started.run.as_ref()).await?,
            },
            AgentMessage::LogStream(batch) => Effect::Log { job_id: batch.job_id, lines: batch.lines },
            AgentMessage::LogGap(gap) => Effect::LogGap { job_id: gap.job_id, from: gap.from, to: gap.to },
            AgentMessage::RepoStats(report) => {
                self.look_for_twin(host_id, &report).await?;
                let stats = RepoStats {
                    measured_at: report.stats.measured_at.map(|at| at.min(now)),
                    last_check_at: report.stats.last_check_at.map(|at| at.min(now)),
                    last_prune_at: report.stats.last_prune_at.map(|at| at.min(now)),
                    locks_seen_at: report.stats.locks_seen_at.map(|at| at.min(now)),
                    ..report.stats
                };
                Effect::Stats { repo_id: report.repo_id, restic_id: report.restic_id, stats }
            }
            AgentMessage::SnapshotsReport(report) => Effect::Snapshots {
                repo_id: report.repo_id,
                listed_at: report.listed_at.min(now),
                total: report.total,
                snapshots: report.snapshots,
            },
            AgentMessage::JobFinished(finished) => {
                let twin = self.twins().remove(&finished.job_id);
                let adopt = self.adoption(host_id, finished.run.as_ref()).await?;
                finish(*finished, adopt, twin, now)
            }
            AgentMessage::Hello(_) | AgentMessage::Heartbeat(_) | AgentMessage::JobProgress(_) => {
                self.set_aside(host_id, "a lossy message came with a number")
            }
        })
    }

    /// A repository that is known under another name is one repository: nothing may run on it past the other's exclusion. Its
    /// credential is taken back, and the job that found out says what to do.
    async fn look_for_twin(&self, host_id: HostId, report: &RepoStatsReport) -> Result<(), EngineError> {
        let Some(restic_id) = &report.restic_id else { return Ok(()) };
        let Some(row) = self.store.attachment(host_id, report.repo_id).await? else { return Ok(()) };
        let ResticIdLearned::KnownAs(known) = self.store.learn_restic_id(report.repo_id, restic_id).await?
        else {
            return Ok(());
        };
        let known_name =
            self.store.repo(known).await?.map_or_else(|| known.to_string(), |repo| repo.name.to_string());
        tracing::warn!(repo = %row.repo_name, known = %known_name, "two repositories here are one and the same; the newer one's credential is taken back");
        let audit = self.audit(
            Actor::system(),
            "repo.already_known",
            ("repo", report.repo_id.to_string()),
            [("name", row.repo_name.to_string().into()), ("known_as", known_name.clone().into())],
        );
        self.store.delete_credential(row.attachment.id, CredentialKind::Repo, audit).await?;
        self.revoke_credential(host_id, report.repo_id, CredentialKind::Repo).await;
        if let Some(job_id) = report.job_id {
            self.twins().insert(job_id, known_name);
        }
        Ok(())
    }

    fn set_aside(&self, host_id: HostId, why: &str) -> Effect {
        let why: String = why.chars().take(LONGEST_WHY).collect();
        tracing::warn!(host = %host_id, %why, "a message of an agent was set aside");
        let audit = self.audit(
            Actor { kind: ActorKind::Agent, name: host_id.to_string() },
            "message.set_aside",
            ("host", host_id.to_string()),
            [("why", why.clone().into())],
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
        let missed = (fire.missed > 0).then(|| {
            let audit = self.audit(
                Actor { kind: ActorKind::Schedule, name: schedule.name.to_string() },
                "schedule.missed",
                ("schedule", schedule.id.to_string()),
                [("missed", fire.missed.into()), ("slot", fire.slot.as_millis().into())],
            );
            let (schedule_id, count, until) = (schedule.id, fire.missed, fire.slot);
            Box::new(MissedSlots { schedule_id, count, until, audit })
        });
        let actor = Actor { kind: ActorKind::Schedule, name: schedule.name.to_string() };
        let mut runs = Vec::new();
        for group_id in &schedule.group_ids {
            for repo_id in target_repos(schedule, &plan.attachments) {
                let key = RunKey { schedule_id: schedule.id, group_id: *group_id, repo_id, slot: fire.slot };
                runs.push(self.first_attempt(host_id, key, actor.clone(), now));
            }
        }
        if runs.is_empty() {
            let why = format!("schedule `{}` fired, but it has no repository to back up to", schedule.name);
            return Ok(self.set_aside(host_id, &why));
        }
        Ok(Effect::Fire { runs, missed })
    }

    fn first_attempt(&self, host_id: HostId, key: RunKey, actor: Actor, now: Timestamp) -> FiredRun {
        let run = Run {
            id: RunId::mint(now, self.id_bytes()),
            key,
            host_id,
            state: RunState::Open,
            attempt: 1,
            pending: None,
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
                self.defer(refused.job_id);
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
    None,
    Started(JobId),
    Log(JobId, Arc<Vec<LogLine>>),
    Waits(JobId),
    Over(JobId),
    Work,
}

impl News {
    fn of(message: &AgentMessage) -> Self {
        match message {
            AgentMessage::ScheduleFire(_) => Self::Work,
            AgentMessage::JobStarted(started) => Self::Started(started.job_id),
            AgentMessage::LogStream(batch) => Self::Log(batch.job_id, Arc::new(batch.lines.clone())),
            AgentMessage::JobFinished(finished) => Self::Over(finished.job_id),
            AgentMessage::JobRefused(refused) => match refused.reason {
                // It waits again: looking at once would find the same.
                RefusedReason::Busy { .. } | RefusedReason::NoAdminCredential => Self::Waits(refused.job_id),
                RefusedReason::SupersededBy { .. }
                | RefusedReason::NoCredential
                | RefusedReason::UnknownKind
                | RefusedReason::NoSpace { .. } => Self::Over(refused.job_id),
            },
            AgentMessage::Hello(_)
            | AgentMessage::Heartbeat(_)
            | AgentMessage::ScheduleAck(_)
            | AgentMessage::JobProgress(_)
            | AgentMessage::LogGap(_)
            | AgentMessage::RepoStats(_)
            | AgentMessage::SnapshotsReport(_) => Self::None,
        }
    }
}

/// A time that an agent says of a job, within the bounds of what can be: not before it was asked for, not after now.
fn plausible(job_id: JobId, at: Timestamp, now: Timestamp) -> Timestamp {
    at.max(job_id.minted_at()).min(now)
}

fn finish(
    finished: JobFinished,
    adopt: Option<Box<Adoption>>,
    twin: Option<String>,
    now: Timestamp,
) -> Effect {
    let at = plausible(finished.job_id, finished.at, now);
    // Success is only what restic called so; a contradiction is shown, not believed.
    let (state, message) = match finished.state {
        FinalState::Succeeded if finished.class != OutcomeClass::Ok => {
            (FinalState::Failed, format!("the agent reported success in class {}", finished.class.as_str()))
        }
        state => (state, finished.message),
    };
    let (state, class, message, hint) = match twin {
        None => (state, finished.class, message, finished.hint),
        Some(known) => (
            FinalState::Failed,
            OutcomeClass::Unknown,
            format!("this is the repository that is known as `{known}` already"),
            Some(format!(
                "attach the host to it with `rmctl host attach HOST {known}`, then detach and delete this one"
            )),
        ),
    };
    Effect::Finished {
        job_id: finished.job_id,
        at,
        state,
        class,
        exit_code: finished.exit_code,
        message,
        hint,
        summary: Box::new(finished.summary),
        adopt,
    }
}
