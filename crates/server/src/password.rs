//! Passwords: argon2id, away from the async threads and few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use restic_manager_core::secret::Secret;
use tokio::sync::Semaphore;

/// The fewest characters of a password.
pub const MIN_CHARS: usize = 12;
/// The most characters of a password.
pub const MAX_CHARS: usize = 1024;

// OWASP's password storage sheet: argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Each hash in the making holds [`MEMORY_KIB`]; more at a time would gain nothing on few cores.
const AT_ONCE: usize = 2;

/// A hash of nobody's password with the parameters above: an unknown user costs as much time as a known one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmVzdGljLW1hbmFnZXI$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that is not taken, or could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It has fewer than [`MIN_CHARS`] characters.
    #[error("the password has {chars} characters; at least {MIN_CHARS} are needed")]
    TooShort {
        /// How many it has.
        chars: usize,
    },
    /// It has more than [`MAX_CHARS`] characters.
    #[error("the password has {chars} characters; at most {MAX_CHARS} are allowed")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// The stored hash is none, or there was no memory.
    #[error("the password could not be hashed or compared")]
    Hashing,
}

impl PasswordError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooShort { .. } => Some("four or five random words make a good one"),
            Self::TooLong { .. } => Some("choose a shorter one"),
            Self::Hashing => None,
        }
    }
}

/// Hashes and compares passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// Makes one with its own limit on how many are hashed at the same time; a process needs one.
    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Checks the length and hashes, with a new salt; answers the PHC form that is stored.
    ///
    /// # Errors
    ///
    /// [`PasswordError`].
    pub async fn hash(&self, password: &Secret) -> Result<String, PasswordError> {
        check_length(password)?;
        let password = password.clone();
        self.run(move || {
            let hash = argon2().hash_password(password.expose().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Hashing)
        })
        .await
    }

    /// Whether the password is the one that was hashed. With no hash, because there is no such user, it says no after as
    /// much work.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Hashing`] when the stored hash is none.
    pub async fn verify(&self, password: &Secret, stored: Option<&str>) -> Result<bool, PasswordError> {
        let (password, known) = (password.clone(), stored.is_some());
        let hash = stored.unwrap_or(NOBODY).to_owned();
        self.run(move || match argon2().verify_password(password.expose().as_bytes(), hash.as_str()) {
            Ok(()) => Ok(known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(PasswordError::Hashing),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Hashing)?;
        // The permit goes along: a caller who hangs up does not make room before the work is done.
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        task.await.map_err(|_| PasswordError::Hashing)?
    }
}

/// Checks the length of a new password, in characters.
///
/// # Errors
///
/// [`PasswordError::TooShort`] and [`PasswordError::TooLong`].
pub fn check_length(password: &Secret) -> Result<(), PasswordError> {
    match password.expose().chars().count() {
        chars if chars < MIN_CHARS => Err(PasswordError::TooShort { chars }),
        chars if chars > MAX_CHARS => Err(PasswordError::TooLong { chars }),
        _ => Ok(()),
    }
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: impl Into<String>) -> Secret {
        Secret::new(text)
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let passwords = Passwords::new();
        let stored = passwords.hash(&secret("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify(&secret("correct horse"), Some(&stored)).await.unwrap());
        assert!(!passwords.verify(&secret("correct horsf"), Some(&stored)).await.unwrap());
        assert_ne!(passwords.hash(&secret("correct horse")).await.unwrap(), stored, "each has its own salt");
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_by_the_same_work() {
        // The dummy is a whole argon2id hash of the same cost, so that comparing against it runs all of argon2.
        let passwords = Passwords::new();
        assert!(!passwords.verify(&secret("correct horse"), None).await.unwrap());
        let real = passwords.hash(&secret("correct horse")).await.unwrap();
        let cost = |phc: &str| phc.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(NOBODY), cost(&real));
        assert_eq!(NOBODY.rsplit('$').next().map(str::len), real.rsplit('$').next().map(str::len));
    }

    #[tokio::test]
    async fn a_stored_text_that_is_no_hash_is_an_error_and_not_a_refusal() {
        let error = Passwords::new().verify(&secret("correct horse"), Some("plain")).await.unwrap_err();
        assert!(matches!(error, PasswordError::Hashing));
    }

    #[test]
    fn the_length_is_counted_in_characters() {
        assert!(check_length(&secret("ü".repeat(12))).is_ok());
        assert!(check_length(&secret("x".repeat(1024))).is_ok());
        let short = check_length(&secret("ü".repeat(11))).unwrap_err();
        assert_eq!(short.to_string(), "the password has 11 characters; at least 12 are needed");
        let long = check_length(&secret("x".repeat(1025))).unwrap_err();
        assert_eq!(long.to_string(), "the password has 1025 characters; at most 1024 are allowed");
    }
}
