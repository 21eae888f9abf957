//! What the pages of one host and of one repository show: each read once, in a number of statements that does not grow with what they have.

use std::collections::BTreeMap;

use restic_manager_core::api::{
    AdminCredentialView, AttachmentView, JobView, Presence, ScheduleView, WhyView,
};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{AppendOnly, Host, Repo, RepoStats, SourceGroup};

use super::{App, AppError};
use crate::engine::settings_of;

/// A host, and whether it is in contact.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSeen {
    /// The host.
    pub host: Host,
    /// Whether it is in contact.
    pub presence: Presence,
}

/// What a host backs up, when and where to, all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOverview {
    /// The host.
    pub seen: HostSeen,
    /// Its source groups by name.
    pub groups: Vec<SourceGroup>,
    /// Its schedules by name.
    pub schedules: Vec<ScheduleView>,
    /// Its repositories, primary first.
    pub attachments: Vec<AttachmentView>,
}

/// A repository with how its maintenance stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RepoOverview {
    /// The repository.
    pub repo: Repo,
    /// What is known of it.
    pub stats: RepoStats,
    /// Its settings, as they count.
    pub settings: MaintenanceSettings,
    /// When its maintenance ran, is due, and what holds it.
    pub why: WhyView,
    /// Whether the errors of a check hold prune back.
    pub check_errors: bool,
    /// Who does it.
    pub runner: Option<RunnerSeen>,
}

/// The host that does the maintenance of a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerSeen {
    /// The host.
    pub seen: HostSeen,
    /// Whether its everyday credential is known to refuse deletes.
    pub append_only: bool,
    /// Its admin credential.
    pub admin: Option<AdminCredentialView>,
}

impl App {
    /// A host, and whether it is in contact.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn host_seen(&self, id: HostId) -> Result<HostSeen, AppError> {
        Ok(self.seen(self.known_host(id).await?))
    }

    /// A host with the whole of its plan.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn host_overview(&self, id: HostId) -> Result<HostOverview, AppError> {
        let plan = self.plan(id).await?;
        let attachments = self.store.attachments_of_host(id).await?;
        Ok(HostOverview {
            seen: self.seen(plan.host),
            groups: plan.groups,
            schedules: plan.schedules.into_iter().map(|schedule| self.schedule_view(schedule)).collect(),
            attachments: attachments.into_iter().map(super::attachments::view).collect(),
        })
    }

    /// The newest backup of each of these groups that has one.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn last_backups(&self, groups: &[SourceGroup]) -> Result<BTreeMap<GroupId, JobView>, AppError> {
        let ids: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
        let rows = self.store.last_backups_of_groups(&ids).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.job.group_id?, self.job_view(row)))).collect())
    }

    /// A repository with how its maintenance stands.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn repo_overview(&self, id: RepoId) -> Result<RepoOverview, AppError> {
        let view = self.maintained(id).await?;
        let runner = match &view.runner {
            None => None,
            Some(runner) => {
                let admin =
                    if runner.has_admin_creds { self.stored_admin(&view, runner).await? } else { None };
                let append_only = runner.attachment.append_only == AppendOnly::Yes;
                Some(RunnerSeen { seen: self.seen(runner.host.clone()), append_only, admin })
            }
        };
        Ok(RepoOverview {
            settings: settings_of(&view.row),
            why: self.why_of(&view),
            check_errors: view.check_errors_since.is_some(),
            runner,
            stats: view.stats,
            repo: view.repo,
        })
    }

    fn seen(&self, host: Host) -> HostSeen {
        HostSeen { presence: self.presence(&host), host }
    }
}
