//! The doors to runs and jobs, and what is read of them.

use std::cmp::Reverse;

use async_trait::async_trait;
use restic_manager_core::id::{HostId, JobId, RunId};
use restic_manager_core::model::{AuditEntry, Job, JobEvent, JobKind, JobState, Run};
use restic_manager_core::time::Timestamp;

use super::{MemoryStore, State, pages};
use crate::{
    AdmissionView, CancelOutcome, DispatchIntent, DispatchOutcome, DispatchRow, Enqueued, FleetCounts,
    JobFilter, JobMove, JobRow, Listed, PageRequest, Result, TakeSession, TakenSession, Work,
};

#[async_trait]
impl Work for MemoryStore {
    async fn enqueue(&self, job: Job, audit: AuditEntry) -> Result<Enqueued> {
        Ok(self.state().enqueue(job, audit))
    }

    async fn admission_view(&self) -> Result<AdmissionView> {
        Ok(self.state().admission_view())
    }

    async fn dispatch(&self, intents: &[DispatchIntent], now: Timestamp) -> Result<Vec<DispatchOutcome>> {
        Ok(self.state().dispatch(intents, now))
    }

    async fn move_job(
        &self,
        id: JobId,
        event: JobEvent,
        message: &str,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> Result<JobMove> {
        Ok(self.state().move_job(id, event, message, now, audit))
    }

    async fn put_off(&self, id: JobId, message: &str, now: Timestamp) -> Result<JobMove> {
        Ok(self.state().put_off(id, message, now))
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp, audit: AuditEntry) -> Result<CancelOutcome> {
        Ok(self.state().request_cancel(id, now, audit))
    }

    async fn unanswered(&self, dispatched_before: Timestamp) -> Result<Vec<DispatchRow>> {
        let state = self.state();
        let late = state.jobs.unfinished().filter(|job| {
            job.state == JobState::Dispatched && job.dispatched_at.is_some_and(|at| at < dispatched_before)
        });
        Ok(late.filter_map(|job| state.dispatch_row(job)).collect())
    }

    async fn withdraw_stale(&self, created_before: Timestamp, now: Timestamp) -> Result<Vec<JobId>> {
        Ok(self.state().withdraw_stale(created_before, now))
    }

    async fn take_session(&self, take: TakeSession) -> Result<Option<TakenSession>> {
        Ok(self.state().take_session(take))
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        let state = self.state();
        Ok(state.jobs.get(id).map(|job| state.job_row(job)))
    }

    async fn jobs(&self, filter: &JobFilter, page: PageRequest) -> Result<Listed<JobRow>> {
        let state = self.state();
        let matching = state.jobs.all().rev().filter(|job| matches(filter, job));
        pages::page(matching.map(|job| (Reverse(job.id), state.job_row(job))), &page)
    }

    async fn last_backups(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>> {
        let state = self.state();
        let newest = |id: &HostId| state.jobs.all().rev().find(|job| job.host_id == *id && is_evidence(job));
        Ok(host_ids.iter().filter_map(newest).map(|job| state.job_row(job)).collect())
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        Ok(self.state().runs.get(&id).cloned())
    }

    async fn counts(&self, failed_since: Timestamp) -> Result<FleetCounts> {
        let state = self.state();
        let occupying = state.jobs.unfinished().filter(|job| job.state.occupies()).count();
        let failed = |job: &&Job| match job.state {
            JobState::Failed | JobState::Lost => job.finished_at.is_some_and(|at| at >= failed_since),
            JobState::Queued
            | JobState::Dispatched
            | JobState::Running
            | JobState::Succeeded
            | JobState::Warning
            | JobState::Cancelled
            | JobState::Superseded
            | JobState::Withdrawn => false,
        };
        Ok(FleetCounts {
            hosts: state.hosts.len() as u64,
            repos: state.repos.len() as u64,
            jobs_running: occupying as u64,
            jobs_queued: (state.jobs.unfinished().count() - occupying) as u64,
            jobs_failed: state.jobs.all().filter(failed).count() as u64,
        })
    }
}

impl State {
    pub(super) fn job_row(&self, job: &Job) -> JobRow {
        let host = self.hosts.get(&job.host_id).map(|host| &host.name);
        let repo = self.repos.get(&job.repo_id).map(|repo| &repo.name);
        let host = host.or_else(|| self.former.hosts.get(&job.host_id));
        let repo = repo.or_else(|| self.former.repos.get(&job.repo_id));
        let group = job.group_id.and_then(|id| {
            let there = self.groups.get(&id).map(|group| &group.name);
            there.or_else(|| self.former.groups.get(&id))
        });
        JobRow {
            job: job.clone(),
            host_name: host.map(ToString::to_string).unwrap_or_default(),
            repo_name: repo.map(ToString::to_string).unwrap_or_default(),
            group_name: group.map(ToString::to_string),
        }
    }
}

fn matches(filter: &JobFilter, job: &Job) -> bool {
    filter.host_id.is_none_or(|id| id == job.host_id)
        && filter.repo_id.is_none_or(|id| id == job.repo_id)
        && filter.group_id.is_none_or(|id| Some(id) == job.group_id)
        && filter.kind.is_none_or(|kind| kind == job.kind)
        && (filter.states.is_empty() || filter.states.contains(&job.state))
        && filter.since.is_none_or(|since| job.created_at >= since)
        && filter.before.is_none_or(|before| job.created_at < before)
}

/// Whether a job says something about how its host is backed up.
fn is_evidence(job: &Job) -> bool {
    match job.state {
        JobState::Superseded | JobState::Withdrawn => false,
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Warning
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Lost => job.kind == JobKind::Backup,
    }
}
