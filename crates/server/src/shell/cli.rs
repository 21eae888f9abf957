//! The command line.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{Config, ConfigArgs, ConfigError, Places};

const EXIT_CODES: &str = "\
Exit codes: 0 stopped as asked, 1 failed otherwise, 2 wrong usage or configuration, 3 address taken, 4 data folder refused,
5 database too new or unusable, 6 key missing or wrong, 7 no such user or no token needed";

/// The server of restic-manager: dashboard, API and the agents' socket.
///
/// Every flag is also an environment variable (shown in brackets) and a key of the TOML file; a flag stands over the
/// variable, the variable over the file.
#[derive(Debug, Parser)]
#[command(name = "restic-manager-server", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file [default: /etc/restic-manager/server.toml for root, else under XDG_CONFIG_HOME]
    #[arg(long = "config", env = "RM_CONFIG", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    settings: ConfigArgs,
    /// Print the configuration in force, with the source of each value, and end
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What needs no login, on the machine of the server
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// What can be done on the machine of the server, whether or not it runs.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Set a user's password and end all sessions of that user
    ResetPassword(ResetPassword),
    /// Make a new bootstrap token, while there is no user, and print the file it lies in
    BootstrapToken,
}

/// Whose password, and where the new one comes from.
#[derive(Debug, Args)]
pub struct ResetPassword {
    /// The login name
    pub user: String,
    /// File whose first line is the new password; `-` reads it from standard input [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// What the program was asked for.
#[derive(Debug)]
pub enum Task {
    /// Serve until a signal comes.
    Serve,
    /// Print the configuration in force.
    PrintConfig,
    /// Administer.
    Admin(AdminCommand),
}

/// Reads the command line and the layers of configuration below it. Wrong flags, `--help` and `--version` end the process.
///
/// # Errors
///
/// [`ConfigError`].
pub fn parse() -> Result<(Task, Config), ConfigError> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let config = load(cli.settings, cli.config_file.as_deref(), &matches)?;
    let task = match cli.command {
        Some(Command::Admin(command)) => Task::Admin(command),
        None if cli.print_config => Task::PrintConfig,
        None => Task::Serve,
    };
    Ok((task, config))
}

fn load(
    settings: ConfigArgs,
    config_file: Option<&Path>,
    matches: &ArgMatches,
) -> Result<Config, ConfigError> {
    let places = Places::of_this_user();
    Config::load(settings, |name| matches.value_source(name), config_file, places.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_setting_may_stand_behind_the_subcommand() {
        let words = ["rm", "admin", "bootstrap-token", "--data-dir", "/srv/x"];
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!(cli.settings.data_dir, Some(PathBuf::from("/srv/x")));
    }
}
