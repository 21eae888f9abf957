//! How a host uses a repository: how it comes to it, what it may do there, and how it leaves.

use askama::Template;
use restic_manager_core::api::{AttachmentView, AttachmentWrite};
use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{AppendOnly, Role};
use restic_manager_core::text::{DisplayName, ResticHost};

use super::super::ask::Ask;
use super::super::table::Answer;
use super::connection::{CredentialForm, RepoChoice, everyday_form};
use super::fields::Fields;
use super::form::{self, Form};
use super::frame::{Frame, Tab, Visitor};
use super::host::role;
use super::host_head::{HostHead, HostTab};
use super::table::{Route, act, look};
use super::{page, see_other};
use crate::app::{AppError, HostSeen};

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/repos/{id}/attach", new),
        act("/repos/{id}/attach", attach),
        look("/hosts/{id}/attachments/{repo_id}", show),
        act("/hosts/{id}/attachments/{repo_id}", save),
        act("/hosts/{id}/attachments/{repo_id}/credential", replace),
        act("/hosts/{id}/attachments/{repo_id}/delete", detach),
    ]
}

/// The roles, and what each is for.
const ROLES: [(Role, &str); 3] = [
    (Role::Primary, "primary: what it backs up to first"),
    (Role::Copy, "copy: it backs up here as well"),
    (Role::Maintenance, "maintenance: it only prunes and checks"),
];

/// What may be known of a credential.
const APPEND_ONLY: [(AppendOnly, &str, &str); 3] = [
    (AppendOnly::Unknown, "unknown", "not known yet"),
    (AppendOnly::Yes, "yes", "yes: the storage refuses deletes"),
    (AppendOnly::No, "no", "no: it may delete"),
];

fn read_role(text: &str) -> Result<Role, &'static str> {
    let named = ROLES.into_iter().find(|(known, _)| role(*known) == text);
    named.map(|(role, _)| role).ok_or("choose one of the roles")
}

fn read_append_only(text: &str) -> Result<AppendOnly, &'static str> {
    let named = APPEND_ONLY.into_iter().find(|(_, name, _)| *name == text);
    named.map(|(known, ..)| known).ok_or("choose one of the answers")
}

fn name_of(append_only: AppendOnly) -> &'static str {
    APPEND_ONLY.into_iter().find(|(known, ..)| *known == append_only).map_or("", |(_, name, _)| name)
}

/// What the two forms have in common to choose from.
struct Choices {
    roles: Vec<(String, String, bool)>,
    append_only: Vec<(String, String, bool)>,
}

impl Choices {
    fn of(form: &Form) -> Self {
        let option = |field: &str, name: &str, words: &str| {
            (name.to_owned(), words.to_owned(), form.value(field) == name)
        };
        Self {
            roles: ROLES.iter().map(|(known, words)| option("role", role(*known), words)).collect(),
            append_only: APPEND_ONLY
                .iter()
                .map(|(_, name, words)| option("append_only", name, words))
                .collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "attach.html")]
struct Attach {
    frame: Frame,
    id: String,
    repo: String,
    form: Form,
    choices: Choices,
}

async fn new(visitor: Visitor, ask: Ask) -> Answer {
    let form = Form::with([("role", role(Role::Primary).to_owned()), ("append_only", "unknown".to_owned())]);
    render_new(visitor, &ask, form).await
}

async fn render_new(visitor: Visitor, ask: &Ask, form: Form) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let repo = ask.state.app.repo(id).await?.repo.name.to_string();
    let frame = visitor.frame.of(Tab::Repos, format!("Attach a host to {repo}"));
    page(form.status(), &Attach { frame, id: id.to_string(), repo, choices: Choices::of(&form), form })
}

/// Attaches the host of a name.
async fn attach(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let app = &ask.state.app;
    let mut form = Form::typed(&fields);
    let host = match form.take("host", DisplayName::new(fields.text("host"))) {
        None => None,
        Some(name) => {
            let host = app.store().host_by_name(&name).await.map_err(AppError::from)?;
            form.take(
                "host",
                host.ok_or("there is no host of this name: see the fleet for how it is written"),
            )
        }
    };
    let role = form.take("role", read_role(fields.text("role")));
    let append_only = form.take("append_only", read_append_only(fields.text("append_only")));
    let restic_host = fields.given("restic_host").map(ResticHost::new).transpose();
    let restic_host = form.take("restic_host", restic_host);
    let credential = form::credential(&fields, &mut form);
    let (Some(host), Some(role), Some(append_only), Some(restic_host), Some(credential)) =
        (host, role, append_only, restic_host, credential)
    else {
        return render_new(visitor, &ask, form).await;
    };
    let taken = app.store().attachment(host.id, id).await.map_err(AppError::from)?;
    if taken.is_some() {
        form.set_wrong("host", "it is attached already: change that on its own page");
        return render_new(visitor, &ask, form).await;
    }
    let write =
        AttachmentWrite { role, restic_host, append_only: Some(append_only), credential: Some(credential) };
    match app.put_attachment(&visitor.caller, host.id, id, write).await {
        Ok(_) => Ok(see_other(&format!("/repos/{id}#hosts"))),
        Err(error) => {
            let places =
                [("credential", "url"), ("primary_taken", "role"), ("restic_host_taken", "restic_host")];
            render_new(visitor, &ask, form.refuse(error, &places)?).await
        }
    }
}

#[derive(Template)]
#[template(path = "attachment.html")]
struct AttachmentPage {
    frame: Frame,
    head: HostHead,
    path: String,
    repo: String,
    repo_href: String,
    /// The page this one was come from.
    back: String,
    form: Form,
    choices: Choices,
    credential: CredentialForm,
}

/// An attachment with its host.
struct Present {
    seen: HostSeen,
    view: AttachmentView,
    path: String,
}

impl Present {
    async fn of(ask: &Ask) -> Result<Self, super::super::answer::Refusal> {
        let (host_id, repo_id): (HostId, RepoId) = (ask.id("id", "host")?, ask.id("repo_id", "repository")?);
        let app = &ask.state.app;
        Ok(Self {
            seen: app.host_seen(host_id).await?,
            view: app.attachment(host_id, repo_id).await?,
            path: format!("/hosts/{host_id}/attachments/{repo_id}"),
        })
    }

    fn form(&self) -> Form {
        let attachment = &self.view.attachment;
        Form::with([
            ("role", role(attachment.role).to_owned()),
            ("append_only", name_of(attachment.append_only).to_owned()),
        ])
    }

    /// How the host uses it, without what was typed.
    fn write(&self) -> AttachmentWrite {
        AttachmentWrite {
            role: self.view.attachment.role,
            restic_host: None,
            append_only: None,
            credential: None,
        }
    }

    fn render(&self, visitor: Visitor, form: Form, credential: Option<Form>) -> Answer {
        let status = credential.as_ref().map_or(form.status(), Form::status);
        let (host, repo) = (&self.seen.host.name, self.view.repo_name.to_string());
        let action = format!("{}/credential", self.path);
        page(
            status,
            &AttachmentPage {
                head: HostHead::new(&self.seen, HostTab::Repo),
                path: self.path.clone(),
                repo_href: format!("/repos/{}", self.view.attachment.repo_id),
                back: format!("/hosts/{}/repo", self.seen.host.id),
                credential: everyday_form(
                    action,
                    Some(&self.view),
                    &visitor.frame,
                    credential,
                    RepoChoice::default(),
                ),
                frame: visitor.frame.of(Tab::Fleet, format!("{host} and {repo}")),
                choices: Choices::of(&form),
                repo,
                form,
            },
        )
    }

    fn done(&self) -> Answer {
        Ok(see_other(&format!("/hosts/{}/repo", self.seen.host.id)))
    }
}

async fn show(visitor: Visitor, ask: Ask) -> Answer {
    let present = Present::of(&ask).await?;
    present.render(visitor, present.form(), None)
}

/// Says what the host is for, and whether its credential may delete.
async fn save(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let present = Present::of(&ask).await?;
    let mut form = Form::typed(&fields);
    let role = form.take("role", read_role(fields.text("role")));
    let append_only = form.take("append_only", read_append_only(fields.text("append_only")));
    let (Some(role), Some(append_only)) = (role, append_only) else {
        return present.render(visitor, form, None);
    };
    let attachment = &present.view.attachment;
    let changed = Some(append_only).filter(|known| *known != attachment.append_only);
    if role == attachment.role && changed.is_none() {
        return present.done();
    }
    let write = AttachmentWrite { role, append_only: changed, ..present.write() };
    let (host_id, repo_id) = (attachment.host_id, attachment.repo_id);
    match ask.state.app.put_attachment(&visitor.caller, host_id, repo_id, write).await {
        Ok(_) => present.done(),
        Err(error) => {
            let form = form.refuse(error, &[("primary_taken", "role")])?;
            present.render(visitor, form, None)
        }
    }
}

/// Replaces the everyday credential.
async fn replace(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let present = Present::of(&ask).await?;
    let mut form = Form::typed(&fields);
    let Some(credential) = form::credential(&fields, &mut form) else {
        return present.render(visitor, present.form(), Some(form));
    };
    let write = AttachmentWrite { credential: Some(credential), ..present.write() };
    let attachment = &present.view.attachment;
    let (host_id, repo_id) = (attachment.host_id, attachment.repo_id);
    match ask.state.app.put_attachment(&visitor.caller, host_id, repo_id, write).await {
        Ok(_) => present.done(),
        Err(error) => {
            let form = form.refuse(error, &[("credential", "url")])?;
            present.render(visitor, present.form(), Some(form))
        }
    }
}

/// Detaches the host, once the name of the repository was typed.
async fn detach(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let present = Present::of(&ask).await?;
    let mut form = present.form();
    let name = present.view.repo_name.as_str();
    if fields.text("typed") != name {
        form.deny_name("typed", fields.text("typed"), name);
        return present.render(visitor, form, None);
    }
    let attachment = &present.view.attachment;
    let (host_id, repo_id) = (attachment.host_id, attachment.repo_id);
    match ask.state.app.delete_attachment(&visitor.caller, host_id, repo_id).await {
        Ok(()) => present.done(),
        Err(error) => present.render(visitor, form.refuse(error, &[])?, None),
    }
}
