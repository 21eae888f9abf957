//! Repositories.

use http::StatusCode;
use restic_manager_core::api::{Accepted, Page, RepoPatch, RepoView, RepoWrite};
use restic_manager_core::id::RepoId;
use serde::Deserialize;

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use crate::app::{ListQuery, RepoQuery};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_create, _>(create),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_change, _>(change),
        Route::user::<__path_delete, _>(delete),
        Route::user::<__path_stats, _>(stats),
    ]
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct RepoParams {
    /// Part of the name, in any case.
    q: Option<String>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Repositories by name.
#[utoipa::path(get, path = "/api/repos", operation_id = "list_repos", tag = "repos", params(RepoParams),
    responses((status = 200, description = "A page.", body = Page<RepoView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let RepoParams { q, limit, cursor } = ask.query()?;
    Ok(ok(&ask.state.app.repos(&RepoQuery { q }, &ListQuery { limit, cursor }).await?))
}

/// Makes a repository known; restic makes it when the first host is attached.
#[utoipa::path(post, path = "/api/repos", operation_id = "create_repo", tag = "repos", request_body = RepoWrite,
    responses((status = 201, description = "Made.", body = RepoView)))]
async fn create(user: User, mut ask: Ask) -> Answer {
    let write: RepoWrite = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.app.create_repo(&user.caller, write).await?))
}

/// A repository.
#[utoipa::path(get, path = "/api/repos/{id}", operation_id = "show_repo", tag = "repos",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The repository.", body = RepoView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    Ok(ok(&ask.state.app.repo(id).await?))
}

/// Renames a repository, or names the runner of its maintenance; what is not given stays.
#[utoipa::path(patch, path = "/api/repos/{id}", operation_id = "change_repo", tag = "repos", request_body = RepoPatch,
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The repository as it is then.", body = RepoView)))]
async fn change(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    let patch: RepoPatch = ask.json().await?;
    Ok(ok(&ask.state.app.change_repo(&user.caller, id, patch).await?))
}

/// Forgets a repository that no host is attached to; what lies in it is not touched.
#[utoipa::path(delete, path = "/api/repos/{id}", operation_id = "delete_repo", tag = "repos",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 204, description = "Forgotten.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    ask.state.app.delete_repo(&user.caller, id).await?;
    Ok(no_content())
}

/// Asks for the repository to be measured and its snapshots to be listed.
#[utoipa::path(post, path = "/api/repos/{id}/stats", operation_id = "ask_repo_stats", tag = "repos",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn stats(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    Ok(json(StatusCode::ACCEPTED, &ask.state.app.ask_stats(&user.caller, id).await?))
}
