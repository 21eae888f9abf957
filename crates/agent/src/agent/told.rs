//! What the server set, credentials and the plan: stored, or kept in memory until the disk has room.

use std::collections::BTreeSet;

use restic_manager_core::id::RepoId;
use restic_manager_core::wire::{AgentMessage, ConfigUpdate, ScheduleAck, ScheduleSet};
use tracing::{error, info};

use super::{Agent, JobRunner};
use crate::secrets::Applied;

/// What the server set in the session that stands, as far as it matters for what comes next.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The version of the newest plan; pushes may overtake each other.
    plan_version: Option<i64>,
    /// Whose credentials came: a plan that was on its way before them does not take them away.
    repos: BTreeSet<RepoId>,
    /// What could not be stored, in the order in which it came.
    unstored: Vec<ConfigUpdate>,
    unstored_plan: Option<ScheduleSet>,
    /// The host was deleted, and not everything of it could be dropped.
    undropped: bool,
}

impl Told {
    /// Whether the host was deleted, and the plan in hand is one that could not be dropped yet.
    pub(super) const fn was_deleted(&self) -> bool {
        self.undropped
    }

    /// Whether something waits for room on the disk.
    pub(super) const fn waits(&self) -> bool {
        !self.unstored.is_empty() || self.unstored_plan.is_some() || self.undropped
    }
}

impl<R: JobRunner> Agent<R> {
    /// The server greets, and says everything again; what it says counts, whatever was known.
    pub(super) fn told_anew(&mut self) {
        self.told = Told::default();
    }

    pub(super) fn take_credential(&mut self, update: ConfigUpdate) {
        self.told.unstored.retain(|waits| (waits.repo_id, waits.kind) != (update.repo_id, update.kind));
        self.told.repos.insert(update.repo_id);
        self.store_credential(update);
    }

    fn store_credential(&mut self, update: ConfigUpdate) {
        let (repo, kind, revoked) = (update.repo_id, update.kind.as_str(), update.credential.is_none());
        match self.secrets.apply(&update) {
            Ok(Applied::Changed) if revoked => info!(%repo, kind, "a credential was taken back"),
            Ok(Applied::Changed) => info!(%repo, kind, revision = update.revision, "a credential came"),
            Ok(Applied::Unchanged) => {}
            Err(error) => {
                error!(%repo, kind, %error, "a credential cannot be stored; the one before stays, trying again");
                self.trouble(format!("a credential cannot be stored: {error}"));
                self.told.unstored.push(update);
            }
        }
    }

    pub(super) fn take_plan(&mut self, plan: ScheduleSet) {
        let version = plan.schedule_version;
        if let Some(newest) = self.told.plan_version.filter(|newest| version < *newest) {
            return info!(version, newest, "a plan was overtaken by a newer one and is ignored");
        }
        self.told.plan_version = Some(version);
        self.told.unstored_plan = None;
        self.store_plan(plan);
    }

    fn store_plan(&mut self, plan: ScheduleSet) {
        let schedule_version = plan.schedule_version;
        let schedules = plan.schedules.len();
        let known = self.ledger.plan() == Some(&plan);
        if !known && let Err(error) = self.ledger.set_plan(plan.clone()) {
            error!(%error, "the plan cannot be stored; the one before stays, trying again");
            self.trouble(format!("the plan cannot be stored: {error}"));
            self.told.unstored_plan = Some(plan);
            return;
        }
        self.timers.slots_changed();
        self.timers.status_changed();
        let mut ours = self.told.repos.clone();
        ours.extend(plan.repos.iter().map(|repo| repo.repo_id));
        match self.secrets.keep_only(&ours) {
            Ok(Applied::Changed) => info!("credentials of repositories that this host left were dropped"),
            Ok(Applied::Unchanged) => {}
            Err(error) => {
                error!(%error, "credentials of repositories that this host left cannot be dropped, trying again");
                self.trouble(format!("credentials cannot be dropped: {error}"));
                self.told.unstored_plan = Some(plan);
                return;
            }
        }
        info!(schedule_version, schedules, "the plan is stored");
        self.say(AgentMessage::ScheduleAck(ScheduleAck { schedule_version }));
    }

    /// The host was deleted: the one word of the server that ends scheduled backups, and takes the credentials away.
    pub(super) fn drop_everything(&mut self) {
        self.told = Told::default();
        let nothing = ScheduleSet {
            schedule_version: 0,
            schedules: Vec::new(),
            groups: Vec::new(),
            repos: Vec::new(),
            limit_upload_kib: None,
            limit_download_kib: None,
        };
        if let Err(error) = self.ledger.set_plan(nothing) {
            self.trouble(format!("the plan cannot be dropped: {error}"));
            self.told.undropped = true;
        }
        if let Err(error) = self.secrets.forget_credentials() {
            self.trouble(format!("the credentials cannot be dropped: {error}"));
            self.told.undropped = true;
        }
        self.timers.slots_changed();
    }

    /// Stores what the disk had no room for.
    pub(super) fn retry_unstored(&mut self) {
        if self.told.undropped {
            return self.drop_everything();
        }
        for update in std::mem::take(&mut self.told.unstored) {
            self.store_credential(update);
        }
        if let Some(plan) = self.told.unstored_plan.take() {
            self.store_plan(plan);
        }
    }
}
