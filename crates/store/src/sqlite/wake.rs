//! Repositories whose maintenance is to be looked at.
//!
//! Each of these also raises the revision: what was decided on an earlier view must not be committed over the wake-up.

use restic_manager_core::id::{AttachmentId, HostId, RepoId};
use restic_manager_core::time::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Doing;
use crate::Result;

/// The attachment whose host does the maintenance of the repository `r`: the named one, else the oldest primary one, else the oldest.
pub(super) const RUNNER: &str = "coalesce(r.runner, (select f.id from attachments f indexed by attachments_by_age \
     where f.repo_id = r.id order by (f.role <> 'primary'), f.created_at, f.id limit 1))";

/// Wakes a repository.
pub(super) async fn repo(connection: &mut SqliteConnection, id: RepoId, now: Timestamp) -> Result<()> {
    wake(connection, "id = ?1", id.to_string(), now).await
}

/// Wakes the repository of an attachment.
pub(super) async fn of_attachment(
    connection: &mut SqliteConnection,
    id: AttachmentId,
    now: Timestamp,
) -> Result<()> {
    wake(connection, "id = (select repo_id from attachments where id = ?1)", id.to_string(), now).await
}

/// Wakes all repositories that a host is attached to.
pub(super) async fn of_host(connection: &mut SqliteConnection, id: HostId, now: Timestamp) -> Result<()> {
    let attached = "id in (select repo_id from attachments where host_id = ?1)";
    wake(connection, attached, id.to_string(), now).await
}

/// Wakes the repositories whose maintenance a host does.
pub(super) async fn run_by(connection: &mut SqliteConnection, id: HostId, now: Timestamp) -> Result<()> {
    let run = format!(
        "id in (select r.id from attachments a join repos r on r.id = a.repo_id where a.host_id = ?1 and a.id = {RUNNER})"
    );
    wake(connection, &run, id.to_string(), now).await
}

async fn wake(connection: &mut SqliteConnection, which: &str, id: String, now: Timestamp) -> Result<()> {
    let sql = format!(
        "update repos set revision = revision + 1, wake_at = min(coalesce(wake_at, ?2), ?2) where {which}"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .bind(now.as_millis())
        .execute(connection)
        .await
        .doing("wake the maintenance of repositories")?;
    Ok(())
}
