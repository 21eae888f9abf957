//! A hello, and what the server says to it.

use std::collections::BTreeSet;

use restic_manager_core::id::{HostId, JobId, SpoolId};
use restic_manager_core::link::HEARTBEAT_EVERY;
use restic_manager_core::model::{Actor, ActorKind, Host, HostFacts, Job, JobKind, Role};
use restic_manager_core::wire::{CommandCancel, Hello, PROTOCOL, ServerMessage, Welcome, WireError};
use restic_manager_store::{AttachmentRow, TakeSession, TakenSession};

use super::plan::schedule_set;
use super::{Engine, EngineError, chain};

/// A session that was taken, with what is to be said first, on the connection in hand.
#[derive(Debug)]
pub struct Greeting {
    /// The session's number.
    pub epoch: i64,
    /// The newest reliable message of the agent's spool that is applied.
    pub committed_seq: u64,
    /// Welcome first, then credentials, the plan and open cancellations.
    pub messages: Vec<ServerMessage>,
}

/// A hello that is answered with an error.
#[derive(Debug, thiserror::Error)]
pub enum HelloRefused {
    /// The agent is told why; nothing changes by trying again soon.
    #[error("the agent was refused: {}", .0.message)]
    Told(WireError),
    /// The server failed; the agent tries again.
    #[error("the server could not take the session")]
    Fault(#[source] EngineError),
}

impl<E: Into<EngineError>> From<E> for HelloRefused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl Engine {
    /// Takes the session of a host: judges its identity, merges what it knows of jobs, and says what it must know.
    ///
    /// `on_taken` is called with the session's number as soon as it stands and before anything is read for the greeting: a
    /// shell puts the session in its registry there, so that a change that is made meanwhile follows behind the greeting.
    ///
    /// What whoever owns the connection does, in this order:
    ///
    /// 1. Hand `hello` to this method, and send the greeting's messages before anything else of this session; `feed().contact(id)` tells
    ///    open pages that the host is there.
    /// 2. [`init_unopened`](Self::init_unopened), so that repositories that were attached meanwhile are made.
    /// 3. From then on: messages with a number to [`ingest`](Self::ingest), in their order, and acknowledge them when it has answered;
    ///    heartbeats to [`heartbeat`](Self::heartbeat); other lossy messages to [`show`](Self::show). The numbers, their window and the
    ///    timeouts are [`ServerLink`](restic_manager_core::link::ServerLink)'s.
    /// 4. At the end take the session out of the registry; if it was still this one, [`departed`](Self::departed) and `feed().contact(id)`.
    ///
    /// # Errors
    ///
    /// [`HelloRefused`]; nothing was changed but an audit row for a refused identity.
    pub async fn hello(
        &self,
        host: &Host,
        hello: &Hello,
        on_taken: impl FnOnce(i64),
    ) -> Result<Greeting, HelloRefused> {
        if let Some(known) = &host.facts.machine_id
            && *known != hello.machine_id
        {
            return Err(HelloRefused::Told(self.refuse_identity(host, hello).await?));
        }
        let claims = self.adoptions(host.id, hello).await?;
        let take = TakeSession {
            host_id: host.id,
            facts: facts(hello),
            spool_id: hello.spool_id,
            schedule_version: hello.schedule_version,
            known_jobs: known_jobs(hello),
            claims,
            now: self.now(),
        };
        let Some(taken) = self.store.take_session(take).await? else {
            return Err(HelloRefused::Told(WireError {
                code: "host_deleted".into(),
                message: "this host was deleted on the server".into(),
                hint: Some("enrol it again with a new token if that was a mistake".into()),
            }));
        };
        on_taken(taken.epoch);
        self.heartbeat(host.id, hello.clock);
        self.note_judged(&taken, hello);
        self.settle_soon(host.id, taken.epoch);
        self.note_running(host.id, hello).await?;
        let messages = self.greeting(&taken, hello.spool_id).await?;
        Ok(Greeting { epoch: taken.epoch, committed_seq: taken.committed_seq, messages })
    }

    /// Asks for the repositories of a host that were never opened to be initialised; called once the session stands.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn init_unopened(&self, host_id: HostId) -> Result<(), EngineError> {
        for row in self.store.attachments_of_host(host_id).await? {
            if row.restic_id.is_none() && !row.credentials.is_empty() {
                self.ask_init(&row, Actor::system()).await?;
            }
        }
        self.poke();
        Ok(())
    }

    /// Asks for a repository to be made or adopted by a host.
    pub(crate) async fn ask_init(&self, row: &AttachmentRow, actor: Actor) -> Result<(), EngineError> {
        let backs_up = match row.attachment.role {
            Role::Primary | Role::Copy => true,
            Role::Maintenance => false,
        };
        if !backs_up {
            return Ok(());
        }
        let job = self.new_job(JobKind::Init, row.attachment.host_id, row.attachment.repo_id, actor.clone());
        let audit = self.audit(
            actor,
            "job.asked",
            ("job", job.id.to_string()),
            [("kind", "init".into()), ("repo", row.repo_name.to_string().into())],
        );
        self.store.enqueue(job, audit).await?;
        Ok(())
    }

    /// A job as it begins.
    pub(crate) fn new_job(
        &self,
        kind: JobKind,
        host_id: HostId,
        repo_id: restic_manager_core::id::RepoId,
        actor: Actor,
    ) -> Job {
        let created_at = self.now();
        Job::queued(JobId::mint(created_at, self.id_bytes()), kind, host_id, repo_id, actor, created_at)
    }

    /// The jobs that really are this host's may be shown as running.
    async fn note_running(&self, host_id: HostId, hello: &Hello) -> Result<(), EngineError> {
        for job in hello.running_jobs.iter().take(MOST_RUNNING) {
            let ours = self.store.job(job.job_id).await?.is_some_and(|row| row.job.host_id == host_id);
            if ours {
                self.runs(job.job_id, host_id);
            }
        }
        Ok(())
    }

    async fn greeting(
        &self,
        taken: &TakenSession,
        spool_id: SpoolId,
    ) -> Result<Vec<ServerMessage>, EngineError> {
        let host_id = taken.host.id;
        let mut messages = vec![ServerMessage::Welcome(Welcome {
            protocol: PROTOCOL,
            epoch: taken.epoch,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            host_id,
            clock: self.now(),
            spool_id,
            acked_seq: taken.committed_seq,
            heartbeat_every: HEARTBEAT_EVERY,
        })];
        let rows = self.store.attachments_of_host(host_id).await?;
        for row in &rows {
            match self.config_update(row).await {
                Ok(Some(update)) => messages.push(ServerMessage::ConfigUpdate(Box::new(update))),
                Ok(None) => {}
                // One credential that cannot be read must not keep the host from all others.
                Err(error) => tracing::error!(
                    host = %taken.host.name, repo = %row.repo_name, error = %chain(&error),
                    "a stored credential cannot be read; set it anew"
                ),
            }
        }
        let admin = self.admin_greeting(host_id, &rows).await?;
        messages.extend(admin.into_iter().map(|update| ServerMessage::ConfigUpdate(Box::new(update))));
        if let Some(plan) = self.store.plan(host_id).await? {
            messages.push(ServerMessage::ScheduleSet(Box::new(schedule_set(&plan))));
        }
        messages.extend(
            taken.cancel.iter().map(|job_id| ServerMessage::CommandCancel(CommandCancel { job_id: *job_id })),
        );
        Ok(messages)
    }

    fn note_judged(&self, taken: &TakenSession, hello: &Hello) {
        for job_id in &taken.lost {
            tracing::warn!(host = %taken.host.name, job = %job_id, "the agent no longer knows a job that was running: it is lost");
            self.feed.finished(*job_id);
        }
        let skew = hello.clock.millis_since(self.now());
        if skew.abs() > 5 * restic_manager_core::time::MINUTE {
            tracing::warn!(host = %taken.host.name, skew_ms = skew, "the clock of the host differs from the server's");
        }
    }

    async fn refuse_identity(&self, host: &Host, hello: &Hello) -> Result<WireError, EngineError> {
        tracing::warn!(host = %host.name, os_hostname = %hello.os_hostname, "another machine came with this host's credentials and was refused");
        let audit = self.audit(
            Actor { kind: ActorKind::Agent, name: host.id.to_string() },
            "host.identity_refused",
            ("host", host.id.to_string()),
            [("name", host.name.to_string().into()), ("os_hostname", hello.os_hostname.clone().into())],
        );
        self.store.record(audit).await?;
        Ok(WireError {
            code: "identity_in_use".into(),
            message: format!("the credentials of host `{}` belong to another machine", host.name),
            hint: Some("a cloned machine needs an enrolment of its own: `restic-manager-agent enrol`".into()),
        })
    }
}

/// How many jobs a host can run at once, with room to spare.
const MOST_RUNNING: usize = 16;
/// The longest text that an agent may say of its machine, in characters.
const LONGEST_FACT: usize = 255;

/// A text of an agent as it is kept: on one line and not too long.
fn fact(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_FACT).collect()
}

fn facts(hello: &Hello) -> HostFacts {
    HostFacts {
        machine_id: Some(fact(&hello.machine_id)),
        os_hostname: Some(fact(&hello.os_hostname)),
        os: Some(fact(&hello.versions.os)),
        arch: Some(fact(&hello.versions.arch)),
        agent_version: Some(fact(&hello.versions.agent)),
        restic_version: hello.versions.restic.as_deref().map(fact),
        restic_problem: hello.versions.restic_problem.as_deref().map(fact),
    }
}

fn known_jobs(hello: &Hello) -> Vec<JobId> {
    let running = hello.running_jobs.iter().map(|job| job.job_id);
    let claimed = hello.claims.iter().map(|claim| claim.job_id);
    running
        .chain(hello.spooled_jobs.iter().copied())
        .chain(claimed)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
