//! Maintenance on its cadence: views in, the core's decision, jobs and the next look out.

use std::sync::PoisonError;

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::maintenance::{
    Decision, ForgetNeeds, MaintenanceSettings, RepoView, RunnerState, decide,
};
use restic_manager_core::model::{Actor, AppendOnly, AuditEntry, Job, LockOwner, RepoStats};
use restic_manager_core::schedule::Zone;
use restic_manager_core::time::{HOUR, MINUTE, Timestamp};
use restic_manager_store::{
    ForgetGroupRow, MaintenanceCommit, MaintenanceOutcome, MaintenanceRow, MaintenanceView, PageRequest,
    RepoFilter, RunnerRow,
};

use super::payload::from_the_future;
use super::{Engine, EngineError};

/// The pause between two looks without a poke, in milliseconds.
pub(super) const MAINTAIN_EVERY: i64 = MINUTE;
/// How many repositories are decided and committed at once.
const BATCH: u32 = 500;
/// How often a repository that changed meanwhile is looked at again before the next look.
const STALE_ROUNDS: usize = 4;
/// A lock that was seen so long ago counts no more: restic itself calls it stale then, unless it was refreshed.
const LOCK_COUNTS_FOR: i64 = 30 * MINUTE;
/// A credential that could not be read is tried again after so long, even if nobody wrote it anew.
const UNREADABLE_FOR: i64 = HOUR;

/// What one look at the maintenance brought about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintainReport {
    /// Repositories that were looked at.
    pub looked: usize,
    /// Jobs that were put in the queue.
    pub asked: usize,
    /// Repositories that changed again and again while they were decided; the next look has them.
    pub stale: usize,
}

/// The settings that count: those that were set, else the standard ones in UTC.
pub(crate) fn settings_of(row: &MaintenanceRow) -> MaintenanceSettings {
    row.settings.clone().unwrap_or_else(|| MaintenanceSettings::standard(Zone::UTC))
}

/// Whether the runner keeps the admin credential on its disk.
pub(crate) fn keeps_admin(row: &MaintenanceRow, runner: &RunnerRow) -> bool {
    settings_of(row).keep_admin_credential.unwrap_or(runner.only_host)
}

impl Engine {
    /// Looks once at the repositories whose time has come: decides, and puts what is due in the queue.
    ///
    /// # Errors
    ///
    /// When the store fails; what was not committed is due at the next look.
    pub async fn maintain(&self) -> Result<MaintainReport, EngineError> {
        self.watch_clock();
        let mut report = MaintainReport::default();
        let set_back = self.clocks.lock().unwrap_or_else(PoisonError::into_inner).take_set_back();
        if set_back {
            self.look_at_all(&mut report).await?;
        }
        loop {
            let views = self.store.due_maintenance(self.now(), BATCH).await?;
            let full = views.len() >= BATCH as usize;
            let stale = self.settle(views, &mut report).await?;
            if !full || stale > 0 {
                return Ok(report);
            }
        }
    }

    /// What is to be said of a repository's maintenance at present.
    pub(crate) fn decision(&self, view: &MaintenanceView) -> Decision {
        let now = self.now();
        decide(&self.repo_view(view, now), now)
    }

    /// Compares the clocks; answers whether the server's own is suspect.
    pub(super) fn watch_clock(&self) -> bool {
        let connected = |host_id: HostId| self.dispatch.epoch(host_id).is_some();
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.look(connected, self.clock.now(), self.clock.monotonic_ms())
    }

    /// Notes that the admin credential of a repository cannot be read: nothing that needs it is asked for again and again.
    pub(super) fn note_unreadable(&self, repo_id: RepoId) {
        let until = self.clock.monotonic_ms().saturating_add(UNREADABLE_FOR);
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(repo_id, until);
    }

    /// Notes that the admin credential of a repository was written or removed.
    pub(crate) fn forget_unreadable(&self, repo_id: RepoId) {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).remove(&repo_id);
    }

    fn is_unreadable(&self, repo_id: RepoId) -> bool {
        let now = self.clock.monotonic_ms();
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        unreadable.retain(|_, until| *until > now);
        unreadable.contains_key(&repo_id)
    }

    /// The clock was set back: whatever was planned while it was ahead lies too far in the future.
    async fn look_at_all(&self, report: &mut MaintainReport) -> Result<(), EngineError> {
        tracing::warn!("the clock was set back: the maintenance of every repository is decided anew");
        let mut after = None;
        loop {
            let listed =
                self.store.repos(&RepoFilter::default(), PageRequest { after, limit: BATCH }).await?;
            let ids: Vec<RepoId> = listed.items.iter().map(|repo| repo.id).collect();
            let views = self.store.maintenance_views(&ids).await?;
            self.settle(views, report).await?;
            match listed.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Decides and commits; what changed meanwhile is read and decided again. Answers how many are left.
    async fn settle(
        &self,
        mut views: Vec<MaintenanceView>,
        report: &mut MaintainReport,
    ) -> Result<usize, EngineError> {
        report.looked += views.len();
        for _ in 0..STALE_ROUNDS {
            if views.is_empty() {
                return Ok(0);
            }
            let stale = self.commit(&views, report).await?;
            views = if stale.is_empty() { Vec::new() } else { self.store.maintenance_views(&stale).await? };
        }
        report.stale += views.len();
        Ok(views.len())
    }

    async fn commit(
        &self,
        views: &[MaintenanceView],
        report: &mut MaintainReport,
    ) -> Result<Vec<RepoId>, EngineError> {
        let now = self.now();
        let commits: Vec<MaintenanceCommit> = views.iter().map(|view| self.planned(view, now)).collect();
        let audit = |job: &Job| self.audit_planned(job);
        let outcomes = self.store.commit_maintenance(&commits, &audit).await?;
        let mut stale = Vec::new();
        for (commit, outcome) in commits.iter().zip(outcomes) {
            match outcome {
                MaintenanceOutcome::Done(jobs) => report.asked += jobs.len(),
                MaintenanceOutcome::Stale => stale.push(commit.repo_id),
                MaintenanceOutcome::NotFound => {}
            }
        }
        Ok(stale)
    }

    fn planned(&self, view: &MaintenanceView, now: Timestamp) -> MaintenanceCommit {
        let decision = decide(&self.repo_view(view, now), now);
        // Jobs of one instant start in the order of their ids.
        let mut ids: Vec<JobId> = decision.due.iter().map(|_| JobId::mint(now, self.id_bytes())).collect();
        ids.sort_unstable();
        let host_id = view.runner.as_ref().map(|runner| runner.host.id);
        let jobs = decision
            .due
            .iter()
            .zip(ids)
            .filter_map(|(due, id)| {
                let job = self.new_job(due.kind.job_kind(), host_id?, view.repo.id, Actor::system());
                Some(Job { id, slot: Some(due.slot), attempt: due.attempt, ..job })
            })
            .collect();
        MaintenanceCommit {
            repo_id: view.repo.id,
            repo_revision: view.repo.revision,
            wake_at: decision.wake_at,
            jobs,
        }
    }

    fn audit_planned(&self, job: &Job) -> AuditEntry {
        self.audit(
            Actor::system(),
            "job.asked",
            ("job", job.id.to_string()),
            [
                ("kind", job.kind.as_str().into()),
                ("host_id", job.host_id.to_string().into()),
                ("repo_id", job.repo_id.to_string().into()),
                ("slot", job.slot.map(Timestamp::as_millis).into()),
                ("attempt", job.attempt.into()),
            ],
        )
    }

    fn repo_view(&self, view: &MaintenanceView, now: Timestamp) -> RepoView {
        let runner = view.runner.as_ref();
        let stored = runner.is_some_and(|runner| runner.has_admin_creds);
        let unreadable = stored && self.is_unreadable(view.repo.id);
        let append_only = runner.map_or(AppendOnly::Unknown, |runner| runner.attachment.append_only);
        RepoView {
            repo_id: view.repo.id,
            policy: settings_of(&view.row).policy,
            policy_since: view.row.policy_since.map(Some),
            last: view.last,
            runner: self.runner_state(runner),
            forget: forget_needs(&view.forget, now),
            has_admin_creds: stored && !unreadable,
            // Where a credential for deleting is kept, forget does not fall back to the everyday one.
            append_only: if unreadable { AppendOnly::Yes } else { append_only },
            check_errors: view.check_errors_since.is_some(),
            foreign_lock: has_foreign_lock(&view.stats, now),
            clock_suspect: self.clocks.lock().unwrap_or_else(PoisonError::into_inner).is_suspect(),
        }
    }

    fn runner_state(&self, runner: Option<&RunnerRow>) -> RunnerState {
        let Some(runner) = runner else { return RunnerState::None };
        if self.dispatch.epoch(runner.host.id).is_none() {
            return RunnerState::Away;
        }
        match &runner.host.facts.restic_problem {
            Some(_) => RunnerState::WithoutRestic,
            None => RunnerState::Ready,
        }
    }
}

/// What forget would have to do on a repository.
pub(crate) fn forget_needs(groups: &[ForgetGroupRow], now: Timestamp) -> ForgetNeeds {
    if groups.iter().all(|group| group.group.keep.is_empty()) {
        ForgetNeeds::NoPolicies
    } else if groups.iter().any(|group| from_the_future(group, now)) {
        ForgetNeeds::FutureSnapshots
    } else {
        ForgetNeeds::Policies
    }
}

fn has_foreign_lock(stats: &RepoStats, now: Timestamp) -> bool {
    let recent = stats.locks_seen_at.is_some_and(|at| now.millis_since(at).abs() <= LOCK_COUNTS_FOR);
    let foreign = |owner: LockOwner| match owner {
        LockOwner::Unknown => true,
        LockOwner::EndedRun | LockOwner::LiveRun => false,
    };
    recent && stats.locks.iter().flatten().any(|lock| foreign(lock.owner))
}
