//! Pending runs: looked at, dropped, made at once.

use restic_manager_core::api::{Accepted, Page, PendingRunView};
use restic_manager_core::id::{HostId, RepoId, RunId};
use restic_manager_core::model::{Hold, JobState};
use restic_manager_store::{Becomes, PendingOf, PendingRow, Settled, Settlement};

use super::page::page;
use super::{App, AppError, Caller, ErrorKind, ListQuery};

impl App {
    /// Pending runs, newest first: of the fleet, of a host, or on a repository. Where both are named, the host's.
    ///
    /// # Errors
    ///
    /// When there is no such host or repository, a limit is out of bounds, or the store fails.
    pub async fn pending_runs(
        &self,
        host_id: Option<HostId>,
        repo_id: Option<RepoId>,
        list: &ListQuery,
    ) -> Result<Page<PendingRunView>, AppError> {
        let of = match (host_id, repo_id) {
            (Some(host_id), _) => PendingOf::Host(self.known_host(host_id).await?.id),
            (None, Some(repo_id)) => PendingOf::Repo(self.known_repo(repo_id).await?.id),
            (None, None) => PendingOf::Fleet,
        };
        let listed = self.store.pending_runs(of, list.request()?).await?;
        Ok(page(listed, |row| self.pending_run_view(row)))
    }

    /// A pending run.
    ///
    /// # Errors
    ///
    /// When there is none with that id that owes an attempt, or the store fails.
    pub async fn pending_run(&self, id: RunId) -> Result<PendingRunView, AppError> {
        Ok(self.pending_run_view(self.known_pending_run(id).await?))
    }

    /// Gives a pending run up: it is abandoned, and nothing is tried again for its slot.
    ///
    /// # Errors
    ///
    /// When it owes nothing any more, or the store fails.
    pub async fn drop_pending(&self, caller: &Caller, id: RunId) -> Result<(), AppError> {
        let row = self.known_pending_run(id).await?;
        let why = format!("dropped by {}", caller.username);
        let audit = self.engine.abandoned(&row, caller.actor(), "pending_run.dropped", &why);
        let becomes = Becomes::Abandoned { why, audit };
        let settlement = Settlement { run_id: id, owed: row.owed, becomes };
        match self.store.settle(vec![settlement], self.clock.now()).await?.first() {
            Some(Settled::Done) => Ok(()),
            Some(Settled::Stale) | None => Err(moved_on(id)),
        }
    }

    /// Makes the attempt that a pending run owes now, without waiting for its time.
    ///
    /// # Errors
    ///
    /// When it owes nothing any more, its host is not connected, its attempts are used up, or the store fails.
    pub async fn run_pending(&self, caller: &Caller, id: RunId) -> Result<Accepted, AppError> {
        let row = self.known_pending_run(id).await?;
        let host = self.known_host(row.run.host_id).await?;
        self.require_online(&host)?;
        let audit = self.engine.abandoned(&row, caller.actor(), "pending_run.asked", "it is wanted at once");
        let report = self.engine.drain_run(id).await?;
        if report.abandoned > 0 {
            let why = self.store.run(id).await?.and_then(|run| run.why).unwrap_or_default();
            let message = format!("run {id} gets no further attempt: {why}");
            return Err(AppError::new(ErrorKind::Conflict, "run_abandoned", message)
                .hint("back the group up with `rmctl run HOST SOURCE`"));
        }
        if report.attempted == 0 {
            return Err(moved_on(id));
        }
        self.store.record(audit).await?;
        let attempts = self.store.attempts(id).await?;
        let job_id = attempts.last().ok_or_else(|| moved_on(id))?.job.id;
        let state = JobState::Queued;
        Ok(Accepted { job_id, state, existing: false, hold: None, subset_pct: None })
    }

    async fn known_pending_run(&self, id: RunId) -> Result<PendingRow, AppError> {
        match self.store.pending_run(id).await? {
            Some(row) => Ok(row),
            None => match self.store.run(id).await? {
                Some(_) => Err(moved_on(id)),
                None => Err(AppError::not_found("pending run", id)),
            },
        }
    }

    /// A pending run with its names, and why it waits.
    pub fn pending_run_view(&self, row: PendingRow) -> PendingRunView {
        let hold = self.pending_hold(&row);
        let waits = match &hold {
            None => "it is made at once".to_owned(),
            Some(Hold::WaitingRetry { until }) => format!("it is due at {until}"),
            Some(hold) => hold.sentence().to_owned(),
        };
        PendingRunView {
            sentence: format!("{}; {waits}", row.owed.cause.sentence()),
            hold,
            host_name: row.names.host,
            repo_name: row.names.repo,
            group_name: row.names.group,
            schedule_name: row.names.schedule,
            retry_max: row.retry.map(|retry| retry.max),
            last_job_id: row.last_job,
            last_message: row.last_message,
            run: row.run,
        }
    }

    fn pending_hold(&self, row: &PendingRow) -> Option<Hold> {
        if self.engine.dispatch().epoch(row.run.host_id).is_none() {
            return Some(Hold::HostOffline);
        }
        let until = row.owed.planned_at().filter(|until| *until > self.clock.now())?;
        Some(Hold::WaitingRetry { until })
    }
}

fn moved_on(id: RunId) -> AppError {
    AppError::new(ErrorKind::Conflict, "run_not_pending", format!("run {id} owes no attempt any more"))
        .hint("see `rmctl pending ls`, and `rmctl job ls` for what came of it")
}
