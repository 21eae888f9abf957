//! Schedules: when it is backed up.

use http::StatusCode;
use restic_manager_core::api::{Page, ScheduleView, ScheduleWrite};
use restic_manager_core::id::{HostId, ScheduleId};

use super::super::answer::{json, no_content, ok};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use super::PageParams;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_list, _>(list),
        Route::user::<__path_create, _>(create),
        Route::user::<__path_show, _>(show),
        Route::user::<__path_replace, _>(replace),
        Route::user::<__path_delete, _>(delete),
    ]
}

/// The schedules of a host.
#[utoipa::path(get, path = "/api/hosts/{id}/schedules", operation_id = "list_schedules", tag = "schedules",
    params(("id" = HostId, Path, description = "The host."), PageParams),
    responses((status = 200, description = "A page.", body = Page<ScheduleView>)))]
async fn list(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let list = ask.query::<PageParams>()?.into();
    Ok(ok(&ask.state.app.schedules(id, &list).await?))
}

/// Makes a schedule; the plan reaches a connected agent at once.
#[utoipa::path(post, path = "/api/hosts/{id}/schedules", operation_id = "create_schedule", tag = "schedules",
    request_body = ScheduleWrite,
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 201, description = "Made.", body = ScheduleView)))]
async fn create(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "host")?;
    let write: ScheduleWrite = ask.json().await?;
    Ok(json(StatusCode::CREATED, &ask.state.app.create_schedule(&user.caller, id, write).await?))
}

/// A schedule with its next slots.
#[utoipa::path(get, path = "/api/hosts/{id}/schedules/{sid}", operation_id = "show_schedule", tag = "schedules",
    params(("id" = HostId, Path, description = "The host."), ("sid" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule.", body = ScheduleView)))]
async fn show(_: User, ask: Ask) -> Answer {
    let (id, sid) = (ask.id("id", "host")?, ask.id("sid", "schedule")?);
    Ok(ok(&ask.state.app.schedule(id, sid).await?))
}

/// Replaces all of a schedule.
#[utoipa::path(put, path = "/api/hosts/{id}/schedules/{sid}", operation_id = "replace_schedule", tag = "schedules",
    request_body = ScheduleWrite,
    params(("id" = HostId, Path, description = "The host."), ("sid" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is then.", body = ScheduleView)))]
async fn replace(user: User, mut ask: Ask) -> Answer {
    let (id, sid) = (ask.id("id", "host")?, ask.id("sid", "schedule")?);
    let write: ScheduleWrite = ask.json().await?;
    Ok(ok(&ask.state.app.replace_schedule(&user.caller, id, sid, write).await?))
}

/// Deletes a schedule.
#[utoipa::path(delete, path = "/api/hosts/{id}/schedules/{sid}", operation_id = "delete_schedule", tag = "schedules",
    params(("id" = HostId, Path, description = "The host."), ("sid" = ScheduleId, Path, description = "The schedule.")),
    responses((status = 204, description = "Deleted.")))]
async fn delete(user: User, ask: Ask) -> Answer {
    let (id, sid) = (ask.id("id", "host")?, ask.id("sid", "schedule")?);
    ask.state.app.delete_schedule(&user.caller, id, sid).await?;
    Ok(no_content())
}
