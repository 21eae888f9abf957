//! `rmctl`: restic-manager from a terminal.
//!
//! The program is [`run`]; what others may rely on are the exit codes in [`exit`] and `--output json`, which is the
//! body of the server's answer.
//!
//! What it is not: a client library. The types of the API are in `restic_manager_core::api`.

#![deny(missing_docs)]

mod args;
mod client;
mod commands;
mod connection;
mod context;
mod error;
pub mod exit;
mod follow;
mod input;
mod resolve;
mod route;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use error::CliError;
use exit::Exit;

/// Does what the arguments say, the program's name first.
///
/// Prints to stdout and stderr; the codes are those of [`exit`].
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Both the HTTP and the WebSocket client take the process's provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            ui::usage(&error);
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match commands::run(cli) {
        Ok(()) => Exit::Done.into(),
        // `rmctl ... | head` is no failure.
        Err(CliError::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            ui::error(&error);
            error.exit().into()
        }
    }
}
