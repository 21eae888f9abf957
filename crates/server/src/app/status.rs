//! Is anything wrong?

use restic_manager_core::api::{Attention, FleetStatus, JobView, Presence};
use restic_manager_core::model::{Host, JobState};
use restic_manager_core::time::DAY;
use restic_manager_store::{HostFilter, JobFilter, PageRequest};

use super::{App, AppError};

/// How many things that need a person are named.
const NAMED: usize = 50;
/// How many of them may be hosts, so that jobs are seen too.
const NAMED_HOSTS: usize = 25;

impl App {
    /// The fleet on one screen: numbers, and what needs a person.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn status(&self) -> Result<FleetStatus, AppError> {
        let since = self.clock.now() - DAY;
        let counts = self.store.counts(since).await?;
        let mut attention = self.troubled_jobs(since).await?;
        attention.truncate(NAMED - NAMED_HOSTS);
        attention.extend(self.troubled_hosts().await?);
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

    async fn troubled_jobs(
        &self,
        since: restic_manager_core::time::Timestamp,
    ) -> Result<Vec<Attention>, AppError> {
        let filter = JobFilter {
            states: vec![JobState::Failed, JobState::Lost, JobState::Warning],
            since: Some(since),
            ..JobFilter::default()
        };
        let listed = self.store.jobs(&filter, PageRequest::first(NAMED as u32)).await?;
        Ok(listed.items.into_iter().map(|row| troubled_job(&self.job_view(row))).collect())
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
        message: format!("{what} is {}: {said}", job.state.as_str()),
        hint: job.hint.clone().unwrap_or_else(|| format!("see `rmctl job log {}`", job.id)),
        since: job.finished_at,
    }
}
