//! The plan of a host, as its agent gets it.

use restic_manager_core::id::{HostId, RepoId};
use restic_manager_core::model::{Attachment, Role, Schedule};
use restic_manager_core::wire::{BackupSpec, PlanGroup, PlanRepo, PlanSchedule, ScheduleSet, ServerMessage};
use restic_manager_store::HostPlan;

use super::{Engine, EngineError};

impl Engine {
    /// Sends a host its plan as it is at present, when it is connected; otherwise hello does.
    ///
    /// # Errors
    ///
    /// When the store fails. A connection that breaks is none: the next hello sends the plan.
    pub async fn push_plan(&self, host_id: HostId) -> Result<(), EngineError> {
        let Some(epoch) = self.dispatch.epoch(host_id) else { return Ok(()) };
        let _in_order = self.pushes.lock().await;
        let Some(plan) = self.store.plan(host_id).await? else { return Ok(()) };
        let message = ServerMessage::ScheduleSet(Box::new(schedule_set(&plan)));
        if let Err(error) = self.dispatch.send(host_id, epoch, message).await {
            tracing::info!(host = %plan.host.name, %error, "the plan was not sent; the next hello brings it");
            self.dispatch.close(host_id, epoch, None);
        }
        Ok(())
    }
}

/// The repositories that a schedule backs up to: those it names, or all that the host may back up to.
pub(crate) fn target_repos(schedule: &Schedule, attachments: &[Attachment]) -> Vec<RepoId> {
    let backs_up = |attachment: &&Attachment| match attachment.role {
        Role::Primary | Role::Copy => true,
        Role::Maintenance => false,
    };
    attachments
        .iter()
        .filter(backs_up)
        .map(|attachment| attachment.repo_id)
        .filter(|repo_id| schedule.repo_ids.as_ref().is_none_or(|named| named.contains(repo_id)))
        .collect()
}

/// The plan as it goes over the wire: enabled schedules only.
pub(crate) fn schedule_set(plan: &HostPlan) -> ScheduleSet {
    let schedules = plan
        .schedules
        .iter()
        .filter(|schedule| schedule.enabled)
        .map(|schedule| PlanSchedule {
            schedule_id: schedule.id,
            cron: schedule.cron.clone(),
            timezone: schedule.timezone.clone(),
            since: schedule.updated_at,
            group_ids: schedule.group_ids.clone(),
            repo_ids: target_repos(schedule, &plan.attachments),
        })
        .collect();
    let groups = plan
        .groups
        .iter()
        .map(|group| PlanGroup {
            group_id: group.id,
            backup: BackupSpec {
                tag: group.tag.clone(),
                includes: group.includes.clone(),
                excludes: group.excludes.clone(),
                options: group.options,
            },
            retry_max: group.retry_max,
            retry_backoff_seconds: group.retry_backoff_seconds,
        })
        .collect();
    let repos = plan
        .attachments
        .iter()
        .map(|attachment| PlanRepo {
            repo_id: attachment.repo_id,
            role: attachment.role,
            restic_host: attachment.restic_host.clone(),
        })
        .collect();
    ScheduleSet {
        schedule_version: plan.host.schedule_version,
        schedules,
        groups,
        repos,
        limit_upload_kib: plan.host.limit_upload_kib,
        limit_download_kib: plan.host.limit_download_kib,
    }
}
