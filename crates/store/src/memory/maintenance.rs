//! Maintenance of repositories.

use std::collections::BTreeSet;

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::maintenance::{LastJob, MaintenanceKind, MaintenanceSettings};
use restic_manager_core::model::{
    AppendOnly, Attachment, AuditEntry, CredentialKind, Job, RepoStats, Role, SourceGroup,
};
use restic_manager_core::time::Timestamp;

use super::{MemoryStore, State};
use crate::aftermath::{CheckHold, Ended};
use crate::stats::{day_of, has_size, merge};
use crate::{
    ForgetGroupRow, Maintenance, MaintenanceCommit, MaintenanceOutcome, MaintenanceRow, MaintenanceView,
    Result, RunnerRow, anchored_since,
};

/// What is kept of a repository's maintenance.
pub(super) struct Upkeep {
    settings: Option<MaintenanceSettings>,
    policy_since: [Timestamp; 3],
    wake_at: Option<Timestamp>,
    check_hold: Option<CheckHold>,
}

impl Upkeep {
    /// That of a new repository.
    pub(super) fn since(at: Timestamp) -> Self {
        Self { settings: None, policy_since: [at; 3], wake_at: Some(at), check_hold: None }
    }
}

#[async_trait]
impl Maintenance for MemoryStore {
    async fn maintenance(&self, repo_id: RepoId) -> Result<Option<MaintenanceRow>> {
        Ok(self.state().maintenance_row(repo_id))
    }

    async fn put_maintenance(
        &self,
        repo_id: RepoId,
        settings: MaintenanceSettings,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool> {
        let mut state = self.state();
        let Some(upkeep) = state.upkeep.get_mut(&repo_id) else { return Ok(false) };
        upkeep.policy_since = anchored_since(upkeep.policy_since, upkeep.settings.as_ref(), &settings, now);
        upkeep.settings = Some(settings);
        state.wake(repo_id, now);
        state.write_audit(audit);
        Ok(true)
    }

    async fn due_maintenance(&self, now: Timestamp, limit: u32) -> Result<Vec<MaintenanceView>> {
        let state = self.state();
        let wakes = state.upkeep.iter().filter_map(|(id, upkeep)| Some((upkeep.wake_at?, *id)));
        let mut due: Vec<_> = wakes.filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        Ok(due.into_iter().filter_map(|(_, id)| state.maintenance_view(id)).collect())
    }

    async fn maintenance_views(&self, ids: &[RepoId]) -> Result<Vec<MaintenanceView>> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.maintenance_view(*id)).collect())
    }

    async fn commit_maintenance(
        &self,
        commits: &[MaintenanceCommit],
        audit: &(dyn for<'j> Fn(&'j Job) -> AuditEntry + Send + Sync),
    ) -> Result<Vec<MaintenanceOutcome>> {
        let mut state = self.state();
        Ok(commits.iter().map(|commit| state.commit_maintenance(commit, audit)).collect())
    }

    async fn lift_check_hold(&self, repo_id: RepoId, now: Timestamp, audit: AuditEntry) -> Result<bool> {
        let mut state = self.state();
        if state.upkeep.get_mut(&repo_id).and_then(|upkeep| upkeep.check_hold.take()).is_none() {
            return Ok(false);
        }
        state.wake(repo_id, now);
        state.write_audit(audit);
        Ok(true)
    }

    async fn note_append_only(
        &self,
        id: AttachmentId,
        append_only: AppendOnly,
        now: Timestamp,
    ) -> Result<()> {
        let mut state = self.state();
        if let Some(attachment) = state.attachments.get_mut(&id) {
            attachment.append_only = append_only;
            let repo_id = attachment.repo_id;
            state.wake(repo_id, now);
        }
        Ok(())
    }

    async fn stats_history(&self, repo_id: RepoId, since: Timestamp) -> Result<Vec<StatsDay>> {
        let state = self.state();
        let days = state.stats_days.range((repo_id, day_of(since))..);
        Ok(days.take_while(|((id, _), _)| *id == repo_id).map(|(_, day)| day.clone()).collect())
    }
}

impl State {
    /// Has the maintenance of a repository looked at, at the latest now; a view that was read before is stale by it.
    pub(super) fn wake(&mut self, repo_id: RepoId, now: Timestamp) {
        if let Some(repo) = self.repos.get_mut(&repo_id) {
            repo.revision += 1;
        }
        self.bring_forward(repo_id, now);
    }

    /// The same where the revision is raised already.
    pub(super) fn bring_forward(&mut self, repo_id: RepoId, now: Timestamp) {
        if let Some(upkeep) = self.upkeep.get_mut(&repo_id) {
            upkeep.wake_at = Some(upkeep.wake_at.map_or(now, |at| at.min(now)));
        }
    }

    /// Wakes all repositories that a host is attached to.
    pub(super) fn wake_repos_of(&mut self, host_id: HostId, now: Timestamp) {
        let attached = self.attachments.values().filter(|attachment| attachment.host_id == host_id);
        let repos: BTreeSet<RepoId> = attached.map(|attachment| attachment.repo_id).collect();
        repos.into_iter().for_each(|id| self.wake(id, now));
    }

    /// Wakes the repositories whose maintenance a host does.
    pub(super) fn wake_repos_run_by(&mut self, host_id: HostId, now: Timestamp) {
        let attached = self.attachments.values().filter(|attachment| attachment.host_id == host_id);
        let is_run =
            |tie: &&Attachment| self.runner_of(tie.repo_id).is_some_and(|runner| runner.id == tie.id);
        let repos: Vec<RepoId> = attached.filter(is_run).map(|attachment| attachment.repo_id).collect();
        repos.into_iter().for_each(|id| self.wake(id, now));
    }

    /// Joins news of a repository to what is known, and writes the day.
    pub(super) fn learn_stats(&mut self, repo_id: RepoId, news: &RepoStats, now: Timestamp) {
        let known = self.repo_stats.entry(repo_id).or_default();
        merge(known, news);
        if has_size(news) {
            let day = day_of(now);
            let (total_size_bytes, snapshot_count) = (known.total_size_bytes, known.snapshot_count);
            self.stats_days.insert((repo_id, day), StatsDay { day, total_size_bytes, snapshot_count });
        }
    }

    /// Takes from the end of a job what it says of its repository.
    pub(super) fn learn_from(&mut self, job: &Job, now: Timestamp) {
        let (Some(class), Some(at), Some(summary)) = (job.class, job.finished_at, job.summary.as_ref())
        else {
            return;
        };
        match class.storage_answered() {
            Some(true) => {
                self.unreachable.remove(&job.repo_id);
            }
            Some(false) => {
                self.unreachable.entry(job.repo_id).or_default().insert(job.host_id);
            }
            None => {}
        }
        let is_preview = job.intent.preview_group.is_some();
        let ended = Ended { kind: job.kind, is_preview, class, at, summary };
        let news = ended.stats();
        if news != RepoStats::default() && self.repos.contains_key(&job.repo_id) {
            self.learn_stats(job.repo_id, &news, now);
        }
        if let (Some(finding), Some(upkeep)) = (ended.finding(), self.upkeep.get_mut(&job.repo_id)) {
            upkeep.check_hold = CheckHold::after(upkeep.check_hold, finding, at);
        }
        if ended.was_refused_to_delete() {
            let tie = |tie: &&mut Attachment| tie.host_id == job.host_id && tie.repo_id == job.repo_id;
            if let Some(attachment) = self.attachments.values_mut().find(tie) {
                attachment.append_only = AppendOnly::Yes;
            }
        }
    }

    pub(super) fn maintenance_view(&self, repo_id: RepoId) -> Option<MaintenanceView> {
        Some(MaintenanceView {
            repo: self.repos.get(&repo_id)?.clone(),
            row: self.maintenance_row(repo_id)?,
            last: MaintenanceKind::ALL.map(|kind| self.last_job(repo_id, kind)),
            runner: self.runner_row(repo_id),
            forget: self.forget_rows(repo_id),
            check_errors_since: self.upkeep.get(&repo_id)?.check_hold.map(|hold| hold.since),
            stats: self.repo_stats.get(&repo_id).cloned().unwrap_or_default(),
        })
    }

    fn maintenance_row(&self, repo_id: RepoId) -> Option<MaintenanceRow> {
        let Upkeep { settings, policy_since, wake_at, check_hold: _ } = self.upkeep.get(&repo_id)?;
        Some(MaintenanceRow {
            repo_id,
            settings: settings.clone(),
            policy_since: *policy_since,
            wake_at: *wake_at,
        })
    }

    fn last_job(&self, repo_id: RepoId, kind: MaintenanceKind) -> Option<LastJob> {
        let job = self.jobs.anchor(repo_id, kind.job_kind())?;
        Some(LastJob {
            job_id: job.id,
            created_at: job.created_at,
            finished_at: job.finished_at,
            state: job.state,
            class: job.class,
            slot: job.slot,
            attempt: job.attempt,
        })
    }

    fn attached_to(&self, repo_id: RepoId) -> impl Iterator<Item = &Attachment> {
        self.attachments.values().filter(move |attachment| attachment.repo_id == repo_id)
    }

    fn runner_of(&self, repo_id: RepoId) -> Option<&Attachment> {
        if let Some(named) = self.repos.get(&repo_id)?.runner {
            return self.attachments.get(&named);
        }
        self.attached_to(repo_id).min_by_key(|tie| (tie.role != Role::Primary, tie.created_at, tie.id))
    }

    fn runner_row(&self, repo_id: RepoId) -> Option<RunnerRow> {
        let attachment = self.runner_of(repo_id)?;
        let host = self.hosts.get(&attachment.host_id)?;
        let others = || self.attached_to(repo_id).filter(|other| other.host_id != host.id);
        let namesake = others()
            .filter_map(|other| self.hosts.get(&other.host_id))
            .any(|other| other.facts.os_hostname == host.facts.os_hostname);
        Some(RunnerRow {
            attachment: attachment.clone(),
            host: host.clone(),
            has_admin_creds: self.credentials.contains_key(&(attachment.id, CredentialKind::Admin)),
            os_hostname_unique: host.facts.os_hostname.is_some() && !namesake,
            only_host: others().next().is_none(),
        })
    }

    fn forget_rows(&self, repo_id: RepoId) -> Vec<ForgetGroupRow> {
        let row = |group: &SourceGroup| {
            let attachment = self.attachment_between(group.host_id, repo_id)?;
            if attachment.role == Role::Maintenance || group.keep.is_empty() {
                return None;
            }
            let tag = group.tag.as_str();
            let listing = self.snapshots.get(&(group.host_id, repo_id));
            let tagged = listing
                .into_iter()
                .flat_map(|listing| &listing.snapshots)
                .filter(|snapshot| snapshot.tags.iter().any(|other| other == tag));
            Some(ForgetGroupRow {
                group: group.clone(),
                attachment: attachment.clone(),
                newest_snapshot_at: tagged.map(|snapshot| snapshot.time).max(),
            })
        };
        self.groups.values().filter_map(row).collect()
    }

    fn commit_maintenance(
        &mut self,
        commit: &MaintenanceCommit,
        audit: &(dyn for<'j> Fn(&'j Job) -> AuditEntry + Send + Sync),
    ) -> MaintenanceOutcome {
        let Some(repo) = self.repos.get(&commit.repo_id) else { return MaintenanceOutcome::NotFound };
        if repo.revision != commit.repo_revision {
            return MaintenanceOutcome::Stale;
        }
        if let Some(upkeep) = self.upkeep.get_mut(&commit.repo_id) {
            upkeep.wake_at = commit.wake_at;
        }
        let mut made = Vec::new();
        for job in &commit.jobs {
            if self.is_there(job) {
                continue;
            }
            self.jobs.put(job.clone());
            self.write_audit(audit(job));
            made.push(job.id);
        }
        MaintenanceOutcome::Done(made)
    }

    /// Whether a job of maintenance need not be made: its slot has it, or one of its kind is not final.
    fn is_there(&self, job: &Job) -> bool {
        self.jobs.of_slot(job).is_some()
            || self.jobs.unfinished().any(|other| {
                (other.repo_id, other.kind) == (job.repo_id, job.kind) && other.intent.preview_group.is_none()
            })
    }
}
