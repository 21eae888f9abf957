//! Repositories.

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{AuditEntry, Repo, RepoStats, ResticRepoId};
use restic_manager_core::text::DisplayName;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::OPEN;
use super::paging::{cursor_of_keys, keys_after, listed, rows_for};
use super::rows::{self, Fields, ids};
use super::{SqliteStore, audit, maintenance, stats, wake};
use crate::names::{folded, name_key};
use crate::{Deleted, Listed, PageRequest, Renamed, RepoChange, RepoFilter, ResticIdLearned, Result};

pub(super) async fn by_id(connection: &mut SqliteConnection, id: RepoId) -> Result<Option<Repo>> {
    let found = sqlx::query("select * from repos where id = ?1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a repository")?;
    found.as_ref().map(rows::repo).transpose()
}

pub(super) async fn create(store: &SqliteStore, repo: Repo, audit: AuditEntry) -> Result<Renamed> {
    let doing = "make a repository";
    let mut tx = store.write(doing).await?;
    if name_taken(&mut tx, repo.id, &repo.name).await? {
        return Ok(Renamed::NameTaken);
    }
    sqlx::query(
        "insert into repos (id, name, name_key, restic_id, runner, created_at, revision, wake_at) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6)",
    )
    .bind(repo.id.to_string())
    .bind(repo.name.as_str())
    .bind(name_key(&repo.name))
    .bind(repo.restic_id.as_ref().map(ResticRepoId::as_str))
    .bind(repo.runner.map(|id| id.to_string()))
    .bind(repo.created_at.as_millis())
    .bind(repo.revision)
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    maintenance::begin(&mut tx, repo.id, repo.created_at).await?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Renamed::Done)
}

/// A page of repositories in the order of their names; `?1` and `?2` the place behind which it begins, `?4` a part of the name.
pub(super) const PAGE: &str = "select * from repos where (name_key, id) > (?1, ?2) \
     and (?4 is null or instr(name_key, ?4) > 0) order by name_key, id limit ?3";

pub(super) async fn page(
    store: &SqliteStore,
    filter: &RepoFilter,
    page: &PageRequest,
) -> Result<Listed<Repo>> {
    let (name, id) = keys_after::<(String, RepoId)>(page)?
        .map_or_else(Default::default, |(name, id)| (name, id.to_string()));
    let found = sqlx::query(PAGE)
        .bind(name)
        .bind(id)
        .bind(rows_for(page))
        .bind(filter.text.as_deref().map(folded))
        .fetch_all(&store.readers)
        .await
        .doing("list repositories")?;
    let items = found.iter().map(rows::repo).collect::<Result<Vec<_>>>()?;
    listed(items, page, |repo| cursor_of_keys(&(name_key(&repo.name), repo.id)))
}

pub(super) async fn change(
    store: &SqliteStore,
    id: RepoId,
    change: RepoChange,
    audit: AuditEntry,
) -> Result<Renamed> {
    let doing = "change a repository";
    let mut tx = store.write(doing).await?;
    let Some(repo) = by_id(&mut tx, id).await? else {
        return Ok(Renamed::NotFound);
    };
    if let Some(Some(runner)) = change.runner {
        let tied: bool =
            sqlx::query_scalar("select exists (select 1 from attachments where id = ?1 and repo_id = ?2)")
                .bind(runner.to_string())
                .bind(id.to_string())
                .fetch_one(&mut *tx)
                .await
                .doing(doing)?;
        if !tied {
            return Ok(Renamed::NotFound);
        }
    }
    let name = change.name.unwrap_or(repo.name);
    if name_taken(&mut tx, id, &name).await? {
        return Ok(Renamed::NameTaken);
    }
    sqlx::query("update repos set name = ?2, name_key = ?3, runner = ?4 where id = ?1")
        .bind(id.to_string())
        .bind(name.as_str())
        .bind(name_key(&name))
        .bind(change.runner.unwrap_or(repo.runner).map(|id| id.to_string()))
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    if change.runner.is_some() {
        wake::repo(&mut tx, id, audit.at).await?;
    }
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Renamed::Done)
}

pub(super) async fn delete(store: &SqliteStore, id: RepoId, audit: AuditEntry) -> Result<Deleted> {
    let doing = "forget a repository";
    let mut tx = store.write(doing).await?;
    if by_id(&mut tx, id).await?.is_none() {
        return Ok(Deleted::NotFound);
    }
    let open =
        sqlx::query(AssertSqlSafe(format!("select id from jobs where repo_id = ?1 and {OPEN} order by id")))
            .bind(id.to_string())
            .fetch_all(&mut *tx)
            .await
            .doing(doing)?;
    let jobs: Vec<JobId> = ids(&open, "job")?;
    if !jobs.is_empty() {
        return Ok(Deleted::HasJobs(jobs));
    }
    let attached = sqlx::query("select host_id as id from attachments where repo_id = ?1 order by host_id")
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await
        .doing(doing)?;
    let hosts: Vec<HostId> = ids(&attached, "attachment of the host")?;
    if !hosts.is_empty() {
        return Ok(Deleted::HasAttachments(hosts));
    }
    sqlx::query("insert into departed_names (id, name) select id, name from repos where id = ?1")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    sqlx::query("delete from repos where id = ?1")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Deleted::Done)
}

pub(super) async fn learn_restic_id(
    store: &SqliteStore,
    id: RepoId,
    restic_id: &ResticRepoId,
) -> Result<ResticIdLearned> {
    let doing = "store restic's id of a repository";
    let mut tx = store.write(doing).await?;
    let learned = learn(&mut tx, id, restic_id).await?;
    tx.commit().await.doing(doing)?;
    Ok(learned)
}

/// Stores restic's own id of a repository unless it, or another row with that id, stands in the way.
pub(super) async fn learn(
    connection: &mut SqliteConnection,
    id: RepoId,
    restic_id: &ResticRepoId,
) -> Result<ResticIdLearned> {
    let doing = "store restic's id of a repository";
    let Some(repo) = by_id(connection, id).await? else {
        return Ok(ResticIdLearned::NotFound);
    };
    match repo.restic_id {
        Some(known) if known == *restic_id => return Ok(ResticIdLearned::Same),
        Some(other) => return Ok(ResticIdLearned::Different(other)),
        None => {}
    }
    let twin = sqlx::query("select id from repos where restic_id = ?1")
        .bind(restic_id.as_str())
        .fetch_optional(&mut *connection)
        .await
        .doing(doing)?;
    if let Some(row) = twin {
        return Ok(ResticIdLearned::KnownAs(Fields::new(&row, "repository", "id").parsed("id")?));
    }
    sqlx::query("update repos set restic_id = ?2 where id = ?1")
        .bind(id.to_string())
        .bind(restic_id.as_str())
        .execute(connection)
        .await
        .doing(doing)?;
    Ok(ResticIdLearned::Learned)
}

pub(super) async fn stats(store: &SqliteStore, asked: &[RepoId]) -> Result<Vec<RepoStats>> {
    let mut reader = store.reader("read what is known of repositories").await?;
    let known = stats::known(&mut reader, asked).await?;
    Ok(asked.iter().map(|id| known.get(id).cloned().unwrap_or_default()).collect())
}

async fn name_taken(connection: &mut SqliteConnection, id: RepoId, name: &DisplayName) -> Result<bool> {
    sqlx::query_scalar("select exists (select 1 from repos where name_key = ?2 and id <> ?1)")
        .bind(id.to_string())
        .bind(name_key(name))
        .fetch_one(connection)
        .await
        .doing("look for a repository of that name")
}
