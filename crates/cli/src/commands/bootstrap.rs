//! The first administrator.

use std::path::PathBuf;

use clap::Args;
use restic_manager_core::api::BootstrapRequest;
use restic_manager_core::text::LoginName;

use crate::client::{Client, Login};
use crate::commands::login::{keep_token, server};
use crate::connection::{Environment, Wanted};
use crate::error::CliError;
use crate::input::{SecretSource, Secrets};
use crate::route::Route;
use crate::ui::note;

#[derive(Debug, Args)]
pub(crate) struct Bootstrap {
    /// The file with the server's one-time token, or standard input (`-`)
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The name of the first administrator
    #[arg(long, value_name = "NAME")]
    username: LoginName,
    /// Read the new password (12 characters at least) from this file, or from standard input (`-`)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Bootstrap {
    pub(crate) fn run(&self, wanted: &Wanted, environment: &Environment) -> Result<(), CliError> {
        let server = server(wanted, environment)?;
        let mut secrets = Secrets::default();
        let source = SecretSource::of(Some(&self.token_file));
        let token = secrets.read("the bootstrap token", "--token-file", &source)?;
        let source = SecretSource::of(self.password_file.as_deref());
        let password = secrets.read_new("New password", "--password-file", &source)?;
        let request = BootstrapRequest { token, username: self.username.clone(), password };
        let (client, username) =
            Client::new(server, Login::Nobody).open_session(&Route::new(["bootstrap"]), &request)?;
        note(&format!("{username} is the first administrator"));
        keep_token(wanted, environment, &client, &username, None)
    }
}
