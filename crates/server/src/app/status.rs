//! Is anything wrong?

use std::collections::BTreeSet;

use restic_manager_core::api::{Attention, FleetStatus, JobView, MAX_LIMIT, Presence};
use restic_manager_core::humane::does;
use restic_manager_core::model::{Host, JobState};
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::{HostFilter, JobFilter, PageRequest};

use super::{App, AppError};

/// How many things that need a person are named.
const NAMED: usize = 50;
/// How many of them may be hosts, so that jobs are seen too.
const NAMED_HOSTS: usize = 25;
/// How many pages of a day's jobs are looked through for what went wrong.
const PAGES_OF_JOBS: usize = 20;

impl App {
    /// The fleet on one screen: numbers, and what needs a person.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn status(&self) -> Result<FleetStatus, AppError> {
        let since = self.clock.now() - DAY;
        let counts = self.store.counts(since).await?;
        let mut attention = self.troubled_hosts().await?;
        attention.extend(self.troubled_jobs(since, NAMED - attention.len()).await?);
        Ok(FleetStatus {
            hosts: counts.hosts,
            hosts_online: self.engine.dispatch().connected() as u64,
            repos: counts.repos,
            jobs_running: counts.jobs_running,
            jobs_queued: counts.jobs_queued,
            jobs_failed_24h: counts.jobs_failed,
            attention,
        })
    }

    /// What went wrong and was not mended: of each kind of job of a host, a group and a repository only the newest end counts.
    async fn troubled_jobs(&self, since: Timestamp, most: usize) -> Result<Vec<Attention>, AppError> {
        let states = JobState::ALL.into_iter().filter(|state| state.is_final()).collect();
        let filter = JobFilter { states, since: Some(since), ..JobFilter::default() };
        let mut newest = BTreeSet::new();
        let mut found = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_OF_JOBS {
            let listed = self.store.jobs(&filter, PageRequest { after, limit: MAX_LIMIT }).await?;
            for row in listed.items {
                let job = &row.job;
                if newest.insert((job.host_id, job.repo_id, job.group_id, job.kind)) && is_trouble(job.state)
                {
                    found.push(troubled_job(&self.job_view(row)));
                }
            }
            after = listed.next;
            if found.len() >= most || after.is_none() {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    }

    async fn troubled_hosts(&self) -> Result<Vec<Attention>, AppError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let listed = self.store.hosts(&HostFilter::default(), PageRequest { after, limit: 500 }).await?;
            found.extend(listed.items.iter().filter_map(|host| troubled_host(host, self.presence(host))));
            if found.len() >= NAMED_HOSTS || listed.next.is_none() {
                found.truncate(NAMED_HOSTS);
                return Ok(found);
            }
            after = listed.next;
        }
    }
}

const fn is_trouble(state: JobState) -> bool {
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

fn troubled_host(host: &Host, presence: Presence) -> Option<Attention> {
    let (code, message, hint) = match (presence, &host.facts.restic_problem) {
        (Presence::Offline, _) => (
            "host_offline",
            format!("the agent of host `{}` is not connected", host.name),
            "start the agent on the host, or see `restic-manager-agent doctor` there".to_owned(),
        ),
        (Presence::NeverSeen, _) => (
            "never_seen",
            format!("host `{}` is enrolled, but its agent was never connected", host.name),
            "start it there with `restic-manager-agent run`".to_owned(),
        ),
        (Presence::Online, Some(problem)) => (
            "restic_missing",
            format!("host `{}` has no usable restic: {problem}", host.name),
            "install restic 0.14.0 or newer on the host; its agent finds it by itself".to_owned(),
        ),
        (Presence::Online, None) => return None,
    };
    Some(Attention {
        code: code.to_owned(),
        subject_kind: "host".to_owned(),
        subject_id: host.id.to_string(),
        message,
        hint,
        since: host.last_seen_at.or(Some(host.created_at)),
    })
}

fn troubled_job(view: &JobView) -> Attention {
    let job = &view.job;
    let what = match &view.group_name {
        Some(group) => format!("{} of `{group}` on `{}`", job.kind.as_str(), view.host_name),
        None => format!("{} on `{}`", job.kind.as_str(), view.host_name),
    };
    let code = if job.state == JobState::Warning { "job_warning" } else { "job_failed" };
    let said = job.message.as_deref().unwrap_or("no reason is known");
    Attention {
        code: code.to_owned(),
        subject_kind: "job".to_owned(),
        subject_id: job.id.to_string(),
        message: format!("{what} {}: {said}", does(job.state)),
        hint: job.hint.clone().unwrap_or_else(|| format!("see `rmctl job log {}`", job.id)),
        since: job.finished_at,
    }
}
