//! The admin credential of a repository, which only its runner gets.

use http::header::{HeaderName, HeaderValue};
use restic_manager_core::api::{AdminCredentialView, CredentialWrite};
use restic_manager_core::id::{HostId, RepoId};
use warp::reply::Response;

use super::super::answer::{no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use crate::app::AdminCredentialWritten;

/// Says that a write had nothing in it and changed nothing.
const UNCHANGED: HeaderName = HeaderName::from_static("x-unchanged");

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_show, _>(show),
        Route::user::<__path_put, _>(put),
        Route::user::<__path_delete, _>(delete),
        Route::user::<__path_show_of_host, _>(show_of_host),
        Route::user::<__path_put_of_host, _>(put_of_host),
        Route::user::<__path_delete_of_host, _>(delete_of_host),
    ]
}

/// What may be shown of the admin credential of a repository, and the host that gets it.
#[utoipa::path(get, path = "/api/repos/{id}/admin-credentials", operation_id = "show_repo_admin_credential",
    tag = "maintenance", params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The credential.", body = AdminCredentialView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    Ok(ok(&ask.state.app.admin_credential(id).await?))
}

/// Sets the admin credential of a repository: all of it. It reaches the runner at once where that keeps it, else before each job that
/// needs it. A write with nothing in it changes nothing and answers with the header `x-unchanged`.
#[utoipa::path(put, path = "/api/repos/{id}/admin-credentials", operation_id = "put_repo_admin_credential",
    tag = "maintenance", request_body = CredentialWrite, params(("id" = RepoId, Path, description = "The repository.")),
    responses(
        (status = 200, description = "The credential as it is then.", body = AdminCredentialView),
        (status = 204, description = "There was nothing in it, and there is no credential."),
    ))]
async fn put(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    let write: CredentialWrite = ask.json().await?;
    Ok(written(&ask.state.app.put_admin_credential(&user.caller, id, write).await?))
}

/// Deletes the admin credential of a repository, here and on its runner.
#[utoipa::path(delete, path = "/api/repos/{id}/admin-credentials", operation_id = "delete_repo_admin_credential",
    tag = "maintenance", params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 204, description = "There is none.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    ask.state.app.delete_admin_credential(&user.caller, id).await?;
    Ok(no_content())
}

/// The admin credential of a host's primary repository. It belongs to the runner of that, which may be another host: the answer names it.
#[utoipa::path(get, path = "/api/hosts/{id}/admin-credentials", operation_id = "show_host_admin_credential",
    tag = "maintenance", params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The credential.", body = AdminCredentialView)))]
async fn show_of_host(_: User, ask: Ask) -> Answer {
    let id = primary(&ask).await?;
    Ok(ok(&ask.state.app.admin_credential(id).await?))
}

/// Sets the admin credential of a host's primary repository, as for the repository itself.
#[utoipa::path(put, path = "/api/hosts/{id}/admin-credentials", operation_id = "put_host_admin_credential",
    tag = "maintenance", request_body = CredentialWrite, params(("id" = HostId, Path, description = "The host.")),
    responses(
        (status = 200, description = "The credential as it is then.", body = AdminCredentialView),
        (status = 204, description = "There was nothing in it, and there is no credential."),
    ))]
async fn put_of_host(user: User, mut ask: Ask) -> Answer {
    let id = primary(&ask).await?;
    let write: CredentialWrite = ask.json().await?;
    Ok(written(&ask.state.app.put_admin_credential(&user.caller, id, write).await?))
}

/// Deletes the admin credential of a host's primary repository, here and on its runner.
#[utoipa::path(delete, path = "/api/hosts/{id}/admin-credentials", operation_id = "delete_host_admin_credential",
    tag = "maintenance", params(("id" = HostId, Path, description = "The host.")),
    responses((status = 204, description = "There is none.")))]
async fn delete_of_host(user: User, ask: Ask) -> Answer {
    let id = primary(&ask).await?;
    ask.state.app.delete_admin_credential(&user.caller, id).await?;
    Ok(no_content())
}

async fn primary(ask: &Ask) -> Result<RepoId, super::super::answer::Refusal> {
    let host_id: HostId = ask.id("id", "host")?;
    Ok(ask.state.app.primary_repo(host_id).await?)
}

fn written(outcome: &AdminCredentialWritten) -> Response {
    match outcome {
        AdminCredentialWritten::Changed(view) => ok(view),
        AdminCredentialWritten::Unchanged(view) => {
            let mut response = view.as_ref().map_or_else(no_content, ok);
            response.headers_mut().insert(UNCHANGED, HeaderValue::from_static("true"));
            response
        }
    }
}
