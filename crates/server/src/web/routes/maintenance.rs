//! Maintenance of repositories: asked for by hand, set, explained.

use std::num::IntErrorKind;

use http::StatusCode;
use restic_manager_core::api::{Accepted, Page, StatsDay, UnlockRequest, WhyView};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::maintenance::MaintenanceSettings;
use serde::Deserialize;

use super::super::answer::{Refusal, json, ok, started};
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use crate::app::MaintenanceAsk;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::user::<__path_forget, _>(forget),
        Route::user::<__path_prune, _>(prune),
        Route::user::<__path_check, _>(check),
        Route::user::<__path_unlock, _>(unlock),
        Route::user::<__path_forget_of_host, _>(forget_of_host),
        Route::user::<__path_prune_of_host, _>(prune_of_host),
        Route::user::<__path_check_of_host, _>(check_of_host),
        Route::user::<__path_unlock_of_host, _>(unlock_of_host),
        Route::user::<__path_preview, _>(preview),
        Route::user::<__path_settings, _>(settings),
        Route::user::<__path_put_settings, _>(put_settings),
        Route::user::<__path_settings_of_host, _>(settings_of_host),
        Route::user::<__path_put_settings_of_host, _>(put_settings_of_host),
        Route::user::<__path_why, _>(why),
        Route::user::<__path_override_check, _>(override_check),
        Route::user::<__path_history, _>(history),
    ]
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CheckParams {
    /// How much of the data it reads, in percent; beyond 0 and 100 the nearest of them, as it is set when it is no number.
    subset: Option<String>,
}

/// Forgets snapshots of a repository by the retention policies of all source groups that back up to it.
#[utoipa::path(post, path = "/api/repos/{id}/forget", operation_id = "ask_repo_forget", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn forget(user: User, ask: Ask) -> Answer {
    let repo_id = ask.id("id", "repository")?;
    start(&user, &ask, repo_id, MaintenanceAsk::Forget).await
}

/// Removes data of a repository that no snapshot needs.
#[utoipa::path(post, path = "/api/repos/{id}/prune", operation_id = "ask_repo_prune", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn prune(user: User, ask: Ask) -> Answer {
    let repo_id = ask.id("id", "repository")?;
    start(&user, &ask, repo_id, MaintenanceAsk::Prune).await
}

/// Verifies a repository.
#[utoipa::path(post, path = "/api/repos/{id}/check", operation_id = "ask_repo_check", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository."), CheckParams),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn check(user: User, mut ask: Ask) -> Answer {
    let repo_id = ask.id("id", "repository")?;
    let subset_pct = subset(&mut ask).await?;
    start(&user, &ask, repo_id, MaintenanceAsk::Check { subset_pct }).await
}

/// Removes locks of a repository: stale ones, or all of them when its name is typed.
#[utoipa::path(post, path = "/api/repos/{id}/unlock", operation_id = "ask_repo_unlock", tag = "maintenance", request_body = UnlockRequest,
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn unlock(user: User, mut ask: Ask) -> Answer {
    let repo_id = ask.id("id", "repository")?;
    remove_locks(&user, &mut ask, repo_id, None).await
}

/// Forgets snapshots of a host's primary repository by the retention policies of all source groups that back up to it.
#[utoipa::path(post, path = "/api/hosts/{id}/repo/forget", operation_id = "ask_host_forget", tag = "maintenance",
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn forget_of_host(user: User, ask: Ask) -> Answer {
    let repo_id = primary(&ask).await?;
    start(&user, &ask, repo_id, MaintenanceAsk::Forget).await
}

/// Removes data of a host's primary repository that no snapshot needs.
#[utoipa::path(post, path = "/api/hosts/{id}/repo/prune", operation_id = "ask_host_prune", tag = "maintenance",
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn prune_of_host(user: User, ask: Ask) -> Answer {
    let repo_id = primary(&ask).await?;
    start(&user, &ask, repo_id, MaintenanceAsk::Prune).await
}

/// Verifies a host's primary repository.
#[utoipa::path(post, path = "/api/hosts/{id}/repo/check", operation_id = "ask_host_check", tag = "maintenance",
    params(("id" = HostId, Path, description = "The host."), CheckParams),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn check_of_host(user: User, mut ask: Ask) -> Answer {
    let repo_id = primary(&ask).await?;
    let subset_pct = subset(&mut ask).await?;
    start(&user, &ask, repo_id, MaintenanceAsk::Check { subset_pct }).await
}

/// Removes locks of a host's primary repository: stale ones, or all of them when its name is typed.
#[utoipa::path(post, path = "/api/hosts/{id}/repo/unlock", operation_id = "ask_host_unlock", tag = "maintenance", request_body = UnlockRequest,
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 202, description = "The job that does it.", body = Accepted)))]
async fn unlock_of_host(user: User, mut ask: Ask) -> Answer {
    let repo_id = primary(&ask).await?;
    let by = Some(ask.id("id", "host")?);
    remove_locks(&user, &mut ask, repo_id, by).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PreviewParams {
    /// In this repository; in the host's primary one when not given.
    repo_id: Option<RepoId>,
}

/// Says which snapshots the policy of a source group would forget, and why each other stays. Nothing is removed.
#[utoipa::path(post, path = "/api/hosts/{id}/source-groups/{gid}/forget-preview", operation_id = "preview_forget",
    tag = "maintenance",
    params(
        ("id" = HostId, Path, description = "The host."),
        ("gid" = GroupId, Path, description = "The group."),
        PreviewParams,
    ),
    responses((status = 202, description = "The job that does it; its summary holds the decisions.", body = Accepted)))]
async fn preview(user: User, ask: Ask) -> Answer {
    let (id, gid) = (ask.id("id", "host")?, ask.id("gid", "source group")?);
    let PreviewParams { repo_id } = ask.query()?;
    let accepted = ask.state.app.preview_forget(&user.caller, id, gid, repo_id).await?;
    Ok(started(&ask, &accepted))
}

/// When a repository is forgotten, pruned and checked, and how.
#[utoipa::path(get, path = "/api/repos/{id}/maintenance", operation_id = "show_repo_maintenance", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The settings.", body = MaintenanceSettings)))]
async fn settings(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    Ok(ok(&ask.state.app.maintenance(id).await?))
}

/// Sets when a repository is forgotten, pruned and checked. What is enabled or changed begins anew: no slot of the past fires.
#[utoipa::path(put, path = "/api/repos/{id}/maintenance", operation_id = "put_repo_maintenance", tag = "maintenance",
    request_body = MaintenanceSettings, params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The settings as they are then.", body = MaintenanceSettings)))]
async fn put_settings(user: User, mut ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    let settings: MaintenanceSettings = ask.json().await?;
    Ok(ok(&ask.state.app.put_maintenance(&user.caller, id, settings).await?))
}

/// When a host's primary repository is forgotten, pruned and checked, and how.
#[utoipa::path(get, path = "/api/hosts/{id}/repo-maintenance", operation_id = "show_host_maintenance", tag = "maintenance",
    params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The settings.", body = MaintenanceSettings)))]
async fn settings_of_host(_: User, ask: Ask) -> Answer {
    let id = primary(&ask).await?;
    Ok(ok(&ask.state.app.maintenance(id).await?))
}

/// Sets when a host's primary repository is forgotten, pruned and checked.
#[utoipa::path(put, path = "/api/hosts/{id}/repo-maintenance", operation_id = "put_host_maintenance", tag = "maintenance",
    request_body = MaintenanceSettings, params(("id" = HostId, Path, description = "The host.")),
    responses((status = 200, description = "The settings as they are then.", body = MaintenanceSettings)))]
async fn put_settings_of_host(user: User, mut ask: Ask) -> Answer {
    let id = primary(&ask).await?;
    let settings: MaintenanceSettings = ask.json().await?;
    Ok(ok(&ask.state.app.put_maintenance(&user.caller, id, settings).await?))
}

/// For each of forget, prune and check: when it last ran, when it is next due, and what holds it.
#[utoipa::path(get, path = "/api/repos/{id}/why", operation_id = "explain_repo_maintenance", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses((status = 200, description = "The reasons.", body = WhyView)))]
async fn why(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    Ok(ok(&ask.state.app.why(id).await?))
}

/// Lets prune run although the last check found errors.
#[utoipa::path(post, path = "/api/repos/{id}/check-override", operation_id = "override_check", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository.")),
    responses(
        (status = 202, description = "The hold is lifted.", body = WhyView),
        (status = 200, description = "There was none.", body = WhyView),
    ))]
async fn override_check(user: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    let outcome = ask.state.app.override_check(&user.caller, id).await?;
    Ok(json(if outcome.lifted { StatusCode::ACCEPTED } else { StatusCode::OK }, &outcome.why))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// Of so many days: 1 to 3660, 90 when not given.
    days: Option<u32>,
}

/// What was known of a repository's size at the end of each day, oldest first.
#[utoipa::path(get, path = "/api/repos/{id}/stats-history", operation_id = "repo_stats_history", tag = "maintenance",
    params(("id" = RepoId, Path, description = "The repository."), HistoryParams),
    responses((status = 200, description = "The days.", body = Page<StatsDay>)))]
async fn history(_: User, ask: Ask) -> Answer {
    let id = ask.id("id", "repository")?;
    let HistoryParams { days } = ask.query()?;
    Ok(ok(&ask.state.app.stats_history(id, days).await?))
}

async fn start(user: &User, ask: &Ask, repo_id: RepoId, wanted: MaintenanceAsk) -> Answer {
    let accepted = ask.state.app.ask_maintenance(&user.caller, repo_id, wanted).await?;
    Ok(started(ask, &accepted))
}

async fn remove_locks(user: &User, ask: &mut Ask, repo_id: RepoId, by: Option<HostId>) -> Answer {
    let request = if ask.is_form() {
        UnlockRequest { remove_all: ask.field("remove_all").await? }
    } else {
        ask.json_or_default().await?
    };
    let accepted = ask.state.app.ask_unlock(&user.caller, repo_id, by, request).await?;
    Ok(started(ask, &accepted))
}

async fn primary(ask: &Ask) -> Result<RepoId, Refusal> {
    let host_id: HostId = ask.id("id", "host")?;
    Ok(ask.state.app.primary_repo(host_id).await?)
}

async fn subset(ask: &mut Ask) -> Result<Option<u8>, Refusal> {
    let CheckParams { subset } = ask.query()?;
    let text = match subset {
        Some(text) => Some(text),
        None => ask.field("subset").await?,
    };
    Ok(text.as_deref().and_then(percent))
}

/// A percentage, clamped; none where it is no whole number.
fn percent(text: &str) -> Option<u8> {
    let number = match text.trim().parse::<i64>() {
        Ok(number) => number,
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => i64::MAX,
            IntErrorKind::NegOverflow => i64::MIN,
            // An enum of the standard library's: whatever else it says, this is no number.
            _ => return None,
        },
    };
    u8::try_from(number.clamp(0, 100)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_clamped_and_garbage_is_none() {
        let cases = [
            ("0", Some(0)),
            ("37", Some(37)),
            ("100", Some(100)),
            ("101", Some(100)),
            ("250", Some(100)),
            ("-5", Some(0)),
            ("99999999999999999999999", Some(100)),
            ("-99999999999999999999999", Some(0)),
            (" 7 ", Some(7)),
            ("abc", None),
            ("", None),
            ("5%", None),
            ("2.5", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(percent(text), wanted, "{text:?}");
        }
    }
}
