//! Repositories: how large, how sound, and who uses them.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::RepoView;
use restic_manager_core::id::RepoId;
use restic_manager_core::model::{LockOwner, RepoStats, SeenLock, StatsKind};
use restic_manager_core::time::Timestamp;
use restic_manager_store::AttachmentRow;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::host::{append_only, role};
use super::parts::{JobLine, Mark, Moment, Pager};
use super::table::{Route, act, look};
use super::{ROWS, page, see_other, words};
use crate::app::{JobQuery, ListQuery};

/// Rows of the list of jobs, which is only begun here.
const BEGUN: u32 = 10;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/repos", repos), look("/repos/{id}", repo), act("/repos/{id}/stats", measure)]
}

#[derive(Template)]
#[template(path = "repos.html")]
struct Repos {
    frame: Frame,
    repos: Vec<RepoLine>,
    pager: Pager,
}

struct RepoLine {
    href: String,
    name: String,
    health: Health,
    hosts: String,
}

/// What is known of a repository.
struct Health {
    size: Option<String>,
    size_note: &'static str,
    uncompressed: Option<String>,
    snapshots: Option<String>,
    measured: Option<Moment>,
    check: Option<Mark>,
    checked: Option<Moment>,
    check_read: Option<String>,
    pruned: Moment,
    locks: Vec<LockLine>,
    locks_seen: Option<Moment>,
}

struct LockLine {
    holder: String,
    exclusive: bool,
    since: Moment,
    owner: &'static str,
}

async fn repos(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = ask.state.app.repos(&list).await?;
    let pager = pager("/repos", &[], list.cursor.is_some(), listed.next_cursor.as_deref());
    let now = visitor.frame.now;
    let line = |view: RepoView| RepoLine {
        href: format!("/repos/{}", view.repo.id),
        name: view.repo.name.to_string(),
        health: health(&view.stats, now),
        hosts: words::count(view.attachments.len() as u64, "host"),
    };
    let repos = listed.items.into_iter().map(line).collect();
    page(StatusCode::OK, &Repos { frame: visitor.frame.of(Tab::Repos, "Repositories"), repos, pager })
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
    health: Health,
    attachments: Vec<UserLine>,
    jobs: Vec<JobLine>,
}

/// A host that uses the repository.
struct UserLine {
    host: String,
    href: String,
    role: &'static str,
    runner: bool,
    restic_host: String,
    urls: Vec<(&'static str, String)>,
    append_only: &'static str,
}

async fn repo(visitor: Visitor, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let app = &ask.state.app;
    let now = visitor.frame.now;
    let view = app.repo(id).await?;
    let rows = app.store().attachments_of_repos(&[id]).await.map_err(crate::app::AppError::from)?;
    let query = JobQuery { repo_id: Some(id), ..JobQuery::default() };
    let jobs = app.jobs(&query, &ListQuery { limit: Some(BEGUN), cursor: None }).await?.items;
    let runner = view.repo.runner;
    page(
        StatusCode::OK,
        &RepoPage {
            id: id.to_string(),
            name: view.repo.name.to_string(),
            shell_name: words::quoted(view.repo.name.as_str()),
            restic_id: view.repo.restic_id.as_ref().map(ToString::to_string),
            created: Moment::new(view.repo.created_at, now),
            health: health(&view.stats, now),
            attachments: rows.into_iter().map(|row| user_line(row, runner)).collect(),
            jobs: jobs.iter().map(|view| JobLine::new(view, now)).collect(),
            frame: visitor.frame.of(Tab::Repos, view.repo.name.to_string()),
        },
    )
}

/// Asks for the repository to be measured, and leads to the job that does it.
async fn measure(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: RepoId = ask.id("id", "repository")?;
    let accepted = ask.state.app.ask_stats(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{}", accepted.job_id)))
}

fn health(stats: &RepoStats, now: Timestamp) -> Health {
    Health {
        size: stats.total_size_bytes.map(words::size),
        size_note: match stats.size_kind {
            Some(StatsKind::ReferencedData) => "referenced data",
            Some(StatsKind::AfterPrune) => "all that is stored",
            None => "",
        },
        uncompressed: stats.uncompressed_bytes.map(words::size),
        snapshots: stats.snapshot_count.map(words::number),
        measured: stats.measured_at.map(|at| Moment::new(at, now)),
        check: stats.last_check.map(Mark::check),
        checked: stats.last_check_at.map(|at| Moment::new(at, now)),
        check_read: stats.last_check_subset_pct.map(|percent| match percent {
            0 => "structure only".to_owned(),
            percent => format!("read {percent} % of the data"),
        }),
        pruned: Moment::or(stats.last_prune_at, now, "never"),
        locks: stats.locks.iter().flatten().map(|lock| lock_line(lock, now)).collect(),
        locks_seen: stats.locks_seen_at.map(|at| Moment::new(at, now)),
    }
}

fn lock_line(lock: &SeenLock, now: Timestamp) -> LockLine {
    LockLine {
        holder: format!("{}@{}, process {}", lock.username, lock.hostname, lock.pid),
        exclusive: lock.exclusive,
        since: Moment::new(lock.time, now),
        owner: match lock.owner {
            LockOwner::EndedRun => "of a run of ours that is over: stale",
            LockOwner::LiveRun => "of a run of ours that goes on",
            LockOwner::Unknown => "not of a run known here",
        },
    }
}

fn user_line(row: AttachmentRow, runner: Option<restic_manager_core::id::AttachmentId>) -> UserLine {
    let attachment = row.attachment;
    UserLine {
        host: row.host_name.to_string(),
        href: format!("/hosts/{}", attachment.host_id),
        role: role(attachment.role),
        runner: runner == Some(attachment.id),
        restic_host: attachment.restic_host.to_string(),
        urls: super::host::urls(row.credentials),
        append_only: append_only(attachment.append_only),
    }
}
