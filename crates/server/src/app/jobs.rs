//! Jobs: asking for them, looking at them, stopping them.

use restic_manager_core::api::{Accepted, JobView, Page, SnapshotView};
use restic_manager_core::humane::does;
use restic_manager_core::id::{GroupId, HostId, JobId, RepoId};
use restic_manager_core::model::{Job, JobEvent, JobKind, JobState, Role};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{CommandCancel, ServerMessage};
use restic_manager_store::{
    AttachmentRow, CancelOutcome, Enqueued, JobFilter, JobMove, JobRow, LogSlice, SnapshotFilter,
    SnapshotList,
};

use super::page::page;
use super::{App, AppError, Caller, ErrorKind, ListQuery, MaintenanceAsk};
use crate::engine::FeedEvent;

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Of this host.
    pub host_id: Option<HostId>,
    /// On this repository.
    pub repo_id: Option<RepoId>,
    /// Of this group.
    pub group_id: Option<GroupId>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In one of these states; empty means any.
    pub states: Vec<JobState>,
    /// Asked for at or after this instant.
    pub since: Option<Timestamp>,
    /// Asked for before this instant.
    pub before: Option<Timestamp>,
}

impl App {
    /// Jobs, newest first.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn jobs(&self, query: &JobQuery, list: &ListQuery) -> Result<Page<JobView>, AppError> {
        let filter = JobFilter {
            host_id: query.host_id,
            repo_id: query.repo_id,
            group_id: query.group_id,
            kind: query.kind,
            states: query.states.clone(),
            since: query.since,
            before: query.before,
        };
        let listed = self.store.jobs(&filter, list.request()?).await?;
        Ok(page(listed, |row| self.job_view(row)))
    }

    /// A job.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn job(&self, id: JobId) -> Result<JobView, AppError> {
        let row = self.store.job(id).await?.ok_or_else(|| AppError::not_found("job", id))?;
        Ok(self.job_view(row))
    }

    /// Lines of a job's log from number `from` on, at most about `max_lines`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn job_log(&self, id: JobId, from: u64, max_lines: u32) -> Result<LogSlice, AppError> {
        Ok(self.store.log(id, from, max_lines).await?)
    }

    /// Backs up a group now: to one repository, or to all that its host backs up to.
    ///
    /// # Errors
    ///
    /// When the group is gone, its host is not connected, or there is no repository to back up to.
    pub async fn run_group(
        &self,
        caller: &Caller,
        host_id: HostId,
        group_id: GroupId,
        repo_id: Option<RepoId>,
    ) -> Result<Vec<Accepted>, AppError> {
        let host = self.known_host(host_id).await?;
        let group = self.group(host_id, group_id).await?;
        let rows = self.store.attachments_of_host(host_id).await?;
        let targets: Vec<AttachmentRow> = rows
            .into_iter()
            .filter(|row| match row.attachment.role {
                Role::Primary | Role::Copy => true,
                Role::Maintenance => false,
            })
            .filter(|row| repo_id.is_none_or(|wanted| row.attachment.repo_id == wanted))
            .collect();
        if targets.is_empty() {
            let why = match repo_id {
                Some(id) => {
                    let repo = self.known_repo(id).await?.name;
                    format!("host `{}` does not back up to repository `{repo}`", host.name)
                }
                None => format!("host `{}` has no repository to back up `{}` to", host.name, group.name),
            };
            return Err(AppError::new(ErrorKind::Conflict, "no_repository", why)
                .hint("give it one with `rmctl creds set`, or attach it with `rmctl host attach`"));
        }
        self.require_online(&host)?;
        let mut accepted = Vec::with_capacity(targets.len());
        for row in targets {
            let mut job =
                self.engine.new_job(JobKind::Backup, host_id, row.attachment.repo_id, caller.actor());
            job.group_id = Some(group_id);
            accepted.push(self.enqueue(caller, job, &row.repo_name).await?);
        }
        Ok(accepted)
    }

    /// Asks once more for what a job that is over was to do, with what is set now. Pressing twice gives the same job.
    ///
    /// # Errors
    ///
    /// When there is none, it is not over, its kind is not repeated, or what it needs is gone or not connected.
    pub async fn rerun_job(&self, caller: &Caller, id: JobId) -> Result<Accepted, AppError> {
        let job = self.job(id).await?.job;
        if !job.state.is_final() {
            return Err(AppError::new(
                ErrorKind::Conflict,
                "job_not_over",
                format!("job {id} is not over: it is {}", job.state.as_str()),
            )
            .hint("wait for its end, or cancel it first"));
        }
        match (job.kind, job.group_id) {
            (JobKind::Backup, Some(group_id)) => {
                let jobs = self.run_group(caller, job.host_id, group_id, Some(job.repo_id)).await?;
                jobs.into_iter().next().ok_or_else(|| AppError::not_found("job", id))
            }
            (JobKind::Forget, _) if job.intent.preview_group.is_none() => {
                self.ask_maintenance(caller, job.repo_id, MaintenanceAsk::Forget).await
            }
            (JobKind::Prune, _) => self.ask_maintenance(caller, job.repo_id, MaintenanceAsk::Prune).await,
            (JobKind::Check, _) => {
                let check = MaintenanceAsk::Check { subset_pct: job.intent.subset_pct };
                self.ask_maintenance(caller, job.repo_id, check).await
            }
            (JobKind::Stats, _) => self.ask_stats(caller, job.repo_id).await,
            (JobKind::Init, _) => self.ask_init(caller, job.host_id, job.repo_id).await,
            (JobKind::Backup | JobKind::Forget | JobKind::Unlock | JobKind::Restore | JobKind::Diff, _) => {
                Err(AppError::new(
                    ErrorKind::Conflict,
                    "not_repeated",
                    format!("a job of the kind {} is not repeated as it was", job.kind.as_str()),
                )
                .hint("ask for it anew, where it was asked for the first time"))
            }
        }
    }

    /// Asks for a repository to be made, or adopted, by a host that is attached to it.
    async fn ask_init(
        &self,
        caller: &Caller,
        host_id: HostId,
        repo_id: RepoId,
    ) -> Result<Accepted, AppError> {
        let host = self.known_host(host_id).await?;
        let attached = self.attachment(host_id, repo_id).await?;
        self.require_online(&host)?;
        let job = self.engine.new_job(JobKind::Init, host_id, repo_id, caller.actor());
        self.enqueue(caller, job, &attached.repo_name).await
    }

    /// Asks for a job to be stopped.
    ///
    /// # Errors
    ///
    /// When there is none, or it is over.
    pub async fn cancel_job(&self, caller: &Caller, id: JobId) -> Result<Accepted, AppError> {
        let audit = self.audit_of(caller, "job.cancel_asked", ("job", id.to_string()), []);
        match self.store.request_cancel(id, self.clock.now(), audit).await? {
            CancelOutcome::Cancelled => {
                self.engine.feed().finished(id);
                self.engine.poke();
                Ok(Accepted {
                    job_id: id,
                    state: JobState::Cancelled,
                    existing: true,
                    hold: None,
                    subset_pct: None,
                })
            }
            CancelOutcome::Requested(job) => {
                self.tell_cancel(&job).await;
                Ok(Accepted { job_id: id, state: job.state, existing: true, hold: None, subset_pct: None })
            }
            CancelOutcome::AlreadyFinal(state) => Err(over(id, state)),
            CancelOutcome::NotFound => Err(AppError::not_found("job", id)),
        }
    }

    /// Gives up a job whose host is out of contact: it is lost from here on and holds no place any more. What the agent says of it when it
    /// comes back still counts. Its lock in the repository is not touched.
    ///
    /// # Errors
    ///
    /// When there is none, it is over, or its host is connected.
    pub async fn give_up_job(&self, caller: &Caller, id: JobId) -> Result<Accepted, AppError> {
        let view = self.job(id).await?;
        if view.job.state.is_final() {
            return Err(over(id, view.job.state));
        }
        if self.engine.dispatch().epoch(view.job.host_id).is_some() {
            return Err(AppError::new(
                ErrorKind::Conflict,
                "host_online",
                format!("host `{}` is connected: its agent knows how the job stands", view.host_name),
            )
            .hint("cancel the job instead"));
        }
        let audit = self.audit_of(
            caller,
            "job.given_up",
            ("job", id.to_string()),
            [("host", view.host_name.clone().into()), ("kind", view.job.kind.as_str().into())],
        );
        let why =
            format!("{} gave it up while host `{}` was out of contact", caller.username, view.host_name);
        match self.store.move_job(id, JobEvent::Lose, &why, self.clock.now(), Some(audit)).await? {
            JobMove::Moved(state) => {
                self.engine.feed().finished(id);
                self.engine.poke();
                Ok(Accepted { job_id: id, state, existing: true, hold: None, subset_pct: None })
            }
            JobMove::Refused(JobState::Queued) => Err(AppError::new(
                ErrorKind::Conflict,
                "not_started",
                format!("job {id} waits and was never started"),
            )
            .hint("cancel it instead")),
            JobMove::Refused(state) => Err(over(id, state)),
            JobMove::NotFound => Err(AppError::not_found("job", id)),
        }
    }

    /// Snapshots of a host, newest first, as its agent last listed them.
    ///
    /// # Errors
    ///
    /// When there is no such host, a limit is out of bounds, or the store fails.
    pub async fn snapshots(
        &self,
        host_id: HostId,
        repo_id: Option<RepoId>,
        group_id: Option<GroupId>,
        list: &ListQuery,
    ) -> Result<Page<SnapshotView>, AppError> {
        self.known_host(host_id).await?;
        let filter = SnapshotFilter { repo_id, group_id };
        let listed = self.store.snapshots(host_id, &filter, list.request()?).await?;
        Ok(page(listed, |row| SnapshotView {
            snapshot: row.snapshot,
            repo_id: row.repo_id,
            group_id: row.group_id,
        }))
    }

    /// When the agent of a host listed its snapshots, and how many there were, in each repository.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn snapshot_lists(&self, host_id: HostId) -> Result<Vec<SnapshotList>, AppError> {
        Ok(self.store.snapshot_lists(host_id).await?)
    }

    /// A job with its names, its hold while it waits, and its progress while it runs.
    pub fn job_view(&self, row: JobRow) -> JobView {
        let hold = match row.job.state {
            JobState::Queued => self.engine.hold(row.job.id),
            JobState::Dispatched
            | JobState::Running
            | JobState::Succeeded
            | JobState::Warning
            | JobState::Failed
            | JobState::Cancelled
            | JobState::Lost
            | JobState::Superseded
            | JobState::Withdrawn => None,
        };
        let progress =
            if row.job.state == JobState::Running { self.engine.feed().progress(row.job.id) } else { None };
        JobView {
            hold_sentence: hold.as_ref().map(|hold| hold.sentence().to_owned()),
            hold,
            progress,
            host_name: row.host_name,
            repo_name: row.repo_name,
            group_name: row.group_name,
            job: row.job,
        }
    }

    /// Puts a job in the queue, or finds the one like it, and lets the engine look.
    pub(super) async fn enqueue(
        &self,
        caller: &Caller,
        job: Job,
        repo_name: &DisplayName,
    ) -> Result<Accepted, AppError> {
        let audit = self.audit_of(
            caller,
            "job.asked",
            ("job", job.id.to_string()),
            [
                ("kind", job.kind.as_str().into()),
                ("host_id", job.host_id.to_string().into()),
                ("repo", repo_name.to_string().into()),
            ],
        );
        let (job, existing) = match self.store.enqueue(job, audit).await? {
            Enqueued::Created(job) => (job, false),
            Enqueued::Existing(job) => (job, true),
            Enqueued::NotFound => return Err(AppError::not_found("repository", repo_name)),
        };
        if !existing {
            self.engine.feed().publish(job.id, FeedEvent::Changed);
        }
        self.engine.poke();
        let hold = if existing { self.engine.hold(job.id) } else { None };
        let subset_pct = job.intent.subset_pct;
        Ok(Accepted { job_id: job.id, state: job.state, existing, hold, subset_pct })
    }

    async fn tell_cancel(&self, job: &Job) {
        let dispatch = self.engine.dispatch();
        // An agent that is away, or a connection that breaks now, is told at its next hello.
        if let Some(epoch) = dispatch.epoch(job.host_id) {
            let message = ServerMessage::CommandCancel(CommandCancel { job_id: job.id });
            if dispatch.send(job.host_id, epoch, message).await.is_err() {
                dispatch.close(job.host_id, epoch, None);
            }
        }
    }
}

/// Nothing can be done about a job any more, but to run it again.
fn over(id: JobId, state: JobState) -> AppError {
    AppError::new(ErrorKind::Conflict, "job_over", format!("job {id} is over: it {}", does(state)))
        .hint(format!("run it again with `rmctl job rerun {id}`"))
}
