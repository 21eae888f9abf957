//! What [`decide`](super::decide) looks at.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, RepoId};
use crate::maintenance::{MaintenanceKind, MaintenancePolicy};
use crate::model::{AppendOnly, JobState};
use crate::restic::OutcomeClass;
use crate::time::Timestamp;

/// All that is known of a repository when its maintenance is decided.
///
/// Serialised by the names of its fields, of which none may be missing or unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoView {
    /// Which repository; its jitter depends on it.
    pub repo_id: RepoId,
    /// What its operator wants.
    pub policy: MaintenancePolicy,
    /// Since when the cadence of forget, prune and check stands as it is: no slot at or before it fires. Where nobody keeps track it is none,
    /// and a kind that never had a job then looks back 24 hours and no further: the slots before are given up.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastJob {
    /// Which.
    pub job_id: JobId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Where it stands.
    ///
    /// While that is no final state the kind is under way, and nothing of it is due, however long ago it began. A job whose end nobody will
    /// ever tell, because the program that ran it crashed, is the caller's to find: set it to [`JobState::Lost`], and its slot is owed again.
    pub state: JobState,
    /// In which class it ended.
    pub class: Option<OutcomeClass>,
    /// The slot it was for; none when an operator asked for it.
    pub slot: Option<Timestamp>,
    /// Which attempt at that slot, from 1.
    pub attempt: u32,
}

/// The host that does the maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    ///
    /// `since` is when the policy began to hold, which for a new repository is now: no slot at or before it fires, and none after it is
    /// forgotten, however late the first look comes.
    pub const fn new(repo_id: RepoId, policy: MaintenancePolicy, since: Timestamp) -> Self {
        Self {
            repo_id,
            policy,
            policy_since: [Some(since); 3],
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

    /// Notes since when the cadence of a kind stands as it is: the moment of its last edit, so that it fires nothing of the past.
    pub const fn set_since(&mut self, kind: MaintenanceKind, since: Timestamp) {
        self.policy_since[place(kind)] = Some(since);
    }

    /// The newest job of a kind.
    pub fn last(&self, kind: MaintenanceKind) -> Option<&LastJob> {
        self.last[place(kind)].as_ref()
    }

    /// Since when the cadence of a kind stands as it is; none where nobody keeps track.
    pub fn since(&self, kind: MaintenanceKind) -> Option<Timestamp> {
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
