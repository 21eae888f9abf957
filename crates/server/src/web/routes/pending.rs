//! Pending runs.

use http::StatusCode;
use restic_manager_core::api::{Accepted, Page, PendingRunView};
use restic_manager_core::id::{HostId, RepoId, RunId};
use serde::Deserialize;

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::NoBody;
use crate::app::ListQuery;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_drop_run, _>(drop_run),
        Route::user::<__path_run_now, _>(run_now),
    ]
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PendingParams {
    /// Of this host.
    host_id: Option<HostId>,
    /// On this repository; not looked at where a host is named.
    repo_id: Option<RepoId>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Runs that owe an attempt, newest first.
#[utoipa::path(get, path = "/api/pending-runs", operation_id = "list_pending_runs", tag = "jobs", params(PendingParams),
    responses((status = 200, description = "A page.", body = Page<PendingRunView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let PendingParams { host_id, repo_id, limit, cursor } = ask.query()?;
    Ok(ok(&ask.state.app.pending_runs(host_id, repo_id, &ListQuery { limit, cursor }).await?))
}

/// A run that owes an attempt.
#[utoipa::path(get, path = "/api/pending-runs/{id}", operation_id = "show_pending_run", tag = "jobs",
    params(("id" = RunId, Path, description = "The run.")),
    responses((status = 200, description = "The run.", body = PendingRunView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "pending run")?;
    Ok(ok(&ask.state.app.pending_run(id).await?))
}

/// Gives a pending run up: nothing is tried again for its slot.
#[utoipa::path(delete, path = "/api/pending-runs/{id}", operation_id = "drop_pending_run", tag = "jobs",
    params(("id" = RunId, Path, description = "The run.")),
    responses((status = 204, description = "It is abandoned.")))]
async fn drop_run(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "pending run")?;
    ask.state.app.drop_pending(&user.caller, id).await?;
    Ok(no_content())
}

/// Makes the attempt that a pending run owes now.
#[utoipa::path(post, path = "/api/pending-runs/{id}/run", operation_id = "run_pending_run", tag = "jobs",
    params(("id" = RunId, Path, description = "The run.")),
    responses((status = 202, description = "The job of the attempt.", body = Accepted)))]
async fn run_now(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "pending run")?;
    let NoBody {} = ask.json_or_default().await?;
    Ok(json(StatusCode::ACCEPTED, &ask.state.app.run_pending(&user.caller, id).await?))
}
