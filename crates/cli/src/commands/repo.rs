//! Repositories.

use clap::Subcommand;
use restic_manager_core::api::{Accepted, Page, RepoPatch, RepoView, RepoWrite};
use restic_manager_core::id::AttachmentId;
use restic_manager_core::model::{ResticRepoId, StatsKind};
use restic_manager_core::text::DisplayName;

use super::attachment::role;
use super::job::accepted;
use super::{Listing, Session};
use crate::error::CliError;
use crate::input::Confirmation;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, View, ago, instant, size};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List repositories
    Ls {
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
    /// Let the host of another attachment do the maintenance
    Runner {
        /// The repository
        repo: String,
        /// The id of the attachment, as `rmctl repo show` lists them
        attachment: AttachmentId,
    },
    /// Forget a repository; what is stored in it stays
    Delete {
        /// The repository
        repo: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Measure a repository and list its snapshots anew
    Stats {
        /// The repository
        repo: String,
    },
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { listing } => ui.show_page(&listing.fetch(client, Route::new(["repos"]))?, table),
            Self::Show { repo } => {
                ui.show(&client.get(&Route::new(["repos", &client.repo_id(repo)?]))?, card)
            }
            Self::Create { name } => {
                ui.show(&client.post(&Route::new(["repos"]), &RepoWrite { name: name.clone() })?, card)
            }
            Self::Rename { repo, name } => {
                patch(session, repo, &RepoPatch { name: Some(name.clone()), ..RepoPatch::default() })
            }
            Self::Runner { repo, attachment } => {
                patch(session, repo, &RepoPatch { runner: Some(*attachment), ..RepoPatch::default() })
            }
            Self::Delete { repo, confirmation } => delete(session, repo, *confirmation),
            Self::Stats { repo } => {
                let body = client.start(&Route::new(["repos", &client.repo_id(repo)?, "stats"]))?;
                ui.show(&body, |job: &Accepted, _| accepted(std::slice::from_ref(job)))
            }
        }
    }
}

fn patch(session: &Session, repo: &str, change: &RepoPatch) -> Result<(), CliError> {
    let route = Route::new(["repos", &session.client.repo_id(repo)?]);
    session.ui.show(&session.client.patch(&route, change)?, card)
}

fn delete(session: &Session, repo: &str, confirmation: Confirmation) -> Result<(), CliError> {
    let route = Route::new(["repos", &session.client.repo_id(repo)?]);
    let view: RepoView = session.client.get(&route)?.read()?;
    confirmation.confirm("repository", view.repo.name.as_str())?;
    let body = session.client.delete(&route)?;
    session.ui.done(
        &body,
        &format!("the repository `{}` is forgotten here; what is stored in it stays", view.repo.name),
    )
}

fn table(page: &Page<RepoView>, look: &Look) -> View {
    let row = |view: &RepoView| {
        vec![
            Cell::from(view.repo.name.as_str()),
            Cell::or_none(view.stats.total_size_bytes.map(size)),
            Cell::or_none(view.stats.snapshot_count.map(|n| n.to_string())),
            Cell::from(view.attachments.len().to_string()),
            Cell::or_none(view.stats.measured_at.map(|at| ago(at, look.now))),
        ]
    };
    Grid::new(
        &["NAME", "SIZE", "SNAPSHOTS", "HOSTS", "MEASURED"],
        "No repositories: rmctl creds set HOST makes one",
    )
    .rows(page.items.iter().map(row))
}

fn card(view: &RepoView, look: &Look) -> View {
    let when = |at| format!("{} ({})", instant(at, &look.zone), ago(at, look.now));
    let kind = match view.stats.size_kind {
        None => "",
        Some(StatsKind::ReferencedData) => " that snapshots refer to",
        Some(StatsKind::AfterPrune) => " after the last prune",
    };
    let card = View::Card(vec![
        ("Name", view.repo.name.as_str().into()),
        ("Id", view.repo.id.to_string().into()),
        ("Restic's id", Cell::or_none(view.repo.restic_id.as_ref().map(ResticRepoId::as_str))),
        ("Size", Cell::or_none(view.stats.total_size_bytes.map(|bytes| format!("{}{kind}", size(bytes))))),
        ("Uncompressed", Cell::or_none(view.stats.uncompressed_bytes.map(size))),
        ("Snapshots", Cell::or_none(view.stats.snapshot_count.map(|n| n.to_string()))),
        ("Measured", Cell::or_none(view.stats.measured_at.map(when))),
        ("Made", when(view.repo.created_at).into()),
    ]);
    let rows = view.attachments.iter().map(|attachment| {
        let runner = if view.repo.runner == Some(attachment.id) { "runner" } else { "" };
        vec![
            Cell::from(attachment.restic_host.as_str()),
            Cell::from(role(attachment.role)),
            Cell::from(runner),
            Cell::from(attachment.id.to_string()),
        ]
    });
    let hosts = Grid::new(
        &["SNAPSHOTS AS", "ROLE", "", "ATTACHMENT"],
        "No host uses it: rmctl host attach HOST REPO",
    );
    View::Stack(vec![card, hosts.rows(rows)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn repositories_as_a_table_and_one_alone() {
        let page: Page<RepoView> =
            serde_json::from_str(include_str!("../../tests/answers/repos.json")).unwrap();
        let look = fixed_look();
        let both = View::Stack(vec![table(&page, &look), card(&page.items[0], &look)]);
        insta::assert_snapshot!(both.render(&look));
    }
}
