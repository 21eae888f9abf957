//! A backup now.

use clap::Args;
use restic_manager_core::api::Accepted;
use serde::Deserialize;

use super::Session;
use super::job::{accepted, follow_all};
use crate::error::CliError;
use crate::route::Route;

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The host
    host: String,
    /// The source group
    source: String,
    /// Back up to this repository only
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
    /// Show the log and the progress until it is over; Ctrl-C ends the showing, not the backup
    #[arg(long, short)]
    follow: bool,
}

#[derive(Debug, Deserialize)]
struct Started {
    jobs: Vec<Accepted>,
}

impl Run {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        let host_id = client.host_id(&self.host)?;
        let group_id = client.group_id(&host_id, &self.source)?;
        let repo_id = self.repo.as_ref().map(|repo| client.repo_id(repo)).transpose()?;
        let route =
            Route::new(["hosts", &host_id, "source-groups", &group_id, "run"]).with("repo_id", repo_id);
        let body = client.start(&route)?;
        if !self.follow {
            return ui.show(&body, |started: &Started, _| accepted(&started.jobs));
        }
        let started: Started = body.read()?;
        let ids: Vec<String> = started.jobs.iter().map(|job| job.job_id.to_string()).collect();
        follow_all(session, &ids)
    }
}
