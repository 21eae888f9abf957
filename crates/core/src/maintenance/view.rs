//! What [`decide`](super::decide) looks at.

use crate::id::{JobId, RepoId};
use crate::maintenance::{MaintenanceKind, MaintenancePolicy};
use crate::model::{AppendOnly, JobState};
use crate::restic::OutcomeClass;
use crate::time::Timestamp;

/// All that is known of a repository when its maintenance is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoView {
    /// Which repository; its jitter depends on it.
    pub repo_id: RepoId,
    /// What its operator wants.
    pub policy: MaintenancePolicy,
    /// Since when the cadence of forget, prune and check stands as it is; none where nobody keeps track. No slot at or before it fires.
    pub policy_since: [Option<Timestamp>; 3],
    /// The newest job of forget, prune and check in any state but superseded and withdrawn.
    pub last: [Option<LastJob>; 3],
    /// The host that would do it.
    pub runner: RunnerState,
    /// What forget would have to do.
    pub forget: ForgetNeeds,
    /// Whether the runner's admin credential is stored.
    pub has_admin_creds: bool,
    /// Whether the runner's everyday credential may delete.
    pub append_only: AppendOnly,
    /// Whether the last check found errors that no later check or operator has lifted.
    pub check_errors: bool,
    /// Whether a lock that is not ours was seen, and not seen gone since.
    pub foreign_lock: bool,
    /// Whether the clock jumped and is not trusted yet.
    pub clock_suspect: bool,
}

/// The newest job of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastJob {
    /// Which.
    pub job_id: JobId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Where it stands.
    pub state: JobState,
    /// In which class it ended.
    pub class: Option<OutcomeClass>,
    /// The slot it was for; none when an operator asked for it.
    pub slot: Option<Timestamp>,
    /// Which attempt at that slot, from 1.
    pub attempt: u32,
}

/// The host that does the maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerState {
    /// Nobody is named or left.
    None,
    /// Named, but not connected.
    Away,
    /// Connected, but without a usable restic.
    WithoutRestic,
    /// Ready.
    Ready,
}

/// What forget would have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetNeeds {
    /// No source group of the repository has a policy: forget has nothing to do, ever.
    NoPolicies,
    /// At least one has.
    Policies,
    /// A snapshot of one of the groups is dated later than an hour from now: its policy cannot be trusted with it.
    FutureSnapshots,
}

impl RepoView {
    /// A repository in whose way nothing stands: no job yet, a runner that is ready, an admin credential, and something to forget. Whoever
    /// knows more fills in the fields.
    pub const fn new(repo_id: RepoId, policy: MaintenancePolicy) -> Self {
        Self {
            repo_id,
            policy,
            policy_since: [None; 3],
            last: [None; 3],
            runner: RunnerState::Ready,
            forget: ForgetNeeds::Policies,
            has_admin_creds: true,
            append_only: AppendOnly::Unknown,
            check_errors: false,
            foreign_lock: false,
            clock_suspect: false,
        }
    }

    /// Notes the newest job of a kind.
    pub const fn set_last(&mut self, kind: MaintenanceKind, job: LastJob) {
        self.last[place(kind)] = Some(job);
    }

    pub(super) fn last(&self, kind: MaintenanceKind) -> Option<&LastJob> {
        self.last[place(kind)].as_ref()
    }

    pub(super) fn since(&self, kind: MaintenanceKind) -> Option<Timestamp> {
        self.policy_since[place(kind)]
    }
}

const fn place(kind: MaintenanceKind) -> usize {
    match kind {
        MaintenanceKind::Forget => 0,
        MaintenanceKind::Prune => 1,
        MaintenanceKind::Check => 2,
    }
}
