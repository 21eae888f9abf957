//! `restic-manager-agent`: the agent as a program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
