//! What a job of maintenance needs at the moment of its dispatch.

use restic_manager_core::maintenance::MaintenanceKind;
use restic_manager_core::model::{ActorKind, AppendOnly, Job, JobKind};

use crate::MaintenanceView;

/// Whether the payload of such a job is made of its repository's maintenance.
pub(crate) const fn needs_view(kind: JobKind) -> bool {
    match kind {
        JobKind::Forget | JobKind::Prune | JobKind::Check | JobKind::Unlock => true,
        JobKind::Backup | JobKind::Init | JobKind::Stats | JobKind::Restore | JobKind::Diff => false,
    }
}

/// Why a job can no longer be dispatched: the world changed while it waited.
pub(crate) fn obstacle(job: &Job, view: &MaintenanceView) -> Option<&'static str> {
    let kind = match job.kind {
        JobKind::Forget => MaintenanceKind::Forget,
        JobKind::Prune => MaintenanceKind::Prune,
        JobKind::Check => MaintenanceKind::Check,
        JobKind::Backup
        | JobKind::Init
        | JobKind::Unlock
        | JobKind::Stats
        | JobKind::Restore
        | JobKind::Diff => return None,
    };
    if let Some(id) = job.intent.preview_group {
        let known = view.forget.iter().any(|row| row.group.id == id);
        return (!known).then_some("the source group to preview has no retention policy any more");
    }
    if job.actor.kind == ActorKind::System && is_disabled(view, kind) {
        return Some("its schedule was disabled while it waited");
    }
    let Some(runner) = view.runner.as_ref().filter(|runner| runner.host.id == job.host_id) else {
        return Some("the repository's maintenance went to another host while it waited");
    };
    let may_delete = runner.has_admin_creds;
    match kind {
        MaintenanceKind::Forget if view.forget.is_empty() => {
            Some("no source group of the repository has a retention policy any more")
        }
        MaintenanceKind::Forget if !may_delete && runner.attachment.append_only == AppendOnly::Yes => {
            Some("the repository is append-only and the admin credential is not stored")
        }
        MaintenanceKind::Prune if !may_delete => Some("the admin credential is not stored"),
        MaintenanceKind::Prune if view.check_errors_since.is_some() => {
            Some("a check found errors: repair the repository and check it, or override the hold")
        }
        MaintenanceKind::Forget | MaintenanceKind::Prune | MaintenanceKind::Check => None,
    }
}

fn is_disabled(view: &MaintenanceView, kind: MaintenanceKind) -> bool {
    view.row.settings.as_ref().is_some_and(|settings| !settings.policy.setting(kind).enabled)
}
