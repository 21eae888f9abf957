//! The agent's secrets: its token and the credentials of its repositories, in one encrypted file.
//!
//! `secrets.age` (mode 0600) is encrypted with an age identity that lies apart from it, so that a copy of the state
//! directory alone opens nothing; whoever reads both reads everything, root among them. The identity is made once, and
//! never where secrets exist already. A file that cannot be opened or understood is an error and is never overwritten.

mod key;
mod stored;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use age::x25519;
use ed25519_dalek::SigningKey;
use restic_manager_core::announce::HexBytes;
use restic_manager_core::id::RepoId;
use restic_manager_core::model::{CredentialKind, CredentialSecret, ResticRepoId};
use restic_manager_core::secret::Secret;
use restic_manager_core::wire::ConfigUpdate;
use zeroize::Zeroizing;

use crate::random;
use crate::state::{StateError, refuse_open, write_atomically};
use stored::{Stored, StoredCredential};

/// What is wrong with the secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file is not as it should be, or the operating system said no.
    #[error(transparent)]
    State(#[from] StateError),
    /// There are secrets, but not the key that opens them.
    #[error("{} holds secrets, but their key {} is missing", secrets.display(), key.display())]
    KeyMissing {
        /// The secrets.
        secrets: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key file holds no key.
    #[error("{} holds no age identity", path.display())]
    NoKey {
        /// The key.
        path: PathBuf,
    },
    /// The key does not open the secrets, or these are damaged.
    #[error("{} cannot be opened with the key {}: {why}", secrets.display(), key.display())]
    CannotOpen {
        /// The secrets.
        secrets: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was encrypted is not what the agent writes.
    #[error("what {} holds is not what the agent writes: {why}", path.display())]
    Damaged {
        /// The secrets.
        path: PathBuf,
        /// What is wrong, without any value.
        why: String,
    },
    /// No such credential is there.
    #[error("there is no {} credential for the repository {repo}", kind.as_str())]
    NoSuchCredential {
        /// The repository.
        repo: RepoId,
        /// Everyday or admin.
        kind: CredentialKind,
    },
    /// The agent was not given its token.
    #[error("the agent has no token")]
    NoToken,
}

impl SecretsError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::KeyMissing { key, .. } => {
                Some(format!("put the key back at {}, or name it with --key-file; nothing was changed", key.display()))
            }
            Self::NoKey { path } | Self::Damaged { path, .. } => {
                Some(format!("restore {} from a copy; nothing was changed", path.display()))
            }
            Self::CannotOpen { .. } => {
                Some("restore the key or the secrets from a copy, or move both away and enrol again; nothing was changed".to_owned())
            }
            Self::NoSuchCredential { .. } => Some("store it on the server; it comes by itself".to_owned()),
            Self::NoToken => Some("enrol the agent".to_owned()),
        }
    }
}

/// A credential with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// All that restic needs.
    pub secret: CredentialSecret,
    /// The repository it must open, once known.
    pub restic_id: Option<ResticRepoId>,
}

/// What became of a credential that the server sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is stored, or revoked.
    Changed,
    /// It was known already, or older than what is known.
    Unchanged,
}

/// The opened secrets.
pub struct Secrets {
    path: PathBuf,
    key: x25519::Identity,
    stored: Stored,
    /// Credentials that must not be kept on disk; gone with the process.
    passing: Vec<StoredCredential>,
}

impl Secrets {
    /// Opens the secrets at `path` with the key at `key_path`; without secrets, an empty collection.
    ///
    /// The key is made when neither it nor the secrets exist. Nothing is written to `path` before [`Self::save`].
    ///
    /// # Errors
    ///
    /// The key is missing although there are secrets, the files are open to others, or what they hold cannot be opened
    /// or understood. Neither file is changed then.
    pub fn open(path: &Path, key_path: &Path) -> Result<Self, SecretsError> {
        let sealed = read_private(path)?;
        let key = match (key::load(key_path)?, &sealed) {
            (Some(key), _) => key,
            (None, None) => key::make(key_path)?,
            (None, Some(_)) => {
                return Err(SecretsError::KeyMissing { secrets: path.to_owned(), key: key_path.to_owned() });
            }
        };
        let stored = match sealed {
            None => Stored::default(),
            Some(sealed) => {
                let plain = age::decrypt(&key, &sealed).map(Zeroizing::new).map_err(|error| {
                    SecretsError::CannotOpen {
                        secrets: path.to_owned(),
                        key: key_path.to_owned(),
                        why: error.to_string(),
                    }
                })?;
                stored::read(&plain).map_err(|why| SecretsError::Damaged { path: path.to_owned(), why })?
            }
        };
        Ok(Self { path: path.to_owned(), key, stored, passing: Vec::new() })
    }

    /// The token for the server's socket.
    ///
    /// # Errors
    ///
    /// [`SecretsError::NoToken`] before the enrolment.
    pub fn token(&self) -> Result<&Secret, SecretsError> {
        self.stored.agent_token.as_ref().ok_or(SecretsError::NoToken)
    }

    /// Takes a new token; it is on disk after [`Self::save`].
    pub fn set_token(&mut self, token: Secret) {
        self.stored.agent_token = Some(token);
    }

    /// The key under which the agent announces itself; made, and on disk when this returns, where there is none.
    ///
    /// # Errors
    ///
    /// It cannot be written, or what is stored is no key.
    pub fn announcing_key(&mut self) -> Result<SigningKey, SecretsError> {
        if let Some(kept) = &self.stored.announcing_key {
            let seed: HexBytes<32> = kept.expose().parse().map_err(|_| SecretsError::Damaged {
                path: self.path.clone(),
                why: "the key of the announcement is none".to_owned(),
            })?;
            return Ok(SigningKey::from_bytes(&seed.0));
        }
        let key = SigningKey::from_bytes(&Zeroizing::new(random::bytes()));
        let mut wanted = self.stored.clone();
        wanted.announcing_key = Some(Secret::new(random::hex(key.as_bytes())));
        self.replace(wanted)?;
        Ok(key)
    }

    /// The credential of a repository.
    ///
    /// Where no everyday credential of any repository is stored, the one of the older file form, which knew of one
    /// repository only, is the answer for each.
    ///
    /// # Errors
    ///
    /// [`SecretsError::NoSuchCredential`].
    pub fn credential(&self, repo: RepoId, kind: CredentialKind) -> Result<Credential, SecretsError> {
        let is_it = |credential: &&StoredCredential| credential.repo_id == repo && credential.kind == kind;
        let known = self.passing.iter().find(is_it).or_else(|| self.stored.credentials.iter().find(is_it));
        if let Some(known) = known {
            let found = known
                .credential
                .clone()
                .map(|secret| Credential { secret, restic_id: known.restic_id.clone() });
            return found.ok_or(SecretsError::NoSuchCredential { repo, kind });
        }
        let has_everyday =
            self.stored.credentials.iter().any(|credential| credential.kind == CredentialKind::Repo);
        match (&self.stored.unassigned, kind) {
            (Some(secret), CredentialKind::Repo) if !has_everyday => {
                Ok(Credential { secret: secret.clone(), restic_id: None })
            }
            (Some(_) | None, CredentialKind::Repo | CredentialKind::Admin) => {
                Err(SecretsError::NoSuchCredential { repo, kind })
            }
        }
    }

    /// The repositories with a credential of a kind.
    pub fn repos(&self, kind: CredentialKind) -> Vec<RepoId> {
        let all = self.stored.credentials.iter().chain(&self.passing);
        let mut repos: Vec<RepoId> = all
            .filter(|credential| credential.kind == kind && credential.credential.is_some())
            .map(|credential| credential.repo_id)
            .collect();
        repos.sort_unstable();
        repos.dedup();
        repos
    }

    /// Takes what the server sent; what may be kept is on disk when this returns.
    ///
    /// The newest word counts, whatever its revision: the server sends in order, and a host that was detached and attached again while
    /// it was away gets a credential whose revisions begin anew.
    ///
    /// A revocation removes what is known whatever its revision, and leaves no trace: a host that is attached again
    /// gets a credential whose revisions begin anew.
    ///
    /// # Errors
    ///
    /// It cannot be written; the old file stands then.
    pub fn apply(&mut self, update: &ConfigUpdate) -> Result<Applied, SecretsError> {
        let is_it = |known: &StoredCredential| known.repo_id == update.repo_id && known.kind == update.kind;
        let new = StoredCredential {
            repo_id: update.repo_id,
            kind: update.kind,
            revision: update.revision,
            restic_id: update.restic_id.clone(),
            credential: update.credential.clone(),
        };
        let known = self.passing.iter().chain(&self.stored.credentials).filter(|known| is_it(known));
        let mut known = known.peekable();
        if update.credential.is_some() && known.peek().is_some() && known.all(|known| *known == new) {
            return Ok(Applied::Unchanged);
        }
        let passed = self.passing.len();
        self.passing.retain(|known| !is_it(known));
        let was_passing = self.passing.len() < passed;
        let mut wanted = self.stored.clone();
        wanted.credentials.retain(|known| !is_it(known));
        if update.kind == CredentialKind::Repo {
            // The server knows which repository is whose; what an older agent wrote is no answer any more.
            wanted.unassigned = None;
        }
        if update.credential.is_none() {
            let replaced = self.replace(wanted)?;
            return Ok(if was_passing { Applied::Changed } else { replaced });
        }
        if update.keep {
            wanted.credentials.push(new);
            return self.replace(wanted);
        }
        self.replace(wanted)?;
        self.passing.push(new);
        Ok(Applied::Changed)
    }

    /// Drops the credentials, of both kinds, of every repository that is not among `repos`.
    ///
    /// # Errors
    ///
    /// It cannot be written; the old file stands then.
    pub fn keep_only(&mut self, repos: &BTreeSet<RepoId>) -> Result<Applied, SecretsError> {
        self.passing.retain(|known| repos.contains(&known.repo_id));
        let mut wanted = self.stored.clone();
        wanted.credentials.retain(|known| repos.contains(&known.repo_id));
        self.replace(wanted)
    }

    /// Drops all credentials; the token stays.
    ///
    /// # Errors
    ///
    /// It cannot be written; the old file stands then.
    pub fn forget_credentials(&mut self) -> Result<Applied, SecretsError> {
        self.passing.clear();
        let mut wanted = self.stored.clone();
        wanted.credentials.clear();
        wanted.unassigned = None;
        self.replace(wanted)
    }

    /// Drops what must not outlive the session in which it came.
    pub fn forget_passing(&mut self) {
        self.passing.clear();
    }

    /// Drops the admin credential of a repository that must not outlive the job it came for.
    pub fn forget_passing_admin(&mut self, repo: RepoId) {
        self.passing.retain(|known| known.repo_id != repo || known.kind != CredentialKind::Admin);
    }

    /// Writes everything that is kept, in the present form.
    ///
    /// # Errors
    ///
    /// Those of the operating system; the old file stands then.
    pub fn save(&self) -> Result<(), SecretsError> {
        let plain = Zeroizing::new(stored::write(&self.stored));
        let sealed = age::encrypt(&self.key.to_public(), &plain)
            .map_err(|error| SecretsError::Damaged { path: self.path.clone(), why: error.to_string() })?;
        Ok(write_atomically(&self.path, &sealed).map_err(StateError::io("write", &self.path))?)
    }

    fn replace(&mut self, wanted: Stored) -> Result<Applied, SecretsError> {
        if wanted == self.stored {
            return Ok(Applied::Unchanged);
        }
        let before = std::mem::replace(&mut self.stored, wanted);
        match self.save() {
            Ok(()) => Ok(Applied::Changed),
            Err(error) => {
                self.stored = before;
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("path", &self.path)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// Rewrites the decrypted text of a secrets file, of whatever form the agent understands, in the present one.
///
/// # Errors
///
/// It is none; the reason names the place, and no value.
pub fn present_form(plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    stored::read(plain).map(|stored| Zeroizing::new(stored::write(&stored)))
}

/// Reads a file that only its owner may read; none when it is not there.
fn read_private(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("look at", path)(error)),
    };
    refuse_open(path, found.mode())?;
    std::fs::read(path).map(Some).map_err(StateError::io("read", path))
}

#[cfg(test)]
mod tests;
