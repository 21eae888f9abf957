//! `enrol`: a one-time token for the agent's own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use restic_manager_agent::enrolment::{EnrolError, Existing, enrol};
use restic_manager_agent::server_url::ServerUrl;
use restic_manager_core::secret::Secret;

use super::settings::Settings;
use super::{exit, ui};

#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The server's address, as the dashboard shows it
    #[arg(long, env = "RM_SERVER", value_name = "URL")]
    server: String,
    /// The one-time token; it is worth nothing after this command or after an hour, which is why it may stand in the
    /// command line
    #[arg(long, env = "RM_ENROLLMENT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<TokenArgument>,
    /// A file with the token, for those who keep even this out of the process list
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Enrols anew although this agent is a host already
    #[arg(long)]
    replace: bool,
}

/// A token from the command line, masked wherever it is printed.
#[derive(Debug, Clone)]
struct TokenArgument(Secret);

impl From<&str> for TokenArgument {
    fn from(text: &str) -> Self {
        Self(Secret::new(text.trim()))
    }
}

#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("there is no enrolment token")]
    Missing,
    #[error("the token file {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
}

impl Enrol {
    pub(crate) fn execute(self, settings: &Settings) -> ExitCode {
        super::logging::begin(settings);
        let server = match ServerUrl::parse(&self.server, settings.plain_http) {
            Ok(server) => server,
            Err(error) => return ui::fail(&error, error.hint(), exit::USAGE),
        };
        let token = match self.token() {
            Ok(token) => token,
            Err(error) => {
                let hint = "make one on the server's dashboard and give it with --token or --token-file";
                return ui::fail(&error, Some(hint.to_owned()), exit::USAGE);
            }
        };
        let existing = if self.replace { Existing::Replace } else { Existing::Keep };
        match enrol(&settings.state_dir, &settings.key_file, &server, token, existing) {
            Ok(enrolment) => {
                ui::say(format!("enrolled as `{}` at {}", enrolment.name, enrolment.server));
                ExitCode::from(exit::DONE)
            }
            Err(error) => fail(&error),
        }
    }

    fn token(&self) -> Result<Secret, TokenError> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| TokenError::Unreadable { path: path.clone(), source })?;
            return Ok(Secret::new(text.trim()));
        }
        let token = self.token.as_ref().map(|token| token.0.clone());
        token.filter(|token| !token.is_empty()).ok_or(TokenError::Missing)
    }
}

/// Says why there is no enrolment.
pub(super) fn fail(error: &EnrolError) -> ExitCode {
    let code = match error {
        EnrolError::State(_) | EnrolError::Secrets(_) | EnrolError::AlreadyEnrolled { .. } => exit::FAILED,
        EnrolError::Refused { .. } | EnrolError::Rejected { .. } => exit::REFUSED,
        EnrolError::Unreachable { .. } | EnrolError::NotOurs { .. } => exit::UNREACHABLE,
    };
    ui::fail(error, error.hint(), code)
}
