//! Repositories.

mod history;
mod start;
mod view;
mod why;

use clap::{Args, Subcommand};
use restic_manager_core::api::{RepoPatch, RepoView, RepoWrite};
use restic_manager_core::id::AttachmentId;
use restic_manager_core::model::JobKind;
use restic_manager_core::text::DisplayName;

use self::start::{Check, Start, Unlock};
use self::view::{card, table};
use super::{Listing, Session};
use crate::client::Client;
use crate::error::CliError;
use crate::input::{Confirmation, Deed};
use crate::resolve::ResolveError;
use crate::route::Route;
use crate::ui::note;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List repositories
    Ls {
        /// Only repositories with this in their name
        #[arg(long, short, value_name = "TEXT")]
        query: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one repository
    Show {
        /// The repository
        repo: String,
    },
    /// Make a repository known; restic makes it when the first host is attached
    Create {
        /// Its name
        name: DisplayName,
    },
    /// Give a repository another name
    Rename {
        /// The repository
        repo: String,
        /// Its new name
        name: DisplayName,
    },
    /// Choose the host that does the maintenance
    #[command(override_usage = "rmctl repo runner <REPO> <HOST|--auto>")]
    Runner {
        /// The repository
        repo: String,
        #[command(flatten)]
        choice: Choice,
    },
    /// Take a repository out of restic-manager; what is stored in it stays
    Delete {
        /// The repository
        repo: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Forget the snapshots that no retention policy keeps
    ///
    /// Each source group by its own policy, and only its own snapshots; `rmctl source preview` shows beforehand which.
    /// A group without a policy keeps everything. The space comes back with `rmctl repo prune`.
    Forget(Start),
    /// Remove the data that no snapshot needs any more
    ///
    /// Needs the admin credential: `rmctl creds set --repo REPO --kind admin`. It runs alone on the repository, after
    /// the backups that are under way.
    Prune(Start),
    /// Verify a repository
    Check(Check),
    /// Remove stale locks, or all of them
    ///
    /// A lock is stale when its process is over, or was not heard of for 30 minutes. `rmctl repo show` tells who holds
    /// which. With `--remove-all` the locks of live processes go too: a prune beside a backup can then delete what the
    /// backup needs, so that it takes the typed name of the repository.
    Unlock(Unlock),
    /// Measure a repository and list its snapshots anew
    Stats(Start),
    /// Show when forget, prune and check ran, when they run next, and what holds them
    Why {
        /// The repository
        repo: String,
    },
    /// Let prune run although a check found errors
    ///
    /// The errors stay: prune may remove data that a repair would need. Better repair the repository and check it again.
    OverrideCheck {
        /// The repository
        repo: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show how a repository grew, day by day
    History {
        /// The repository
        repo: String,
        /// So many days back; 90 when not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: Option<u32>,
    },
}

/// Who does the maintenance.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Choice {
    /// A host that is attached to it, or the id of its attachment
    host: Option<String>,
    /// Choose nobody: the host that is attached longest does it, one with the role `primary` before others
    #[arg(long)]
    auto: bool,
}

/// An act that is no deletion, but as grave.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Consent {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { query, listing } => {
                let route = Route::new(["repos"]).with("q", query.as_deref());
                ui.show_page(&listing.fetch(client, route)?, table)
            }
            Self::Show { repo } => {
                ui.show(&client.get(&Route::new(["repos", &client.repo_id(repo)?]))?, card)
            }
            Self::Create { name } => {
                ui.show(&client.post(&Route::new(["repos"]), &RepoWrite { name: name.clone() })?, card)
            }
            Self::Rename { repo, name } => {
                patch(session, repo, &RepoPatch { name: Some(name.clone()), ..RepoPatch::default() })
            }
            Self::Runner { repo, choice } => runner(session, repo, choice.host.as_deref()),
            Self::Delete { repo, confirmation } => delete(session, repo, *confirmation),
            Self::Forget(command) => command.run(session, JobKind::Forget),
            Self::Prune(command) => command.run(session, JobKind::Prune),
            Self::Check(command) => command.run(session),
            Self::Unlock(command) => command.run(session),
            Self::Stats(command) => command.run(session, JobKind::Stats),
            Self::Why { repo } => {
                ui.show(&client.get(&Route::new(["repos", &client.repo_id(repo)?, "why"]))?, why::screen)
            }
            Self::OverrideCheck { repo, consent } => override_check(session, repo, *consent),
            Self::History { repo, days } => {
                let route = Route::new(["repos", &client.repo_id(repo)?, "stats-history"])
                    .with("days", days.map(|days| days.to_string()));
                ui.show(&client.get(&route)?, |page, _| history::table(page))
            }
        }
    }
}

fn patch(session: &Session, repo: &str, change: &RepoPatch) -> Result<(), CliError> {
    let route = Route::new(["repos", &session.client.repo_id(repo)?]);
    session.ui.show(&session.client.patch(&route, change)?, card)
}

fn runner(session: &Session, repo: &str, host: Option<&str>) -> Result<(), CliError> {
    let client = &session.client;
    let repo_id = client.repo_id(repo)?;
    let runner = match host {
        Some(host) => Some(attachment_of(client, &repo_id, host)?),
        None => None,
    };
    patch(session, &repo_id, &RepoPatch { runner: Some(runner), ..RepoPatch::default() })
}

/// The attachment of a host to a repository; its own id is as good as the host's.
fn attachment_of(client: &Client, repo_id: &str, host: &str) -> Result<AttachmentId, CliError> {
    let view: RepoView = client.get(&Route::new(["repos", repo_id]))?.read()?;
    if let Some(own) = view.attachments.iter().find(|attachment| attachment.id.to_string() == host) {
        return Ok(own.id);
    }
    let host_id = client.host_id(host)?;
    let of_host = view.attachments.iter().find(|attachment| attachment.host_id.to_string() == host_id);
    of_host.map(|attachment| attachment.id).ok_or_else(|| {
        ResolveError::Unattached { host: host.to_owned(), repo: view.repo.name.to_string() }.into()
    })
}

fn delete(session: &Session, repo: &str, confirmation: Confirmation) -> Result<(), CliError> {
    let route = Route::new(["repos", &session.client.repo_id(repo)?]);
    let view: RepoView = session.client.get(&route)?.read()?;
    confirmation.confirm("repository", view.repo.name.as_str())?;
    let body = session.client.delete(&route)?;
    session.ui.done(
        &body,
        &format!("the repository `{}` is no longer known here; what is stored in it stays", view.repo.name),
    )
}

fn override_check(session: &Session, repo: &str, consent: Consent) -> Result<(), CliError> {
    let repo_id = session.client.repo_id(repo)?;
    let view: RepoView = session.client.get(&Route::new(["repos", &repo_id]))?.read()?;
    let name = view.repo.name.as_str();
    let why = session.client.get(&Route::new(["repos", &repo_id, "why"]))?;
    if !why::may_be_held_by_check(&why.read()?, view.stats.last_check) {
        session.ui.show(&why, why::screen)?;
        note(&format!("no check holds prune on `{name}`: nothing is changed"));
        return Ok(());
    }
    if !consent.yes {
        let deed = Deed {
            does: format!(
                "lets prune run on `{name}` although a check found errors, and data that a repair would need may go"
            ),
            undone: format!("prune is still held on `{name}`"),
            option: "--yes",
        };
        deed.confirm(name)?;
    }
    let body = session.client.start(&Route::new(["repos", &repo_id, "check-override"]))?;
    session.ui.show(&body, why::screen)?;
    note(&format!("no check holds prune on `{name}` until one finds errors again"));
    Ok(())
}
