//! One's own password.

use std::path::PathBuf;

use clap::Args;
use restic_manager_core::api::PasswordChange;

use super::Session;
use crate::error::CliError;
use crate::input::{SecretSource, Secrets};
use crate::route::Route;
use crate::ui::note;

#[derive(Debug, Args)]
pub(crate) struct Passwd {
    /// Read the current password from this file, or from standard input (`-`)
    #[arg(long, value_name = "FILE")]
    current_password_file: Option<PathBuf>,
    /// Read the new password (12 characters at least) from this file, or from standard input (`-`)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Passwd {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let mut secrets = Secrets::default();
        let source = SecretSource::of(self.current_password_file.as_deref());
        let current = secrets.read("Current password", "--current-password-file", &source)?;
        let source = SecretSource::of(self.password_file.as_deref());
        let new = secrets.read_new("New password", "--password-file", &source)?;
        session.client.post(&Route::new(["account", "password"]), &PasswordChange { current, new })?;
        note("the password is changed; every browser is logged out, API tokens stay good");
        Ok(())
    }
}
