//! Becoming a host of the fleet: a one-time token for the agent's own.

use std::path::Path;

use restic_manager_core::api::{EnrollRequest, EnrollResponse};
use restic_manager_core::secret::Secret;

use crate::clock;
use crate::http;
use crate::secrets::{Secrets, SecretsError};
use crate::server_url::ServerUrl;
use crate::state::{Enrolment, Identity, StateDir, StateError};

/// Whether an enrolment may take the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and the new one refused.
    Keep,
    /// It is replaced; credentials and plan come anew from the server.
    Replace,
}

/// Why an agent was not enrolled. The token is still good unless the server took it.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// There is an enrolment.
    #[error("this agent is enrolled already: as `{name}` at {server}")]
    AlreadyEnrolled {
        /// The host's name.
        name: String,
        /// The server.
        server: String,
    },
    /// The server does not answer.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        server: String,
        /// Why.
        why: String,
    },
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: String,
        /// What the server said.
        message: String,
        /// What it advises.
        hint: Option<String>,
    },
    /// The answer is none of our server's.
    #[error("{server} does not answer as restic-manager does: {why}")]
    NotOurs {
        /// The server.
        server: String,
        /// What is wrong.
        why: String,
    },
}

impl EnrolError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::Secrets(error) => error.hint(),
            Self::AlreadyEnrolled { .. } => {
                Some("nothing to do; --replace enrols it anew as another host".to_owned())
            }
            Self::Unreachable { .. } => {
                Some("check the address, the firewall and the server's certificate".to_owned())
            }
            Self::Refused { hint, .. } => {
                hint.clone().or_else(|| Some("make a new token on the server".to_owned()))
            }
            Self::NotOurs { .. } => Some("check the address: it is that of the dashboard".to_owned()),
        }
    }
}

/// Enrols this machine, and stores what the server answered. Blocks.
///
/// Everything that can fail on this machine is tried before the token is used.
///
/// # Errors
///
/// [`EnrolError`]; unless the server took the token, it can be used again.
pub fn enrol(
    state_dir: &Path,
    key_file: &Path,
    server: &ServerUrl,
    token: Secret,
    existing: Existing,
) -> Result<Enrolment, EnrolError> {
    let state = StateDir::open(state_dir)?;
    let _lock = state.lock()?;
    match (Enrolment::load(&state), existing) {
        (Ok(old), Existing::Keep) => {
            return Err(EnrolError::AlreadyEnrolled {
                name: old.name.to_string(),
                server: old.server.to_string(),
            });
        }
        (Ok(_), Existing::Replace) | (Err(StateError::NotEnrolled { .. }), _) => {}
        (Err(error), _) => return Err(error.into()),
    }
    let mut secrets = Secrets::open(&state.join("secrets.age"), key_file)?;
    secrets.save()?;
    let identity = Identity::of_this_machine(&state)?;
    let request = EnrollRequest {
        token,
        machine_id: identity.machine_id.clone(),
        os_hostname: identity.os_hostname,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
    };
    let answer = ask(server, &request)?;
    let enrolment = Enrolment {
        server: server.clone(),
        host_id: answer.host_id,
        name: answer.name,
        machine_id: identity.machine_id,
        enrolled_at: clock::wall(),
    };
    secrets.set_token(answer.agent_token);
    secrets.save()?;
    enrolment.save(&state)?;
    Ok(enrolment)
}

fn ask(server: &ServerUrl, request: &EnrollRequest) -> Result<EnrollResponse, EnrolError> {
    let unreachable =
        |error: ureq::Error| EnrolError::Unreachable { server: server.to_string(), why: error.to_string() };
    let mut answer =
        http::client().post(server.at("/api/agents/enroll")).send_json(request).map_err(unreachable)?;
    if !answer.status().is_success() {
        let said = http::error_of(&mut answer);
        return Err(EnrolError::Refused { code: said.code, message: said.message, hint: said.hint });
    }
    let read = answer.body_mut().with_config().limit(64 << 10).read_json();
    read.map_err(|error| EnrolError::NotOurs { server: server.to_string(), why: error.to_string() })
}
