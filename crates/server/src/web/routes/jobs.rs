//! Jobs: looking at them, their logs, stopping them.

use http::StatusCode;
use restic_manager_core::api::{Accepted, JobEventView, JobView, Page};
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId};
use restic_manager_core::model::{JobKind, JobState, LogLine};
use restic_manager_core::time::Timestamp;
use serde::Deserialize;

use super::super::answer::{json, ok};
use super::super::ask::Ask;
use super::super::guard::{self, User};
use super::super::socket;
use super::super::table::{Answer, Route};
use super::{NoBody, follow, log};
use crate::app::{AppError, JobQuery, ListQuery};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_log_txt, _>(log_txt),
        Route::user::<__path_log_ndjson, _>(log_ndjson),
        Route::user::<__path_stream, _>(stream),
        Route::user::<__path_cancel, _>(cancel),
        Route::user::<__path_give_up, _>(give_up),
        Route::user::<__path_rerun, _>(rerun),
    ]
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct JobParams {
    /// Of this host.
    host_id: Option<HostId>,
    /// On this repository.
    repo_id: Option<RepoId>,
    /// Of this source group.
    group_id: Option<GroupId>,
    /// Of this kind.
    kind: Option<JobKind>,
    /// In one of these states, separated by commas.
    #[param(example = "queued,running")]
    state: Option<String>,
    /// Asked for at or after this instant.
    since: Option<Timestamp>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/jobs", operation_id = "list_jobs", tag = "jobs", params(JobParams),
    responses((status = 200, description = "A page.", body = Page<JobView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let JobParams { host_id, repo_id, group_id, kind, state, since, limit, cursor } = ask.query()?;
    let states = states(state.as_deref().unwrap_or(""))?;
    let query = JobQuery { host_id, repo_id, group_id, kind, states, since, before: None };
    Ok(ok(&ask.state.app.jobs(&query, &ListQuery { limit, cursor }).await?))
}

/// A job.
#[utoipa::path(get, path = "/api/jobs/{id}", operation_id = "show_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "job")?;
    Ok(ok(&ask.state.app.job(id).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct FromParams {
    /// From the line with this number on; from the first when not given.
    from: Option<u64>,
}

/// A job's log as text, as far as it goes.
#[utoipa::path(get, path = "/api/jobs/{id}/log.txt", operation_id = "job_log_text", tag = "jobs",
    params(("id" = JobId, Path, description = "The job."), FromParams),
    responses((status = 200, description = "One line a line.", body = String, content_type = "text/plain; charset=utf-8")))]
async fn log_txt(_: User, ask: Ask) -> Answer {
    let (id, FromParams { from }) = (ask.id("id", "job")?, ask.query()?);
    log::download(&ask.state, id, from.unwrap_or(0), log::Form::Text).await
}

/// A job's log as JSON, as far as it goes.
#[utoipa::path(get, path = "/api/jobs/{id}/log.ndjson", operation_id = "job_log_ndjson", tag = "jobs",
    params(("id" = JobId, Path, description = "The job."), FromParams),
    responses((status = 200, description = "One JSON object a line.", body = LogLine, content_type = "application/x-ndjson")))]
async fn log_ndjson(_: User, ask: Ask) -> Answer {
    let (id, FromParams { from }) = (ask.id("id", "job")?, ask.query()?);
    log::download(&ask.state, id, from.unwrap_or(0), log::Form::Ndjson).await
}

/// Follows a job over a WebSocket: where it stands, its log so far and as it grows, its progress, its end. One JSON text a
/// message.
#[utoipa::path(get, path = "/api/jobs/{id}/stream", operation_id = "follow_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job."), FromParams),
    responses(
        (status = 101, description = "The WebSocket is open; its messages are of this shape.", body = JobEventView),
    ))]
async fn stream(_: User, mut ask: Ask) -> Answer {
    guard::refuse_foreign(&ask)?;
    let (id, FromParams { from }) = (ask.id("id", "job")?, ask.query()?);
    // What does not exist is told before the protocol changes.
    ask.state.app.job(id).await?;
    let (response, upgrade) = socket::accept(&mut ask)?;
    tokio::spawn(follow::follow(ask.state, id, from.unwrap_or(0), upgrade));
    Ok(response)
}

/// Asks for a job to be stopped. One that runs is told; one that waits is over at once.
#[utoipa::path(post, path = "/api/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 202, description = "Where the job stands.", body = Accepted)))]
async fn cancel(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "job")?;
    let NoBody {} = ask.json_or_default().await?;
    Ok(json(StatusCode::ACCEPTED, &ask.state.app.cancel_job(&user.caller, id).await?))
}

/// Gives up a job whose host is out of contact: it is lost and holds no place any more.
#[utoipa::path(post, path = "/api/jobs/{id}/give-up", operation_id = "give_up_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "Where the job stands.", body = Accepted)))]
async fn give_up(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "job")?;
    let NoBody {} = ask.json_or_default().await?;
    Ok(ok(&ask.state.app.give_up_job(&user.caller, id).await?))
}

/// Asks once more for what an init, a backup, a forget, a prune, a check or a measurement that is over was to do, with what is set now.
#[utoipa::path(post, path = "/api/jobs/{id}/rerun", operation_id = "rerun_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job that is over.")),
    responses((status = 202, description = "The new job; the one that waits already when there is one.", body = Accepted)))]
async fn rerun(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "job")?;
    let NoBody {} = ask.json_or_default().await?;
    Ok(json(StatusCode::ACCEPTED, &ask.state.app.rerun_job(&user.caller, id).await?))
}

fn states(list: &str) -> Result<Vec<JobState>, AppError> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(state).collect()
}

fn state(name: &str) -> Result<JobState, AppError> {
    JobState::from_name(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let known: Vec<&str> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        AppError::invalid("state", format!("`{shown}` is no state of a job"))
            .hint(format!("known: {}", known.join(", ")))
    })
}
