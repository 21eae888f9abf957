//! Snapshots.

use clap::Subcommand;
use restic_manager_core::api::{Page, SnapshotView};
use serde::de::IgnoredAny;

use super::{Listing, Session};
use crate::client::Client;
use crate::error::CliError;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, View, ago, instant, size};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the snapshots of a host, the newest first
    Ls {
        /// The host
        host: String,
        /// Only those in this repository
        #[arg(long, value_name = "REPO")]
        repo: Option<String>,
        /// Only those of this source group
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        match self {
            Self::Ls { host, repo, source, listing } => {
                let host_id = client.host_id(host)?;
                let route = Route::new(["hosts", &host_id, "snapshots"])
                    .with("repo_id", repo.as_ref().map(|repo| client.repo_id(repo)).transpose()?)
                    .with(
                        "group_id",
                        source.as_ref().map(|name| client.group_id(&host_id, name)).transpose()?,
                    );
                let page = listing.fetch(client, route)?;
                let empty = if ui.is_for_people() && page.read::<Page<IgnoredAny>>()?.items.is_empty() {
                    how_to_have_one(client, host, &host_id)?
                } else {
                    String::new()
                };
                ui.show_page(&page, |page, look| table(page, empty, look))
            }
        }
    }
}

/// What is said when there are none: a host without a repository cannot make any.
fn how_to_have_one(client: &Client, host: &str, host_id: &str) -> Result<String, CliError> {
    let attachments = Route::new(["hosts", host_id, "attachments"]).with("limit", Some("1"));
    let attachments: Page<IgnoredAny> = client.get(&attachments)?.read()?;
    Ok(if attachments.items.is_empty() {
        format!("No snapshots to show: the host has no repository; rmctl creds set {host} gives it one")
    } else {
        format!("No snapshots to show: rmctl run {host} SOURCE makes one")
    })
}

fn table(page: &Page<SnapshotView>, empty: String, look: &Look) -> View {
    let row = |view: &SnapshotView| {
        let snapshot = &view.snapshot;
        vec![
            Cell::from(snapshot.id.short()),
            Cell::from(instant(snapshot.time, &look.zone)),
            Cell::from(ago(snapshot.time, look.now)),
            Cell::from(&snapshot.hostname),
            Cell::or_none(Some(snapshot.tags.join(", "))),
            Cell::from(snapshot.paths.join(", ")),
            Cell::or_none(snapshot.files.map(|n| n.to_string())),
            Cell::or_none(snapshot.size_bytes.map(size)),
            Cell::or_none(snapshot.added_bytes.map(size)),
        ]
    };
    Grid::new(&["SNAPSHOT", "TIME", "AGE", "HOST", "TAGS", "PATHS", "FILES", "SIZE", "ADDED"], empty)
        .rows(page.items.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn snapshots_as_a_table() {
        let page: Page<SnapshotView> =
            serde_json::from_str(include_str!("../../tests/answers/snapshots.json")).unwrap();
        insta::assert_snapshot!(table(&page, String::new(), &fixed_look()).render(&fixed_look()));
    }
}
