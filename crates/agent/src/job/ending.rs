//! How a job ended, before it is told.

use std::io;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{FinalState, JobSummary};
use restic_manager_core::restic::{Exit, Outcome, OutcomeClass};
use restic_manager_core::text::ResticRepoId;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{CommandRun, JobFinished};

use super::follow::Ran;
use crate::process::{StartError, now};
use crate::restic::ResticProblem;

/// How a job ended, before it is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<i32>,
    pub(crate) at: Timestamp,
    /// Boxed: an ending is the error of most steps.
    pub(crate) summary: Box<JobSummary>,
}

/// More missing paths than a person reads, and than a message should carry.
const MISSING_NAMED: usize = 200;

impl Ending {
    /// It ended as `outcome` says, without the main command or apart from it.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self { outcome, exit_code: None, at: now(), summary: Box::default() }
    }

    /// It failed before, or apart from, its main command.
    pub(crate) fn failed(class: OutcomeClass, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self::of(Outcome { class, message: message.into(), hint, unreadable_items: 0 })
    }

    /// It did what was asked without a main command.
    pub(crate) fn succeeded(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::of(Outcome { class: OutcomeClass::Ok, message, hint: None, unreadable_items: 0 })
    }

    /// The main command ended.
    pub(crate) fn after(ran: &Ran, outcome: Outcome) -> Self {
        let exit_code = match ran.end.exit {
            Some(Exit::Code(code)) => Some(code),
            Some(Exit::Signal(_) | Exit::NotStarted) | None => None,
        };
        let summary = Box::new(JobSummary { seconds: Some(ran.end.seconds), ..JobSummary::default() });
        Self { outcome, exit_code, at: ran.end.at, summary }
    }

    /// Somebody asked to stop before there was anything to stop.
    pub(crate) fn cancelled() -> Self {
        let message = "stopped on request before restic started its work".to_owned();
        Self::of(Outcome { class: OutcomeClass::Cancelled, message, hint: None, unreadable_items: 0 })
    }

    /// There is no restic to run.
    pub(crate) fn no_restic(problem: &ResticProblem) -> Self {
        Self::failed(OutcomeClass::ResticMissing, problem.to_string(), problem.remedy())
    }

    /// The operating system could not run restic.
    pub(crate) fn not_started(why: &str) -> Self {
        let message = format!("restic could not be started: {why}");
        Self::failed(OutcomeClass::ResticMissing, message, "see `restic-manager-agent doctor` on the host")
    }

    /// The start failed.
    pub(crate) fn start_failed(error: StartError) -> Self {
        match error {
            StartError::Program { why, .. } => Self::not_started(&why),
            StartError::Folder(source) => Self::unwritable_folder(&source),
            StartError::Used { .. } => Self::used_folder(&error.to_string()),
            StartError::Supervisor { .. } | StartError::GaveUp(_) => {
                let message = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                Self::failed(OutcomeClass::Unknown, message, "restart the agent on the host")
            }
        }
    }

    /// An agent died between taking the job and starting restic.
    pub(crate) fn never_began() -> Self {
        let message = "the agent ended before restic was started";
        Self::failed(OutcomeClass::Killed, message, "run it again")
    }

    /// The job's folder cannot be written: a full disk, most often.
    pub(crate) fn unwritable_folder(error: &io::Error) -> Self {
        let message = format!("the job's folder on the host cannot be written: {error}");
        let class = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OutcomeClass::NoSpace,
            _ => OutcomeClass::Unknown,
        };
        Self::failed(class, message, "make room under the agent's state directory")
    }

    /// The job's folder is another's.
    pub(crate) fn used_folder(why: &str) -> Self {
        let hint = "give each job a folder of its own, or bring the earlier one to its end first";
        Self::failed(OutcomeClass::Unknown, why, hint)
    }

    /// What an earlier agent left cannot be read.
    pub(crate) fn unreadable_folder(error: &io::Error) -> Self {
        let message = format!("what an earlier agent wrote of this job cannot be read: {error}");
        Self::failed(OutcomeClass::Unknown, message, "look at the host's disk, then run the job again")
    }

    /// The credential opens something else than the fleet knows.
    pub(crate) fn wrong_repository(found: &ResticRepoId, expected: &ResticRepoId) -> Self {
        let message = format!(
            "wrong_repository: this credential opens another repository (id {found}, expected {expected})"
        );
        Self::failed(OutcomeClass::Unknown, message, "correct the address of the credential")
    }

    /// A refused delete is told with its remedy, which depends on the credential that was used.
    pub(crate) fn explain_append_only(&mut self, command: &CommandRun) {
        if self.outcome.class != OutcomeClass::AppendOnly {
            return;
        }
        let (message, hint) = match command.requires_admin_creds {
            false => (
                "the repository is append-only for the everyday credential: the server refused to delete",
                "store an admin credential for the repository; it usually has another address, whose server may delete",
            ),
            true => (
                "the admin credential may not delete either: its server is append-only too",
                "give the admin credential the address of a server that may delete",
            ),
        };
        self.outcome.message = message.to_owned();
        self.outcome.hint = Some(hint.to_owned());
    }

    /// The last message of the job; every text goes through `redact`.
    pub(crate) fn into_finished(mut self, job_id: JobId, redact: impl Fn(&str) -> String) -> JobFinished {
        let Outcome { class, message, hint, .. } = self.outcome;
        self.summary.missing_paths.truncate(MISSING_NAMED);
        self.summary.missing_paths.iter_mut().for_each(|path| *path = redact(path));
        JobFinished {
            job_id,
            at: self.at,
            state: FinalState::from(class),
            class,
            exit_code: self.exit_code,
            message: redact(&message),
            hint: hint.map(|hint| redact(&hint)),
            summary: *self.summary,
            run: None,
        }
    }
}
