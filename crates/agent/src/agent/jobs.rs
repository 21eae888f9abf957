//! The one job at a time: begun, listened to, brought to its end, taken over from an earlier agent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{CredentialKind, CredentialSecret, FinalState, JobKind, JobSummary};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, CommandRun, JobFinished, RunningJob};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Agent, Assignment, JobRunner, RunningNow};
use crate::clock;
use crate::job::read_stored_job;
use crate::ledger::Standing;
use crate::secrets::Credential;
use crate::spool::SpoolError;
use crate::state::write_atomically;

/// How many log lines of a job the server has, where the spool no longer knows.
const LINES: &str = "lines";

/// The job that runs.
#[derive(Debug)]
pub(super) struct ActiveJob {
    command: CommandRun,
    since: Timestamp,
    cancel: CancellationToken,
    messages: mpsc::Receiver<AgentMessage>,
    task: JoinHandle<()>,
    ended: bool,
}

/// A job that an earlier agent began.
#[derive(Debug)]
pub(super) struct Resumable {
    command: CommandRun,
    since: Timestamp,
    stored_lines: Option<u64>,
}

impl ActiveJob {
    pub(super) const fn id(&self) -> JobId {
        self.command.job_id
    }

    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) const fn kind(&self) -> JobKind {
        self.command.spec.kind()
    }

    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) const fn running_now(&self) -> RunningNow {
        RunningNow { job_id: self.id(), kind: self.kind(), since: self.since }
    }
}

impl Resumable {
    pub(super) const fn id(&self) -> JobId {
        self.command.job_id
    }

    pub(super) const fn running(&self) -> RunningJob {
        RunningJob { job_id: self.id(), started_at: self.since }
    }
}

/// The job's next message, none when its task ended. While the disk refuses messages the job has to wait.
pub(super) async fn next_message(
    job: &mut Option<ActiveJob>,
    unsaid: &VecDeque<AgentMessage>,
) -> Option<AgentMessage> {
    match job {
        Some(job) if unsaid.is_empty() => job.messages.recv().await,
        Some(_) | None => std::future::pending().await,
    }
}

impl<R: JobRunner> Agent<R> {
    pub(super) fn job_dir(&self, job: JobId) -> PathBuf {
        self.state.join("jobs").join(job.to_string())
    }

    pub(super) fn begin(&mut self, job: Assignment) {
        let (out, messages) = mpsc::channel(16);
        let (cancel, runner) = (CancellationToken::new(), Arc::clone(&self.runner));
        let command = job.command.clone();
        let token = cancel.clone();
        let task = tokio::spawn(async move { runner.run(job, out, token).await });
        self.job = Some(ActiveJob { command, since: clock::wall(), cancel, messages, task, ended: false });
        self.timers.status_changed();
    }

    fn resume(&mut self, earlier: Resumable) {
        let Resumable { command, since, stored_lines } = earlier;
        let kind = if command.requires_admin_creds { CredentialKind::Admin } else { CredentialKind::Repo };
        // Without it restic's end is still learned; only what follows has to be left out.
        let credential = self.secrets.credential(command.repo_id, kind).unwrap_or_else(|_| no_credential());
        let job = Assignment { dir: self.job_dir(command.job_id), command: command.clone(), credential };
        let (out, messages) = mpsc::channel(16);
        let (cancel, runner) = (CancellationToken::new(), Arc::clone(&self.runner));
        let token = cancel.clone();
        info!(job = %command.job_id, "a job of an earlier agent is taken over");
        let task = tokio::spawn(async move { runner.resume(job, stored_lines, out, token).await });
        self.job = Some(ActiveJob { command, since, cancel, messages, task, ended: false });
        self.timers.status_changed();
    }

    pub(super) fn job_said(&mut self, message: Option<AgentMessage>) {
        let Some(message) = message else { return self.job_is_over() };
        match &message {
            AgentMessage::JobStarted(started) => {
                let noted = self.ledger.started(started.job_id);
                self.noted(noted);
                if let Some(job) = &mut self.job {
                    job.since = started.at;
                }
            }
            AgentMessage::JobFinished(finished) => {
                info!(job = %finished.job_id, state = ?finished.state, class = ?finished.class, "{}", finished.message);
                // Ledger first: whoever crashes between the two says the end again from there.
                let noted = self.ledger.finished(finished);
                self.noted(noted);
                if let Some(job) = &mut self.job {
                    job.ended = true;
                }
                self.timers.status_changed();
            }
            AgentMessage::JobProgress(_) | AgentMessage::Hello(_) | AgentMessage::Heartbeat(_) => {
                return self.session.show(&message);
            }
            AgentMessage::ScheduleFire(_)
            | AgentMessage::ScheduleAck(_)
            | AgentMessage::JobRefused(_)
            | AgentMessage::LogStream(_)
            | AgentMessage::LogGap(_)
            | AgentMessage::RepoStats(_)
            | AgentMessage::SnapshotsReport(_) => {}
        }
        self.say(message);
    }

    fn job_is_over(&mut self) {
        let Some(job) = self.job.take() else { return };
        if !job.ended {
            error!(job = %job.id(), "the task of a job ended without a word");
            let finished = without_a_word(job.id());
            let noted = self.ledger.finished(&finished);
            self.noted(noted);
            self.say(AgentMessage::JobFinished(Box::new(finished)));
        }
        if self.unsaid.is_empty() {
            remove(&self.job_dir(job.id()));
        }
        self.timers.status_changed();
        if let Some(next) = self.resumable.pop_front() {
            self.resume(next);
        }
    }

    /// Stores a reliable message and lets the session send it.
    pub(super) fn say(&mut self, message: AgentMessage) {
        self.unsaid.push_back(message);
        self.retry_unsaid();
    }

    /// Stores what the disk had no room for.
    pub(super) fn retry_unsaid(&mut self) {
        while let Some(message) = self.unsaid.front() {
            match self.spool.append(message) {
                Ok(last) => self.session.spooled(last),
                Err(error @ SpoolError::TooLong { .. }) => error!(%error, "a message is dropped"),
                Err(error) => {
                    error!(%error, waiting = self.unsaid.len(), "the spool cannot be written to; trying again");
                    return self.trouble(format!("the spool cannot be written to: {error}"));
                }
            }
            self.unsaid.pop_front();
        }
    }

    pub(super) fn acknowledged(&mut self, seq: u64) {
        if self.spool.would_delete(seq)
            && let Some(job) = &self.job
            && let Some(lines) = self.spool.lines_of(job.id())
        {
            let path = self.job_dir(job.id()).join(LINES);
            if let Err(error) = write_atomically(&path, lines.to_string().as_bytes()) {
                // Kept in the spool, the lines are counted there.
                return warn!(%error, "the log lines of a job cannot be counted; the spool keeps them");
            }
        }
        if let Err(error) = self.spool.forget(seq) {
            warn!(%error, "acknowledged messages cannot be taken off the disk");
        }
        self.timers.status_changed();
    }

    /// Finds what an earlier agent left: jobs that run on, and jobs whose end was not told yet.
    pub(super) fn take_over(&mut self) {
        let folder = self.state.join("jobs");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut jobs: Vec<JobId> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        jobs.sort_unstable();
        for job in jobs {
            self.take_over_one(job);
        }
        for job in self.ledger.open_jobs() {
            if !self.resumable.iter().any(|resumable| resumable.id() == job) {
                warn!(%job, "a job was taken by an earlier agent and left no trace; it counts as lost");
                let noted = self.ledger.lost(job);
                self.noted(noted);
            }
        }
        if let Some(next) = self.resumable.pop_front() {
            self.resume(next);
        }
    }

    fn take_over_one(&mut self, job: JobId) {
        let dir = self.job_dir(job);
        let standing = self.ledger.standing(job);
        if let Some(Standing::Ended(_)) = standing {
            // It may have crashed between the ledger and the spool; saying it twice is harmless.
            if let Ok(Some(finished)) = self.ledger.ending(job) {
                self.say(AgentMessage::JobFinished(Box::new(finished)));
            }
            return remove(&dir);
        }
        let stored = match read_stored_job(&dir) {
            Ok(stored) => stored,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return remove(&dir),
            Err(error) => {
                return error!(%job, %error, dir = %dir.display(), "what an earlier agent left of a job cannot be read");
            }
        };
        let (command, since) = (stored.command, stored.accepted_at);
        if standing.is_none() {
            // The ledger was lost; the job runs all the same.
            let noted = self.ledger.claim(job, command.run, command.attempt, since);
            self.noted(noted);
        }
        let counted = std::fs::read_to_string(dir.join(LINES)).ok().and_then(|text| text.trim().parse().ok());
        let lines = self.spool.lines_of(job).max(counted);
        let started = matches!(standing, Some(Standing::Running));
        let stored_lines = if started { Some(lines.unwrap_or(0)) } else { lines };
        self.resumable.push_back(Resumable { command, since, stored_lines });
    }

    /// Stops listening to the job; a supervised restic runs on.
    pub(super) fn leave_job(&mut self) {
        if let Some(job) = self.job.take() {
            job.task.abort();
        }
    }

    pub(super) fn noted(&mut self, noted: Result<(), crate::ledger::LedgerError>) {
        if let Err(error) = noted {
            error!(%error, "the slot ledger cannot be written to");
            self.trouble(format!("the slot ledger cannot be written to: {error}"));
        }
    }
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            warn!(dir = %dir.display(), %error, "the folder of a job that is over cannot be removed");
        }
    }
}

fn no_credential() -> Credential {
    let secret = CredentialSecret {
        url: String::new(),
        password: Secret::default(),
        rest_user: None,
        rest_password: None,
        env: std::collections::BTreeMap::new(),
    };
    Credential { secret, restic_id: None }
}

fn without_a_word(job_id: JobId) -> JobFinished {
    JobFinished {
        job_id,
        at: clock::wall(),
        state: FinalState::Failed,
        class: OutcomeClass::Unknown,
        exit_code: None,
        message: "the agent lost the job and cannot say how restic ended".to_owned(),
        hint: Some("see the agent's log on the host".to_owned()),
        summary: JobSummary::default(),
        run: None,
    }
}
