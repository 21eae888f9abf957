//! Who carries jobs out: restic, or a stand-in of whoever embeds the agent.

use std::path::PathBuf;

use async_trait::async_trait;
use restic_manager_core::wire::{AgentMessage, CommandRun};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::job::{JobOrder, JobTimes, Supervisor, resume_job_with, run_job_with};
use crate::restic::ResticFinder;
use crate::secrets::Credential;

/// The restic of this host, as the server shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResticSeen {
    /// Its version, when there is a usable one.
    pub version: Option<String>,
    /// Why there is none, with the remedy.
    pub problem: Option<String>,
}

/// A job that was accepted and claimed.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// What to do.
    pub command: CommandRun,
    /// What opens the repository.
    pub credential: Credential,
    /// The job's own folder; whoever carries the job out makes it, the agent removes it when the end is stored.
    pub dir: PathBuf,
}

/// Carries jobs out, several at a time.
#[async_trait]
pub trait JobRunner: Send + Sync + 'static {
    /// Looks for restic.
    async fn look(&self) -> ResticSeen;

    /// Does a job: sends `job.started` first and `job.finished` last, each once. `cancel` ends it gently.
    ///
    /// Dropping the future must not end what [`Self::resume`] can take over.
    async fn run(&self, job: Assignment, out: mpsc::Sender<AgentMessage>, cancel: CancellationToken);

    /// Goes on with a job that an earlier agent began; `stored_lines` as in [`resume_job`](crate::job::resume_job).
    async fn resume(
        &self,
        job: Assignment,
        stored_lines: Option<u64>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    );
}

/// Carries jobs out with restic.
#[derive(Debug)]
pub struct ResticRunner {
    /// Finds restic, anew before each job.
    pub finder: ResticFinder,
    /// Restic's cache.
    pub cache_dir: PathBuf,
    /// The agent's state directory.
    pub state_dir: PathBuf,
    /// Who waits for restic.
    pub supervisor: Supervisor,
    /// How long a job waits for what.
    pub times: JobTimes,
}

impl ResticRunner {
    async fn order(&self, job: Assignment) -> JobOrder {
        JobOrder {
            command: job.command,
            credential: job.credential.secret,
            restic_id: job.credential.restic_id,
            dir: job.dir,
            cache_dir: self.cache_dir.clone(),
            state_dir: self.state_dir.clone(),
            restic: self.finder.find().await,
            supervisor: self.supervisor.clone(),
        }
    }
}

#[async_trait]
impl JobRunner for ResticRunner {
    async fn look(&self) -> ResticSeen {
        match self.finder.find().await {
            Ok(restic) => ResticSeen { version: Some(restic.version.to_string()), problem: None },
            Err(problem) => ResticSeen { version: None, problem: Some(problem.sentence()) },
        }
    }

    async fn run(&self, job: Assignment, out: mpsc::Sender<AgentMessage>, cancel: CancellationToken) {
        run_job_with(self.order(job).await, self.times, out, cancel).await;
    }

    async fn resume(
        &self,
        job: Assignment,
        stored_lines: Option<u64>,
        out: mpsc::Sender<AgentMessage>,
        cancel: CancellationToken,
    ) {
        resume_job_with(self.order(job).await, stored_lines, self.times, out, cancel).await;
    }
}
