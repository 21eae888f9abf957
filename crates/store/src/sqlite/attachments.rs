//! Attachments and their credentials.

use std::collections::BTreeMap;

use restic_manager_core::id::{AttachmentId, HostId, JobId, RepoId};
use restic_manager_core::model::{AppendOnly, Attachment, AuditEntry, CredentialInfo, CredentialKind, Role};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use super::moves::OPEN;
use super::rows::{self, Fields, ids, json, name_of};
use super::{SqliteStore, audit, hosts, reach, repos, wake};
use crate::{
    AttachmentChange, AttachmentRow, Deleted, PutAttachment, PutCredential, Result, SealedCredential,
};

const ROW: &str = "select a.*, h.name as host_name, r.name as repo_name, r.restic_id from attachments a \
     join hosts h on h.id = a.host_id join repos r on r.id = a.repo_id";

pub(super) async fn of_host(connection: &mut SqliteConnection, id: HostId) -> Result<Vec<AttachmentRow>> {
    let sql = format!("{ROW} where a.host_id = ?1 order by a.role <> 'primary', r.name_key");
    rows_of(connection, sql, id.to_string()).await
}

pub(super) async fn of_repos(
    connection: &mut SqliteConnection,
    repos: &[RepoId],
) -> Result<Vec<AttachmentRow>> {
    let sql =
        format!("{ROW} where a.repo_id in (select value from json_each(?1)) order by a.repo_id, h.name_key");
    rows_of(connection, sql, json("ids", repos)?).await
}

pub(super) async fn of_pair(
    connection: &mut SqliteConnection,
    host_id: HostId,
    repo_id: RepoId,
) -> Result<Option<AttachmentRow>> {
    let sql = format!("{ROW} where a.host_id = ?1->>0 and a.repo_id = ?1->>1");
    let found = rows_of(connection, sql, json("ids", &(host_id, repo_id))?).await?;
    Ok(found.into_iter().next())
}

pub(super) async fn put(
    store: &SqliteStore,
    change: AttachmentChange,
    audit: AuditEntry,
) -> Result<PutAttachment> {
    let doing = "attach a host to a repository";
    let mut tx = store.write(doing).await?;
    let refusal = place(&mut tx, &change).await?;
    if refusal != PutAttachment::Done {
        return Ok(refusal);
    }
    hosts::raise_plan_version(&mut tx, change.attachment.host_id).await?;
    wake::repo(&mut tx, change.attachment.repo_id, audit.at).await?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(PutAttachment::Done)
}

/// Writes the attachment and its credential, or answers why not; then the transaction is given up.
async fn place(connection: &mut SqliteConnection, change: &AttachmentChange) -> Result<PutAttachment> {
    let wish = &change.attachment;
    if hosts::by_id(connection, wish.host_id).await?.is_none()
        || repos::by_id(connection, wish.repo_id).await?.is_none()
    {
        return Ok(PutAttachment::NotFound);
    }
    let known = of_pair(connection, wish.host_id, wish.repo_id).await?.map(|row| row.attachment);
    if let Some(taken) = primary_elsewhere(connection, wish).await? {
        return Ok(PutAttachment::PrimaryTaken(taken));
    }
    let id = match known {
        Some(known) => {
            update(connection, known.id, change).await?;
            known.id
        }
        None => {
            if let Some(taken) = restic_host_elsewhere(connection, wish).await? {
                return Ok(PutAttachment::ResticHostTaken(taken));
            }
            insert(connection, wish).await?;
            wish.id
        }
    };
    let Some(credential) = &change.credential else {
        return Ok(PutAttachment::Done);
    };
    let written = write_credential(connection, id, credential).await?;
    Ok(if written { PutAttachment::Done } else { PutAttachment::Stale })
}

pub(super) async fn delete(
    store: &SqliteStore,
    host_id: HostId,
    repo_id: RepoId,
    audit: AuditEntry,
) -> Result<Deleted> {
    let doing = "detach a host from a repository";
    let mut tx = store.write(doing).await?;
    let Some(row) = of_pair(&mut tx, host_id, repo_id).await? else {
        return Ok(Deleted::NotFound);
    };
    let sql = format!("select id from jobs where host_id = ?1 and repo_id = ?2 and {OPEN} order by id");
    let open = sqlx::query(AssertSqlSafe(sql))
        .bind(host_id.to_string())
        .bind(repo_id.to_string())
        .fetch_all(&mut *tx)
        .await
        .doing(doing)?;
    let jobs: Vec<JobId> = ids(&open, "job")?;
    if !jobs.is_empty() {
        return Ok(Deleted::HasJobs(jobs));
    }
    if repos::by_id(&mut tx, repo_id).await?.is_some_and(|repo| repo.runner == Some(row.attachment.id)) {
        return Ok(Deleted::IsRunner(vec![repo_id]));
    }
    sqlx::query("delete from snapshot_lists where host_id = ?1 and repo_id = ?2")
        .bind(host_id.to_string())
        .bind(repo_id.to_string())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    reach::forget(&mut tx, host_id, repo_id).await?;
    sqlx::query("delete from attachments where id = ?1")
        .bind(row.attachment.id.to_string())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    hosts::raise_plan_version(&mut tx, host_id).await?;
    wake::repo(&mut tx, repo_id, audit.at).await?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(Deleted::Done)
}

pub(super) async fn credential(
    store: &SqliteStore,
    id: AttachmentId,
    kind: CredentialKind,
) -> Result<Option<SealedCredential>> {
    let found = sqlx::query("select * from credentials where attachment_id = ?1 and kind = ?2")
        .bind(id.to_string())
        .bind(kind.as_str())
        .fetch_optional(&store.readers)
        .await
        .doing("read a credential")?;
    found.as_ref().map(rows::sealed_credential).transpose()
}

pub(super) async fn put_credential(
    store: &SqliteStore,
    id: AttachmentId,
    credential: SealedCredential,
    audit: AuditEntry,
) -> Result<PutCredential> {
    let doing = "store a credential";
    let mut tx = store.write(doing).await?;
    let attached: bool = sqlx::query_scalar("select exists (select 1 from attachments where id = ?1)")
        .bind(id.to_string())
        .fetch_one(&mut *tx)
        .await
        .doing(doing)?;
    if !attached {
        return Ok(PutCredential::NotFound);
    }
    if !write_credential(&mut tx, id, &credential).await? {
        return Ok(PutCredential::Stale);
    }
    wake::of_attachment(&mut tx, id, audit.at).await?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(PutCredential::Done)
}

pub(super) async fn delete_credential(
    store: &SqliteStore,
    id: AttachmentId,
    kind: CredentialKind,
    audit: AuditEntry,
) -> Result<bool> {
    let doing = "delete a credential";
    let mut tx = store.write(doing).await?;
    let gone = sqlx::query("delete from credentials where attachment_id = ?1 and kind = ?2")
        .bind(id.to_string())
        .bind(kind.as_str())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    wake::of_attachment(&mut tx, id, audit.at).await?;
    audit::write(&mut tx, &audit).await?;
    tx.commit().await.doing(doing)?;
    Ok(true)
}

/// Reads attachments by a statement with one parameter, and their credentials by another statement.
async fn rows_of(
    connection: &mut SqliteConnection,
    sql: String,
    parameter: String,
) -> Result<Vec<AttachmentRow>> {
    let doing = "read attachments";
    let found =
        sqlx::query(AssertSqlSafe(sql)).bind(parameter).fetch_all(&mut *connection).await.doing(doing)?;
    let mut items = found.iter().map(rows::attachment_row).collect::<Result<Vec<_>>>()?;
    let wanted: Vec<AttachmentId> = items.iter().map(|row| row.attachment.id).collect();
    let credentials = sqlx::query(
        "select attachment_id, kind, url, rest_user, has_rest_password, env_names, revision, updated_at from credentials \
         where attachment_id in (select value from json_each(?1))",
    )
    .bind(json("ids", &wanted)?)
    .fetch_all(connection)
    .await
    .doing(doing)?;
    let mut by_attachment: BTreeMap<AttachmentId, Vec<CredentialInfo>> = BTreeMap::new();
    for row in &credentials {
        let id = Fields::new(row, "credential of the attachment", "attachment_id").parsed("attachment_id")?;
        by_attachment.entry(id).or_default().push(rows::credential_info(row)?);
    }
    for row in &mut items {
        row.credentials = by_attachment.remove(&row.attachment.id).unwrap_or_default();
        row.credentials.sort_by_key(|credential| credential.kind);
    }
    Ok(items)
}

async fn insert(connection: &mut SqliteConnection, attachment: &Attachment) -> Result<()> {
    sqlx::query(
        "insert into attachments (id, host_id, repo_id, role, restic_host, append_only, created_at) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(attachment.id.to_string())
    .bind(attachment.host_id.to_string())
    .bind(attachment.repo_id.to_string())
    .bind(name_of(&attachment.role)?)
    .bind(attachment.restic_host.as_str())
    .bind(name_of(&attachment.append_only)?)
    .bind(attachment.created_at.as_millis())
    .execute(connection)
    .await
    .doing("make an attachment")?;
    Ok(())
}

async fn update(
    connection: &mut SqliteConnection,
    id: AttachmentId,
    change: &AttachmentChange,
) -> Result<()> {
    sqlx::query("update attachments set role = ?2, append_only = coalesce(?3, append_only) where id = ?1")
        .bind(id.to_string())
        .bind(name_of(&change.attachment.role)?)
        .bind(change.append_only.as_ref().map(name_of).transpose()?)
        .execute(connection)
        .await
        .doing("change an attachment")?;
    Ok(())
}

async fn primary_elsewhere(connection: &mut SqliteConnection, wish: &Attachment) -> Result<Option<RepoId>> {
    if wish.role != Role::Primary {
        return Ok(None);
    }
    let found = sqlx::query(
        "select repo_id as id from attachments where host_id = ?1 and role = 'primary' and repo_id <> ?2",
    )
    .bind(wish.host_id.to_string())
    .bind(wish.repo_id.to_string())
    .fetch_optional(connection)
    .await
    .doing("look for the primary repository of a host")?;
    first_id(found.as_ref())
}

async fn restic_host_elsewhere(
    connection: &mut SqliteConnection,
    wish: &Attachment,
) -> Result<Option<HostId>> {
    let found = sqlx::query("select host_id as id from attachments where repo_id = ?1 and restic_host = ?2")
        .bind(wish.repo_id.to_string())
        .bind(wish.restic_host.as_str())
        .fetch_optional(connection)
        .await
        .doing("look for a restic host name in a repository")?;
    first_id(found.as_ref())
}

fn first_id<I: std::str::FromStr<Err = restic_manager_core::id::IdError>>(
    row: Option<&SqliteRow>,
) -> Result<Option<I>> {
    row.map(|row| Fields::new(row, "attachment", "id").parsed("id")).transpose()
}

/// Writes a credential when its revision is the stored one plus one; false when it is not.
async fn write_credential(
    connection: &mut SqliteConnection,
    id: AttachmentId,
    credential: &SealedCredential,
) -> Result<bool> {
    let info = &credential.info;
    let doing = "store a credential";
    let stored: Option<i64> =
        sqlx::query_scalar("select revision from credentials where attachment_id = ?1 and kind = ?2")
            .bind(id.to_string())
            .bind(info.kind.as_str())
            .fetch_optional(&mut *connection)
            .await
            .doing(doing)?;
    if info.revision != stored.unwrap_or(0).saturating_add(1) {
        return Ok(false);
    }
    sqlx::query(
        "insert or replace into credentials (attachment_id, kind, url, rest_user, has_rest_password, env_names, revision, \
         updated_at, blob) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(id.to_string())
    .bind(info.kind.as_str())
    .bind(&info.url)
    .bind(&info.rest_user)
    .bind(info.has_rest_password)
    .bind(json("names", &info.env_names)?)
    .bind(info.revision)
    .bind(info.updated_at.as_millis())
    .bind(&credential.blob[..])
    .execute(connection)
    .await
    .doing(doing)?;
    Ok(true)
}

/// Notes that a host's everyday credential may not delete.
pub(super) async fn note_append_only(
    connection: &mut SqliteConnection,
    host_id: HostId,
    repo_id: RepoId,
) -> Result<()> {
    sqlx::query("update attachments set append_only = ?3 where host_id = ?1 and repo_id = ?2")
        .bind(host_id.to_string())
        .bind(repo_id.to_string())
        .bind(name_of(&AppendOnly::Yes)?)
        .execute(connection)
        .await
        .doing("note that a repository is append-only")?;
    Ok(())
}
