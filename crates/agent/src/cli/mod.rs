//! The command line: one file a command, settings, exit codes, and the only place that prints.

mod announce;
mod doctor;
mod enrol;
mod exit;
mod logging;
mod run;
mod settings;
mod status;
mod ui;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use restic_manager_agent::job::supervise_main;

use settings::Settings;

/// Runs restic on this host for restic-manager: backs up by schedule, and tells the server what really happened.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// The agent's state directory, private to its user [default: /var/lib/restic-manager-agent as root, else
    /// restic-manager-agent in the user's state folder]
    #[arg(long, global = true, env = "RM_AGENT_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The configuration [default: /etc/restic-manager/agent.toml as root, else restic-manager/agent.toml in the user's
    /// configuration folder; it need not exist]
    #[arg(long, global = true, env = "RM_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key that opens the agent's secrets; keep it out of copies of the state directory [default: agent.key beside the
    /// configuration]
    #[arg(long, global = true, env = "RM_AGENT_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The restic program [default: the first usable one in PATH]
    #[arg(long, global = true, env = "RM_AGENT_RESTIC", value_name = "FILE")]
    restic: Option<PathBuf>,
    /// Restic's cache [default: cache in the state directory]
    #[arg(long, global = true, env = "RM_AGENT_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Allows http:// to another machine: the token and the repository passwords cross the network in the clear
    #[arg(long, global = true, env = "RM_AGENT_ALLOW_PLAIN_HTTP")]
    allow_plain_http: bool,
    /// How the log is written, to standard error [default: text]
    #[arg(long, global = true, env = "RM_AGENT_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<settings::LogFormat>,
    /// How much is logged [default: info]
    #[arg(long, global = true, env = "RM_AGENT_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<settings::LogLevel>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this machine a host of the fleet without a token: shows a fingerprint, and waits until an operator approved it
    Announce(announce::Announce),
    /// Makes this machine a host of the fleet
    Enrol(enrol::Enrol),
    /// Works until it is stopped by SIGTERM or SIGINT
    Run(run::Run),
    /// Says what the running agent does
    Status(status::StatusOf),
    /// Looks at everything the agent needs, and says what is wrong
    Doctor(doctor::Doctor),
    /// Waits for one restic process (started by the agent itself)
    #[command(hide = true)]
    Supervise {
        /// The job's folder.
        dir: PathBuf,
    },
}

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // As small as can be: one of these lives as long as each restic.
    if let Command::Supervise { dir } = &cli.command {
        return supervise_main(dir);
    }
    let settings = match Settings::load(&cli.global) {
        Ok(settings) => settings,
        Err(error) => return ui::fail(&error, error.hint(), exit::USAGE),
    };
    match cli.command {
        Command::Announce(announce) => announce.execute(&settings),
        Command::Enrol(enrol) => enrol.execute(&settings),
        Command::Run(run) => run.execute(settings),
        Command::Status(status) => status.execute(&settings),
        Command::Doctor(doctor) => doctor.execute(settings),
        Command::Supervise { dir } => supervise_main(&dir),
    }
}
