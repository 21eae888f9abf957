//! `rmctl`: restic-manager from a terminal.

fn main() -> std::process::ExitCode {
    restic_manager_cli::run(std::env::args_os())
}
