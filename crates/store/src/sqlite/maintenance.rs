//! Maintenance of repositories: the trait, and the commit of what was decided.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use restic_manager_core::api::StatsDay;
use restic_manager_core::id::{AttachmentId, JobId, RepoId};
use restic_manager_core::maintenance::MaintenanceSettings;
use restic_manager_core::model::{AppendOnly, AuditEntry, Job, JobKind};
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;

use super::fault::Doing;
use super::moves::OPEN;
use super::rows::{Fields, ids, json, name_of};
use super::{SqliteStore, audit, jobs, stats, views, wake};
use crate::aftermath::{CheckHold, Finding};
use crate::{
    Maintenance, MaintenanceCommit, MaintenanceOutcome, MaintenanceRow, MaintenanceView, Result,
    anchored_since,
};

/// Whose maintenance is to be looked at: `?1` the present, `?2` how many.
pub(super) const DUE: &str = "select id from repos indexed by repos_by_wake where wake_at is not null and wake_at <= ?1 \
     order by wake_at, id limit ?2";

#[async_trait]
impl Maintenance for SqliteStore {
    async fn maintenance(&self, repo_id: RepoId) -> Result<Option<MaintenanceRow>> {
        let mut reader = self.reader("read the maintenance of a repository").await?;
        row(&mut reader, repo_id).await
    }

    async fn put_maintenance(
        &self,
        repo_id: RepoId,
        settings: MaintenanceSettings,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool> {
        let doing = "change the maintenance of a repository";
        let mut tx = self.write(doing).await?;
        let Some(row) = row(&mut tx, repo_id).await? else {
            return Ok(false);
        };
        let since = anchored_since(row.policy_since, row.settings.as_ref(), &settings, now);
        sqlx::query(
            "update maintenance set settings = ?2, forget_since = ?3, prune_since = ?4, check_since = ?5 where repo_id = ?1",
        )
        .bind(repo_id.to_string())
        .bind(json("settings", &settings)?)
        .bind(since[0].as_millis())
        .bind(since[1].as_millis())
        .bind(since[2].as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        wake::repo(&mut tx, repo_id, now).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    async fn due_maintenance(&self, now: Timestamp, limit: u32) -> Result<Vec<MaintenanceView>> {
        let doing = "read what maintenance is due";
        let mut tx = self.read(doing).await?;
        let due =
            sqlx::query(DUE).bind(now.as_millis()).bind(limit).fetch_all(&mut *tx).await.doing(doing)?;
        views::read(&mut tx, &ids(&due, "repository")?).await
    }

    async fn maintenance_views(&self, ids: &[RepoId]) -> Result<Vec<MaintenanceView>> {
        views::read(&mut *self.read("read the maintenance of repositories").await?, ids).await
    }

    async fn commit_maintenance(
        &self,
        commits: &[MaintenanceCommit],
        audit: &(dyn for<'j> Fn(&'j Job) -> AuditEntry + Send + Sync),
    ) -> Result<Vec<MaintenanceOutcome>> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let doing = "commit what maintenance was decided";
        let mut tx = self.write(doing).await?;
        let revisions = revisions(&mut tx, commits).await?;
        let fresh = |commit: &&MaintenanceCommit| {
            revisions.get(&commit.repo_id).is_some_and(|revision| *revision == commit.repo_revision)
        };
        let good: Vec<&MaintenanceCommit> = commits.iter().filter(fresh).collect();
        let made = make_jobs(&mut tx, &good).await?;
        put_wakes(&mut tx, &good).await?;
        let entries: Vec<AuditEntry> = made.values().map(audit).collect();
        audit::write_all(&mut tx, &entries).await?;
        tx.commit().await.doing(doing)?;
        let outcome = |commit: &MaintenanceCommit| match revisions.get(&commit.repo_id) {
            None => MaintenanceOutcome::NotFound,
            Some(revision) if *revision != commit.repo_revision => MaintenanceOutcome::Stale,
            Some(_) => {
                let ids = commit.jobs.iter().map(|job| job.id);
                MaintenanceOutcome::Done(ids.filter(|id| made.contains_key(id)).collect())
            }
        };
        Ok(commits.iter().map(outcome).collect())
    }

    async fn lift_check_hold(&self, repo_id: RepoId, now: Timestamp, audit: AuditEntry) -> Result<bool> {
        let doing = "lift the hold of a check's errors";
        let mut tx = self.write(doing).await?;
        if hold(&mut tx, repo_id).await?.is_none() {
            return Ok(false);
        }
        put_hold(&mut tx, repo_id, None).await?;
        wake::repo(&mut tx, repo_id, now).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    async fn note_append_only(
        &self,
        id: AttachmentId,
        append_only: AppendOnly,
        now: Timestamp,
    ) -> Result<()> {
        let doing = "note whether a credential may delete";
        let mut tx = self.write(doing).await?;
        sqlx::query("update attachments set append_only = ?2 where id = ?1")
            .bind(id.to_string())
            .bind(name_of(&append_only)?)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        wake::of_attachment(&mut tx, id, now).await?;
        tx.commit().await.doing(doing)
    }

    async fn stats_history(&self, repo_id: RepoId, since: Timestamp) -> Result<Vec<StatsDay>> {
        stats::history(self, repo_id, since).await
    }
}

/// Gives a new repository its maintenance.
pub(super) async fn begin(connection: &mut SqliteConnection, id: RepoId, at: Timestamp) -> Result<()> {
    sqlx::query(
        "insert into maintenance (repo_id, forget_since, prune_since, check_since) values (?1, ?2, ?2, ?2)",
    )
    .bind(id.to_string())
    .bind(at.as_millis())
    .execute(connection)
    .await
    .doing("begin the maintenance of a repository")?;
    Ok(())
}

/// Sets or lifts the hold of the prune by what a check found.
pub(super) async fn note_finding(
    connection: &mut SqliteConnection,
    id: RepoId,
    finding: Finding,
    at: Timestamp,
) -> Result<()> {
    let known = hold(connection, id).await?;
    let after = CheckHold::after(known, finding, at);
    if after == known {
        return Ok(());
    }
    put_hold(connection, id, after).await
}

async fn row(connection: &mut SqliteConnection, id: RepoId) -> Result<Option<MaintenanceRow>> {
    let found = views::fetch(connection, views::ROWS, &json("ids", &[id])?, views::kept).await?;
    Ok(found.into_iter().next().map(|(row, _)| row))
}

async fn hold(connection: &mut SqliteConnection, id: RepoId) -> Result<Option<CheckHold>> {
    let found = views::fetch(connection, views::ROWS, &json("ids", &[id])?, views::kept).await?;
    Ok(found.into_iter().next().and_then(|(_, hold)| hold))
}

async fn put_hold(connection: &mut SqliteConnection, id: RepoId, hold: Option<CheckHold>) -> Result<()> {
    sqlx::query("update maintenance set check_held_since = ?2, check_held_pct = ?3 where repo_id = ?1")
        .bind(id.to_string())
        .bind(hold.map(|hold| hold.since.as_millis()))
        .bind(hold.map(|hold| hold.subset_pct))
        .execute(connection)
        .await
        .doing("note what a check found")?;
    Ok(())
}

async fn revisions(
    connection: &mut SqliteConnection,
    commits: &[MaintenanceCommit],
) -> Result<BTreeMap<RepoId, i64>> {
    let wanted: Vec<RepoId> = commits.iter().map(|commit| commit.repo_id).collect();
    let sql = "select id, revision from repos where id in (select value from json_each(?1))";
    let found = views::fetch(connection, sql, &json("ids", &wanted)?, |row| {
        let fields = Fields::new(row, "repository", "id");
        Ok((fields.parsed("id")?, fields.get("revision")?))
    })
    .await?;
    Ok(found.into_iter().collect())
}

/// Writes the jobs that are not there yet; answers them by id.
async fn make_jobs(
    connection: &mut SqliteConnection,
    commits: &[&MaintenanceCommit],
) -> Result<BTreeMap<JobId, Job>> {
    let wished: Vec<&Job> = commits.iter().flat_map(|commit| &commit.jobs).collect();
    if wished.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut open = open_kinds(connection, &wished).await?;
    let fresh: Vec<Job> =
        wished.into_iter().filter(|job| open.insert((job.repo_id, job.kind))).cloned().collect();
    let written: BTreeSet<JobId> = jobs::insert(connection, &fresh).await?.into_iter().collect();
    Ok(fresh.into_iter().filter(|job| written.contains(&job.id)).map(|job| (job.id, job)).collect())
}

/// The kinds of which a job is not final on the repositories of these jobs; previews aside.
async fn open_kinds(connection: &mut SqliteConnection, jobs: &[&Job]) -> Result<BTreeSet<(RepoId, JobKind)>> {
    let repos: BTreeSet<RepoId> = jobs.iter().map(|job| job.repo_id).collect();
    let sql = format!(
        "select id, repo_id, kind from jobs indexed by jobs_open_of_repo \
         where repo_id in (select value from json_each(?1)) and {OPEN} and preview_group is null"
    );
    let found = views::fetch(connection, &sql, &json("ids", &repos)?, |row| {
        let fields = Fields::new(row, "job", "id");
        Ok((fields.parsed("repo_id")?, fields.named("kind")?))
    })
    .await?;
    Ok(found.into_iter().collect())
}

async fn put_wakes(connection: &mut SqliteConnection, commits: &[&MaintenanceCommit]) -> Result<()> {
    let wakes: Vec<_> = commits.iter().map(|commit| (commit.repo_id, commit.wake_at)).collect();
    sqlx::query("update repos set wake_at = t.value->>1 from json_each(?1) t where repos.id = t.value->>0")
        .bind(json("wake-ups", &wakes)?)
        .execute(connection)
        .await
        .doing("store when maintenance is looked at again")?;
    Ok(())
}
