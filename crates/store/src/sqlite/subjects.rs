//! The jobs that reports speak of.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{Job, JobKind};
use sqlx::SqliteConnection;

use super::apply::Report;
use super::fault::Doing;
use super::rows::{Fields, json};
use crate::{Effect, Result};

/// What of a job never changes and its reports depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) host_id: HostId,
    pub(super) repo_id: RepoId,
    pub(super) kind: JobKind,
    pub(super) is_preview: bool,
}

impl Subject {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            host_id: job.host_id,
            repo_id: job.repo_id,
            kind: job.kind,
            is_preview: job.intent.preview_group.is_some(),
        }
    }
}

/// The jobs that reports speak of.
pub(super) fn jobs_of(reports: &[Report]) -> Vec<JobId> {
    let named = |effect: &Effect| match effect {
        Effect::Refused { job_id, .. }
        | Effect::Started { job_id, .. }
        | Effect::Log { job_id, .. }
        | Effect::LogGap { job_id, .. }
        | Effect::Finished { job_id, .. } => Some(*job_id),
        Effect::SetAside { .. }
        | Effect::Fire { .. }
        | Effect::PlanAcked { .. }
        | Effect::Stats { .. }
        | Effect::Snapshots { .. } => None,
    };
    let mut jobs: Vec<JobId> = reports
        .iter()
        .flat_map(|report| &report.effects)
        .filter_map(|numbered| named(&numbered.effect))
        .collect();
    jobs.sort_unstable();
    jobs.dedup();
    jobs
}

/// These jobs, as far as they are there.
pub(super) async fn subjects(
    connection: &mut SqliteConnection,
    jobs: &[JobId],
) -> Result<BTreeMap<JobId, Subject>> {
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = sqlx::query(
        "select id, host_id, repo_id, kind, preview_group is not null as is_preview from jobs \
         where id in (select value from json_each(?1))",
    )
    .bind(json("ids", jobs)?)
    .fetch_all(connection)
    .await
    .doing("look for the jobs of reports")?;
    let subject = |row| {
        let fields = Fields::new(row, "job", "id");
        let subject = Subject {
            host_id: fields.parsed("host_id")?,
            repo_id: fields.parsed("repo_id")?,
            kind: fields.named("kind")?,
            is_preview: fields.get("is_preview")?,
        };
        Ok((fields.parsed("id")?, subject))
    };
    found.iter().map(subject).collect()
}
