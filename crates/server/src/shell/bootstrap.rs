//! The one-time token that makes the first administrator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use restic_manager_core::secret::Secret;
use subtle::ConstantTimeEq as _;

use super::DataDir;
use super::data_dir::replace;
use crate::random::Random;

const PREFIX: &str = "rmb_";

/// The file `bootstrap-token` in the data folder: mode 0600, there only while no user exists.
#[derive(Debug, Clone)]
pub struct BootstrapToken {
    path: PathBuf,
}

impl BootstrapToken {
    /// The token's file, whether or not it is there.
    pub fn of(data_dir: &DataDir) -> Self {
        Self { path: data_dir.bootstrap_token() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token that is there, or a new one: a restart does not make one that was read out worthless.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn ensure(&self, random: &dyn Random) -> io::Result<Secret> {
        match self.read()? {
            Some(token) => Ok(token),
            None => self.renew(random),
        }
    }

    /// Makes a new token; the old one is worthless from then on.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn renew(&self, random: &dyn Random) -> io::Result<Secret> {
        let token = random.mint_token(PREFIX);
        replace(&self.path, format!("{}\n", token.expose()).as_bytes())?;
        Ok(token)
    }

    /// Whether this is the token; always no when there is none. How long it takes does not tell how much of it is right.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn matches(&self, given: &Secret) -> io::Result<bool> {
        let Some(token) = self.read()? else { return Ok(false) };
        Ok(token.expose().as_bytes().ct_eq(given.expose().as_bytes()).into())
    }

    /// Removes it, after use; removing it twice is fine.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn read(&self) -> io::Result<Option<Secret>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(Secret::new(text.trim())).filter(|token| !token.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn the_token_outlives_a_restart_and_not_its_use() {
        let root = tempfile::tempdir().unwrap();
        let token = BootstrapToken::of(&DataDir::open(root.path()).unwrap());
        assert!(!token.matches(&Secret::new("")).unwrap());
        let first = token.ensure(&OsRandom).unwrap();
        assert_eq!(fs::metadata(token.path()).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(token.ensure(&OsRandom).unwrap(), first);
        assert!(token.matches(&first).unwrap());
        let second = token.renew(&OsRandom).unwrap();
        assert!(!token.matches(&first).unwrap() && token.matches(&second).unwrap());
        token.remove().unwrap();
        token.remove().unwrap();
        assert!(!token.matches(&second).unwrap());
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let root = tempfile::tempdir().unwrap();
        let token = BootstrapToken::of(&DataDir::open(root.path()).unwrap());
        fs::write(token.path(), "\n").unwrap();
        assert!(!token.matches(&Secret::new("")).unwrap());
        assert!(token.ensure(&OsRandom).unwrap().expose().starts_with("rmb_"));
    }
}
