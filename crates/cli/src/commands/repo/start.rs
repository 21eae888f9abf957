//! Maintenance that is asked for by hand.

use clap::Args;
use restic_manager_core::api::{RepoView, UnlockRequest};
use restic_manager_core::model::JobKind;

use super::super::Session;
use crate::commands::job::{Following, started};
use crate::commands::lock;
use crate::error::CliError;
use crate::input::Deed;
use crate::route::Route;
use crate::ui::{note, present, warn};

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The repository
    repo: String,
    #[command(flatten)]
    following: Following,
}

impl Start {
    /// Asks for a job of this kind.
    pub(crate) fn run(&self, session: &Session, kind: JobKind) -> Result<(), CliError> {
        let route = Route::new(["repos", &session.client.repo_id(&self.repo)?, kind.as_str()]);
        started(session, &session.client.start(&route)?, self.following)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    start: Start,
    /// Read so much of the data, in percent; 0 looks at the structure only; as `rmctl maintenance show` says when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    subset: Option<u8>,
}

impl Check {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Start { repo, following } = &self.start;
        let route = Route::new(["repos", &session.client.repo_id(repo)?, "check"])
            .with("subset", self.subset.map(|percent| percent.to_string()));
        started(session, &session.client.start(&route)?, *following)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    start: Start,
    /// Remove every lock, those of live processes too; only after the repository's name was typed
    #[arg(long)]
    remove_all: bool,
    /// The repository's name, in place of typing it
    #[arg(long, value_name = "NAME", requires = "remove_all")]
    confirm_name: Option<String>,
}

impl Unlock {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Start { repo, following } = &self.start;
        let repo_id = session.client.repo_id(repo)?;
        let route = Route::new(["repos", &repo_id, "unlock"]);
        if !self.remove_all {
            return started(session, &session.client.start(&route)?, *following);
        }
        let view: RepoView = session.client.get(&Route::new(["repos", &repo_id]))?.read()?;
        let name = view.repo.name.as_str();
        explain(&view);
        self.confirm(name)?;
        let request = UnlockRequest { remove_all: Some(name.to_owned()) };
        started(session, &session.client.post(&route, &request)?, *following)
    }

    fn confirm(&self, name: &str) -> Result<(), CliError> {
        match &self.confirm_name {
            Some(given) if given == name => Ok(()),
            Some(given) => Err(CliError::usage(
                format!("`{given}` is not the name of this repository: no lock is removed"),
                format!("give its name exactly: --confirm-name '{name}'"),
            )),
            None => {
                let deed = Deed {
                    does: format!("removes every lock of `{name}`"),
                    undone: "no lock is removed".to_owned(),
                    option: "--confirm-name NAME",
                };
                Ok(deed.confirm(name)?)
            }
        }
    }
}

/// Says what it means to remove every lock, and which are known.
fn explain(view: &RepoView) {
    warn(&format!(
        "--remove-all takes every lock of `{}` away, those of restic processes that are at work too: a prune beside \
         a backup can then delete what the backup needs. Make sure that nothing works on the repository. Without \
         --remove-all only stale locks go.",
        view.repo.name
    ));
    let locks = view.stats.locks.as_deref().unwrap_or_default();
    let seen_at = view.stats.locks_seen_at.unwrap_or_else(present);
    for known in locks {
        note(&format!("a lock: {}", lock::described(known, seen_at, present())));
    }
}
