//! Is anything wrong?

use std::collections::BTreeMap;

use restic_manager_core::api::{Attention, FleetStatus, JobView, Presence};
use restic_manager_core::humane::does;
use restic_manager_core::id::JobId;
use restic_manager_core::model::{Host, JobState, Schedule};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{DAY, MINUTE};
use restic_manager_store::{HostFilter, PageRequest};

use super::{App, AppError, FleetGlance};

/// How many things that need a person are named.
const NAMED: usize = 50;
/// How many of them may be hosts, so that jobs are seen too.
const NAMED_HOSTS: usize = 25;
/// How many jobs that went wrong are looked at.
const LOOKED_AT: u32 = 1000;
/// A job that runs and says nothing for so long needs a look, in milliseconds.
const QUIET_FOR: i64 = 30 * MINUTE;

impl App {
    /// The fleet on one screen: numbers, and what needs a person.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn status(&self) -> Result<FleetStatus, AppError> {
        Ok(self.look().await?.status)
    }

    /// Looks over the whole fleet, in a fixed number of reads.
    pub(super) async fn look(&self) -> Result<FleetGlance, AppError> {
        let since = self.clock.now() - DAY;
        let counts = self.store.counts(since).await?;
        let mut attention: Vec<Attention> = self
            .idle_schedules()
            .await?
            .iter()
            .map(|(schedule, host)| idle_schedule(schedule, host))
            .collect();
        attention.extend(self.troubled_hosts().await?);
        attention.extend(self.quiet_jobs(NAMED - attention.len()).await?);
        let unmended = self.store.unmended(since, LOOKED_AT).await?;
        let failing = unmended.iter().map(|row| row.job.host_id).collect();
        let named = unmended.into_iter().take(NAMED - attention.len());
        attention.extend(named.map(|row| troubled_job(&self.job_view(row))));
        let status = FleetStatus {
            hosts: counts.hosts,
            hosts_online: self.engine.dispatch().connected() as u64,
            repos: counts.repos,
            jobs_running: counts.jobs_running,
            jobs_queued: counts.jobs_queued,
            runs_pending: self.store.count_pending().await?,
            jobs_failed_24h: counts.jobs_failed,
            attention,
        };
        Ok(FleetGlance { status, failing })
    }

    /// Jobs of hosts in contact of which nothing was heard for long: perhaps restic hangs. Nothing is ended for that.
    async fn quiet_jobs(&self, most: usize) -> Result<Vec<Attention>, AppError> {
        let quiet: BTreeMap<JobId, i64> = self.engine.quiet_jobs(QUIET_FOR).into_iter().take(most).collect();
        if quiet.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<JobId> = quiet.keys().copied().collect();
        let mut found = Vec::new();
        for row in self.store.jobs_by_id(&ids).await? {
            let job_id = row.job.id;
            let Some(silent) = quiet.get(&job_id).filter(|_| row.job.state == JobState::Running) else {
                continue;
            };
            found.push(Attention {
                code: "job_quiet".to_owned(),
                subject_kind: "job".to_owned(),
                subject_id: job_id.to_string(),
                message: format!(
                    "{} on `{}` has said nothing for {} min",
                    row.job.kind.as_str(),
                    row.host_name,
                    silent / MINUTE
                ),
                hint: format!(
                    "look at `rmctl job log {job_id}` and at the host; `rmctl job cancel {job_id}` ends it"
                ),
                since: Some(self.clock.now() - *silent),
            });
        }
        Ok(found)
    }

    /// Hosts out of contact, and such without a usable restic, by name.
    async fn troubled_hosts(&self) -> Result<Vec<Attention>, AppError> {
        let away = HostFilter { among: Some(self.away().await?), ..HostFilter::default() };
        let first = PageRequest::first(u32::try_from(NAMED_HOSTS).unwrap_or(u32::MAX));
        let mut hosts = self.store.hosts(&away, first).await?.items;
        let lame = self.store.hosts_without_restic(u32::try_from(NAMED_HOSTS).unwrap_or(u32::MAX)).await?;
        hosts.extend(lame.into_iter().filter(|host| self.presence(host) == Presence::Online));
        hosts.sort_by_cached_key(|host| (host.name.as_str().to_lowercase(), host.id));
        hosts.truncate(NAMED_HOSTS);
        Ok(hosts.iter().filter_map(|host| troubled_host(host, self.presence(host))).collect())
    }
}

/// A schedule that fires and backs up nowhere: what it was for is not done, and no job says so.
fn idle_schedule(schedule: &Schedule, host: &DisplayName) -> Attention {
    Attention {
        code: "schedule_without_target".to_owned(),
        subject_kind: "host".to_owned(),
        subject_id: schedule.host_id.to_string(),
        message: format!(
            "schedule `{}` of host `{host}` backs up nowhere: the host is attached to none of its repositories",
            schedule.name
        ),
        hint: "attach the host with `rmctl host attach`, let the schedule back up to others, or disable it"
            .to_owned(),
        since: None,
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
        Some(group) => {
            format!("{} of `{group}` on `{}` to `{}`", job.kind.as_str(), view.host_name, view.repo_name)
        }
        None => format!("{} of repository `{}` by `{}`", job.kind.as_str(), view.repo_name, view.host_name),
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
