//! The commands, one file a group.

pub(crate) mod attachment;
pub(crate) mod audit;
pub(crate) mod bootstrap;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod credentials;
pub(crate) mod host;
pub(crate) mod job;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod maintenance;
pub(crate) mod passwd;
mod pending;
pub(crate) mod pending_run;
pub(crate) mod repo;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod snapshot;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod token;

use crate::args::{Cli, Command};
use crate::client::{Body, Client, ClientError, Login};
use crate::connection::{Connection, Environment};
use crate::error::CliError;
use crate::route::Route;
use crate::ui::Ui;

/// What a command has at hand: a server that knows the user, and a place to show things.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) ui: Ui,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Listing {
    /// Show at most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500), conflicts_with = "all")]
    limit: Option<u32>,
    /// Go on where a former list ended
    #[arg(long, value_name = "CURSOR", conflicts_with = "all")]
    cursor: Option<String>,
    /// Show all of them
    #[arg(long)]
    all: bool,
}

impl Listing {
    fn fetch(&self, client: &Client, route: Route) -> Result<Body, ClientError> {
        if self.all {
            return client.all(&route);
        }
        let limit = self.limit.map(|limit| limit.to_string());
        client.get(&route.with("limit", limit).with("cursor", self.cursor.clone()))
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    let environment = Environment::read();
    let wanted = cli.global.wanted();
    let ui = Ui::new(cli.global.output, cli.global.field);
    let session = |ui: Ui| -> Result<Session, CliError> {
        let Connection { server, token } = Connection::decide(&wanted, &environment)?;
        Ok(Session { client: Client::new(server, Login::Token(token)), ui })
    };
    match cli.command {
        Command::Completions(command) => command.run(),
        Command::Context(command) => command.run(&environment, &ui),
        Command::Login(command) => command.run(&wanted, &environment),
        Command::Logout(command) => command.run(&wanted, &environment),
        Command::Bootstrap(command) => command.run(&wanted, &environment),
        Command::Passwd(command) => command.run(&session(ui)?),
        Command::Status => status::run(&session(ui)?),
        Command::Host(command) => command.run(&session(ui)?),
        Command::Repo(command) => command.run(&session(ui)?),
        Command::Maintenance(command) => command.run(&session(ui)?),
        Command::Creds(command) => command.run(&session(ui)?),
        Command::Source(command) => command.run(&session(ui)?),
        Command::Schedule(command) => command.run(&session(ui)?),
        Command::Run(command) => command.run(&session(ui)?),
        Command::Job(command) => command.run(&session(ui)?),
        Command::Pending(command) => command.run(&session(ui)?),
        Command::Snapshot(command) => command.run(&session(ui)?),
        Command::Token(command) => command.run(&session(ui)?),
        Command::Audit(command) => command.run(&session(ui)?),
    }
}
