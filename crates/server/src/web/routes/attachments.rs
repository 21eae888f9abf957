//! Attachments of hosts to repositories, and their credentials.

use restic_manager_core::api::{AttachmentView, AttachmentWrite, Page, PrimaryCredentialWrite};
use restic_manager_core::id::{HostId, RepoId};

use super::super::answer::{no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::PageParams;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_put, _>(put),
        Route::user::<__path_delete, _>(delete),
        Route::user::<__path_put_primary, _>(put_primary),
    ]
}

/// The attachments of a host: primary first.
#[utoipa::path(get, path = "/api/hosts/{id}/attachments", operation_id = "list_attachments", tag = "attachments",
    params(("id" = HostId, Path, description = "The host."), PageParams),
    responses((status = 200, description = "A page.", body = Page<AttachmentView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let list = ask.query::<PageParams>()?.into();
    Ok(ok(&ask.state.app.attachments(id, &list).await?))
}

/// The attachment of a host to a repository; of its credentials only what may be shown.
#[utoipa::path(get, path = "/api/hosts/{id}/attachments/{repo_id}", operation_id = "show_attachment", tag = "attachments",
    params(("id" = HostId, Path, description = "The host."), ("repo_id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The attachment.", body = AttachmentView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let (id, repo_id) = (ask.id("id", "host")?, ask.id("repo_id", "repository")?);
    Ok(ok(&ask.state.app.attachment(id, repo_id).await?))
}

/// Attaches a host to a repository, or changes how it is attached. A new credential reaches the agent at once.
#[utoipa::path(put, path = "/api/hosts/{id}/attachments/{repo_id}", operation_id = "put_attachment", tag = "attachments",
    request_body = AttachmentWrite,
    params(("id" = HostId, Path, description = "The host."), ("repo_id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The attachment as it is then.", body = AttachmentView)))]
async fn put(user: User, mut ask: Ask) -> Answer {
    let (id, repo_id) = (ask.id("id", "host")?, ask.id("repo_id", "repository")?);
    let write: AttachmentWrite = ask.json().await?;
    Ok(ok(&ask.state.app.put_attachment(&user.caller, id, repo_id, write).await?))
}

/// Detaches a host from a repository; its snapshots stay there.
#[utoipa::path(delete, path = "/api/hosts/{id}/attachments/{repo_id}", operation_id = "delete_attachment",
    tag = "attachments",
    params(("id" = HostId, Path, description = "The host."), ("repo_id" = RepoId, Path, description = "The repository.")),
    responses((status = 204, description = "Detached.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let (id, repo_id) = (ask.id("id", "host")?, ask.id("repo_id", "repository")?);
    ask.state.app.delete_attachment(&user.caller, id, repo_id).await?;
    Ok(no_content())
}

/// Sets the everyday credential of a host's primary repository; without one, the repository is made.
#[utoipa::path(put, path = "/api/hosts/{id}/repo-credentials", operation_id = "put_primary_credential",
    tag = "attachments", request_body = PrimaryCredentialWrite,
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The primary attachment as it is then.", body = AttachmentView)))]
async fn put_primary(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let write: PrimaryCredentialWrite = ask.json().await?;
    Ok(ok(&ask.state.app.put_primary_credential(&user.caller, id, write).await?))
}
