//! Maintenance: asking for it, its settings, why it does what it does.

use restic_manager_core::api::{Accepted, KindView, Page, StatsDay, UnlockRequest, WhyView};
use restic_manager_core::id::{GroupId, HostId, RepoId};
use restic_manager_core::maintenance::{ForgetNeeds, MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::{CredentialKind, Hold, JobIntent, JobKind, Role, UnlockScope};
use restic_manager_core::time::DAY;
use restic_manager_store::{MaintenanceView, RunnerRow};

use super::{App, AppError, Caller, ErrorKind};
use crate::engine::{forget_needs, forget_needs_admin, settings_of};

/// The days of history that are given when nobody says how many.
const DAYS: u32 = 90;
/// The most days of history that are given.
const MOST_DAYS: u32 = 3_660;

/// What maintenance is asked for by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceAsk {
    /// Forget by the policies of all groups.
    Forget,
    /// Prune.
    Prune,
    /// Check, reading so much of the data in percent; as it is set when not given.
    Check {
        /// 0 to 100.
        subset_pct: Option<u8>,
    },
}

/// What became of a check's hold on prune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckHoldLifted {
    /// Whether there was one.
    pub lifted: bool,
    /// How the maintenance stands.
    pub why: WhyView,
}

impl App {
    /// Asks the runner of a repository for maintenance; pressing twice gives the same job.
    ///
    /// # Errors
    ///
    /// Before any job is made: no runner, its host away, no readable admin credential where one is needed, nothing to forget,
    /// errors of a check in the way of a prune.
    pub async fn ask_maintenance(
        &self,
        caller: &Caller,
        repo_id: RepoId,
        ask: MaintenanceAsk,
    ) -> Result<Accepted, AppError> {
        let view = self.maintained(repo_id).await?;
        let runner = self.ready_runner(&view)?;
        let mut intent = JobIntent::default();
        let kind = match ask {
            MaintenanceAsk::Forget => {
                self.check_forget(&view, runner).await?;
                JobKind::Forget
            }
            MaintenanceAsk::Prune => {
                self.require_admin(&view, runner).await?;
                if view.check_errors_since.is_some() {
                    return Err(held(&view, &Hold::CheckErrors, "check_errors"));
                }
                JobKind::Prune
            }
            MaintenanceAsk::Check { subset_pct } => {
                let stored = settings_of(&view.row).policy.check_subset_pct;
                intent.subset_pct = Some(subset_pct.unwrap_or(stored).min(100));
                JobKind::Check
            }
        };
        let mut job = self.engine.new_job(kind, runner.host.id, repo_id, caller.actor());
        job.intent = intent;
        self.enqueue(caller, job, &view.repo.name).await
    }

    /// Asks for the locks of a repository to be removed: by the host that is named, else by the runner.
    ///
    /// # Errors
    ///
    /// When nobody is there to do it, the name of the repository is not the one that was typed, or another unlock waits.
    pub async fn ask_unlock(
        &self,
        caller: &Caller,
        repo_id: RepoId,
        by: Option<HostId>,
        request: UnlockRequest,
    ) -> Result<Accepted, AppError> {
        let view = self.maintained(repo_id).await?;
        let host_id = match by {
            Some(host_id) => {
                self.require_online(&self.known_host(host_id).await?)?;
                host_id
            }
            None => self.ready_runner(&view)?.host.id,
        };
        let scope = match request.remove_all.filter(|name| !name.is_empty()) {
            None => UnlockScope::Stale,
            Some(name) if name == view.repo.name.as_str() => UnlockScope::All,
            Some(name) => {
                let message = format!("`remove_all`: the repository is `{}`, not `{name}`", view.repo.name);
                return Err(AppError::new(ErrorKind::Invalid, "name_not_confirmed", message).hint(
                    "type the name of the repository: live locks go too, and what runs under them may break",
                ));
            }
        };
        let mut job = self.engine.new_job(JobKind::Unlock, host_id, repo_id, caller.actor());
        job.intent.unlock = Some(scope);
        let accepted = self.enqueue(caller, job, &view.repo.name).await?;
        if accepted.existing {
            let existing = self.job(accepted.job_id).await?.job;
            if existing.intent.unlock != Some(scope) {
                let message = format!("another unlock of repository `{}` is under way", view.repo.name);
                return Err(AppError::new(ErrorKind::Conflict, "another_unlock", message)
                    .hint(format!("wait for job {} or cancel it", existing.id)));
            }
        }
        Ok(accepted)
    }

    /// Asks what a group's policy would forget, and why each other snapshot stays; nothing is removed.
    ///
    /// # Errors
    ///
    /// When the group has no policy or its host does not back up to that repository, or the runner is away.
    pub async fn preview_forget(
        &self,
        caller: &Caller,
        host_id: HostId,
        group_id: GroupId,
        repo_id: Option<RepoId>,
    ) -> Result<Accepted, AppError> {
        let group = self.group(host_id, group_id).await?;
        let repo_id = match repo_id {
            Some(repo_id) => self.attachment(host_id, repo_id).await?.attachment.repo_id,
            None => self.primary_repo(host_id).await?,
        };
        let view = self.maintained(repo_id).await?;
        let runner = self.ready_runner(&view)?;
        if group.keep.is_empty() || !view.forget.iter().any(|row| row.group.id == group_id) {
            return Err(no_policies(format!(
                "source group `{}` has no retention policy that applies to repository `{}`",
                group.name, view.repo.name
            )));
        }
        let mut job = self.engine.new_job(JobKind::Forget, runner.host.id, repo_id, caller.actor());
        job.intent.preview_group = Some(group_id);
        self.enqueue(caller, job, &view.repo.name).await
    }

    /// The settings of a repository's maintenance, as they count.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the store fails.
    pub async fn maintenance(&self, repo_id: RepoId) -> Result<MaintenanceSettings, AppError> {
        Ok(settings_of(&self.maintained(repo_id).await?.row))
    }

    /// Sets the maintenance of a repository.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or a cadence that is enabled would never fire.
    pub async fn put_maintenance(
        &self,
        caller: &Caller,
        repo_id: RepoId,
        settings: MaintenanceSettings,
    ) -> Result<MaintenanceSettings, AppError> {
        let view = self.maintained(repo_id).await?;
        let now = self.clock.now();
        for kind in MaintenanceKind::ALL {
            let policy = &settings.policy;
            if policy.setting(kind).enabled && policy.cadence(kind).next_after(now).is_none() {
                let cron = &policy.setting(kind).cron;
                return Err(AppError::invalid(
                    &format!("policy.{}.cron", kind.as_str()),
                    format!("`{cron}` never fires"),
                )
                .hint("choose a day that exists, or disable it"));
            }
        }
        let before = self.admin_place(repo_id).await?;
        let audit = self.audit_of(
            caller,
            "maintenance.changed",
            ("repo", repo_id.to_string()),
            [
                ("repo", view.repo.name.to_string().into()),
                ("settings", serde_json::to_value(&settings).unwrap_or_default()),
            ],
        );
        if !self.store.put_maintenance(repo_id, settings, now, audit).await? {
            return Err(AppError::not_found("repository", repo_id));
        }
        self.settle_admin(repo_id, before).await?;
        self.engine.poke();
        self.maintenance(repo_id).await
    }

    /// When forget, prune and check of a repository last ran, are next due, and what holds them.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the store fails.
    pub async fn why(&self, repo_id: RepoId) -> Result<WhyView, AppError> {
        Ok(self.why_of(&self.maintained(repo_id).await?))
    }

    pub(super) fn why_of(&self, view: &MaintenanceView) -> WhyView {
        let kinds = self
            .engine
            .decision(view)
            .reports
            .into_iter()
            .map(|report| KindView {
                kind: report.kind,
                last_at: report.last_at,
                next_at: report.next_at,
                hold: report.hold,
                sentence: report.sentence,
            })
            .collect();
        WhyView { runner: view.runner.as_ref().map(|runner| runner.host.name.clone()), kinds }
    }

    /// Lifts the hold that a check's errors put on prune.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the store fails.
    pub async fn override_check(
        &self,
        caller: &Caller,
        repo_id: RepoId,
    ) -> Result<CheckHoldLifted, AppError> {
        let view = self.maintained(repo_id).await?;
        let audit = self.audit_of(
            caller,
            "check_hold.overridden",
            ("repo", repo_id.to_string()),
            [("repo", view.repo.name.to_string().into())],
        );
        let lifted = self.store.lift_check_hold(repo_id, self.clock.now(), audit).await?;
        if lifted {
            self.engine.poke();
        }
        Ok(CheckHoldLifted { lifted, why: self.why(repo_id).await? })
    }

    /// What was known of a repository at the end of each of the last days, oldest first.
    ///
    /// # Errors
    ///
    /// When there is no such repository, or the number of days is not possible.
    pub async fn stats_history(
        &self,
        repo_id: RepoId,
        days: Option<u32>,
    ) -> Result<Page<StatsDay>, AppError> {
        let days = days.unwrap_or(DAYS);
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(AppError::invalid("days", format!("{days} is not between 1 and {MOST_DAYS}")));
        }
        self.known_repo(repo_id).await?;
        let since = self.clock.now() - i64::from(days) * DAY;
        Ok(Page { items: self.store.stats_history(repo_id, since).await?, next_cursor: None })
    }

    /// The repository that is a host's primary one.
    ///
    /// # Errors
    ///
    /// When there is no such host, or it has none.
    pub async fn primary_repo(&self, host_id: HostId) -> Result<RepoId, AppError> {
        let host = self.known_host(host_id).await?;
        let rows = self.store.attachments_of_host(host_id).await?;
        let primary = rows.iter().find(|row| row.attachment.role == Role::Primary);
        primary.map(|row| row.attachment.repo_id).ok_or_else(|| {
            let message = format!("host `{}` has no primary repository", host.name);
            AppError::new(ErrorKind::Conflict, "no_repository", message)
                .hint("give it one with `rmctl creds set`, or attach it with `rmctl host attach`")
        })
    }

    pub(super) async fn maintained(&self, repo_id: RepoId) -> Result<MaintenanceView, AppError> {
        let view = self.store.maintenance_views(&[repo_id]).await?.pop();
        view.ok_or_else(|| AppError::not_found("repository", repo_id))
    }

    pub(super) fn named_runner<'a>(&self, view: &'a MaintenanceView) -> Result<&'a RunnerRow, AppError> {
        view.runner.as_ref().ok_or_else(|| {
            let message = format!("no host is attached to repository `{}`", view.repo.name);
            AppError::new(ErrorKind::Conflict, "no_runner", message).hint("attach a host to it first")
        })
    }

    /// The runner, which is connected.
    pub(super) fn ready_runner<'a>(&self, view: &'a MaintenanceView) -> Result<&'a RunnerRow, AppError> {
        let runner = self.named_runner(view)?;
        self.require_online(&runner.host)?;
        Ok(runner)
    }

    async fn check_forget(&self, view: &MaintenanceView, runner: &RunnerRow) -> Result<(), AppError> {
        if forget_needs_admin(runner) {
            self.require_admin(view, runner).await?;
        }
        match forget_needs(&view.forget, self.clock.now()) {
            ForgetNeeds::Policies => Ok(()),
            ForgetNeeds::NoPolicies => Err(no_policies(format!(
                "no source group of repository `{}` has a retention policy",
                view.repo.name
            ))),
            ForgetNeeds::FutureSnapshots => Err(held(view, &Hold::ClockSuspect, "clock_suspect")),
        }
    }

    /// The admin credential is there, and can be read.
    async fn require_admin(&self, view: &MaintenanceView, runner: &RunnerRow) -> Result<(), AppError> {
        let kind = CredentialKind::Admin;
        let sealed = self.store.credential(runner.attachment.id, kind).await?.ok_or_else(|| {
            let message = format!(
                "the admin credential of repository `{}` is missing: host `{}` may not delete without it",
                view.repo.name, runner.host.name
            );
            AppError::new(ErrorKind::Conflict, "admin_creds_required", message)
                .hint(Hold::AdminCredsRequired.remedy())
        })?;
        self.engine.open_credential(runner.host.id, view.repo.id, &sealed)?;
        Ok(())
    }
}

fn no_policies(message: String) -> AppError {
    AppError::new(ErrorKind::Conflict, "no_policies", message)
        .hint("give a source group a retention policy first: without one everything is kept")
}

fn held(view: &MaintenanceView, hold: &Hold, code: &'static str) -> AppError {
    let message = format!("repository `{}`: {}", view.repo.name, hold.sentence());
    AppError::new(ErrorKind::Conflict, code, message).hint(hold.remedy())
}
