//! How a host opens its repository: the everyday credential, and beside it the one that may delete.

use askama::Template;
use askama::filters::HtmlSafe;
use http::StatusCode;
use restic_manager_core::api::{
    AdminCredentialView, AttachmentView, AttachmentWrite, PrimaryCredentialWrite, RepoView,
};
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{CredentialInfo, CredentialKind, Role};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::{self, Form};
use super::frame::{Frame, Tab, Visitor};
use super::health::Health;
use super::host::role;
use super::host_head::{HostHead, HostTab};
use super::parts::{Moment, Prose};
use super::table::{Route, act, look};
use super::upkeep::Upkeep;
use super::{page, see_other};
use crate::app::{App, AppError, HostOverview, ListQuery, RepoOverview, RepoQuery};

/// Rows of the lists that are shown whole.
const WHOLE: u32 = 500;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/hosts/{id}/repo", show),
        act("/hosts/{id}/repo", connect),
        act("/repos/{id}/admin", put_admin),
        act("/repos/{id}/admin/delete", delete_admin),
    ]
}

/// The form of a credential, as part of a page, with what may be shown of the stored one.
#[derive(Template)]
#[template(path = "credential_form.html")]
pub(super) struct CredentialForm {
    id: &'static str,
    title: &'static str,
    note: String,
    action: String,
    csrf: String,
    form: Form,
    stored: Option<Stored>,
    /// What else there is to be said of the repository it is for, when that is still open.
    choice: Option<RepoChoice>,
    button: &'static str,
    delete: Option<(String, String)>,
}

impl HtmlSafe for CredentialForm {}

/// What may be shown of a stored credential.
struct Stored {
    url: String,
    user: Option<String>,
    also: Vec<String>,
    changed: Moment,
}

impl Stored {
    fn of(info: &CredentialInfo, now: Timestamp) -> Self {
        let mut also = Vec::new();
        if info.has_rest_password {
            also.push("a password for the REST server".to_owned());
        }
        also.extend(info.env_names.iter().map(|name| format!("`{name}`")));
        let changed = Moment::new(info.updated_at, now);
        Self { url: info.url.clone(), user: info.rest_user.clone(), also, changed }
    }
}

/// The two credentials of a repository's runner, next to each other.
pub(super) struct Credentials {
    pub(super) everyday: Option<CredentialForm>,
    pub(super) admin: Option<CredentialForm>,
}

impl Credentials {
    /// The admin credential of a repository, with what was typed of it.
    pub(super) fn admin(
        overview: &RepoOverview,
        frame: &Frame,
        typed: Option<Form>,
    ) -> Option<CredentialForm> {
        // Without a runner there is nobody to give it to.
        let runner = overview.runner.as_ref()?;
        Some(admin_form(overview.repo.id, runner.admin.as_ref(), frame, typed))
    }
}

fn admin_form(
    repo_id: RepoId,
    stored: Option<&AdminCredentialView>,
    frame: &Frame,
    typed: Option<Form>,
) -> CredentialForm {
    let note = match stored {
        Some(view) if view.kept_on_host => format!("May delete. `{}` keeps it, encrypted; no other host ever gets it.", view.host_name),
        Some(view) => format!("May delete. `{}` gets it for each prune and drops it after; no other host ever gets it.", view.host_name),
        None => "May delete: prune needs it, and forget where the everyday one may only append. Only the host that does the maintenance gets it.".to_owned(),
    };
    let info = stored.map(|view| &view.credential);
    CredentialForm {
        id: "admin",
        title: "Admin credential",
        note,
        action: format!("/repos/{repo_id}/admin"),
        csrf: frame.csrf().to_owned(),
        form: typed.unwrap_or_else(|| form::of_credential(info)),
        stored: info.map(|info| Stored::of(info, frame.now)),
        choice: None,
        button: if info.is_some() { "Replace it" } else { "Store it" },
        delete: info.map(|_| (format!("/repos/{repo_id}/admin/delete"), "the admin credential".to_owned())),
    }
}

/// The form of the everyday credential of a host, sent to `action`.
pub(super) fn everyday_form(
    action: String,
    attached: Option<&AttachmentView>,
    frame: &Frame,
    typed: Option<Form>,
    choice: RepoChoice,
) -> CredentialForm {
    let info =
        attached.and_then(|view| view.credentials.iter().find(|info| info.kind == CredentialKind::Repo));
    let note = match attached {
        Some(view) => format!("Every backup uses it. Best one that may only append. Snapshots carry the name `{}`.", view.attachment.restic_host),
        None => "Every backup uses it. Best one that may only append. The repository is made, or adopted if it is there.".to_owned(),
    };
    CredentialForm {
        id: "everyday",
        title: "Connection",
        note,
        action,
        csrf: frame.csrf().to_owned(),
        form: typed.unwrap_or_else(|| form::of_credential(info)),
        stored: info.map(|info| Stored::of(info, frame.now)),
        choice: attached.is_none().then_some(choice),
        button: if attached.is_some() { "Replace it" } else { "Connect" },
        delete: None,
    }
}

#[derive(Template)]
#[template(path = "host_repo.html")]
struct HostRepo {
    frame: Frame,
    head: HostHead,
    /// The primary one: its name, its page, and how the host uses it.
    repo: Option<(String, String, String)>,
    health: Option<Health>,
    credentials: Credentials,
    upkeep: Option<Upkeep>,
    others: Vec<(String, String, &'static str)>,
}

async fn show(visitor: Visitor, ask: Ask) -> Answer {
    show_with(visitor, &ask, None).await
}

async fn show_with(visitor: Visitor, ask: &Ask, typed: Option<Form>) -> Answer {
    let host_id: HostId = ask.id("id", "host")?;
    let app = &ask.state.app;
    let status = typed.as_ref().map_or(StatusCode::OK, Form::status);
    let HostOverview { seen, attachments: attached, .. } = app.host_overview(host_id).await?;
    let primary = attached.iter().find(|view| view.attachment.role == Role::Primary);
    let others = attached.iter().filter(|view| view.attachment.role != Role::Primary);
    let others = others
        .map(|view| {
            let href = format!("/hosts/{host_id}/attachments/{}", view.attachment.repo_id);
            (view.repo_name.to_string(), href, role(view.attachment.role))
        })
        .collect();
    let choice = match primary {
        None => RepoChoice::of(app, typed.as_ref().map_or("", |form| form.value("repo"))).await?,
        Some(_) => RepoChoice::default(),
    };
    let (mut health, mut upkeep, mut admin) = (None, None, None);
    if let Some(primary) = primary {
        let repo_id = primary.attachment.repo_id;
        let overview = app.repo_overview(repo_id).await?;
        health = Some(Health::of(&overview.stats, visitor.frame.now));
        upkeep = Some(Upkeep::of(&overview, &visitor.frame));
        admin = Credentials::admin(&overview, &visitor.frame, None);
    }
    let action = format!("/hosts/{host_id}/repo");
    let everyday = Some(everyday_form(action, primary, &visitor.frame, typed, choice));
    page(
        status,
        &HostRepo {
            head: HostHead::new(&seen, HostTab::Repo),
            repo: primary.map(|view| {
                let repo_id = view.attachment.repo_id;
                let uses = format!("/hosts/{host_id}/attachments/{repo_id}");
                (view.repo_name.to_string(), format!("/repos/{repo_id}"), uses)
            }),
            health,
            credentials: Credentials { everyday, admin },
            upkeep,
            others,
            frame: visitor.frame.of(Tab::Fleet, format!("Repository of {}", seen.host.name)),
        },
    )
}

/// The repositories that a host without one may be given.
#[derive(Default)]
pub(super) struct RepoChoice {
    pub(super) options: Vec<(String, String, bool)>,
    /// What is said when these are not all.
    pub(super) more: &'static str,
}

impl RepoChoice {
    /// The first ones by name; `chosen` is what was chosen so far.
    pub(super) async fn of(app: &App, chosen: &str) -> Result<Self, AppError> {
        let first = ListQuery { limit: Some(WHOLE), cursor: None };
        let listed = app.repos(&RepoQuery::default(), &first).await?;
        let more = listed.next_cursor.map_or("", |_| {
            "These are the first by name. For another one attach the host on the page of that repository."
        });
        let option = |repo: RepoView| {
            let id = repo.repo.id.to_string();
            let is_chosen = chosen == id;
            (id, format!("use {}", repo.repo.name), is_chosen)
        };
        Ok(Self { options: listed.items.into_iter().map(option).collect(), more })
    }
}

/// Stores the everyday credential of a host's primary repository, which is made or chosen when there is none.
async fn connect(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let host_id: HostId = ask.id("id", "host")?;
    let mut form = Form::typed(&fields);
    let repo_name = form.take("repo_name", fields.given("repo_name").map(DisplayName::new).transpose());
    let chosen = fields.given("repo").filter(|chosen| *chosen != "new").map(str::parse::<RepoId>).transpose();
    let chosen = form.take("repo", chosen);
    let credential = form::credential(&fields, &mut form);
    let (Some(repo_name), Some(chosen), Some(credential)) = (repo_name, chosen, credential) else {
        return show_with(visitor, &ask, Some(form)).await;
    };
    let app = &ask.state.app;
    let done = match chosen {
        None => {
            let write = PrimaryCredentialWrite { repo_name, credential };
            app.put_primary_credential(&visitor.caller, host_id, write).await
        }
        Some(repo_id) => {
            let credential = Some(credential);
            let write =
                AttachmentWrite { role: Role::Primary, restic_host: None, append_only: None, credential };
            app.put_attachment(&visitor.caller, host_id, repo_id, write).await
        }
    };
    match done {
        Ok(_) => Ok(see_other(&format!("/hosts/{host_id}/repo"))),
        Err(error) => {
            let form = form.refuse(error, &[("name_taken", "repo_name"), ("credential", "url")])?;
            show_with(visitor, &ask, Some(form)).await
        }
    }
}

/// Stores the admin credential. A form in which nothing was typed changes nothing, and says so.
async fn put_admin(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let mut form = Form::typed(&fields);
    let app = &ask.state.app;
    let stored = app.admin_credential(id).await.ok().map(|view| view.credential);
    let untouched = stored.as_ref().is_some_and(|info| {
        info.url == fields.text("url")
            && info.rest_user.as_deref().unwrap_or_default() == fields.text("rest_user")
    });
    let secrets = ["password", "rest_password", "env"].iter().any(|name| fields.given(name).is_some());
    if !secrets && (untouched || !form::has_credential(&fields)) {
        form.refusal = Some(("Nothing was typed, so nothing changed".to_owned(), String::new()));
        return super::repos::with_admin_form(visitor, &ask, id, form).await;
    }
    let Some(credential) = form::credential(&fields, &mut form) else {
        return super::repos::with_admin_form(visitor, &ask, id, form).await;
    };
    match app.put_admin_credential(&visitor.caller, id, credential).await {
        Ok(_) => Ok(see_other(&format!("/repos/{id}#credentials"))),
        Err(error) => {
            let form = form.refuse(error, &[("", "url")])?;
            super::repos::with_admin_form(visitor, &ask, id, form).await
        }
    }
}

/// Deletes the admin credential, once the name of the repository was typed.
async fn delete_admin(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let name = ask.state.app.repo(id).await?.repo.name;
    if fields.text("name") != name.as_str() {
        let stored = ask.state.app.admin_credential(id).await.ok().map(|view| view.credential);
        let mut form = form::of_credential(stored.as_ref());
        form.deny_name("name", fields.text("name"), name.as_str());
        return super::repos::with_admin_form(visitor, &ask, id, form).await;
    }
    ask.state.app.delete_admin_credential(&visitor.caller, id).await?;
    Ok(see_other(&format!("/repos/{id}#credentials")))
}
