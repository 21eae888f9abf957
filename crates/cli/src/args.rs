//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    audit, bootstrap, completions, context, credentials, host, job, login, maintenance, passwd, pending_run,
    repo, run, schedule, snapshot, source, token,
};
use crate::connection::Wanted;
use crate::exit;
use crate::ui::Format;

/// restic-manager from a terminal
///
/// Hosts, repositories, source groups and schedules are named by their name or id. Data goes to stdout, everything
/// else to stderr. Secrets are never arguments: they come from a prompt, a file, or standard input (`-`).
#[derive(Debug, Parser)]
#[command(name = "rmctl", version, after_help = after_help(), propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_help() -> String {
    format!(
        "Environment:
    RM_SERVER         the server to ask
    RM_TOKEN          the API token to ask it with (rmt_...); the one that enrols an agent is
                      another one, and goes to the agent in RM_ENROLLMENT_TOKEN
    RM_TOKEN_FILE     a file with the API token
    RMCTL_CONFIG_DIR  the folder of contexts.toml, where logins are kept

{}",
        exit::HELP
    )
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The server to ask [env: RM_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The login to use: one of `rmctl context ls`
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How data is written
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Write one field of the answer and nothing else, such as `items.0.id`
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) field: Option<String>,
    /// Speak plain HTTP with another machine too: everybody on the way can read the token
    #[arg(long, global = true)]
    pub(crate) allow_plain_http: bool,
}

impl Global {
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            server: self.server.clone(),
            context: self.context.clone(),
            allow_plain_http: self.allow_plain_http,
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a server and remember the login
    ///
    /// The password is asked for on the terminal, or read from `--password-file`. What is kept is an API token made
    /// for this login, which `rmctl logout` revokes; the password is not kept. The login is called like the server
    /// unless `--context` names it.
    Login(login::Login),
    /// Revoke the token of a login and forget it
    ///
    /// It is the one that `--context` names, or else the one for the server of `--server` or RM_SERVER, or else the login
    /// in use.
    Logout(login::Logout),
    /// The servers this user is logged in to
    #[command(subcommand)]
    Context(context::Command),
    /// Make the first administrator of a new server, and log in
    ///
    /// The one-time token lies in a file that the server wrote at its first start.
    Bootstrap(bootstrap::Bootstrap),
    /// Change the password of the user one is logged in as
    ///
    /// Both passwords are asked for on the terminal, or read from files. Every browser that is logged in as this user is
    /// logged out; API tokens, and with them the logins of rmctl, stay good.
    Passwd(passwd::Passwd),
    /// What needs attention, on one screen
    Status,
    /// Machines with an agent
    #[command(subcommand)]
    Host(host::Command),
    /// Restic repositories
    #[command(subcommand)]
    Repo(repo::Command),
    /// When a repository is forgotten, pruned and checked
    #[command(subcommand)]
    Maintenance(maintenance::Command),
    /// How a host opens its repositories
    #[command(subcommand)]
    Creds(credentials::Command),
    /// What is backed up: the source groups of a host
    #[command(subcommand)]
    Source(source::Command),
    /// When it is backed up
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Back up a source group now
    ///
    /// Starts one job for each repository of the host. With `--follow` it waits for all of them, and the answer is
    /// `{"jobs": [...]}` with each job as it ended.
    Run(run::Run),
    /// What ran, runs and waits
    #[command(subcommand)]
    Job(job::Command),
    /// Scheduled backups that owe an attempt
    #[command(subcommand)]
    Pending(pending_run::Command),
    /// Snapshots in the repositories of a host
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// API tokens, for scripts
    #[command(subcommand)]
    Token(token::Command),
    /// Who did what
    Audit(audit::Audit),
    /// Write the completions for a shell
    ///
    /// For bash: `rmctl completions bash > /etc/bash_completion.d/rmctl`
    Completions(completions::Completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_its_help() {
        let mut texts = Vec::new();
        collect(&Cli::command(), "rmctl", &mut texts);
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    /// The help of a command and of all below it, without what is the same everywhere.
    fn collect(command: &clap::Command, path: &str, texts: &mut Vec<String>) {
        let mut shown = command.clone().term_width(100).bin_name(path);
        let help = shown.render_long_help().to_string();
        let own = help.split("Options of every command:").next().unwrap_or_default();
        let help = if path == "rmctl" { &help } else { own };
        texts.push(format!("$ {path} --help\n{}", help.trim_end()));
        for below in command.get_subcommands() {
            collect(below, &format!("{path} {}", below.get_name()), texts);
        }
    }
}
