//! What the secrets file holds once it is open.

use std::collections::BTreeMap;

use restic_manager_core::id::RepoId;
use restic_manager_core::model::{CredentialKind, CredentialSecret, ResticRepoId};
use restic_manager_core::secret::{Secret, exposed};
use serde::{Deserialize, Serialize};

const FORM: &str = "restic-manager agent secrets 1";

/// Everything that is kept on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    form: String,
    #[serde(default, with = "exposed")]
    pub(super) agent_token: Option<Secret>,
    /// The seed of the Ed25519 key under which the agent announces itself, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exposed")]
    pub(super) announcing_key: Option<Secret>,
    pub(super) credentials: Vec<StoredCredential>,
    /// The credential of a file in the older form, which did not say of which repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unassigned: Option<CredentialSecret>,
}

/// A credential by revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredCredential {
    pub(super) repo_id: RepoId,
    pub(super) kind: CredentialKind,
    pub(super) revision: i64,
    pub(super) restic_id: Option<ResticRepoId>,
    /// None in a file of an agent that remembered revocations; such a record is dropped when it is read.
    pub(super) credential: Option<CredentialSecret>,
}

/// The older form: one repository, flat.
#[derive(Deserialize)]
struct Flat {
    repo_url: String,
    repo_password: Secret,
    #[serde(default, alias = "repo_username")]
    rest_user: Option<String>,
    #[serde(default)]
    rest_password: Option<Secret>,
    #[serde(default)]
    env: BTreeMap<String, Secret>,
    #[serde(default)]
    agent_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    form: Option<String>,
    #[serde(default)]
    repo_url: Option<serde::de::IgnoredAny>,
}

/// Reads either form. The reason of a failure names no value.
pub(super) fn read(plain: &[u8]) -> Result<Stored, String> {
    let wrong = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    // Fields that are passed over are not looked into; a damaged file must not pass because of that.
    let plain = std::str::from_utf8(plain)
        .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to()))?;
    let form: Form = serde_json::from_str(plain).map_err(wrong)?;
    match (form.form.as_deref(), form.repo_url) {
        (Some(FORM), _) => {
            let mut stored: Stored = serde_json::from_str(plain).map_err(wrong)?;
            stored.credentials.retain(|known| known.credential.is_some());
            Ok(stored)
        }
        (Some(other), _) => Err(format!("it is of the form {other:?}; this agent is too old for it")),
        (None, Some(_)) => {
            let flat: Flat = serde_json::from_str(plain).map_err(wrong)?;
            Ok(flat.into())
        }
        (None, None) => Err("it names no form".to_owned()),
    }
}

/// Writes the present form.
pub(super) fn write(stored: &Stored) -> Vec<u8> {
    let stored = Stored { form: FORM.to_owned(), ..stored.clone() };
    // No map with other keys than strings, no failing Serialize.
    serde_json::to_vec(&stored).unwrap_or_default()
}

impl From<Flat> for Stored {
    fn from(flat: Flat) -> Self {
        let unassigned = CredentialSecret {
            url: flat.repo_url,
            password: flat.repo_password,
            rest_user: flat.rest_user,
            rest_password: flat.rest_password,
            env: flat.env,
        };
        Self {
            form: FORM.to_owned(),
            agent_token: flat.agent_token,
            announcing_key: None,
            credentials: Vec::new(),
            unassigned: Some(unassigned),
        }
    }
}
