//! Repositories: how large, how sound, and who uses them.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::RepoView;
use restic_manager_core::id::RepoId;
use restic_manager_store::AttachmentRow;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::chart::{self, Chart};
use super::connection::{CredentialForm, Credentials};
use super::fields::Fields;
use super::fleet::pager;
use super::form::Form;
use super::frame::{Frame, Tab, Visitor};
use super::health::Health;
use super::host::{append_only, role};
use super::parts::{JobLine, Moment, Pager, Prose};
use super::table::{Route, act, look};
use super::upkeep::{self, Upkeep};
use super::{ROWS, page, see_other, words};
use crate::app::{AppError, ErrorKind, JobQuery, ListQuery, RepoQuery};

/// So many repositories need no search.
const AT_A_GLANCE: usize = 10;

/// Rows of the list of jobs, which is only begun here.
const BEGUN: u32 = 10;

/// The fields in which the name of the repository is typed before every lock goes, and before prune goes on despite errors.
pub(super) const UNLOCK_NAME: &str = "unlock-name";
pub(super) const OVERRIDE_NAME: &str = "override-name";

pub(super) fn routes() -> Vec<Route> {
    vec![look("/repos", repos), look("/repos/{id}", repo), act("/repos/{id}/stats", measure)]
}

#[derive(Template)]
#[template(path = "repos.html")]
struct Repos {
    frame: Frame,
    repos: Vec<RepoLine>,
    /// The part of the name that is looked for.
    find: String,
    /// Whether there are so many that one would look for a name.
    searches: bool,
    pager: Pager,
}

struct RepoLine {
    href: String,
    name: String,
    health: Health,
    hosts: String,
}

async fn repos(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let query = RepoQuery { q: fields.given("q").map(str::to_owned) };
    let listed = ask.state.app.repos(&query, &list).await?;
    let find = query.q.unwrap_or_default();
    let pager = pager("/repos", &[("q", &find)], list.cursor.is_some(), listed.next_cursor.as_deref());
    let searches = !find.is_empty() || list.cursor.is_some() || listed.items.len() > AT_A_GLANCE;
    let now = visitor.frame.now;
    let line = |view: RepoView| RepoLine {
        href: format!("/repos/{}", view.repo.id),
        name: view.repo.name.to_string(),
        health: Health::of(&view.stats, now),
        hosts: words::count(view.attachments.len() as u64, "host"),
    };
    let repos = listed.items.into_iter().map(line).collect();
    let frame = visitor.frame.of(Tab::Repos, "Repositories");
    page(StatusCode::OK, &Repos { frame, repos, find, searches, pager })
}

#[derive(Template)]
#[template(path = "repo.html")]
struct RepoPage {
    frame: Frame,
    id: String,
    name: String,
    /// The name for a command.
    shell_name: String,
    restic_id: Option<String>,
    created: Moment,
    /// What could not be done, and what to do about it.
    refusal: Option<(String, String)>,
    /// The name that was typed to confirm something.
    confirm: Form,
    health: Health,
    upkeep: Upkeep,
    chart: Chart,
    /// The host that does the maintenance, as it uses the repository.
    connection: Option<UserLine>,
    admin: Option<CredentialForm>,
    /// How many hosts use it.
    users: String,
    /// Those of them on this page; whoever does the maintenance comes first.
    attachments: Vec<UserLine>,
    more_users: Pager,
    jobs: Vec<JobLine>,
}

/// A host that uses the repository.
struct UserLine {
    host: String,
    href: String,
    /// The page of how it uses the repository.
    uses: String,
    role: &'static str,
    runner: bool,
    restic_host: String,
    urls: Vec<(&'static str, String)>,
    append_only: (&'static str, Option<&'static str>),
}

async fn repo(visitor: Visitor, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    show(visitor, &ask, id, Besides::default()).await
}

/// The page of a repository with what could not be done above it.
///
/// # Errors
///
/// What is no matter of this repository: it is not there, or the server failed.
pub(super) async fn refuse(visitor: Visitor, ask: &Ask, id: RepoId, error: AppError) -> Answer {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Internal) {
        return Err(error.into());
    }
    let body = error.body();
    let refusal = (words::capitalised(&body.message), words::capitalised(&body.hint.unwrap_or_default()));
    let status = upkeep::status_of(error);
    show(visitor, ask, id, Besides { status, refusal: Some(refusal), ..Besides::default() }).await
}

/// The page of a repository with a name that was asked for and not typed, at its field.
pub(super) async fn refuse_name(
    visitor: Visitor,
    ask: &Ask,
    id: RepoId,
    field: &'static str,
    typed: &str,
) -> Answer {
    let name = ask.state.app.repo(id).await?.repo.name;
    let confirm = Form::unconfirmed(field, typed, name.as_str());
    show(visitor, ask, id, Besides { status: confirm.status(), confirm, ..Besides::default() }).await
}

/// The page of a repository with what was typed of its admin credential.
pub(super) async fn with_admin_form(visitor: Visitor, ask: &Ask, id: RepoId, form: Form) -> Answer {
    let status = form.status();
    show(visitor, ask, id, Besides { status, admin: Some(form), ..Besides::default() }).await
}

/// What the page shows beside what is stored.
#[derive(Default)]
struct Besides {
    status: StatusCode,
    /// What could not be done, and what to do about it.
    refusal: Option<(String, String)>,
    /// What was typed of the admin credential.
    admin: Option<Form>,
    /// The name that was typed to confirm something.
    confirm: Form,
}

impl Besides {
    /// What is wrong with a name is told above the page where its form is not on it.
    fn with_forms_of(mut self, health: &Health, check_errors: bool) -> Self {
        for (field, is_there) in [(UNLOCK_NAME, !health.locks.is_empty()), (OVERRIDE_NAME, check_errors)] {
            if let Some(why) = self.confirm.wrong(field).filter(|_| !is_there) {
                self.refusal = Some((why.to_owned(), String::new()));
            }
        }
        self
    }
}

async fn show(visitor: Visitor, ask: &Ask, id: RepoId, besides: Besides) -> Answer {
    let app = &ask.state.app;
    let frame = visitor.frame;
    let now = frame.now;
    let overview = app.repo_overview(id).await?;
    let rows = app.store().attachments_of_repos(&[id]).await.map_err(AppError::from)?;
    let query = JobQuery { repo_id: Some(id), ..JobQuery::default() };
    let jobs = app.jobs(&query, &ListQuery { limit: Some(BEGUN), cursor: None }).await?.items;
    let fields = Fields::parse(ask.query_text().as_bytes());
    let days = chart::days(fields.text("days"));
    let history = app.stats_history(id, Some(days)).await?.items;
    let health = Health::of(&overview.stats, now);
    let besides = besides.with_forms_of(&health, overview.check_errors);
    let upkeep = Upkeep::of(&overview, &frame).confirming(besides.confirm.clone());
    let admin = Credentials::admin(&overview, &frame, besides.admin);
    let repo = overview.repo;
    let runs = |row: &&AttachmentRow| upkeep.is_run_by(row.attachment.host_id);
    let connection = rows.iter().find(runs).cloned().map(|row| user_line(row, true));
    let users = words::count(rows.len() as u64, "host");
    let from = fields.text("from").parse().unwrap_or(0);
    let (attachments, more_users) = users_from(rows, from, id, |row| runs(&row));
    page(
        besides.status,
        &RepoPage {
            id: id.to_string(),
            name: repo.name.to_string(),
            shell_name: words::quoted(repo.name.as_str()),
            restic_id: repo.restic_id.as_ref().map(ToString::to_string),
            created: Moment::new(repo.created_at, now),
            refusal: besides.refusal,
            confirm: besides.confirm,
            health,
            chart: Chart::new(&history, days, &format!("/repos/{id}"), now),
            connection,
            admin,
            users,
            attachments,
            more_users,
            jobs: jobs.iter().map(|view| JobLine::new(view, now)).collect(),
            frame: frame.of(Tab::Repos, repo.name.to_string()),
            upkeep,
        },
    )
}

/// The hosts of one page, from that place on, and where the others are.
fn users_from(
    mut rows: Vec<AttachmentRow>,
    from: usize,
    id: RepoId,
    runs: impl Fn(&AttachmentRow) -> bool,
) -> (Vec<UserLine>, Pager) {
    let from = if from < rows.len() { from } else { 0 };
    let next = from + ROWS as usize;
    let place = |from: usize| format!("/repos/{id}?from={from}#hosts");
    let pager = Pager {
        first: (from > 0).then(|| format!("/repos/{id}#hosts")),
        next: (next < rows.len()).then(|| place(next)),
    };
    // The others keep their order, by name.
    rows.sort_by_key(|row| !runs(row));
    let line = |row: AttachmentRow| {
        let runs = runs(&row);
        user_line(row, runs)
    };
    (rows.into_iter().skip(from).take(ROWS as usize).map(line).collect(), pager)
}

/// Asks for the repository to be measured, and leads to the job that does it.
async fn measure(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let accepted = ask.state.app.ask_stats(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{}", accepted.job_id)))
}

fn user_line(row: AttachmentRow, runner: bool) -> UserLine {
    let attachment = row.attachment;
    UserLine {
        host: row.host_name.to_string(),
        href: format!("/hosts/{}", attachment.host_id),
        uses: format!("/hosts/{}/attachments/{}", attachment.host_id, attachment.repo_id),
        role: role(attachment.role),
        runner,
        restic_host: attachment.restic_host.to_string(),
        urls: super::host::urls(row.credentials),
        append_only: append_only(attachment.append_only),
    }
}
