//! What pages that show many things at once are made of: each read is one statement, however many rows a page has.

use std::ops::Range;

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{Host, JobKind, JobState, Schedule};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use crate::{JobRow, Result};

/// The repository that a host backs up to first of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryRepo {
    /// The host.
    pub host_id: HostId,
    /// Its repository.
    pub repo_id: RepoId,
    /// The repository's name.
    pub name: DisplayName,
}

/// Whose days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaysOf {
    /// Of the jobs of a host.
    Host(HostId),
    /// Of the jobs on a repository.
    Repo(RepoId),
}

/// How many jobs of a day stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobDay {
    /// The first instant of the day they were asked for, in UTC.
    pub day: Timestamp,
    /// How they stand.
    pub state: JobState,
    /// How many they are.
    pub jobs: u64,
}

/// Reads for pages.
#[async_trait]
pub trait Glance: Send + Sync {
    /// The primary repositories of those of these hosts that have one, in the order of `host_ids`.
    async fn primary_repos(&self, host_ids: &[HostId]) -> Result<Vec<PrimaryRepo>>;
    /// The days of these repositories from that of `since` on, by repository, then by day.
    async fn sizes(&self, repo_ids: &[RepoId], since: Timestamp) -> Result<Vec<(RepoId, StatsDay)>>;
    /// The newest backup of each of these source groups that has one, in whatever state, in the order of `group_ids`.
    async fn last_backups_of_groups(&self, group_ids: &[GroupId]) -> Result<Vec<JobRow>>;
    /// Those of these jobs that are there, by id.
    async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobRow>>;
    /// The jobs of these hosts that are not over, by id.
    async fn open_jobs_of(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>>;
    /// The hosts that have a job that is dispatched or running, by id.
    async fn busy_hosts(&self) -> Result<Vec<HostId>>;
    /// All hosts that are none of these, by id.
    async fn hosts_besides(&self, ids: &[HostId]) -> Result<Vec<HostId>>;
    /// The first hosts by name whose agent says that it has no usable restic.
    async fn hosts_without_restic(&self, limit: u32) -> Result<Vec<Host>>;
    /// The first enabled schedules that back up nowhere, with the names of their hosts: the host is attached to none of their repositories, for
    /// maintenance apart. By the host's name, then by their own.
    async fn schedules_without_target(&self, limit: u32) -> Result<Vec<(Schedule, DisplayName)>>;
    /// Jobs asked for at or after an instant that failed, were lost or ended with a warning, and after which no job of the same
    /// kind, host, repository and group, asked for later, is over; newest first by id.
    async fn unmended(&self, since: Timestamp, limit: u32) -> Result<Vec<JobRow>>;
    /// The jobs of a run, by their attempt.
    async fn attempts(&self, run_id: RunId) -> Result<Vec<JobRow>>;
    /// How the jobs of a kind stand that were asked for from the day on in which `within` begins, and before its end; by day, then by
    /// the state's name.
    async fn job_days(&self, of: DaysOf, kind: JobKind, within: Range<Timestamp>) -> Result<Vec<JobDay>>;
}
