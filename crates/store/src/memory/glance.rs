//! Bulk reads for pages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId, RunId};
use restic_manager_core::model::{Host, Job, JobKind, JobState, Role, Schedule};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::MemoryStore;
use crate::names::name_key;
use crate::stats::day_of;
use crate::{DaysOf, Glance, JobDay, JobRow, PrimaryRepo, Result};

#[async_trait]
impl Glance for MemoryStore {
    async fn primary_repos(&self, host_ids: &[HostId]) -> Result<Vec<PrimaryRepo>> {
        let state = self.state();
        let primary = |host_id: &HostId| {
            let of_host = |role, id| role == Role::Primary && id == *host_id;
            let attachment =
                state.attachments.values().find(|attachment| of_host(attachment.role, attachment.host_id))?;
            let repo = state.repos.get(&attachment.repo_id)?;
            Some(PrimaryRepo { host_id: *host_id, repo_id: repo.id, name: repo.name.clone() })
        };
        Ok(host_ids.iter().filter_map(primary).collect())
    }

    async fn sizes(&self, repo_ids: &[RepoId], since: Timestamp) -> Result<Vec<(RepoId, StatsDay)>> {
        let state = self.state();
        let asked: BTreeSet<RepoId> = repo_ids.iter().copied().collect();
        let days = asked.iter().flat_map(|id| {
            let of_repo = state.stats_days.range((*id, day_of(since))..);
            of_repo.take_while(move |((repo_id, _), _)| repo_id == id)
        });
        Ok(days.map(|((id, _), day)| (*id, day.clone())).collect())
    }

    async fn last_backups_of_groups(&self, group_ids: &[GroupId]) -> Result<Vec<JobRow>> {
        let state = self.state();
        let newest = |id: &GroupId| {
            let of_group = |job: &&Job| job.group_id == Some(*id) && job.kind == JobKind::Backup;
            state.jobs.all().rev().find(of_group)
        };
        Ok(group_ids.iter().filter_map(newest).map(|job| state.job_row(job)).collect())
    }

    async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobRow>> {
        let state = self.state();
        let ids: BTreeSet<JobId> = ids.iter().copied().collect();
        Ok(ids.iter().filter_map(|id| state.jobs.get(*id)).map(|job| state.job_row(job)).collect())
    }

    async fn open_jobs_of(&self, host_ids: &[HostId]) -> Result<Vec<JobRow>> {
        let state = self.state();
        let wanted = |job: &&Job| host_ids.contains(&job.host_id);
        Ok(state.jobs.unfinished().filter(wanted).map(|job| state.job_row(job)).collect())
    }

    async fn busy_hosts(&self) -> Result<Vec<HostId>> {
        let state = self.state();
        let busy = state.jobs.unfinished().filter(|job| job.state.occupies()).map(|job| job.host_id);
        Ok(busy.collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn hosts_besides(&self, some: &[HostId]) -> Result<Vec<HostId>> {
        let some: BTreeSet<&HostId> = some.iter().collect();
        Ok(self.state().hosts.keys().filter(|id| !some.contains(id)).copied().collect())
    }

    async fn hosts_without_restic(&self, limit: u32) -> Result<Vec<Host>> {
        let state = self.state();
        let mut found: Vec<Host> =
            state.hosts.values().filter(|host| host.facts.restic_problem.is_some()).cloned().collect();
        found.sort_by_cached_key(|host| (name_key(&host.name), host.id));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn schedules_without_target(&self, limit: u32) -> Result<Vec<(Schedule, DisplayName)>> {
        let state = self.state();
        let reached: BTreeSet<(HostId, RepoId)> = state
            .attachments
            .values()
            .filter(|attachment| attachment.role != Role::Maintenance)
            .map(|attachment| (attachment.host_id, attachment.repo_id))
            .collect();
        let idle = |schedule: &&Schedule| {
            let of_host = |(host, _): &&(HostId, RepoId)| *host == schedule.host_id;
            let mut targets = reached.iter().filter(of_host).map(|(_, repo)| repo);
            schedule.enabled
                && !targets.any(|repo| schedule.repo_ids.as_ref().is_none_or(|wanted| wanted.contains(repo)))
        };
        let mut found: Vec<(Schedule, DisplayName)> = state
            .schedules
            .values()
            .filter(idle)
            .filter_map(|schedule| Some((schedule.clone(), state.hosts.get(&schedule.host_id)?.name.clone())))
            .collect();
        found.sort_by_cached_key(|(schedule, host)| (name_key(host), name_key(&schedule.name)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn unmended(&self, since: Timestamp, limit: u32) -> Result<Vec<JobRow>> {
        let state = self.state();
        let mut newest = BTreeSet::new();
        let mut found = Vec::new();
        for job in state.jobs.all().rev().filter(|job| job.state.is_final()) {
            let is_newest = newest.insert((job.host_id, job.repo_id, job.group_id, job.kind));
            if is_newest && is_bad(job.state) && job.created_at >= since && found.len() < limit as usize {
                found.push(state.job_row(job));
            }
        }
        Ok(found)
    }

    async fn attempts(&self, run_id: RunId) -> Result<Vec<JobRow>> {
        let state = self.state();
        let mut found: Vec<&Job> = state.jobs.all().filter(|job| job.run_id == Some(run_id)).collect();
        found.sort_by_key(|job| job.attempt);
        Ok(found.into_iter().map(|job| state.job_row(job)).collect())
    }

    async fn job_days(&self, of: DaysOf, kind: JobKind, within: Range<Timestamp>) -> Result<Vec<JobDay>> {
        let state = self.state();
        let wanted = |job: &&Job| match of {
            DaysOf::Host(id) => job.host_id == id,
            DaysOf::Repo(id) => job.repo_id == id,
        };
        let mut days: BTreeMap<(Timestamp, &str), JobDay> = BTreeMap::new();
        let within = day_of(within.start)..within.end;
        for job in state.jobs.all().filter(wanted) {
            let day = day_of(job.created_at);
            if job.kind == kind && within.contains(&job.created_at) {
                let entry = days.entry((day, job.state.as_str()));
                entry.or_insert(JobDay { day, state: job.state, jobs: 0 }).jobs += 1;
            }
        }
        Ok(days.into_values().collect())
    }
}

const fn is_bad(state: JobState) -> bool {
    match state {
        JobState::Failed | JobState::Lost | JobState::Warning => true,
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Cancelled
        | JobState::Superseded
        | JobState::Withdrawn => false,
    }
}
