//! Jobs: begun, listened to, brought to their end, taken over from an earlier agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{CredentialKind, CredentialSecret, FinalState, JobKind, JobSummary};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::secret::Secret;
use restic_manager_core::slots::Standing;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, CommandRun, JobFinished};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Agent, Assignment, JobRunner, RunningNow, own};
use crate::clock;
use crate::job::read_stored_job;
use crate::secrets::Credential;
use crate::spool::SpoolError;
use crate::state::write_atomically;

/// How many log lines of a job the server has, where the spool no longer knows.
const LINES: &str = "lines";

/// A job that runs.
#[derive(Debug)]
pub(super) struct ActiveJob {
    command: CommandRun,
    since: Timestamp,
    cancel: CancellationToken,
    pub(super) messages: mpsc::Receiver<AgentMessage>,
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

    pub(super) const fn repo(&self) -> RepoId {
        self.command.repo_id
    }

    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) const fn running_now(&self) -> RunningNow {
        RunningNow { job_id: self.id(), kind: self.kind(), since: self.since }
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
        self.lanes.add(ActiveJob { command, since: clock::wall(), cancel, messages, task, ended: false });
        self.timers.status_changed();
    }

    fn resume(&mut self, earlier: Resumable) {
        let Resumable { command, since, stored_lines } = earlier;
        let find = |kind| self.secrets.credential(command.repo_id, kind);
        let found = match command.requires_admin_creds {
            // Where it must not be kept it is gone by now; restic has its own copy, and the everyday one does for what follows.
            true => find(CredentialKind::Admin).or_else(|_| find(CredentialKind::Repo)),
            false => find(CredentialKind::Repo),
        };
        // Without any, restic's end is still learned; only what follows has to be left out.
        let credential = found.unwrap_or_else(|_| no_credential());
        let job = Assignment { dir: self.job_dir(command.job_id), command: command.clone(), credential };
        let (out, messages) = mpsc::channel(16);
        let (cancel, runner) = (CancellationToken::new(), Arc::clone(&self.runner));
        let token = cancel.clone();
        info!(job = %command.job_id, "a job of an earlier agent is taken over");
        let task = tokio::spawn(async move { runner.resume(job, stored_lines, out, token).await });
        self.lanes.add(ActiveJob { command, since, cancel, messages, task, ended: false });
        self.timers.status_changed();
    }

    pub(super) fn job_said(&mut self, job: JobId, message: Option<AgentMessage>) {
        let Some(mut message) = message else { return self.job_is_over(job) };
        match &mut message {
            AgentMessage::JobStarted(started) => {
                started.run = self.ledger.own_claim(started.job_id);
                let noted = self.ledger.started(started.job_id);
                self.noted(noted);
                if let Some(job) = self.lanes.get_mut(job) {
                    job.since = started.at;
                }
            }
            AgentMessage::JobFinished(finished) => {
                finished.run = self.ledger.own_claim(finished.job_id);
                let (job_id, state, class) = (finished.job_id, finished.state, finished.class.as_str());
                match state {
                    FinalState::Succeeded | FinalState::Cancelled => {
                        info!(job = %job_id, ?state, class, "{}", finished.message);
                    }
                    FinalState::Warning | FinalState::Failed => {
                        warn!(job = %job_id, ?state, class, "{}", finished.message);
                    }
                }
                // Ledger first: whoever crashes between the two says the end again from there.
                let noted = self.ledger.finished(finished);
                self.noted(noted);
                if let Some(job) = self.lanes.get_mut(job) {
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

    fn job_is_over(&mut self, job: JobId) {
        let Some(job) = self.lanes.take(job) else { return };
        if job.command.requires_admin_creds {
            self.secrets.forget_passing_admin(job.command.repo_id);
        }
        if !job.ended {
            error!(job = %job.id(), "the task of a job ended without a word");
            let finished = JobFinished { run: self.ledger.own_claim(job.id()), ..without_a_word(job.id()) };
            let noted = self.ledger.finished(&finished);
            self.noted(noted);
            self.say(AgentMessage::JobFinished(Box::new(finished)));
        }
        // What is not on disk yet, the next agent learns from there.
        if self.unsaid.is_empty() && !self.ledger.waits() {
            remove(&self.job_dir(job.id()));
        }
        self.timers.status_changed();
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
            && let Err(error) = self.count_lines()
        {
            // Kept in the spool, the lines are counted there.
            return warn!(%error, "the log lines of a job cannot be counted; the spool keeps them");
        }
        if let Err(error) = self.spool.forget(seq) {
            warn!(%error, "acknowledged messages cannot be taken off the disk");
        }
        self.timers.status_changed();
    }

    fn count_lines(&self) -> std::io::Result<()> {
        for job in self.lanes.iter() {
            let Some(lines) = self.spool.lines_of(job.id()) else { continue };
            write_atomically(&self.job_dir(job.id()).join(LINES), lines.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Finds what an earlier agent left: jobs that run on, and jobs whose end was not told yet.
    pub(super) fn take_over(&mut self) {
        let folder = self.state.join("jobs");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut jobs: Vec<JobId> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        jobs.sort_unstable();
        for job in jobs {
            if let Some(earlier) = self.take_over_one(job) {
                self.resume(earlier);
            }
        }
        for job in self.ledger.open_jobs() {
            if self.lanes.get(job).is_some() {
                continue;
            }
            let now = clock::wall();
            match self.ledger.own_claim(job) {
                // Spool first: whoever crashes between the two says it again.
                Some(claim) => self.own_job_is_lost(claim, now),
                None => {
                    warn!(%job, "a job was taken by an earlier agent and left no trace; it counts as lost");
                }
            }
            let noted = self.ledger.lost(job, now);
            self.noted(noted);
        }
    }

    fn take_over_one(&mut self, job: JobId) -> Option<Resumable> {
        let dir = self.job_dir(job);
        let standing = self.ledger.standing(job);
        if let Some(Standing::Ended(_)) = standing {
            // It may have crashed between the ledger and the spool; saying it twice is harmless.
            if let Ok(Some(finished)) = self.ledger.ending(job) {
                self.say(AgentMessage::JobFinished(Box::new(finished)));
            }
            if self.unsaid.is_empty() {
                remove(&dir);
            }
            return None;
        }
        let stored = match read_stored_job(&dir) {
            Ok(stored) => stored,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                remove(&dir);
                return None;
            }
            Err(error) => {
                error!(%job, %error, dir = %dir.display(), "what an earlier agent left of a job cannot be read");
                set_aside(&dir, &error);
                return None;
            }
        };
        let (command, since) = (stored.command, stored.accepted_at);
        if standing.is_none() {
            // The ledger was lost; the job runs all the same.
            let noted = self.ledger.claim(job, command.run, command.attempt, own::claimant(&command), since);
            self.noted(noted);
        }
        let counted = std::fs::read_to_string(dir.join(LINES)).ok().and_then(|text| text.trim().parse().ok());
        let lines = self.spool.lines_of(job).max(counted);
        let started = matches!(standing, Some(Standing::Running));
        let stored_lines = if started { Some(lines.unwrap_or(0)) } else { lines };
        Some(Resumable { command, since, stored_lines })
    }

    /// Stops listening to the jobs; a supervised restic runs on.
    pub(super) fn leave_jobs(&mut self) {
        for job in self.lanes.take_all() {
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

/// A folder that is damaged is kept for whoever wants to look, and in nobody's way.
fn set_aside(dir: &Path, error: &std::io::Error) {
    match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {}
        _ => return,
    }
    let aside = dir.with_extension("damaged");
    match std::fs::rename(dir, &aside) {
        Ok(()) => warn!(folder = %aside.display(), "the folder of a damaged job is set aside"),
        Err(error) => warn!(dir = %dir.display(), %error, "the folder of a damaged job cannot be set aside"),
    }
}

/// It opens nothing; its form is right, so that the job comes as far as it can.
fn no_credential() -> Credential {
    let secret = CredentialSecret {
        url: "/nonexistent".to_owned(),
        password: Secret::new("none"),
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
