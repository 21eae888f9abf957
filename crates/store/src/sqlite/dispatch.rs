//! Dispatch: many jobs in one commit, each at the revisions that were read.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::id::{JobId, RepoId};
use restic_manager_core::model::{Job, JobEvent, JobState};
use restic_manager_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::{OPEN, Touched, Word, advance_all};
use super::rows::{self, Fields, JOB, json};
use super::{SqliteStore, views};
use crate::preconditions::{needs_view, obstacle};
use crate::{DispatchIntent, DispatchOutcome, DispatchRow, MaintenanceView, Result};

const DETACHED: &str = "the host is no longer attached to the repository";
const NO_GROUP: &str = "its source group was deleted";

/// What is to be done with an intent.
enum Verdict {
    NotQueued,
    Stale,
    Withdraw(&'static str),
    Dispatch,
}

/// A job that still waits, with what its dispatch depends on.
struct Candidate {
    job: Job,
    revisions: (i64, i64),
    attached: bool,
    has_group: bool,
}

pub(super) async fn dispatch(
    store: &SqliteStore,
    intents: &[DispatchIntent],
    now: Timestamp,
) -> Result<Vec<DispatchOutcome>> {
    if intents.is_empty() {
        return Ok(Vec::new());
    }
    let doing = "dispatch jobs";
    let mut tx = store.write(doing).await?;
    let verdicts = judge(&mut tx, intents).await?;
    let mut touched = Touched::at(now);
    let pairs = intents.iter().zip(&verdicts);
    let go = pairs.filter(|(_, verdict)| matches!(verdict, Verdict::Dispatch));
    let go: Vec<JobId> = go.map(|(intent, _)| intent.job_id).collect();
    let dispatched = advance_all(&mut tx, &mut touched, &go, JobEvent::Dispatch, &Word::new(now, "")).await?;
    for (why, ids) in withdrawals(intents, &verdicts) {
        advance_all(&mut tx, &mut touched, &ids, JobEvent::Withdraw, &Word::new(now, why)).await?;
    }
    touched.raise(&mut tx).await?;
    // Read behind the moves: the rows are those of the commit, its raised revisions included.
    let rows = dispatch_rows(&mut tx, &dispatched).await?;
    tx.commit().await.doing(doing)?;
    let mut rows: BTreeMap<JobId, DispatchRow> = rows.into_iter().map(|row| (row.job.id, row)).collect();
    let outcome = |(intent, verdict): (&DispatchIntent, Verdict)| match verdict {
        Verdict::Stale => DispatchOutcome::Stale,
        Verdict::Withdraw(_) => DispatchOutcome::Withdrawn(intent.job_id),
        Verdict::NotQueued => DispatchOutcome::NotQueued,
        Verdict::Dispatch => rows
            .remove(&intent.job_id)
            .map_or(DispatchOutcome::NotQueued, |row| DispatchOutcome::Dispatched(Box::new(row))),
    };
    Ok(intents.iter().zip(verdicts).map(outcome).collect())
}

/// Jobs dispatched before an instant that are still dispatched, as they would be sent again.
pub(super) async fn unanswered(
    store: &SqliteStore,
    dispatched_before: Timestamp,
) -> Result<Vec<DispatchRow>> {
    let doing = "read jobs without an answer";
    let mut tx = store.read(doing).await?;
    let sql = format!(
        "select id from jobs indexed by jobs_open where {OPEN} and state = '{}' and dispatched_at < ?1 order by id",
        JobState::Dispatched.as_str()
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(dispatched_before.as_millis())
        .fetch_all(&mut *tx)
        .await
        .doing(doing)?;
    dispatch_rows(&mut tx, &rows::ids(&found, "job")?).await
}

/// The jobs that are to be withdrawn, by the reason.
fn withdrawals(intents: &[DispatchIntent], verdicts: &[Verdict]) -> BTreeMap<&'static str, Vec<JobId>> {
    let mut withdrawals: BTreeMap<&'static str, Vec<JobId>> = BTreeMap::new();
    for (intent, verdict) in intents.iter().zip(verdicts) {
        match verdict {
            Verdict::Withdraw(why) => withdrawals.entry(why).or_default().push(intent.job_id),
            Verdict::NotQueued | Verdict::Stale | Verdict::Dispatch => {}
        }
    }
    withdrawals
}

async fn judge(connection: &mut SqliteConnection, intents: &[DispatchIntent]) -> Result<Vec<Verdict>> {
    let wanted: Vec<JobId> = intents.iter().map(|intent| intent.job_id).collect();
    let found = sqlx::query(AssertSqlSafe(format!(
        "select {JOB}, coalesce(h.revision, 0) as host_revision, coalesce(r.revision, 0) as repo_revision, \
         exists (select 1 from attachments a where a.host_id = j.host_id and a.repo_id = j.repo_id) as attached, \
         j.group_id is null or exists (select 1 from source_groups g where g.id = j.group_id) as has_group \
         from jobs j left join hosts h on h.id = j.host_id left join repos r on r.id = j.repo_id \
         where j.id in (select value from json_each(?1)) and j.state = '{}'",
        JobState::Queued.as_str()
    )))
    .bind(json("ids", &wanted)?)
    .fetch_all(&mut *connection)
    .await
    .doing("judge the wish to dispatch jobs")?;
    let candidates = found.iter().map(candidate).collect::<Result<BTreeMap<JobId, Candidate>>>()?;
    let views = views_for(connection, candidates.values().map(|candidate| &candidate.job)).await?;
    let mut taken = BTreeSet::new();
    let verdict = |intent: &DispatchIntent| {
        let Some(candidate) = candidates.get(&intent.job_id) else { return Verdict::NotQueued };
        if candidate.revisions != (intent.host_revision, intent.repo_revision) {
            return if taken.contains(&intent.job_id) { Verdict::NotQueued } else { Verdict::Stale };
        }
        if !taken.insert(intent.job_id) {
            return Verdict::NotQueued;
        }
        if !candidate.attached {
            return Verdict::Withdraw(DETACHED);
        }
        if !candidate.has_group {
            return Verdict::Withdraw(NO_GROUP);
        }
        let view = views.get(&candidate.job.repo_id);
        view.and_then(|view| obstacle(&candidate.job, view)).map_or(Verdict::Dispatch, Verdict::Withdraw)
    };
    Ok(intents.iter().map(verdict).collect())
}

fn candidate(row: &SqliteRow) -> Result<(JobId, Candidate)> {
    let fields = Fields::new(row, "job", "id");
    let candidate = Candidate {
        job: rows::job(row)?,
        revisions: (fields.get("host_revision")?, fields.get("repo_revision")?),
        attached: fields.get("attached")?,
        has_group: fields.get("has_group")?,
    };
    Ok((fields.parsed("id")?, candidate))
}

/// What the payloads of these jobs are made of; a job whose attachment is gone has none. A fixed number of statements, however many jobs.
async fn dispatch_rows(connection: &mut SqliteConnection, wanted: &[JobId]) -> Result<Vec<DispatchRow>> {
    let wanted = json("ids", wanted)?;
    let jobs =
        format!("select {JOB} from jobs j where j.id in (select value from json_each(?1)) order by j.id");
    let jobs = fetch(connection, jobs, &wanted, rows::job).await?;
    let of_jobs = |columns: &str, table: &str, tie: &str| {
        format!(
            "select distinct t.{columns} from json_each(?1) v join jobs j on j.id = v.value join {table} t on {tie}"
        )
    };
    let hosts = fetch(connection, of_jobs("*", "hosts", "t.id = j.host_id"), &wanted, rows::host).await?;
    let repos = fetch(connection, of_jobs("*", "repos", "t.id = j.repo_id"), &wanted, rows::repo).await?;
    let runs = fetch(connection, of_jobs("*", "runs", "t.id = j.run_id"), &wanted, rows::run).await?;
    let groups =
        fetch(connection, of_jobs("*", "source_groups", "t.id = j.group_id"), &wanted, rows::group).await?;
    let ties = of_jobs("*", "attachments", "t.host_id = j.host_id and t.repo_id = j.repo_id");
    let attachments = fetch(connection, ties, &wanted, rows::attachment).await?;

    let hosts: BTreeMap<_, _> = hosts.into_iter().map(|host| (host.id, host)).collect();
    let repos: BTreeMap<_, _> = repos.into_iter().map(|repo| (repo.id, repo)).collect();
    let runs: BTreeMap<_, _> = runs.into_iter().map(|run| (run.id, run)).collect();
    let groups: BTreeMap<_, _> = groups.into_iter().map(|group| (group.id, group)).collect();
    let attachments: BTreeMap<_, _> =
        attachments.into_iter().map(|tie| ((tie.host_id, tie.repo_id), tie)).collect();
    let views = views_for(connection, jobs.iter()).await?;
    let row = |job: Job| {
        let view = views.get(&job.repo_id).filter(|_| needs_view(job.kind));
        Some(DispatchRow {
            run: job.run_id.and_then(|id| runs.get(&id)).cloned(),
            host: hosts.get(&job.host_id)?.clone(),
            repo: repos.get(&job.repo_id)?.clone(),
            attachment: attachments.get(&(job.host_id, job.repo_id))?.clone(),
            group: job.group_id.and_then(|id| groups.get(&id)).cloned(),
            maintenance: view.cloned().map(Box::new),
            job,
        })
    };
    Ok(jobs.into_iter().filter_map(row).collect())
}

/// The maintenance of the repositories of those jobs whose payloads are made of it.
async fn views_for(
    connection: &mut SqliteConnection,
    jobs: impl Iterator<Item = &Job>,
) -> Result<BTreeMap<RepoId, MaintenanceView>> {
    let repos: BTreeSet<RepoId> = jobs.filter(|job| needs_view(job.kind)).map(|job| job.repo_id).collect();
    let views = views::read(connection, &repos.into_iter().collect::<Vec<_>>()).await?;
    Ok(views.into_iter().map(|view| (view.repo.id, view)).collect())
}

async fn fetch<T>(
    connection: &mut SqliteConnection,
    sql: String,
    ids: &str,
    read: fn(&SqliteRow) -> Result<T>,
) -> Result<Vec<T>> {
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(connection)
        .await
        .doing("read what jobs are made of")?;
    found.iter().map(read).collect()
}
