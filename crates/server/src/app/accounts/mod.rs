//! People, their sessions and tokens, and agents that announce themselves.

mod announcing;
mod session;
mod tokens;

use std::sync::Arc;

use restic_manager_core::text::LoginName;

use super::{App, AppError, Caller, ErrorKind};
use crate::password::{PasswordError, Passwords};

pub use session::{NewSession, Session};
pub use tokens::{TOKEN_PREFIX, TokenCaller};

/// Who may come in: the doors of the API, of whatever shell stands around it.
///
/// How often somebody may try is the shell's matter, since only it knows addresses.
pub struct Accounts {
    app: Arc<App>,
    passwords: Passwords,
    session_lifetime_ms: i64,
}

impl Accounts {
    /// Puts the doors in front of an [`App`]; a session ends `session_lifetime_ms` after it was opened.
    pub const fn new(app: Arc<App>, passwords: Passwords, session_lifetime_ms: i64) -> Self {
        Self { app, passwords, session_lifetime_ms }
    }

    /// Whether the first administrator is still to be made.
    ///
    /// # Errors
    ///
    /// A fault of the store.
    pub async fn needs_bootstrap(&self) -> Result<bool, AppError> {
        Ok(!self.app.store.has_users().await?)
    }
}

impl From<PasswordError> for AppError {
    fn from(error: PasswordError) -> Self {
        let refusal = match &error {
            PasswordError::TooShort { .. } | PasswordError::TooLong { .. } => {
                Self::invalid("password", &error)
            }
            PasswordError::Hashing => {
                return Self::fault(
                    "password_failed",
                    "the password could not be checked",
                    "try again in a moment",
                    error,
                );
            }
        };
        match error.hint() {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        }
    }
}

fn caller(user: &restic_manager_store::UserRow) -> Caller {
    Caller { user_id: user.id, username: user.name.clone() }
}

/// The answer to wrong credentials; it does not say which of them is wrong.
fn wrong_credentials(name: &LoginName) -> AppError {
    AppError::new(
        ErrorKind::Unauthenticated,
        "wrong_credentials",
        format!("the user name `{name}` or its password is wrong"),
    )
    .hint(
        "an administrator of the server can set a new one with `restic-manager-server admin reset-password`",
    )
}
