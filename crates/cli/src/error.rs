//! The one error of a command, made of the errors of its parts.

use std::error::Error;

use restic_manager_core::api::JobView;

use crate::client::ClientError;
use crate::connection::ConnectionError;
use crate::context::ContextError;
use crate::exit::Exit;
use crate::input::InputError;
use crate::resolve::ResolveError;
use crate::ui::does;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the output cannot be written")]
    Output(#[from] std::io::Error),
    #[error("the answer has no field `{path}`")]
    NoField { path: String, known: String },
    #[error("{what}")]
    Usage { what: String, hint: String },
    #[error("the {} job {}", .0.job.kind.as_str(), ending(.0))]
    Job(Box<JobView>),
    #[error("the job goes on without being watched")]
    Interrupted { job_id: String },
}

impl CliError {
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Client(e) => e.exit(),
            Self::Connection(e) => e.exit(),
            Self::Context(e) => e.exit(),
            Self::Resolve(e) => e.exit(),
            Self::Input(e) => e.exit(),
            Self::Output(_) => Exit::Local,
            Self::NoField { .. } => Exit::NotFound,
            Self::Usage { .. } => Exit::Usage,
            Self::Job(_) => Exit::JobFailed,
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    /// What a person can do about it; every error has something.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Client(e) => e.hint(),
            Self::Connection(e) => e.hint(),
            Self::Context(e) => e.hint(),
            Self::Resolve(e) => e.hint(),
            Self::Input(e) => e.hint(),
            Self::Output(_) => "check that there is room where the output goes".to_owned(),
            Self::NoField { known, .. } => format!("there is: {known}"),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Job(view) => {
                let log = format!("read its log: rmctl job log {}", view.job.id);
                view.job.hint.clone().map_or(log.clone(), |hint| format!("{hint}; {log}"))
            }
            Self::Interrupted { job_id } => {
                format!("watch it again: rmctl job log -f {job_id}; stop it: rmctl job cancel {job_id}")
            }
        }
    }

    /// The message and the chain of its causes, each said once.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

fn ending(view: &JobView) -> String {
    let state = does(view.job.state);
    match &view.job.message {
        Some(message) => format!("{state}: {message}"),
        None => state.to_owned(),
    }
}
