//! Source groups: what is backed up.

use http::StatusCode;
use restic_manager_core::api::{Accepted, Page, SourceGroupWrite};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::model::SourceGroup;
use serde::{Deserialize, Serialize};

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::{NoBody, PageParams};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_create, _>(create),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_replace, _>(replace),
        Route::user::<__path_delete, _>(delete),
        Route::user::<__path_run, _>(run),
    ]
}

/// The jobs that were asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::web) struct AcceptedJobs {
    /// One a repository.
    jobs: Vec<Accepted>,
}

/// The source groups of a host.
#[utoipa::path(get, path = "/api/hosts/{id}/source-groups", operation_id = "list_source_groups", tag = "source groups",
    params(("id" = HostId, Path, description = "The host."), PageParams),
    responses((status = 200, description = "A page.", body = Page<SourceGroup>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let list = ask.query::<PageParams>()?.into();
    Ok(ok(&ask.state.app.groups(id, &list).await?))
}

/// Makes a source group; the plan reaches a connected agent at once.
#[utoipa::path(post, path = "/api/hosts/{id}/source-groups", operation_id = "create_source_group", tag = "source groups",
    request_body = SourceGroupWrite,
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 201, description = "Made.", body = SourceGroup)))]
async fn create(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let write: SourceGroupWrite = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.app.create_group(&user.caller, id, write).await?))
}

/// A source group.
#[utoipa::path(get, path = "/api/hosts/{id}/source-groups/{gid}", operation_id = "show_source_group",
    tag = "source groups",
    params(("id" = HostId, Path, description = "The host."), ("gid" = GroupId, Path, description = "The group.")),
    responses((status = 200, description = "The group.", body = SourceGroup)))]
async fn show(_: User, ask: Ask) -> Answer {
    let (id, gid) = (ask.id("id", "host")?, ask.id("gid", "source group")?);
    Ok(ok(&ask.state.app.group(id, gid).await?))
}

/// Replaces all of a source group but its tag.
#[utoipa::path(put, path = "/api/hosts/{id}/source-groups/{gid}", operation_id = "replace_source_group",
    tag = "source groups", request_body = SourceGroupWrite,
    params(("id" = HostId, Path, description = "The host."), ("gid" = GroupId, Path, description = "The group.")),
    responses((status = 200, description = "The group as it is then.", body = SourceGroup)))]
async fn replace(user: User, mut ask: Ask) -> Answer {
    let (id, gid) = (ask.id("id", "host")?, ask.id("gid", "source group")?);
    let write: SourceGroupWrite = ask.json().await?;
    Ok(ok(&ask.state.app.replace_group(&user.caller, id, gid, write).await?))
}

/// Deletes a source group that no schedule uses; its snapshots stay.
#[utoipa::path(delete, path = "/api/hosts/{id}/source-groups/{gid}", operation_id = "delete_source_group",
    tag = "source groups",
    params(("id" = HostId, Path, description = "The host."), ("gid" = GroupId, Path, description = "The group.")),
    responses((status = 204, description = "Deleted.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let (id, gid) = (ask.id("id", "host")?, ask.id("gid", "source group")?);
    ask.state.app.delete_group(&user.caller, id, gid).await?;
    Ok(no_content())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct RunParams {
    /// To this repository; to all the host backs up to when not given.
    repo_id: Option<RepoId>,
}

/// Backs up a source group now.
#[utoipa::path(post, path = "/api/hosts/{id}/source-groups/{gid}/run", operation_id = "run_source_group",
    tag = "source groups",
    params(
        ("id" = HostId, Path, description = "The host."),
        ("gid" = GroupId, Path, description = "The group."),
        RunParams,
    ),
    responses((status = 202, description = "The jobs that do it.", body = AcceptedJobs)))]
async fn run(user: User, mut ask: Ask) -> Answer {
    let NoBody {} = ask.json_or_default().await?;
    let (id, gid) = (ask.id("id", "host")?, ask.id("gid", "source group")?);
    let RunParams { repo_id } = ask.query()?;
    let jobs = ask.state.app.run_group(&user.caller, id, gid, repo_id).await?;
    Ok(json(StatusCode::ACCEPTED, &AcceptedJobs { jobs }))
}
