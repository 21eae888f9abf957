//! Agents that announced themselves and wait for a person.

use clap::Args;
use restic_manager_core::announce::Fingerprint;
use restic_manager_core::api::{ApproveRepo, ApproveRequest, ApprovedView, Page, PendingHostView};
use restic_manager_core::text::DisplayName;

use super::credentials::Credential;
use super::{Listing, Session};
use crate::error::CliError;
use crate::input::ask_line;
use crate::resolve::{ResolveError, is_id};
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago};

#[derive(Debug, Args)]
pub(crate) struct Pending {
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The waiting host: its fingerprint, its id, or its name
    host: String,
    /// The fingerprint that the agent shows on the machine; asked for when not given
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    /// The name the host will have; the machine's own when not given
    #[arg(long, value_name = "NAME")]
    name: Option<DisplayName>,
    /// Back up to this repository, with the credential below
    #[arg(long, value_name = "REPO", conflicts_with = "repo_name")]
    repo: Option<String>,
    /// Back up to a new repository of this name; the host's name when only a credential is given
    #[arg(long, value_name = "NAME")]
    repo_name: Option<DisplayName>,
    #[command(flatten)]
    credential: Credential,
}

#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// The waiting host: its fingerprint, its id, or its name
    host: String,
}

impl Pending {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let body = self.listing.fetch(&session.client, Route::new(["pending-hosts"]))?;
        session.ui.show_page(&body, table)
    }
}

impl Approve {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let found = find(session, &self.host)?;
        let fingerprint = self.seen(&found)?;
        let repo = if self.repo.is_some() || self.repo_name.is_some() || self.credential.is_given() {
            let repo_id = self.repo.as_deref().map(|repo| session.client.repo_id(repo)).transpose()?;
            let repo_id = repo_id.and_then(|id| id.parse().ok());
            Some(ApproveRepo {
                repo_id,
                repo_name: self.repo_name.clone(),
                credential: self.credential.read()?,
            })
        } else {
            None
        };
        let request = ApproveRequest { fingerprint, name: self.name.clone(), repo };
        let route = Route::new(["pending-hosts", &found.id.to_string(), "approve"]);
        session.ui.show(&session.client.post(&route, &request)?, approved)
    }

    /// The fingerprint that was seen on the machine; whoever names the host by it has seen it.
    fn seen(&self, found: &PendingHostView) -> Result<Fingerprint, CliError> {
        if let Some(given) = self.fingerprint.or_else(|| self.host.parse().ok()) {
            return Ok(given);
        }
        let what = format!(
            "the fingerprint that the agent of `{}` (announced from {}) shows on its machine",
            found.name, found.address
        );
        let typed = ask_line(&what, "--fingerprint")?;
        typed.parse().map_err(|error| {
            CliError::usage(
                format!("{error}"),
                "the agent shows it on the machine: `restic-manager-agent announce`",
            )
        })
    }
}

impl Reject {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let found = find(session, &self.host)?;
        let route = Route::new(["pending-hosts", &found.id.to_string(), "reject"]);
        let body = session.client.start(&route)?;
        session.ui.done(
            &body,
            &format!("`{}` ({}) is rejected; its agent is told so", found.name, found.fingerprint),
        )
    }
}

/// The waiting host that was meant. A name that several have decides nothing: it is the key that counts.
fn find(session: &Session, wanted: &str) -> Result<PendingHostView, CliError> {
    if is_id(wanted) {
        return Ok(session.client.get(&Route::new(["pending-hosts", wanted]))?.read()?);
    }
    let page: Page<PendingHostView> = session.client.all(&Route::new(["pending-hosts"]))?.read()?;
    let fingerprint = wanted.parse::<Fingerprint>().ok();
    let is_it = |view: &PendingHostView| match fingerprint {
        Some(fingerprint) => view.fingerprint == fingerprint,
        None => view.name.as_str().to_lowercase() == wanted.to_lowercase(),
    };
    let mut found: Vec<PendingHostView> = page.items.into_iter().filter(is_it).collect();
    match (found.pop(), found.is_empty()) {
        (Some(view), true) => Ok(view),
        (None, _) => Err(ResolveError::NobodyWaits { wanted: wanted.to_owned() }.into()),
        (Some(_), false) => Err(ResolveError::SeveralWait { wanted: wanted.to_owned() }.into()),
    }
}

fn name(view: &PendingHostView) -> Cell {
    match (view.name_taken_by, view.namesakes) {
        (Some(_), _) => Cell::new(format!("{} (taken)", view.name), Tone::Warning),
        (None, 1..) => Cell::new(format!("{} (one of {})", view.name, view.namesakes + 1), Tone::Warning),
        (None, 0) => Cell::from(view.name.as_str()),
    }
}

fn machine(view: &PendingHostView) -> String {
    let parts = [view.os.as_deref(), view.arch.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn table(page: &Page<PendingHostView>, look: &Look) -> View {
    let row = |view: &PendingHostView| {
        vec![
            name(view),
            Cell::from(view.fingerprint.to_string()),
            Cell::from(view.address.as_str()),
            Cell::or_none(Some(machine(view))),
            Cell::from(ago(view.announced_at, look.now)),
            Cell::from(ago(view.expires_at, look.now)),
        ]
    };
    Grid::new(
        &["NAME", "FINGERPRINT", "FROM", "MACHINE", "ANNOUNCED", "EXPIRES"],
        "Nobody waits: restic-manager-agent announce --server URL on a machine lets it ask",
    )
    .rows(page.items.iter().map(row))
}

fn approved(view: &ApprovedView, _: &Look) -> View {
    let host = &view.host.host.name;
    let mut lines = vec![View::Text(format!(
        "`{host}` is a host; its agent fetches its token within seconds if it still waits"
    ))];
    if let Some(attachment) = &view.attachment {
        lines.push(View::Text(format!("It backs up to the repository `{}`.", attachment.repo_name)));
    }
    if let Some(error) = &view.attachment_error {
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        lines.push(View::Text(format!("It has no repository yet: {}{hint}", error.message)));
    }
    View::Stack(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn waiting_hosts_as_a_table_flag_what_collides() {
        let page: Page<PendingHostView> =
            serde_json::from_str(include_str!("../../tests/answers/pending-hosts.json")).unwrap();
        insta::assert_snapshot!(table(&page, &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn nobody_waits() {
        let page = Page { items: Vec::new(), next_cursor: None };
        insta::assert_snapshot!(table(&page, &fixed_look()).render(&fixed_look()));
    }
}
