//! How jobs move, and what moves with them.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{FinalState, Job, JobEvent, JobState, JobSummary, PendingCause, RunAfter};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::rows::{self, Fields, json};
use super::runs;
use crate::{JobMove, Result};

/// The condition of the partial indexes: SQLite takes one of them only for a query that repeats it word for word.
pub(super) const OPEN: &str = "state in ('queued', 'dispatched', 'running')";

/// What is said about a move: when, and, where it ends the job, how.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) at: Timestamp,
    pub(super) message: String,
    pub(super) class: Option<OutcomeClass>,
    pub(super) hint: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) summary: Option<JobSummary>,
    /// What the run of the job owes with it, whatever the end says.
    pub(super) owes: Option<PendingCause>,
}

impl Word {
    pub(super) fn new(at: Timestamp, message: &str) -> Self {
        Self {
            at,
            message: message.to_owned(),
            class: None,
            hint: None,
            exit_code: None,
            summary: None,
            owes: None,
        }
    }
}

/// The hosts and repositories whose revisions a transaction raises, each as often as a job of it moved; where one ended, the
/// repository's maintenance is looked at again.
#[derive(Debug)]
pub(super) struct Touched {
    /// The server's time.
    pub(super) now: Timestamp,
    hosts: BTreeMap<HostId, i64>,
    repos: BTreeMap<RepoId, (i64, Option<Timestamp>)>,
}

impl Touched {
    /// Nothing yet, at a time of the server.
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, hosts: BTreeMap::new(), repos: BTreeMap::new() }
    }

    /// A job moved to this state.
    pub(super) fn note(&mut self, host_id: HostId, repo_id: RepoId, state: JobState) {
        *self.hosts.entry(host_id).or_default() += 1;
        let (times, wake_at) = self.repos.entry(repo_id).or_default();
        *times += 1;
        if state.is_final() {
            *wake_at = Some(wake_at.map_or(self.now, |at| at.min(self.now)));
        }
    }

    /// Raises the revisions; the last act of a transaction that moved jobs.
    pub(super) async fn raise(self, connection: &mut SqliteConnection) -> Result<()> {
        let raise = [
            (
                "update hosts set revision = revision + t.value from json_each(?1) t where hosts.id = t.key",
                json("ids", &self.hosts)?,
            ),
            (
                "update repos set revision = revision + (t.value->>0), \
                 wake_at = iif(t.value->>1 is null, wake_at, min(coalesce(wake_at, t.value->>1), t.value->>1)) \
                 from json_each(?1) t where repos.id = t.key",
                json("ids", &self.repos)?,
            ),
        ];
        if self.hosts.is_empty() {
            return Ok(());
        }
        for (sql, times) in raise {
            sqlx::query(sql)
                .bind(times)
                .execute(&mut *connection)
                .await
                .doing("raise the revisions of hosts and repositories")?;
        }
        Ok(())
    }
}

/// Moves one job by the table of states, and its run with it.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    id: JobId,
    event: JobEvent,
    word: &Word,
) -> Result<JobMove> {
    if !advance_all(connection, touched, &[id], event, word).await?.is_empty() {
        return Ok(JobMove::Moved(event.leads_to()));
    }
    let Some(job) = by_id(connection, id).await? else {
        return Ok(JobMove::NotFound);
    };
    // Waiting again would run what somebody asked to stop.
    let stopped = JobEvent::Finish(FinalState::Cancelled);
    if event == JobEvent::Requeue
        && event.allowed_from().contains(&job.state)
        && job.cancel_requested_at.is_some()
        && !advance_all(connection, touched, &[id], stopped, word).await?.is_empty()
    {
        return Ok(JobMove::Moved(JobState::Cancelled));
    }
    Ok(JobMove::Refused(job.state))
}

/// Moves those of these jobs that stand where the event is possible, and their runs with them; answers which, in order.
///
/// A requeue passes over jobs that somebody asked to cancel.
pub(super) async fn advance_all(
    connection: &mut SqliteConnection,
    touched: &mut Touched,
    ids: &[JobId],
    event: JobEvent,
    word: &Word,
) -> Result<Vec<JobId>> {
    let state = event.leads_to();
    let class = word.class.or((state == JobState::Cancelled).then_some(OutcomeClass::Cancelled));
    let moved = sqlx::query(AssertSqlSafe(move_sql(event)))
        .bind(json("ids", ids)?)
        .bind(state.as_str())
        .bind(word.at.as_millis())
        .bind(state.is_final())
        .bind(&word.message)
        .bind(class.map(OutcomeClass::as_str))
        .bind(&word.hint)
        .bind(word.exit_code)
        .bind(word.summary.as_ref().map(|summary| json("a summary", summary)).transpose()?)
        .bind(touched.now.as_millis())
        .fetch_all(&mut *connection)
        .await
        .doing("move jobs")?;
    let mut done: Vec<JobId> = Vec::with_capacity(moved.len());
    let mut has_run = false;
    for row in &moved {
        let fields = Fields::new(row, "job", "id");
        done.push(fields.parsed("id")?);
        has_run |= fields.get::<Option<&str>>("run_id")?.is_some();
        touched.note(fields.parsed("host_id")?, fields.parsed("repo_id")?, state);
    }
    done.sort_unstable();
    if has_run {
        let after = word.owes.map_or_else(|| RunAfter::job(state, class), RunAfter::Owes);
        runs::follow(connection, &done, after, &word.message, touched.now).await?;
    }
    Ok(done)
}

/// A job.
pub(super) async fn by_id(connection: &mut SqliteConnection, id: JobId) -> Result<Option<Job>> {
    let found = sqlx::query("select * from jobs where id = ?1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a job")?;
    found.as_ref().map(rows::job).transpose()
}

/// The statement of a move; its guard is the table of states.
fn move_sql(event: JobEvent) -> String {
    let from: Vec<String> =
        event.allowed_from().iter().map(|state| format!("'{}'", state.as_str())).collect();
    let wish = if event == JobEvent::Requeue { " and cancel_requested_at is null" } else { "" };
    format!(
        "update jobs set state = ?2, \
         dispatched_at = case ?2 when '{queued}' then null when '{dispatched}' then ?3 else dispatched_at end, \
         started_at = iif(?2 = '{running}', ?3, started_at), finished_at = iif(?4, ?3, finished_at), \
         message = iif(?4, ?5, message), class = iif(?4, ?6, class), hint = iif(?4, ?7, hint), \
         exit_code = iif(?4, ?8, exit_code), summary = iif(?4, ?9, summary), ended_here_at = iif(?4, ?10, ended_here_at), \
         gave_slot_back = iif(?2 in ('{superseded}', '{withdrawn}'), 1, gave_slot_back) \
         where id in (select value from json_each(?1)) and state in ({from}){wish} returning id, host_id, repo_id, run_id",
        queued = JobState::Queued.as_str(),
        dispatched = JobState::Dispatched.as_str(),
        running = JobState::Running.as_str(),
        superseded = JobState::Superseded.as_str(),
        withdrawn = JobState::Withdrawn.as_str(),
        from = from.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_states_are_those_that_are_not_final() {
        let open: Vec<String> = JobState::ALL
            .into_iter()
            .filter(|state| !state.is_final())
            .map(|state| format!("'{}'", state.as_str()))
            .collect();
        assert_eq!(OPEN, format!("state in ({})", open.join(", ")));
    }

    #[test]
    fn a_guard_names_the_states_of_the_table() {
        assert!(move_sql(JobEvent::Start).contains("and state in ('queued', 'dispatched') returning"));
        assert!(move_sql(JobEvent::Lose).contains("and state in ('dispatched', 'running') returning"));
    }
}
