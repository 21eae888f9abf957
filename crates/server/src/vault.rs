//! Secrets at rest: sealed with age for one place and one revision, and refused anywhere else.
//!
//! age alone says nothing about who sealed a blob: whoever knows the recipient can make one for any row. So the plaintext
//! carries its context and revision, and an HMAC keyed from the identity covers them and the secret; all three are compared
//! when a blob is opened. What this protects: a stolen database, and a database whose rows were moved about. What it does
//! not: a machine on which the key file can be read.

mod key_file;

use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use restic_manager_core::id::{HostId, RepoId};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first byte of every plaintext; another layout gets another number.
const LAYOUT: u8 = 1;
/// Separates the key of the HMAC from any other use of the identity.
const MAC_LABEL: &[u8] = b"restic-manager vault: context and revision, 1";
const MAC_BYTES: usize = 32;
const CANARY_CONTEXT: &str = "canary";

/// A secret that could not be sealed or opened, or a key that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There are secrets, and the key that opens them is not where it should be.
    #[error("the key file {} is missing, and the database holds secrets that only it can open", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("the key file {} may be read by others (mode {mode:04o})", path.display())]
    KeyExposed {
        /// Where it is.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is there and holds no identity.
    #[error("the key file {} holds no age identity", path.display())]
    KeyUnreadable {
        /// Where it is.
        path: PathBuf,
    },
    /// The key file, or its folder, could not be read or made.
    #[error("the key file {} could not be {doing}", path.display())]
    KeyFile {
        /// Where it is or should be.
        path: PathBuf,
        /// Read or made.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was sealed for another identity.
    #[error("wrong key: the secret was sealed for another identity")]
    WrongKey,
    /// It was sealed for another place: the row was moved or copied.
    #[error("the secret of `{found}` was moved to `{expected}`")]
    Moved {
        /// The place in which it lies.
        expected: String,
        /// The place for which it was sealed.
        found: String,
    },
    /// It is of another revision than its row: an old blob was put back.
    #[error("revision mismatch: the row has revision {expected}, the secret in it {found}")]
    Revision {
        /// The revision of the row.
        expected: i64,
        /// The revision for which it was sealed.
        found: i64,
    },
    /// It was sealed by somebody who knows the recipient but not the identity.
    #[error("the secret was not sealed by this server")]
    Forged,
    /// It is no sealed secret, or no longer.
    #[error("the sealed secret is damaged")]
    Damaged,
}

impl VaultError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::KeyMissing { path } => format!(
                "put the key back from its backup to {}, or name the right one with --key-file",
                path.display()
            ),
            Self::KeyExposed { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::KeyUnreadable { path } => {
                format!(
                    "expected a line that starts with AGE-SECRET-KEY-1 in {}; it is never overwritten",
                    path.display()
                )
            }
            Self::KeyFile { path, .. } => {
                format!("check that {} and its folder belong to the user the server runs as", path.display())
            }
            Self::WrongKey => {
                "name the key that was in use when the database was written with --key-file".to_owned()
            }
            Self::Moved { .. } | Self::Revision { .. } | Self::Forged | Self::Damaged => {
                "enter the credential anew; if nobody restored or edited the database, find out who did"
                    .to_owned()
            }
        }
    }
}

/// Seals and opens secrets with one age identity.
pub struct Vault {
    identity: Identity,
    recipient: Recipient,
    mac_key: Zeroizing<[u8; MAC_BYTES]>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// Reads the identity from its file, or makes both when there is none and nothing was sealed yet.
    ///
    /// The file is made once, whole or not at all, with mode 0600, and is never overwritten. Of two processes that make it
    /// at the same time both end with the same identity.
    ///
    /// # Errors
    ///
    /// [`VaultError::KeyMissing`] when `secrets_exist` and there is no file; the other `Key` variants when it cannot be
    /// read or made, may be read by others, or holds no identity.
    pub fn open_or_create(key_file: &Path, secrets_exist: bool) -> Result<Self, VaultError> {
        if let Some(identity) = key_file::read(key_file)? {
            return Ok(Self::from_identity(identity));
        }
        if secrets_exist {
            return Err(VaultError::KeyMissing { path: key_file.to_owned() });
        }
        key_file::create(key_file, &Identity::generate())?;
        // Read back instead of trusting what was written: another process may have been first.
        match key_file::read(key_file)? {
            Some(identity) => Ok(Self::from_identity(identity)),
            None => Err(VaultError::KeyMissing { path: key_file.to_owned() }),
        }
    }

    /// Makes an identity that lives in memory alone: what it seals ends with it. For embedders' tests.
    pub fn in_memory() -> Self {
        Self::from_identity(Identity::generate())
    }

    fn from_identity(identity: Identity) -> Self {
        let text = identity.to_string();
        let mut mac = keyed(text.expose_secret().as_bytes());
        mac.update(MAC_LABEL);
        let mac_key = Zeroizing::new(mac.finalize().into_bytes().into());
        Self { recipient: identity.to_public(), identity, mac_key }
    }

    /// Seals a secret for one place (see [`credential_context`]) and the revision of its row.
    ///
    /// # Errors
    ///
    /// [`VaultError::Damaged`] when the secret or its context are too long to seal (4 GiB).
    pub fn seal(&self, context: &str, revision: i64, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let length = u32::try_from(context.len()).map_err(|_| VaultError::Damaged)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(13 + context.len() + MAC_BYTES + secret.len()));
        plain.push(LAYOUT);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(context.as_bytes());
        plain.extend_from_slice(&revision.to_be_bytes());
        plain.extend_from_slice(&self.mac(context, revision, secret).finalize().into_bytes());
        plain.extend_from_slice(secret);
        age::encrypt(&self.recipient, &plain).map_err(|_| VaultError::Damaged)
    }

    /// Opens a sealed secret, if it was sealed for this place and this revision.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongKey`], [`VaultError::Damaged`], [`VaultError::Forged`], [`VaultError::Moved`] or
    /// [`VaultError::Revision`]; none of them holds anything of the secret.
    pub fn open(&self, context: &str, revision: i64, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let plain = Zeroizing::new(age::decrypt(&self.identity, blob).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => VaultError::WrongKey,
            // An enum of the library's, not ours: whatever else it says, the blob is no good.
            _ => VaultError::Damaged,
        })?);
        let sealed = Sealed::parse(&plain).ok_or(VaultError::Damaged)?;
        // First the HMAC: until it holds, the context is whatever a forger liked to write.
        self.mac(sealed.context, sealed.revision, sealed.secret)
            .verify_slice(sealed.mac)
            .map_err(|_| VaultError::Forged)?;
        if sealed.context != context {
            return Err(VaultError::Moved { expected: context.to_owned(), found: sealed.context.to_owned() });
        }
        if sealed.revision != revision {
            return Err(VaultError::Revision { expected: revision, found: sealed.revision });
        }
        Ok(Zeroizing::new(sealed.secret.to_vec()))
    }

    /// A text to keep in the database: [`Vault::check_canary`] tells by it whether the key belongs to the database.
    ///
    /// # Errors
    ///
    /// Those of [`Vault::seal`].
    pub fn canary(&self) -> Result<String, VaultError> {
        Ok(STANDARD_NO_PAD.encode(self.seal(CANARY_CONTEXT, 0, b"sings")?))
    }

    /// Whether the canary in the database was sealed with this key.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongKey`] when it was sealed with another, [`VaultError::Damaged`] when it is no canary.
    pub fn check_canary(&self, canary: &str) -> Result<(), VaultError> {
        let blob = STANDARD_NO_PAD.decode(canary).map_err(|_| VaultError::Damaged)?;
        self.open(CANARY_CONTEXT, 0, &blob).map(drop)
    }

    fn mac(&self, context: &str, revision: i64, secret: &[u8]) -> Hmac<Sha256> {
        let mut mac = keyed(self.mac_key.as_slice());
        // The length keeps the end of the context from passing for the beginning of the rest.
        mac.update(&(context.len() as u64).to_be_bytes());
        mac.update(context.as_bytes());
        mac.update(&revision.to_be_bytes());
        mac.update(secret);
        mac
    }
}

/// The place of a credential: `host:<id>:repo:<id>:<kind>`, where the kind is `repo` or `admin`.
pub fn credential_context(host_id: HostId, repo_id: RepoId, kind: &str) -> String {
    format!("host:{host_id}:repo:{repo_id}:{kind}")
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

struct Sealed<'a> {
    context: &'a str,
    revision: i64,
    mac: &'a [u8],
    secret: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(plain: &'a [u8]) -> Option<Self> {
        let (layout, rest) = plain.split_first()?;
        if *layout != LAYOUT {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (context, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (revision, rest) = rest.split_first_chunk::<8>()?;
        let (mac, secret) = rest.split_at_checked(MAC_BYTES)?;
        let context = std::str::from_utf8(context).ok()?;
        Some(Self { context, revision: i64::from_be_bytes(*revision), mac, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "host:a:repo:b:repo";

    #[test]
    fn a_secret_comes_back_in_its_own_place() {
        let vault = Vault::in_memory();
        let blob = vault.seal(HERE, 3, b"hunter2-hunter2").unwrap();
        assert_eq!(vault.open(HERE, 3, &blob).unwrap().as_slice(), b"hunter2-hunter2");
        assert!(!blob.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(vault.open(HERE, 0, &vault.seal(HERE, 0, b"").unwrap()).unwrap().as_slice(), b"");
    }

    #[test]
    fn a_blob_in_another_row_is_refused_and_both_places_are_named() {
        let vault = Vault::in_memory();
        let blob = vault.seal(HERE, 1, b"hunter2-hunter2").unwrap();
        let error = vault.open("host:x:repo:b:admin", 1, &blob).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the secret of `host:a:repo:b:repo` was moved to `host:x:repo:b:admin`"
        );
    }

    #[test]
    fn an_old_revision_put_back_is_refused() {
        let vault = Vault::in_memory();
        let old = vault.seal(HERE, 1, b"hunter2-hunter2").unwrap();
        let error = vault.open(HERE, 2, &old).unwrap_err();
        assert!(matches!(error, VaultError::Revision { expected: 2, found: 1 }), "{error}");
    }

    #[test]
    fn a_blob_made_with_the_recipient_alone_is_refused() {
        let (vault, forger) = (Vault::in_memory(), Vault::in_memory());
        // The forger knows the layout and the recipient; for the HMAC it has only a key of its own.
        let mut plain = vec![LAYOUT];
        plain.extend_from_slice(&u32::try_from(HERE.len()).unwrap().to_be_bytes());
        plain.extend_from_slice(HERE.as_bytes());
        plain.extend_from_slice(&1i64.to_be_bytes());
        plain.extend_from_slice(&forger.mac(HERE, 1, b"planted").finalize().into_bytes());
        plain.extend_from_slice(b"planted");
        let blob = age::encrypt(&vault.recipient, &plain).unwrap();
        let error = vault.open(HERE, 1, &blob).unwrap_err();
        assert!(matches!(error, VaultError::Forged), "{error}");
    }

    #[test]
    fn damage_is_told_from_a_wrong_key() {
        let vault = Vault::in_memory();
        let blob = vault.seal(HERE, 1, b"hunter2-hunter2").unwrap();
        let mut bent = blob.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert!(matches!(vault.open(HERE, 1, &bent).unwrap_err(), VaultError::Damaged));
        assert!(matches!(vault.open(HERE, 1, &blob[..blob.len() / 2]).unwrap_err(), VaultError::Damaged));
        assert!(matches!(vault.open(HERE, 1, b"").unwrap_err(), VaultError::Damaged));
        assert!(matches!(Vault::in_memory().open(HERE, 1, &blob).unwrap_err(), VaultError::WrongKey));
        let short = age::encrypt(&vault.recipient, &[LAYOUT, 0, 0]).unwrap();
        assert!(matches!(vault.open(HERE, 1, &short).unwrap_err(), VaultError::Damaged));
    }

    #[test]
    fn the_end_of_a_context_does_not_pass_for_the_secret() {
        let vault = Vault::in_memory();
        let tag = |context: &str, revision, secret: &[u8]| {
            vault.mac(context, revision, secret).finalize().into_bytes()
        };
        assert_ne!(tag("ab", 0, b"c"), tag("a", 0, b"bc"));
        assert_ne!(tag("a", 1, b"c"), tag("a", 2, b"c"));
    }

    #[test]
    fn the_canary_sings_for_its_own_key_only() {
        let vault = Vault::in_memory();
        let canary = vault.canary().unwrap();
        vault.check_canary(&canary).unwrap();
        assert!(matches!(Vault::in_memory().check_canary(&canary).unwrap_err(), VaultError::WrongKey));
        assert!(matches!(vault.check_canary("not a canary").unwrap_err(), VaultError::Damaged));
    }

    #[test]
    fn a_vault_prints_nothing_of_its_key() {
        assert_eq!(format!("{:?}", Vault::in_memory()), "Vault(***)");
    }
}
