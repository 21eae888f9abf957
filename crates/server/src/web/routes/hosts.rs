//! Hosts.

use restic_manager_core::api::{HostPatch, HostView, Page, Presence, SnapshotView};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::text::Tag;
use serde::Deserialize;

use super::super::answer::{no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use crate::app::{HostQuery, ListQuery};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_change, _>(change),
        Route::user::<__path_delete, _>(delete),
        Route::user::<__path_snapshots, _>(snapshots),
    ]
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct HostParams {
    /// Part of the name, in any case.
    q: Option<String>,
    /// Carries this label.
    tag: Option<Tag>,
    /// In contact or not.
    state: Option<Presence>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Hosts by name.
#[utoipa::path(get, path = "/api/hosts", operation_id = "list_hosts", tag = "hosts", params(HostParams),
    responses((status = 200, description = "A page; it may be shorter than asked for.", body = Page<HostView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let HostParams { q, tag, state, limit, cursor } = ask.query()?;
    Ok(ok(&ask.state.app.hosts(&HostQuery { q, tag, state }, &ListQuery { limit, cursor }).await?))
}

/// A host.
#[utoipa::path(get, path = "/api/hosts/{id}", operation_id = "show_host", tag = "hosts",
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The host.", body = HostView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    Ok(ok(&ask.state.app.host(id).await?))
}

/// Renames a host, labels it, limits its bandwidth; what is not given stays.
#[utoipa::path(patch, path = "/api/hosts/{id}", operation_id = "change_host", tag = "hosts", request_body = HostPatch,
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The host as it is then.", body = HostView)))]
async fn change(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let patch: HostPatch = ask.json().await?;
    Ok(ok(&ask.state.app.change_host(&user.caller, id, patch).await?))
}

/// Deletes a host; its jobs stay readable, and nothing in any repository is touched.
#[utoipa::path(delete, path = "/api/hosts/{id}", operation_id = "delete_host", tag = "hosts",
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 204, description = "Deleted.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    ask.state.app.delete_host(&user.caller, id).await?;
    Ok(no_content())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SnapshotParams {
    /// In this repository.
    repo_id: Option<RepoId>,
    /// With the tag of this source group.
    group_id: Option<GroupId>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Snapshots of a host, newest first, as its agent last listed them.
#[utoipa::path(get, path = "/api/hosts/{id}/snapshots", operation_id = "list_snapshots", tag = "hosts",
    params(("id" = HostId, Path, description = "The host."), SnapshotParams),
    responses((status = 200, description = "A page.", body = Page<SnapshotView>)))]
async fn snapshots(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let SnapshotParams { repo_id, group_id, limit, cursor } = ask.query()?;
    Ok(ok(&ask.state.app.snapshots(id, repo_id, group_id, &ListQuery { limit, cursor }).await?))
}
