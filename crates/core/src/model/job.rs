//! Runs, jobs and the one table of their states.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, HostId, JobId, RepoId, RunId, ScheduleId};
use crate::model::{Actor, CheckStatus, ForgetResult, PruneResult, SeenLock};
use crate::restic::OutcomeClass;
use crate::time::Timestamp;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobKind {
    /// Backs up one source group.
    Backup,
    /// Makes the repository, or adopts the one that is there.
    Init,
    /// Forgets snapshots by policy.
    Forget,
    /// Removes data that no snapshot needs.
    Prune,
    /// Verifies the repository.
    Check,
    /// Removes stale locks.
    Unlock,
    /// Measures the repository and lists snapshots.
    Stats,
    /// Restores files.
    Restore,
    /// Compares two snapshots.
    Diff,
}

/// How a job uses its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Overlaps with other shared jobs.
    Shared,
    /// Runs alone.
    Exclusive,
    /// Takes no lock at all.
    None,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Backup,
        Self::Init,
        Self::Forget,
        Self::Prune,
        Self::Check,
        Self::Unlock,
        Self::Stats,
        Self::Restore,
        Self::Diff,
    ];

    /// Its name in SQL, wire, JSON and CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Init => "init",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Unlock => "unlock",
            Self::Stats => "stats",
            Self::Restore => "restore",
            Self::Diff => "diff",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The lock restic takes (tried on 0.14.0, 0.18.0 and 0.19.1: `init` and `unlock` take none).
    pub const fn lock_mode(self) -> LockMode {
        match self {
            Self::Backup | Self::Stats | Self::Restore | Self::Diff => LockMode::Shared,
            Self::Forget | Self::Prune | Self::Check => LockMode::Exclusive,
            Self::Init | Self::Unlock => LockMode::None,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JobState {
    /// Waits for admission or for its host.
    Queued,
    /// Sent to the agent, which has not answered yet.
    Dispatched,
    /// The agent says that restic runs.
    Running,
    /// Restic said so, and a backup has a snapshot id.
    Succeeded,
    /// The snapshot exists, but items could not be read.
    Warning,
    /// It did not do what was asked; `class` says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// The agent no longer knows of it: nobody can say how it ended.
    Lost,
    /// The agent already did that slot.
    Superseded,
    /// It never started: the host left, or the world changed meanwhile.
    Withdrawn,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Dispatched,
        Self::Running,
        Self::Succeeded,
        Self::Warning,
        Self::Failed,
        Self::Cancelled,
        Self::Lost,
        Self::Superseded,
        Self::Withdrawn,
    ];

    /// Its name in SQL, wire, JSON and CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it is over. What was only presumed (lost, withdrawn) may still be corrected by what the agent says.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Dispatched | Self::Running => false,
            Self::Succeeded
            | Self::Warning
            | Self::Failed
            | Self::Cancelled
            | Self::Lost
            | Self::Superseded
            | Self::Withdrawn => true,
        }
    }

    /// Whether it takes a place on its host and its repository.
    pub const fn occupies(self) -> bool {
        matches!(self, Self::Dispatched | Self::Running)
    }
}

/// How the agent says a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FinalState {
    /// Restic said so, and a backup has a snapshot id.
    Succeeded,
    /// The snapshot exists, but items could not be read.
    Warning,
    /// It did not do what was asked.
    Failed,
    /// It was stopped on request.
    Cancelled,
}

impl From<FinalState> for JobState {
    fn from(state: FinalState) -> Self {
        match state {
            FinalState::Succeeded => Self::Succeeded,
            FinalState::Warning => Self::Warning,
            FinalState::Failed => Self::Failed,
            FinalState::Cancelled => Self::Cancelled,
        }
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// The dispatching commit.
    Dispatch,
    /// The agent said that it started.
    Start,
    /// The agent cannot take it at present; it waits again.
    Requeue,
    /// The agent said how it ended.
    Finish(FinalState),
    /// The agent already did that slot.
    Supersede,
    /// It will not be started.
    Withdraw,
    /// It was cancelled before the agent had it.
    CancelQueued,
    /// The agent no longer knows of it.
    Lose,
}

impl JobEvent {
    /// The states in which this can happen; the store's guards (`... and state in (...)`) are made from it.
    pub const fn allowed_from(self) -> &'static [JobState] {
        match self {
            Self::Dispatch | Self::CancelQueued => &[JobState::Queued],
            Self::Requeue => &[JobState::Dispatched],
            // A job that was put back in the queue may have reached its agent all the same.
            Self::Start => &[JobState::Queued, JobState::Dispatched],
            // Evidence beats presumption: a job that was given up is over as its agent says, whenever it says so.
            Self::Finish(_) => &[
                JobState::Queued,
                JobState::Dispatched,
                JobState::Running,
                JobState::Lost,
                JobState::Withdrawn,
            ],
            Self::Lose => &[JobState::Dispatched, JobState::Running],
            Self::Supersede | Self::Withdraw => &[JobState::Queued, JobState::Dispatched],
        }
    }

    /// The state that follows.
    pub const fn leads_to(self) -> JobState {
        match self {
            Self::Dispatch => JobState::Dispatched,
            Self::Start => JobState::Running,
            Self::Requeue => JobState::Queued,
            Self::Finish(FinalState::Succeeded) => JobState::Succeeded,
            Self::Finish(FinalState::Warning) => JobState::Warning,
            Self::Finish(FinalState::Failed) => JobState::Failed,
            Self::Finish(FinalState::Cancelled) | Self::CancelQueued => JobState::Cancelled,
            Self::Supersede => JobState::Superseded,
            Self::Withdraw => JobState::Withdrawn,
            Self::Lose => JobState::Lost,
        }
    }
}

/// An event that cannot happen in a state: a late or double report, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot become {}", from.as_str(), to.as_str())]
pub struct IllegalMove {
    /// Where the job stands.
    pub from: JobState,
    /// Where the event would have led.
    pub to: JobState,
}

/// The state after `event`.
///
/// # Errors
///
/// [`IllegalMove`] when the event cannot happen in this state; the job stays as it is.
pub fn transition(state: JobState, event: JobEvent) -> Result<JobState, IllegalMove> {
    let to = event.leads_to();
    if event.allowed_from().contains(&state) { Ok(to) } else { Err(IllegalMove { from: state, to }) }
}

/// The idempotency key of a scheduled run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunKey {
    /// The schedule that fired.
    pub schedule_id: ScheduleId,
    /// The group to back up.
    pub group_id: GroupId,
    /// The repository to back up to.
    pub repo_id: RepoId,
    /// The firing time.
    pub slot: Timestamp,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunState {
    /// A job of it is not final, or it owes an attempt.
    Open,
    /// One of its jobs succeeded.
    Succeeded,
    /// One of its jobs made a snapshot with unreadable items.
    Warning,
    /// Its last job failed in a way that no retry mends.
    Failed,
    /// It never ran; `why` says so.
    Missed,
    /// Its attempts are used up, or its schedule or group is gone; `why` says so.
    Abandoned,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Succeeded, Self::Warning, Self::Failed, Self::Missed, Self::Abandoned];

    /// Its name in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Abandoned => "abandoned",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl RunState {
    /// Where a run stands after one of its jobs ended like this; none while that job goes on or waits again.
    ///
    /// A job that was superseded leaves its run to the job that did the slot.
    pub const fn after(job: JobState) -> Option<Self> {
        match job {
            JobState::Queued | JobState::Dispatched | JobState::Running | JobState::Superseded => None,
            JobState::Succeeded => Some(Self::Succeeded),
            JobState::Warning => Some(Self::Warning),
            JobState::Failed | JobState::Lost | JobState::Cancelled => Some(Self::Failed),
            JobState::Withdrawn => Some(Self::Abandoned),
        }
    }
}

/// One source group of one schedule to one repository at one slot, whatever number of attempts it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// Its key, unique.
    pub key: RunKey,
    /// The host it runs on.
    pub host_id: HostId,
    /// Where it stands.
    pub state: RunState,
    /// The number of its newest attempt, from 1.
    pub attempt: u32,
    /// When the next attempt is owed; set only while it is a pending run.
    pub next_attempt_at: Option<Timestamp>,
    /// Why it was missed, abandoned or is pending.
    pub why: Option<String>,
    /// When the server first knew of it.
    pub created_at: Timestamp,
}

/// One attempt of a run, or one operation asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// The host that runs it.
    pub host_id: HostId,
    /// The repository it works on.
    pub repo_id: RepoId,
    /// The group of a backup.
    pub group_id: Option<GroupId>,
    /// The run it is an attempt of.
    pub run_id: Option<RunId>,
    /// The slot of its run or maintenance.
    pub slot: Option<Timestamp>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Who asked for it.
    pub actor: Actor,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was sent to the agent.
    pub dispatched_at: Option<Timestamp>,
    /// When restic started, by the agent's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the agent's clock; by the server's where the agent never had it.
    pub finished_at: Option<Timestamp>,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<Timestamp>,
    /// How it ended, in classes that can be acted on.
    pub class: Option<OutcomeClass>,
    /// Restic's exit code, where there is one.
    pub exit_code: Option<i32>,
    /// How it ended, in one sentence.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What it produced.
    pub summary: Option<JobSummary>,
    /// What its asker wanted beyond its kind.
    #[serde(default, skip_serializing_if = "JobIntent::is_plain")]
    pub intent: JobIntent,
}

impl Job {
    /// A job that was just asked for: the first attempt, of no run, in the queue.
    pub fn queued(
        id: JobId,
        kind: JobKind,
        host_id: HostId,
        repo_id: RepoId,
        actor: Actor,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            state: JobState::Queued,
            host_id,
            repo_id,
            group_id: None,
            run_id: None,
            slot: None,
            attempt: 1,
            actor,
            created_at,
            dispatched_at: None,
            started_at: None,
            finished_at: None,
            cancel_requested_at: None,
            class: None,
            exit_code: None,
            message: None,
            hint: None,
            summary: None,
            intent: JobIntent::default(),
        }
    }
}

/// What the asker of a job wanted beyond its kind. A job stores intent; its payload is made when it is dispatched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobIntent {
    /// For a forget: only say what would go of this group. Such a job is no forget as far as the cadence is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_group: Option<GroupId>,
    /// For a check: how much of the data it reads, in place of the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset_pct: Option<u8>,
    /// For an unlock: which locks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlock: Option<UnlockScope>,
}

impl JobIntent {
    /// Whether nothing beyond the kind is wanted.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Which locks an unlock removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UnlockScope {
    /// Those restic itself calls stale.
    Stale,
    /// Stale ones, but only when every lock that is there belongs to a run of this host that is known to be over.
    Attested,
    /// All, live ones included.
    All,
}

/// What a job produced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobSummary {
    /// The full id of the snapshot a backup made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Files that were not in the parent snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_new: Option<u64>,
    /// Files that changed since the parent snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_changed: Option<u64>,
    /// Files that did not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_unmodified: Option<u64>,
    /// Bytes added to the repository, before compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_added: Option<u64>,
    /// Bytes added to the repository as stored (restic 0.16 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_stored: Option<u64>,
    /// Files that restic looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_processed: Option<u64>,
    /// Bytes that restic looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_processed: Option<u64>,
    /// Items that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_items: Option<u64>,
    /// Included paths that were not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_paths: Vec<String>,
    /// Seconds from the start of restic to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Whether `init` found a repository that was already there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<bool>,
    /// What a check found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckStatus>,
    /// How much of the data a check read, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_subset_pct: Option<u8>,
    /// What a forget did, group by group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<ForgetResult>,
    /// What a prune did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneResult>,
    /// The locks that were in the way, or that an unlock found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<SeenLock>,
    /// How many locks were removed, counted by listing before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks_removed: Option<u64>,
}

/// Why something that is due or queued does not run at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Hold {
    /// The host's agent is not connected.
    HostOffline,
    /// The host runs another job.
    HostBusy {
        /// That job.
        job_id: JobId,
    },
    /// The repository is used in a way that excludes this job.
    RepoBusy {
        /// The job that uses it.
        job_id: JobId,
    },
    /// A job that must run alone waits for the repository and closed the door behind it.
    Draining {
        /// That job.
        job_id: JobId,
    },
    /// A job in the way runs on a host that is out of contact.
    OutOfContact {
        /// That job.
        job_id: JobId,
    },
    /// The admin credential is missing.
    AdminCredsRequired,
    /// The last check found errors.
    CheckErrors,
    /// Somebody else's lock is on the repository.
    ForeignLock,
    /// No host is named, or left, to run the repository's maintenance.
    NoRunner,
    /// The host has no usable restic.
    ResticMissing,
    /// The clock jumped.
    ClockSuspect,
    /// The repository was unreachable for many; one tries, the others wait.
    BreakerOpen,
    /// The next attempt is not due yet.
    WaitingRetry {
        /// When it is.
        until: Timestamp,
    },
}

impl Hold {
    /// The reason in one sentence.
    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::HostOffline => "the host's agent is not connected",
            Self::HostBusy { .. } => "the host is busy with another job",
            Self::RepoBusy { .. } => "the repository is in use by a job that excludes this one",
            Self::Draining { .. } => "a job that must run alone waits for the repository first",
            Self::OutOfContact { .. } => "a job in the way runs on a host that is out of contact",
            Self::AdminCredsRequired => "the admin credential of the repository is missing",
            Self::CheckErrors => "the last check found errors in the repository",
            Self::ForeignLock => "the repository is locked by a process that is not ours",
            Self::NoRunner => "no host is set to run the repository's maintenance",
            Self::ResticMissing => "the host has no usable restic",
            Self::ClockSuspect => "the clock jumped and is not trusted yet",
            Self::BreakerOpen => "the repository is unreachable for many hosts; one of them is trying",
            Self::WaitingRetry { .. } => "the next attempt is not due yet",
        }
    }

    /// What a person can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::HostOffline => "start the agent on the host, or see `restic-manager-agent doctor` there",
            Self::HostBusy { .. } | Self::RepoBusy { .. } | Self::Draining { .. } => {
                "wait, or cancel the job in the way"
            }
            Self::OutOfContact { .. } => "bring that host back, or cancel its job by name",
            Self::AdminCredsRequired => "set it with `rmctl creds set --kind admin`",
            Self::CheckErrors => "repair the repository and run a check, or override the hold",
            Self::ForeignLock => "see who holds it, then `rmctl repo unlock`",
            Self::NoRunner => "name a runner for the repository",
            Self::ResticMissing => "install restic on the host; its agent finds it by itself",
            Self::ClockSuspect => "check the clock of the server and of the hosts",
            Self::BreakerOpen => "look after the storage; the others follow by themselves",
            Self::WaitingRetry { .. } => "wait, or run it now",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moves of RULES, written down apart from the code.
    const LEGAL: &[(JobState, JobState)] = &[
        (JobState::Queued, JobState::Dispatched),
        (JobState::Queued, JobState::Cancelled),
        (JobState::Queued, JobState::Superseded),
        (JobState::Queued, JobState::Withdrawn),
        (JobState::Queued, JobState::Running),
        (JobState::Queued, JobState::Succeeded),
        (JobState::Queued, JobState::Warning),
        (JobState::Queued, JobState::Failed),
        (JobState::Lost, JobState::Succeeded),
        (JobState::Lost, JobState::Warning),
        (JobState::Lost, JobState::Failed),
        (JobState::Lost, JobState::Cancelled),
        (JobState::Withdrawn, JobState::Succeeded),
        (JobState::Withdrawn, JobState::Warning),
        (JobState::Withdrawn, JobState::Failed),
        (JobState::Withdrawn, JobState::Cancelled),
        (JobState::Dispatched, JobState::Queued),
        (JobState::Dispatched, JobState::Running),
        (JobState::Dispatched, JobState::Succeeded),
        (JobState::Dispatched, JobState::Warning),
        (JobState::Dispatched, JobState::Failed),
        (JobState::Dispatched, JobState::Cancelled),
        (JobState::Dispatched, JobState::Lost),
        (JobState::Dispatched, JobState::Superseded),
        (JobState::Dispatched, JobState::Withdrawn),
        (JobState::Running, JobState::Succeeded),
        (JobState::Running, JobState::Warning),
        (JobState::Running, JobState::Failed),
        (JobState::Running, JobState::Cancelled),
        (JobState::Running, JobState::Lost),
    ];

    const EVENTS: [JobEvent; 11] = [
        JobEvent::Dispatch,
        JobEvent::Start,
        JobEvent::Requeue,
        JobEvent::Finish(FinalState::Succeeded),
        JobEvent::Finish(FinalState::Warning),
        JobEvent::Finish(FinalState::Failed),
        JobEvent::Finish(FinalState::Cancelled),
        JobEvent::Supersede,
        JobEvent::Withdraw,
        JobEvent::CancelQueued,
        JobEvent::Lose,
    ];

    #[test]
    fn the_table_allows_exactly_the_written_moves() {
        let mut reached = std::collections::BTreeSet::new();
        for state in JobState::ALL {
            for event in EVENTS {
                if let Ok(to) = transition(state, event) {
                    assert!(LEGAL.contains(&(state, to)), "{state:?} -> {to:?} by {event:?}");
                    reached.insert((state, to));
                }
            }
        }
        assert_eq!(reached.len(), LEGAL.len());
    }

    #[test]
    fn only_evidence_follows_a_final_state_and_only_one_that_was_presumed() {
        for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
            let presumed = matches!(state, JobState::Lost | JobState::Withdrawn);
            for event in EVENTS {
                let evidence = matches!(event, JobEvent::Finish(_));
                assert_eq!(transition(state, event).is_ok(), presumed && evidence, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn names_are_their_own_inverse() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_name(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for kind in JobKind::ALL {
            assert_eq!(JobKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
