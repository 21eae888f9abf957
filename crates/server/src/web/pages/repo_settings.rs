//! What can be changed of a repository itself, how one is made, and how it leaves.

use askama::Template;
use restic_manager_core::api::{RepoPatch, RepoWrite};
use restic_manager_core::id::{AttachmentId, RepoId};
use restic_manager_core::text::DisplayName;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::table::{Route, act, look};
use super::{page, see_other};
use crate::app::{AppError, RepoOverview};

/// Of how many hosts one can choose the runner.
const CHOICE: usize = 500;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/repos/new", new),
        act("/repos/new", make),
        look("/repos/{id}/settings", show),
        act("/repos/{id}/settings", save),
        act("/repos/{id}/delete", delete),
    ]
}

#[derive(Template)]
#[template(path = "repo_new.html")]
struct RepoNew {
    frame: Frame,
    form: Form,
}

#[derive(Template)]
#[template(path = "repo_settings.html")]
struct RepoSettings {
    frame: Frame,
    id: String,
    name: String,
    form: Form,
    /// The hosts that could do the maintenance.
    runners: Vec<(String, String, bool)>,
}

/// A repository as its settings show it.
struct Present {
    overview: RepoOverview,
    /// Who uses it: attachment and name of the host.
    users: Vec<(AttachmentId, String)>,
    /// The attachment whose host was chosen to do the maintenance.
    runner: Option<AttachmentId>,
}

impl Present {
    async fn of(ask: &Ask, id: RepoId) -> Result<Self, AppError> {
        let app = &ask.state.app;
        let overview = app.repo_overview(id).await?;
        let rows = app.store().attachments_of_repos(&[id]).await?;
        let runner = overview.repo.runner;
        let users = rows.into_iter().map(|row| (row.attachment.id, row.host_name.to_string())).collect();
        Ok(Self { overview, users, runner })
    }

    fn name(&self) -> &str {
        self.overview.repo.name.as_str()
    }

    /// What it is called to choose nobody.
    fn automatic(&self) -> String {
        let now = self.overview.runner.as_ref().filter(|_| self.runner.is_none());
        now.map_or_else(|| "automatic".to_owned(), |now| format!("automatic: {}", now.seen.host.name))
    }

    fn form(&self) -> Form {
        let runner = self.runner.map(|id| id.to_string()).unwrap_or_default();
        Form::with([("name", self.name().to_owned()), ("runner", runner)])
    }
}

async fn new(visitor: Visitor, _: Ask) -> Answer {
    render_new(visitor, Form::default())
}

fn render_new(visitor: Visitor, form: Form) -> Answer {
    page(form.status(), &RepoNew { frame: visitor.frame.of(Tab::Repos, "New repository"), form })
}

/// Makes a repository that nobody uses yet: what lies at an address is made or adopted once a host is attached.
async fn make(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let mut form = Form::typed(&fields);
    let Some(name) = form.take("name", DisplayName::new(fields.text("name"))) else {
        return render_new(visitor, form);
    };
    match ask.state.app.create_repo(&visitor.caller, RepoWrite { name }).await {
        Ok(view) => Ok(see_other(&format!("/repos/{}/attach", view.repo.id))),
        Err(error) => render_new(visitor, form.refuse(error, &[("name_taken", "name")])?),
    }
}

async fn show(visitor: Visitor, ask: Ask) -> Answer {
    let present = Present::of(&ask, ask.id("id", "repository")?).await?;
    let form = present.form();
    render(visitor, &present, form)
}

fn render(visitor: Visitor, present: &Present, form: Form) -> Answer {
    let mut runners: Vec<(String, String, bool)> = present
        .users
        .iter()
        .map(|(id, host)| (id.to_string(), host.clone(), form.value("runner") == id.to_string()))
        .collect();
    // Whoever is chosen stays in sight, however many there are.
    runners.sort_by_key(|(.., chosen)| !chosen);
    runners.truncate(CHOICE);
    runners.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    if !runners.is_empty() {
        runners.insert(0, (String::new(), present.automatic(), form.value("runner").is_empty()));
    }
    page(
        form.status(),
        &RepoSettings {
            id: present.overview.repo.id.to_string(),
            name: present.name().to_owned(),
            frame: visitor.frame.of(Tab::Repos, format!("Settings of {}", present.name())),
            runners,
            form,
        },
    )
}

async fn save(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let present = Present::of(&ask, id).await?;
    let mut form = Form::typed(&fields);
    let name = form.take("name", DisplayName::new(fields.text("name")));
    let runner = form.take("runner", fields.given("runner").map(str::parse::<AttachmentId>).transpose());
    let (Some(name), Some(runner)) = (name, runner) else { return render(visitor, &present, form) };
    let patch = RepoPatch {
        name: Some(name).filter(|name| name.as_str() != present.name()),
        // Where nobody is attached there is no such field.
        runner: Some(runner).filter(|runner| fields.has("runner") && *runner != present.runner),
    };
    let back = see_other(&format!("/repos/{id}"));
    if patch.name.is_none() && patch.runner.is_none() {
        return Ok(back);
    }
    match ask.state.app.change_repo(&visitor.caller, id, patch).await {
        Ok(_) => Ok(back),
        Err(error) => render(visitor, &present, form.refuse(error, &[("name_taken", "name")])?),
    }
}

/// Forgets a repository that no host uses, once its name was typed.
async fn delete(visitor: Visitor, fields: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let present = Present::of(&ask, id).await?;
    let mut form = present.form();
    if fields.text("typed") != present.name() {
        form.deny_name("typed", fields.text("typed"), present.name());
        return render(visitor, &present, form);
    }
    match ask.state.app.delete_repo(&visitor.caller, id).await {
        Ok(()) => Ok(see_other("/repos")),
        Err(error) => render(visitor, &present, form.refuse(error, &[])?),
    }
}
