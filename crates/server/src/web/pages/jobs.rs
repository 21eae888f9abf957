//! Jobs, newest first.

use askama::Template;
use http::StatusCode;
use restic_manager_core::model::{JobKind, JobState};

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::{Fields, address};
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{JobLine, Pager};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::{App, AppError, JobQuery, ListQuery};

pub(super) fn routes() -> Vec<Route> {
    vec![look("/jobs", jobs)]
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    frame: Frame,
    /// The address of what is shown, for a script that keeps it true.
    here: String,
    state: String,
    kind: String,
    host: Option<Narrowed>,
    repo: Option<Narrowed>,
    jobs: Vec<JobLine>,
    pager: Pager,
}

/// A host or a repository that the list is narrowed to.
struct Narrowed {
    id: String,
    name: String,
    href: String,
    without: String,
}

/// The states one looks for together: their name in the address, their word, the states.
const STATES: [(&str, &str, &[JobState]); 5] = [
    ("active", "not over", &[JobState::Queued, JobState::Dispatched, JobState::Running]),
    ("failed", "failed or lost", &[JobState::Failed, JobState::Lost]),
    ("warning", "warning", &[JobState::Warning]),
    ("succeeded", "succeeded", &[JobState::Succeeded]),
    (
        "stopped",
        "stopped or never started",
        &[JobState::Cancelled, JobState::Withdrawn, JobState::Superseded],
    ),
];

impl Jobs {
    fn states(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let any = ("", "any", self.state.is_empty());
        std::iter::once(any).chain(STATES.map(|(name, word, _)| (name, word, self.state == name)))
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let any = ("", "any", self.kind.is_empty());
        let kind = |kind: JobKind| (kind.as_str(), words::kind(kind), self.kind == kind.as_str());
        std::iter::once(any).chain(JobKind::ALL.map(kind))
    }

    fn is_filtered(&self) -> bool {
        !(self.state.is_empty() && self.kind.is_empty() && self.host.is_none() && self.repo.is_none())
    }
}

async fn jobs(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let app = &ask.state.app;
    let now = visitor.frame.now;
    let known = STATES.iter().find(|(name, ..)| *name == fields.text("state"));
    let kind = JobKind::from_name(fields.text("kind"));
    let query = JobQuery {
        host_id: id(&fields, "host_id", "host")?,
        repo_id: id(&fields, "repo_id", "repository")?,
        group_id: None,
        kind,
        states: known.map(|(_, _, states)| states.to_vec()).unwrap_or_default(),
        since: None,
        before: None,
    };
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = app.jobs(&query, &list).await?;
    let state = known.map_or("", |(name, ..)| name);
    let kind = kind.map_or("", JobKind::as_str);
    let (host_id, repo_id) = (fields.text("host_id"), fields.text("repo_id"));
    let parameters = [("state", state), ("kind", kind), ("host_id", host_id), ("repo_id", repo_id)];
    let (host, repo) = narrowed(app, &query, &parameters).await?;
    let mut whole = parameters.to_vec();
    whole.push(("cursor", fields.text("cursor")));
    page(
        StatusCode::OK,
        &Jobs {
            here: address("/jobs", &whole),
            frame: visitor.frame.of(Tab::Jobs, "Jobs"),
            state: state.to_owned(),
            kind: kind.to_owned(),
            host,
            repo,
            jobs: listed.items.iter().map(|view| JobLine::new(view, now)).collect(),
            pager: pager("/jobs", &parameters, list.cursor.is_some(), listed.next_cursor.as_deref()),
        },
    )
}

/// The id in an address, when there is one.
pub(super) fn id<T: std::str::FromStr>(
    fields: &Fields,
    name: &str,
    what: &str,
) -> Result<Option<T>, AppError> {
    let Some(text) = fields.given(name) else { return Ok(None) };
    let refuse = |_| AppError::not_found(what, format!("`{}`", text.chars().take(64).collect::<String>()));
    text.parse().map(Some).map_err(refuse)
}

/// What the list is narrowed to, by name. History stays readable: what was deleted since goes by the begin of its id.
async fn narrowed(
    app: &App,
    query: &JobQuery,
    parameters: &[(&str, &str)],
) -> Result<(Option<Narrowed>, Option<Narrowed>), AppError> {
    let without = |name: &str| {
        let others: Vec<(&str, &str)> =
            parameters.iter().filter(|(known, _)| *known != name).copied().collect();
        address("/jobs", &others)
    };
    let mut host = None;
    if let Some(id) = query.host_id {
        let found = app.store().host(id).await?;
        let name = found.map_or_else(|| words::short(&id.to_string()), |host| host.name.to_string());
        let (id, href) = (id.to_string(), format!("/hosts/{id}"));
        host = Some(Narrowed { id, name, href, without: without("host_id") });
    }
    let mut repo = None;
    if let Some(id) = query.repo_id {
        let found = app.store().repo(id).await?;
        let name = found.map_or_else(|| words::short(&id.to_string()), |repo| repo.name.to_string());
        let (id, href) = (id.to_string(), format!("/repos/{id}"));
        repo = Some(Narrowed { id, name, href, without: without("repo_id") });
    }
    Ok((host, repo))
}
