//! Announced agents.

use async_trait::async_trait;
use restic_manager_core::announce::{AgentKey, Challenge, HexBytes, PendingState};
use restic_manager_core::id::PendingHostId;
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::fault::Doing;
use super::rows::{Fields, json};
use super::{SqliteStore, audit, hosts};
use crate::{
    AnnounceOutcome, ApproveOutcome, ClaimOutcome, PendingHostRow, PendingHosts, RejectOutcome, Result,
    TokenHash,
};

const WAITING: &str = PendingState::Waiting.as_str();

#[async_trait]
impl PendingHosts for SqliteStore {
    async fn announce(
        &self,
        row: PendingHostRow,
        at_most: u32,
        audit: AuditEntry,
    ) -> Result<AnnounceOutcome> {
        let doing = "take an announcement";
        let mut tx = self.write(doing).await?;
        sqlx::query("delete from pending_hosts where expires_at <= ?1")
            .bind(row.announced_at.as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        sqlx::query("update pending_hosts set facts = ?2, address = ?3, expires_at = ?4 where key = ?1 and state = ?5")
            .bind(&row.key.0[..])
            .bind(json("facts", &row.facts)?)
            .bind(&row.address)
            .bind(row.expires_at.as_millis())
            .bind(WAITING)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        if let Some(known) = by_key(&mut tx, &row.key, row.announced_at).await? {
            tx.commit().await.doing(doing)?;
            return Ok(AnnounceOutcome::Known(Box::new(known)));
        }
        let waiting: i64 = sqlx::query_scalar("select count(*) from pending_hosts where state = ?1")
            .bind(WAITING)
            .fetch_one(&mut *tx)
            .await
            .doing(doing)?;
        if waiting >= i64::from(at_most) {
            return Ok(AnnounceOutcome::Full);
        }
        insert(&mut tx, &row).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(AnnounceOutcome::New)
    }

    async fn pending_host(&self, id: PendingHostId, now: Timestamp) -> Result<Option<PendingHostRow>> {
        let mut connection = self.reader("read an announcement").await?;
        by_id(&mut connection, id, now).await
    }

    async fn pending_host_by_key(&self, key: &AgentKey, now: Timestamp) -> Result<Option<PendingHostRow>> {
        let mut connection = self.reader("read an announcement").await?;
        by_key(&mut connection, key, now).await
    }

    async fn pending_hosts(&self, now: Timestamp) -> Result<Vec<PendingHostRow>> {
        let found =
            sqlx::query("select * from pending_hosts where state = ?1 and expires_at > ?2 order by id")
                .bind(WAITING)
                .bind(now.as_millis())
                .fetch_all(&self.readers)
                .await
                .doing("list announcements")?;
        found.iter().map(row).collect()
    }

    async fn approve_pending(
        &self,
        id: PendingHostId,
        host: Host,
        nobody: TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
        audit: AuditEntry,
    ) -> Result<ApproveOutcome> {
        let doing = "approve a host";
        let mut tx = self.write(doing).await?;
        let Some(known) = by_id(&mut tx, id, now).await? else { return Ok(ApproveOutcome::NotFound) };
        match known.state {
            PendingState::Waiting => {}
            decided @ (PendingState::Approved | PendingState::Rejected) => {
                return Ok(ApproveOutcome::Decided(decided));
            }
        }
        if !hosts::insert(&mut tx, &host, &nobody).await? {
            return Ok(ApproveOutcome::NameTaken);
        }
        sqlx::query("update pending_hosts set state = ?2, host_id = ?3, expires_at = ?4 where id = ?1")
            .bind(id.to_string())
            .bind(PendingState::Approved.as_str())
            .bind(host.id.to_string())
            .bind(expires_at.as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(ApproveOutcome::Approved)
    }

    async fn reject_pending(
        &self,
        id: PendingHostId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<RejectOutcome> {
        let doing = "reject a host";
        let mut tx = self.write(doing).await?;
        let Some(known) = by_id(&mut tx, id, now).await? else { return Ok(RejectOutcome::NotFound) };
        match known.state {
            PendingState::Approved => return Ok(RejectOutcome::Approved),
            PendingState::Rejected => return Ok(RejectOutcome::Rejected),
            PendingState::Waiting => {}
        }
        sqlx::query("update pending_hosts set state = ?2 where id = ?1")
            .bind(id.to_string())
            .bind(PendingState::Rejected.as_str())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(RejectOutcome::Rejected)
    }

    async fn claim_pending(
        &self,
        key: &AgentKey,
        challenge: &Challenge,
        next: Challenge,
        token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<ClaimOutcome> {
        let doing = "give an approved host its token";
        let mut tx = self.write(doing).await?;
        let Some(known) = by_key(&mut tx, key, now).await? else { return Ok(ClaimOutcome::Unknown) };
        let host_id = match (known.state, known.host_id) {
            (PendingState::Approved, Some(host_id)) => host_id,
            (standing, _) => return Ok(ClaimOutcome::NotApproved(standing)),
        };
        if known.challenge != *challenge {
            return Ok(ClaimOutcome::Stale);
        }
        let Some(host) = hosts::by_id(&mut tx, host_id).await? else { return Ok(ClaimOutcome::Unknown) };
        sqlx::query("update pending_hosts set challenge = ?2 where id = ?1")
            .bind(known.id.to_string())
            .bind(&next.0[..])
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        sqlx::query("update hosts set agent_token = ?2 where id = ?1")
            .bind(host_id.to_string())
            .bind(&token.0[..])
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(ClaimOutcome::Claimed(Box::new(host)))
    }
}

async fn insert(connection: &mut SqliteConnection, row: &PendingHostRow) -> Result<()> {
    sqlx::query(
        "insert into pending_hosts (id, key, challenge, facts, address, announced_at, expires_at, state, host_id) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(row.id.to_string())
    .bind(&row.key.0[..])
    .bind(&row.challenge.0[..])
    .bind(json("facts", &row.facts)?)
    .bind(&row.address)
    .bind(row.announced_at.as_millis())
    .bind(row.expires_at.as_millis())
    .bind(row.state.as_str())
    .bind(row.host_id.map(|id| id.to_string()))
    .execute(connection)
    .await
    .doing("take an announcement")?;
    Ok(())
}

async fn by_id(
    connection: &mut SqliteConnection,
    id: PendingHostId,
    now: Timestamp,
) -> Result<Option<PendingHostRow>> {
    let found = sqlx::query("select * from pending_hosts where id = ?1 and expires_at > ?2")
        .bind(id.to_string())
        .bind(now.as_millis())
        .fetch_optional(connection)
        .await
        .doing("read an announcement")?;
    found.as_ref().map(row).transpose()
}

async fn by_key(
    connection: &mut SqliteConnection,
    key: &AgentKey,
    now: Timestamp,
) -> Result<Option<PendingHostRow>> {
    let found = sqlx::query("select * from pending_hosts where key = ?1 and expires_at > ?2")
        .bind(&key.0[..])
        .bind(now.as_millis())
        .fetch_optional(connection)
        .await
        .doing("read the announcement of a key")?;
    found.as_ref().map(row).transpose()
}

fn row(row: &SqliteRow) -> Result<PendingHostRow> {
    let fields = Fields::new(row, "announcement", "id");
    Ok(PendingHostRow {
        id: fields.parsed("id")?,
        key: HexBytes(fields.hash("key")?.0),
        challenge: HexBytes(fields.hash("challenge")?.0),
        facts: fields.json("facts")?,
        address: fields.get("address")?,
        announced_at: fields.at("announced_at")?,
        expires_at: fields.at("expires_at")?,
        state: fields.named("state")?,
        host_id: fields.parsed_opt("host_id")?,
    })
}
