//! The store in memory: the whole contract without a disk, for tests and simulations.

mod accounts;
mod attachments;
mod audit;
mod effects;
mod fleet;
mod glance;
mod hosts;
mod jobs;
mod log;
mod maintenance;
mod pages;
mod pending;
mod pending_runs;
mod plans;
mod queue;
mod reports;
mod repos;
mod sessions;
mod snapshots;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::snapshots::Listing;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{
    AttachmentId, AuditId, EnrollmentId, GroupId, HostId, JobId, PendingHostId, RepoId, RunId, ScheduleId,
    SpoolId, TokenId, UserId,
};
use restic_manager_core::model::{
    Attachment, AuditEntry, CredentialKind, Host, Repo, RepoStats, Run, RunKey, Schedule, SourceGroup,
};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use crate::{
    EnrollmentRow, PendingHostRow, SealedCredential, SessionRow, StoreError, TokenHash, TokenRow, UserRow,
};

/// A store that keeps everything in memory and forgets it when it is dropped.
///
/// One lock around plain maps: every method is one step that others see whole or not at all, and the same calls in the same order give
/// the same answers. It has no clock and starts no thread. Lookups by id are fast; lists read all rows there are.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every run there is, by id: what a simulation is judged by at its end.
    pub fn all_runs(&self) -> Vec<Run> {
        self.state().runs.values().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method panics between two writes of one change: what a panicking test leaves behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    users: BTreeMap<UserId, UserRow>,
    sessions: BTreeMap<TokenHash, SessionRow>,
    tokens: BTreeMap<TokenId, TokenRow>,
    enrollments: BTreeMap<EnrollmentId, EnrollmentRow>,
    pending_hosts: BTreeMap<PendingHostId, PendingHostRow>,

    hosts: BTreeMap<HostId, Host>,
    agent_tokens: BTreeMap<TokenHash, HostId>,
    epochs: BTreeMap<HostId, i64>,
    spools: BTreeMap<(HostId, SpoolId), u64>,
    repos: BTreeMap<RepoId, Repo>,
    repo_stats: BTreeMap<RepoId, RepoStats>,
    stats_days: BTreeMap<(RepoId, Timestamp), StatsDay>,
    upkeep: BTreeMap<RepoId, maintenance::Upkeep>,
    attachments: BTreeMap<AttachmentId, Attachment>,
    credentials: BTreeMap<(AttachmentId, CredentialKind), SealedCredential>,

    groups: BTreeMap<GroupId, SourceGroup>,
    schedules: BTreeMap<ScheduleId, Schedule>,

    /// The hosts that could not reach a repository since anybody last did.
    unreachable: BTreeMap<RepoId, BTreeSet<HostId>>,
    runs: BTreeMap<RunId, Run>,
    run_keys: BTreeMap<RunKey, RunId>,
    jobs: jobs::Jobs,
    former: FormerNames,
    logs: BTreeMap<JobId, log::JobLog>,
    snapshots: BTreeMap<(HostId, RepoId), Listing>,

    audit: BTreeMap<AuditId, AuditEntry>,
    facts: BTreeMap<String, String>,
}

/// The names of what was deleted, for the jobs that speak of it.
#[derive(Default)]
struct FormerNames {
    hosts: BTreeMap<HostId, DisplayName>,
    repos: BTreeMap<RepoId, DisplayName>,
    groups: BTreeMap<GroupId, DisplayName>,
}

impl State {
    fn write_audit(&mut self, entry: AuditEntry) {
        self.audit.insert(entry.id, entry);
    }

    /// Raises the plan version of a host; none when it is gone.
    fn raise_plan(&mut self, host_id: HostId) -> Option<i64> {
        let host = self.hosts.get_mut(&host_id)?;
        host.schedule_version += 1;
        Some(host.schedule_version)
    }
}

fn missing(what: &'static str, id: impl fmt::Display) -> StoreError {
    StoreError::Missing { what, id: id.to_string() }
}
