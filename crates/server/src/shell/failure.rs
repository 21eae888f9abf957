//! Why the program ends without having done what it was asked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use restic_manager_store::StoreError;

use crate::config::ConfigError;
use crate::password::PasswordError;
use crate::shell::{DataDirError, exit};
use crate::vault::VaultError;

/// A failure of the program as a whole, told on stderr in one line with a hint.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The key, or the secrets that it should open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The key opens nothing in this database.
    #[error("the key file {} does not belong to this database", path.display())]
    KeyOfAnother {
        /// The key file.
        path: PathBuf,
    },
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A new password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A password that could not be read.
    #[error("the new password could not be read")]
    PasswordInput {
        /// What the system said.
        source: io::Error,
    },
    /// Two passwords that should be one.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// A user who is not there.
    #[error("there is no user `{name}`")]
    NoUser {
        /// The name that was given.
        name: String,
    },
    /// The first administrator exists.
    #[error("there is a user already, so that no bootstrap token is needed")]
    Bootstrapped,
    /// Anything else of the operating system.
    #[error("could not {doing}")]
    System {
        /// What it was about to do.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Failure {
    /// The exit code that stands for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Password(_) | Self::PasswordInput { .. } | Self::PasswordsDiffer => {
                exit::USAGE
            }
            Self::DataDir(_) => exit::DATA_DIR,
            Self::Vault(_) | Self::KeyOfAnother { .. } => exit::KEY,
            Self::Store(_) => exit::DATABASE,
            Self::Listen { .. } => exit::ADDRESS,
            Self::NoUser { .. } | Self::Bootstrapped => exit::NOT_FOUND,
            Self::System { .. } => exit::FAILED,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => Some(error.hint()),
            Self::DataDir(error) => Some(error.hint()),
            Self::Vault(error) => Some(error.hint()),
            Self::KeyOfAnother { .. } => Some(
                "name the key that was in use when the database was written with --key-file, or the database that \
                 belongs to this key with --data-dir"
                    .to_owned(),
            ),
            Self::Password(error) => error.hint().map(str::to_owned),
            Self::Store(error) => store_hint(error),
            Self::Listen { address, source } => Some(listen_hint(*address, source)),
            Self::PasswordInput { .. } => {
                Some("type it at the prompt, pipe it in with --password-file -, or name a file".to_owned())
            }
            Self::PasswordsDiffer => Some("type the same password twice".to_owned()),
            Self::NoUser { .. } => Some("names are case-sensitive; the audit log shows who logged in".to_owned()),
            Self::Bootstrapped => {
                Some("to get in again run `restic-manager-server admin reset-password USER`".to_owned())
            }
            Self::System { .. } => None,
        }
    }

    /// The failure with all its causes on one line.
    pub fn told(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line.replace(['\n', '\r'], " ")
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    match error {
        StoreError::TooNew { .. } => {
            Some("install the version that wrote it; nothing in the database was changed".to_owned())
        }
        StoreError::DiskFull => Some("free some space on the disk that holds the data folder".to_owned()),
        StoreError::NotADatabase { .. } | StoreError::OfAnotherProgram { .. } => {
            Some("name another folder with --data-dir".to_owned())
        }
        StoreError::BadCursor { .. } | StoreError::Unreadable { .. } | StoreError::Missing { .. } => None,
        StoreError::Open { .. } | StoreError::Backend { .. } => {
            Some("check the data folder, and the disk it is on".to_owned())
        }
    }
}

fn listen_hint(address: SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there: end it, or choose another port with --listen {}:PORT (0 takes a free one)",
            bracketed(address)
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for root: choose a higher one, or put a reverse proxy in front".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: `ip addr` lists those it has".to_owned()
        }
        // The system's own enum is open: whatever else it says stands in the error line.
        _ => "choose another address with --listen".to_owned(),
    }
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_a_remedy() {
        let address = "[::1]:80".parse().unwrap();
        let taken = Failure::Listen { address, source: io::Error::from(io::ErrorKind::AddrInUse) };
        assert_eq!(taken.told(), "cannot listen on [::1]:80: address in use");
        assert!(taken.hint().unwrap().contains("--listen [::1]:PORT"));
        let newer = Failure::from(StoreError::TooNew { found: 9, known: 1 });
        assert_eq!(
            newer.told(),
            "the database cannot be used: the database has schema 9, this build knows 1: run the newer version that wrote it"
        );
        assert_eq!((taken.exit_code(), newer.exit_code()), (exit::ADDRESS, exit::DATABASE));
    }
}
