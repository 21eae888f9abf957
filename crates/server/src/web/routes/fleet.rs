//! The fleet as a whole: is anything wrong, and who did what.

use restic_manager_core::api::{FleetStatus, Page};
use restic_manager_core::model::{ActorKind, AuditRow};
use restic_manager_core::time::Timestamp;
use restic_manager_store::AuditFilter;
use serde::Deserialize;

use super::super::answer::ok;
use super::super::ask::Ask;
use super::super::guard::User;
use super::super::table::{Answer, Route};
use crate::app::ListQuery;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::user::<__path_status, _>(status), Route::user::<__path_audit, _>(audit)]
}

/// The fleet on one screen: how many, how they are, and what needs a person.
#[utoipa::path(get, path = "/api/status", operation_id = "status", tag = "fleet",
    responses((status = 200, description = "The fleet.", body = FleetStatus)))]
async fn status(_: User, ask: Ask) -> Answer {
    Ok(ok(&ask.state.app.status().await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// By an actor of this kind.
    actor_kind: Option<ActorKind>,
    /// By the actor with exactly this name.
    actor: Option<String>,
    /// With exactly this action, such as `host.enrolled`.
    action: Option<String>,
    /// About a thing of this kind, such as `host`.
    subject_kind: Option<String>,
    /// About the thing with this id.
    subject_id: Option<String>,
    /// At or after this instant.
    since: Option<Timestamp>,
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/audit", operation_id = "list_audit", tag = "fleet", params(AuditParams),
    responses((status = 200, description = "A page.", body = Page<AuditRow>)))]
async fn audit(_: User, ask: Ask) -> Answer {
    let params: AuditParams = ask.query()?;
    let AuditParams { actor_kind, actor, action, subject_kind, subject_id, since, limit, cursor } = params;
    let filter = AuditFilter { actor_kind, actor, action, subject_kind, subject_id, since };
    Ok(ok(&ask.state.app.audit_rows(&filter, &ListQuery { limit, cursor }).await?))
}
