//! Becoming a host of the fleet: a one-time token for the agent's own.

use std::path::Path;

use ed25519_dalek::SigningKey;
use restic_manager_core::announce::Fingerprint;
use restic_manager_core::api::{EnrollRequest, EnrollResponse};
use restic_manager_core::secret::Secret;

use crate::agent::forget_contact;
use crate::announcing::ask;
use crate::clock;
use crate::secrets::{Secrets, SecretsError};
use crate::server_url::ServerUrl;
use crate::state::{Enrolment, Identity, StateDir, StateError, StateLock};

/// Whether an enrolment may take the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and the new one refused.
    Keep,
    /// It is replaced; credentials and plan come anew from the server, and the spool and the slot ledger begin anew.
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
        /// The HTTP status.
        status: u16,
        /// For programs.
        code: String,
        /// What the server said.
        message: String,
        /// What it advises.
        hint: Option<String>,
    },
    /// A person sent the announced agent away.
    #[error("an operator rejected this agent (fingerprint {fingerprint})")]
    Rejected {
        /// Of its key.
        fingerprint: Fingerprint,
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
    /// Whether it may be otherwise in a moment, without anybody doing anything on this machine.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotOurs { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::State(_) | Self::Secrets(_) | Self::AlreadyEnrolled { .. } | Self::Rejected { .. } => false,
        }
    }

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
                hint.clone().or_else(|| Some("see the server's log, then try again".to_owned()))
            }
            Self::Rejected { .. } => Some(
                "ask the operator; an hour after the announcement it may be made again, and a token works at once"
                    .to_owned(),
            ),
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
    let enrolling = Enrolling::begin(state_dir, key_file, existing)?;
    let identity = enrolling.identity();
    let request = EnrollRequest {
        token,
        machine_id: identity.machine_id.clone(),
        os_hostname: identity.os_hostname.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
    };
    let answer = ask(server, "/api/agents/enroll", &request)?;
    enrolling.finish(server, answer)
}

/// An enrolment under way, by whichever door: the state directory is ours meanwhile.
pub(crate) struct Enrolling {
    state: StateDir,
    _lock: StateLock,
    secrets: Secrets,
    identity: Identity,
    /// Whether it takes the place of another one.
    replaces: bool,
}

impl Enrolling {
    /// Tries everything that can fail on this machine.
    pub(crate) fn begin(state_dir: &Path, key_file: &Path, existing: Existing) -> Result<Self, EnrolError> {
        let state = StateDir::open(state_dir)?;
        let lock = state.lock()?;
        let replaces = match (Enrolment::load(&state), existing) {
            (Ok(old), Existing::Keep) => {
                return Err(EnrolError::AlreadyEnrolled {
                    name: old.name.to_string(),
                    server: old.server.to_string(),
                });
            }
            (Ok(_), Existing::Replace) => true,
            (Err(StateError::NotEnrolled { .. }), _) => false,
            (Err(error), _) => return Err(error.into()),
        };
        let secrets = Secrets::open(&state.join("secrets.age"), key_file)?;
        secrets.save()?;
        let identity = Identity::of_this_machine(&state)?;
        Ok(Self { state, _lock: lock, secrets, identity, replaces })
    }

    /// What the machine is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key under which the agent announces itself, made where there is none.
    pub(crate) fn announcing_key(&mut self) -> Result<SigningKey, EnrolError> {
        Ok(self.secrets.announcing_key()?)
    }

    /// Stores what the server answered.
    pub(crate) fn finish(
        mut self,
        server: &ServerUrl,
        answer: EnrollResponse,
    ) -> Result<Enrolment, EnrolError> {
        let enrolment = Enrolment {
            server: server.clone(),
            host_id: answer.host_id,
            name: answer.name,
            machine_id: self.identity.machine_id,
            enrolled_at: clock::wall(),
        };
        // What is left of another host: its unacknowledged words, its plan and its slots are none of the new one's.
        for folder in ["spool", "plan"] {
            remove(&self.state.join(folder))?;
        }
        forget_contact(&self.state)?;
        if self.replaces {
            self.secrets.forget_credentials()?;
        }
        self.secrets.set_token(answer.agent_token);
        self.secrets.save()?;
        enrolment.save(&self.state)?;
        Ok(enrolment)
    }
}

fn remove(folder: &Path) -> Result<(), StateError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("remove", folder)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    use restic_manager_core::id::{JobId, RepoId};
    use restic_manager_core::model::{CredentialKind, CredentialSecret};
    use restic_manager_core::slots::Claimant;
    use restic_manager_core::time::Timestamp;
    use restic_manager_core::wire::{AgentMessage, ConfigUpdate, JobStarted};

    use super::*;
    use crate::ledger::Ledger;
    use crate::server_url::PlainHttp;
    use crate::spool::{DEFAULT_LIMIT, Spool};

    const WELCOME: &str =
        r#"{"host_id":"01900000-0000-7000-8000-000000000009","name":"box","agent_token":"rma_new"}"#;

    /// A server that gives one answer and hands over what it was asked.
    fn server(status: &'static str, body: &'static str) -> (ServerUrl, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                let mut part = [0; 4096];
                let length = stream.read(&mut part).unwrap();
                asked.extend_from_slice(&part[..length]);
            }
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
            String::from_utf8(asked).unwrap()
        });
        (ServerUrl::parse(&url, PlainHttp::LoopbackOnly).unwrap(), answering)
    }

    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let (state, key) = (temp.path().join("state"), temp.path().join("key"));
        (temp, state, key)
    }

    #[test]
    fn a_token_is_traded_for_the_agents_own_once() {
        let (_temp, state, key) = places();
        let (url, asked) = server("201 Created", WELCOME);
        let enrolment = enrol(&state, &key, &url, Secret::new("rme_one"), Existing::Keep).unwrap();
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /api/agents/enroll ") && asked.contains(r#""rme_one""#), "{asked}");
        let dir = StateDir::existing(&state).unwrap();
        assert_eq!(Enrolment::load(&dir).unwrap(), enrolment);
        assert!(asked.contains(&enrolment.machine_id));
        let secrets = Secrets::open(&dir.join("secrets.age"), &key).unwrap();
        assert_eq!(secrets.token().unwrap().expose(), "rma_new");

        let again = enrol(&state, &key, &url, Secret::new("rme_two"), Existing::Keep).unwrap_err();
        assert!(matches!(&again, EnrolError::AlreadyEnrolled { name, .. } if name == "box"), "{again}");
        let (url, _asked) = server("201 Created", WELCOME);
        enrol(&state, &key, &url, Secret::new("rme_two"), Existing::Replace).unwrap();
    }

    #[test]
    fn a_host_that_replaces_another_has_nothing_of_it() {
        let (_temp, state, key) = places();
        let (url, _asked) = server("201 Created", WELCOME);
        enrol(&state, &key, &url, Secret::new("rme_one"), Existing::Keep).unwrap();
        let dir = StateDir::existing(&state).unwrap();
        let at = Timestamp::from_millis(1);
        let open_spool = || Spool::open(&dir.folder("spool").unwrap(), DEFAULT_LIMIT, at).unwrap();
        let open_ledger = || Ledger::open(&dir.folder("plan").unwrap(), at).unwrap();
        let open_secrets = || Secrets::open(&dir.join("secrets.age"), &key).unwrap();
        let job_id = JobId::mint(at, [1; 10]);
        let mut spool = open_spool();
        spool.append(&AgentMessage::JobStarted(JobStarted { job_id, at, run: None })).unwrap();
        spool.sync().unwrap();
        std::fs::write(dir.join("last-contact.json"), "{\"at\":1}").unwrap();
        open_ledger().claim(job_id, None, 1, Claimant::Server, at).unwrap();
        let secret = CredentialSecret {
            url: "/srv/repo".into(),
            password: Secret::new("old-pw"),
            rest_user: None,
            rest_password: None,
            env: [].into(),
        };
        let update = ConfigUpdate {
            repo_id: RepoId::mint(at, [1; 10]),
            kind: CredentialKind::Repo,
            revision: 9,
            credential: Some(secret),
            restic_id: None,
            keep: true,
        };
        open_secrets().apply(&update).unwrap();

        let (url, _asked) = server("201 Created", WELCOME);
        enrol(&state, &key, &url, Secret::new("rme_two"), Existing::Replace).unwrap();
        let anew = open_spool();
        assert_eq!(anew.last_seq(), 0);
        assert_ne!(anew.id(), spool.id());
        assert_eq!(open_ledger().standing(job_id), None);
        assert_eq!(crate::agent::last_contact(&dir).unwrap(), None);
        assert!(open_secrets().repos(CredentialKind::Repo).is_empty());
        assert_eq!(open_secrets().token().unwrap().expose(), "rma_new");
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_and_leaves_no_enrolment() {
        let (_temp, state, key) = places();
        let body =
            r#"{"code":"enrollment_token_expired","message":"the token expired","hint":"make a new one"}"#;
        let (url, _asked) = server("403 Forbidden", body);
        let error = enrol(&state, &key, &url, Secret::new("rme_old"), Existing::Keep).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_deref()),
            ("the token expired", Some("make a new one"))
        );
        let dir = StateDir::existing(&state).unwrap();
        assert!(matches!(Enrolment::load(&dir), Err(StateError::NotEnrolled { .. })));
    }

    #[test]
    fn another_server_and_none_are_told_apart() {
        let (_temp, state, key) = places();
        let (url, _asked) = server("200 OK", "<html>{}");
        let error = enrol(&state, &key, &url, Secret::new("t"), Existing::Keep).unwrap_err();
        assert!(matches!(error, EnrolError::NotOurs { .. }), "{error}");
        let nobody = ServerUrl::parse("http://127.0.0.1:1", PlainHttp::LoopbackOnly).unwrap();
        let error = enrol(&state, &key, &nobody, Secret::new("t"), Existing::Keep).unwrap_err();
        assert!(matches!(error, EnrolError::Unreachable { .. }), "{error}");
    }
}
