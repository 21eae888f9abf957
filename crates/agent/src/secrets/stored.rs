//! What the secrets file holds once it is open.

use std::collections::BTreeMap;
use std::fmt;

use restic_manager_core::id::RepoId;
use restic_manager_core::model::{CredentialKind, CredentialSecret, ResticRepoId};
use restic_manager_core::secret::{Secret, exposed};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// JSON that was looked at to its last escape, and of which nothing is kept.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Reads either form. The reason of a failure names no value.
pub(super) fn read(plain: &[u8]) -> Result<Stored, String> {
    let wrong = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    // Fields that are passed over are not looked into; a damaged file must not pass because of that.
    let plain = std::str::from_utf8(plain)
        .map_err(|error| format!("it is no UTF-8 from byte {} on", error.valid_up_to()))?;
    // Read as a list of its fields an array would do as well.
    if !plain.trim_start().starts_with('{') {
        return Err("it is no object".to_owned());
    }
    let Sound = serde_json::from_str(plain).map_err(wrong)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_field_that_nobody_reads_spoils_the_file() {
        let file = |field: &str| format!(r#"{{"repo_url": "r", "repo_password": "p", "x": {field}}}"#);
        for sound in ["null", "[true, -1, 1, 1.5, {\"a\": \"\\ud83d\\ude00\"}]"] {
            assert!(read(file(sound).as_bytes()).is_ok(), "{sound}");
        }
        // Half a character, a name with one, and a number that is none.
        for damaged in [r#""\ud83d""#, r#"{"\udd2d": 1}"#, r#"[{"a": ["\udd2d"]}]"#, "1e999"] {
            assert!(read(file(damaged).as_bytes()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_list_of_the_fields_is_no_file_of_secrets() {
        let list = format!("[{FORM:?}, null, null, [], null]");
        assert_eq!(read(list.as_bytes()).unwrap_err(), "it is no object");
        assert_eq!(read(b" \n{}").unwrap_err(), "it names no form");
    }
}
