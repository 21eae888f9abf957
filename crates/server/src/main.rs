//! The server of restic-manager.

use std::process::ExitCode;

fn main() -> ExitCode {
    restic_manager_server::shell::run()
}
