//! Which repositories a host uses.

use clap::{Args, ValueEnum};
use restic_manager_core::api::{AttachmentView, AttachmentWrite, Page};
use restic_manager_core::model::{AppendOnly, CredentialInfo, CredentialKind, Role};
use restic_manager_core::text::ResticHost;

use super::credentials::Credential;
use super::{Listing, Session};
use crate::error::CliError;
use crate::input::Confirmation;
use crate::route::Route;
use crate::ui::{Cell, Grid, Look, Tone, View, ago};

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The host
    host: String,
    /// The repository
    repo: String,
    /// What the host may do; `copy` for a new attachment when not given
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// The name its snapshots carry; the host's own name when not given; fixed once it is attached
    #[arg(long, value_name = "NAME")]
    restic_host: Option<ResticHost>,
    /// Whether the everyday credential is kept from deleting
    #[arg(long, value_enum)]
    append_only: Option<AppendOnlyArg>,
    #[command(flatten)]
    credential: Credential,
}

#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The host
    host: String,
    /// The repository
    repo: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Debug, Args)]
pub(crate) struct Attachments {
    /// The host
    host: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// The host's main repository
    Primary,
    /// A further copy of its backups
    Copy,
    /// Maintenance only; this host backs up nothing into it
    Maintenance,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Primary => Self::Primary,
            RoleArg::Copy => Self::Copy,
            RoleArg::Maintenance => Self::Maintenance,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AppendOnlyArg {
    Yes,
    No,
    Unknown,
}

impl From<AppendOnlyArg> for AppendOnly {
    fn from(answer: AppendOnlyArg) -> Self {
        match answer {
            AppendOnlyArg::Yes => Self::Yes,
            AppendOnlyArg::No => Self::No,
            AppendOnlyArg::Unknown => Self::Unknown,
        }
    }
}

fn route(session: &Session, host: &str, repo: &str) -> Result<Route, CliError> {
    let host_id = session.client.host_id(host)?;
    let repo_id = session.client.repo_id(repo)?;
    Ok(Route::new(["hosts", &host_id, "attachments", &repo_id]))
}

impl Attach {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let route = route(session, &self.host, &self.repo)?;
        let existing = session.client.find(&route)?.map(|body| body.read::<AttachmentView>()).transpose()?;
        let role = self.role.map(Role::from).or(existing.as_ref().map(|view| view.attachment.role));
        let credential = if existing.is_none() || self.credential.is_given() {
            Some(self.credential.read()?)
        } else {
            None
        };
        let request = AttachmentWrite {
            role: role.unwrap_or(Role::Copy),
            restic_host: self.restic_host.clone(),
            append_only: self.append_only.map(AppendOnly::from),
            credential,
        };
        session.ui.show(&session.client.put(&route, &request)?, card)
    }
}

impl Detach {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let route = route(session, &self.host, &self.repo)?;
        let view: AttachmentView = session.client.get(&route)?.read()?;
        self.confirmation.confirm("attachment to", view.repo_name.as_str())?;
        let body = session.client.delete(&route)?;
        session.ui.done(
            &body,
            &format!("`{}` is no longer used by `{}`; its snapshots stay", view.repo_name, self.host),
        )
    }
}

impl Attachments {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let route = Route::new(["hosts", &session.client.host_id(&self.host)?, "attachments"]);
        session.ui.show_page(&self.listing.fetch(&session.client, route)?, |page, _| table(page))
    }
}

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Copy => "copy",
        Role::Maintenance => "maintenance",
    }
}

fn append_only(view: &AttachmentView) -> Cell {
    match view.attachment.append_only {
        AppendOnly::Yes => Cell::new("yes", Tone::Good),
        AppendOnly::No => Cell::from("no"),
        AppendOnly::Unknown => Cell::new("unknown", Tone::Faint),
    }
}

fn everyday(view: &AttachmentView) -> Option<&CredentialInfo> {
    view.credentials.iter().find(|credential| credential.kind == CredentialKind::Repo)
}

fn table(page: &Page<AttachmentView>) -> View {
    let row = |view: &AttachmentView| {
        vec![
            Cell::from(view.repo_name.as_str()),
            Cell::from(role(view.attachment.role)),
            Cell::from(view.attachment.restic_host.as_str()),
            append_only(view),
            Cell::or_none(everyday(view).map(|credential| &credential.url)),
        ]
    };
    Grid::new(
        &["REPOSITORY", "ROLE", "SNAPSHOTS AS", "APPEND-ONLY", "ADDRESS"],
        "No repositories: rmctl creds set HOST makes the primary one",
    )
    .rows(page.items.iter().map(row))
}

/// One attachment.
pub(crate) fn card(view: &AttachmentView, look: &Look) -> View {
    let attachment = &view.attachment;
    let mut lines = vec![
        ("Repository", view.repo_name.as_str().into()),
        ("Repository id", attachment.repo_id.to_string().into()),
        ("Host id", attachment.host_id.to_string().into()),
        ("Role", role(attachment.role).into()),
        ("Snapshots as", attachment.restic_host.as_str().into()),
        ("Append-only", append_only(view)),
    ];
    for credential in &view.credentials {
        let label = match credential.kind {
            CredentialKind::Repo => "Everyday",
            CredentialKind::Admin => "Admin",
        };
        lines.push((label, described(credential, look).into()));
    }
    View::Card(lines)
}

fn described(credential: &CredentialInfo, look: &Look) -> String {
    let mut text = credential.url.clone();
    if let Some(user) = &credential.rest_user {
        text.push_str(&format!(", user {user}"));
    }
    if !credential.env_names.is_empty() {
        text.push_str(&format!(", with {}", credential.env_names.join(", ")));
    }
    format!("{text}, changed {}", ago(credential.updated_at, look.now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::fixed_look;

    #[test]
    fn attachments_as_a_table_and_one_alone() {
        let page: Page<AttachmentView> =
            serde_json::from_str(include_str!("../../tests/answers/attachments.json")).unwrap();
        let look = fixed_look();
        let both = View::Stack(vec![table(&page), card(&page.items[0], &look)]);
        insta::assert_snapshot!(both.render(&look));
    }
}
