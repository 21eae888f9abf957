//! `announce`: shows the agent's key to the server and waits until a person approved it.

use std::process::ExitCode;

use clap::Args;
use restic_manager_agent::announcing::{Told, announce};
use restic_manager_agent::enrolment::Existing;
use restic_manager_agent::server_url::ServerUrl;

use super::settings::Settings;
use super::{enrol, exit, ui};

#[derive(Debug, Args)]
pub(crate) struct Announce {
    /// The server's address, as the dashboard shows it
    #[arg(long, env = "RM_SERVER", value_name = "URL")]
    server: String,
    /// Enrols anew although this agent is a host already
    #[arg(long)]
    replace: bool,
}

impl Announce {
    pub(crate) fn execute(self, settings: &Settings) -> ExitCode {
        super::logging::begin(settings);
        let server = match ServerUrl::parse(&self.server, settings.plain_http) {
            Ok(server) => server,
            Err(error) => return ui::fail(&error, error.hint(), exit::USAGE),
        };
        let existing = if self.replace { Existing::Replace } else { Existing::Keep };
        let tell = |told: Told<'_>| match told {
            Told::Announced { fingerprint } => {
                ui::say(format!("fingerprint {fingerprint}"));
                ui::note(format!(
                    "waiting: compare the fingerprint at {} or with `rmctl host pending`, and approve this host there",
                    server.at("/pending")
                ));
            }
            Told::Unreachable { why } => ui::note(format!("still waiting: {why}")),
            Told::BackInTouch => ui::note("the server answers again"),
            Told::Again => {
                ui::note("the announcement was forgotten; announced again under the same fingerprint");
            }
        };
        match announce(&settings.state_dir, &settings.key_file, &server, existing, tell, std::thread::sleep) {
            Ok(enrolment) => {
                ui::say(format!("enrolled as `{}` at {}", enrolment.name, enrolment.server));
                ExitCode::from(exit::DONE)
            }
            Err(error) => enrol::fail(&error),
        }
    }
}
