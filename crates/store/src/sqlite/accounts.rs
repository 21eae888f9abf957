//! People, sessions, tokens, enrolment.

use async_trait::async_trait;
use restic_manager_core::api::TokenInfo;
use restic_manager_core::id::{EnrollmentId, TokenId, UserId};
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::time::{DAY, Timestamp};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::fault::Doing;
use super::paging::{id_after, listed, rows_for};
use super::rows::Fields;
use super::{SqliteStore, audit, hosts};
use crate::{
    Accounts, Bootstrapped, Cursor, EnrollOutcome, EnrollmentRow, Listed, PageRequest, Result, SessionRow,
    StoreError, TokenCreated, TokenHash, TokenRow, UserRow,
};

#[async_trait]
impl Accounts for SqliteStore {
    async fn has_users(&self) -> Result<bool> {
        sqlx::query_scalar("select exists (select 1 from users)")
            .fetch_one(&self.readers)
            .await
            .doing("look for users")
    }

    async fn create_first_user(&self, user: UserRow, audit: AuditEntry) -> Result<Bootstrapped> {
        let doing = "make the first user";
        let mut tx = self.write(doing).await?;
        let made = sqlx::query(
            "insert into users (id, name, password_hash, created_at) select ?1, ?2, ?3, ?4 \
             where not exists (select 1 from users)",
        )
        .bind(user.id.to_string())
        .bind(user.name.as_str())
        .bind(&user.password_hash)
        .bind(user.created_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        if made.rows_affected() == 0 {
            return Ok(Bootstrapped::AlreadyDone);
        }
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(Bootstrapped::Created)
    }

    async fn user_by_name(&self, name: &LoginName) -> Result<Option<UserRow>> {
        let found = sqlx::query(
            "select id as user_id, name as user_name, password_hash, created_at as user_created_at from users \
             where name = ?1",
        )
        .bind(name.as_str())
        .fetch_optional(&self.readers)
        .await
        .doing("read a user")?;
        found.as_ref().map(user).transpose()
    }

    async fn set_password(&self, user_id: UserId, password_hash: &str, audit: AuditEntry) -> Result<bool> {
        let doing = "set a password";
        let mut tx = self.write(doing).await?;
        let set = sqlx::query("update users set password_hash = ?2 where id = ?1")
            .bind(user_id.to_string())
            .bind(password_hash)
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        if set.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("delete from sessions where user_id = ?1")
            .bind(user_id.to_string())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    async fn create_session(&self, session: SessionRow, now: Timestamp, audit: AuditEntry) -> Result<()> {
        let doing = "open a session";
        let mut tx = self.write(doing).await?;
        user_exists(&mut tx, session.user_id).await?;
        sqlx::query("delete from sessions where expires_at <= ?1")
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        sqlx::query(
            "insert into sessions (id, hash, csrf_hash, user_id, created_at, expires_at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(session.id.to_string())
        .bind(&session.hash.0[..])
        .bind(&session.csrf_hash.0[..])
        .bind(session.user_id.to_string())
        .bind(session.created_at.as_millis())
        .bind(session.expires_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)
    }

    async fn session(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<(SessionRow, UserRow)>> {
        let found = sqlx::query(
            "select s.*, u.name as user_name, u.password_hash, u.created_at as user_created_at \
             from sessions s join users u on u.id = s.user_id where s.hash = ?1 and s.expires_at > ?2",
        )
        .bind(&hash.0[..])
        .bind(now.as_millis())
        .fetch_optional(&self.readers)
        .await
        .doing("read a session")?;
        found.as_ref().map(|row| Ok((session(row)?, user(row)?))).transpose()
    }

    async fn delete_session(&self, hash: &TokenHash, audit: AuditEntry) -> Result<()> {
        let doing = "end a session";
        let mut tx = self.write(doing).await?;
        let ended = sqlx::query("delete from sessions where hash = ?1")
            .bind(&hash.0[..])
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        if ended.rows_affected() == 0 {
            return Ok(());
        }
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)
    }

    async fn create_token(&self, token: TokenRow, audit: AuditEntry) -> Result<TokenCreated> {
        let doing = "make a token";
        let mut tx = self.write(doing).await?;
        user_exists(&mut tx, token.user_id).await?;
        let made = sqlx::query(
            "insert into tokens (id, hash, user_id, name, created_at, expires_at, last_used_at, revoked_at) \
             select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 where not exists (select 1 from tokens \
             where user_id = ?3 and name = ?4 and revoked_at is null and expires_at > ?5)",
        )
        .bind(token.id.to_string())
        .bind(&token.hash.0[..])
        .bind(token.user_id.to_string())
        .bind(token.name.as_str())
        .bind(token.created_at.as_millis())
        .bind(token.expires_at.as_millis())
        .bind(token.last_used_at.map(Timestamp::as_millis))
        .bind(token.revoked_at.map(Timestamp::as_millis))
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        if made.rows_affected() == 0 {
            return Ok(TokenCreated::NameTaken);
        }
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(TokenCreated::Created)
    }

    async fn tokens(&self, user_id: UserId, page: PageRequest) -> Result<Listed<TokenInfo>> {
        let after = id_after::<TokenId>(&page)?;
        let found = sqlx::query(
            "select t.*, u.name as user_name from tokens t join users u on u.id = t.user_id \
             where t.user_id = ?1 and (?2 is null or t.id < ?2) order by t.id desc limit ?3",
        )
        .bind(user_id.to_string())
        .bind(after.map(|id| id.to_string()))
        .bind(rows_for(&page))
        .fetch_all(&self.readers)
        .await
        .doing("list tokens")?;
        let items = found.iter().map(token_info).collect::<Result<Vec<_>>>()?;
        listed(items, &page, |token| Ok(Cursor(token.id.to_string())))
    }

    async fn token(&self, hash: &TokenHash) -> Result<Option<(TokenRow, UserRow)>> {
        let found = sqlx::query(
            "select t.*, u.name as user_name, u.password_hash, u.created_at as user_created_at \
             from tokens t join users u on u.id = t.user_id where t.hash = ?1",
        )
        .bind(&hash.0[..])
        .fetch_optional(&self.readers)
        .await
        .doing("read a token")?;
        found.as_ref().map(|row| Ok((token(row)?, user(row)?))).transpose()
    }

    async fn revoke_token(
        &self,
        user_id: UserId,
        id: TokenId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool> {
        let doing = "revoke a token";
        let mut tx = self.write(doing).await?;
        let revoked_at: Option<Option<i64>> =
            sqlx::query_scalar("select revoked_at from tokens where id = ?1 and user_id = ?2")
                .bind(id.to_string())
                .bind(user_id.to_string())
                .fetch_optional(&mut *tx)
                .await
                .doing(doing)?;
        match revoked_at {
            None => return Ok(false),
            Some(Some(_)) => return Ok(true),
            Some(None) => {}
        }
        sqlx::query("update tokens set revoked_at = ?2 where id = ?1")
            .bind(id.to_string())
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }

    async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<()> {
        let doing = "note that a token was used";
        let mut tx = self.write(doing).await?;
        sqlx::query("update tokens set last_used_at = max(coalesce(last_used_at, ?2), ?2) where id = ?1")
            .bind(id.to_string())
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    async fn create_enrollment(&self, row: EnrollmentRow, audit: AuditEntry) -> Result<()> {
        let doing = "make an enrolment token";
        let mut tx = self.write(doing).await?;
        sqlx::query("delete from enrollments where expires_at < ?1")
            .bind((row.created_at - DAY).as_millis())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        sqlx::query(
            "insert into enrollments (id, hash, host_name, created_at, expires_at, used_at) values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(row.id.to_string())
        .bind(&row.hash.0[..])
        .bind(row.host_name.as_ref().map(DisplayName::as_str))
        .bind(row.created_at.as_millis())
        .bind(row.expires_at.as_millis())
        .bind(row.used_at.map(Timestamp::as_millis))
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)
    }

    async fn enrollment(&self, hash: &TokenHash) -> Result<Option<EnrollmentRow>> {
        let mut connection = self.reader("read an enrolment token").await?;
        enrollment(&mut connection, hash).await
    }

    async fn enrollment_by_id(&self, id: EnrollmentId) -> Result<Option<EnrollmentRow>> {
        let found = sqlx::query("select * from enrollments where id = ?1")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await
            .doing("read an enrolment token")?;
        found.as_ref().map(enrollment_row).transpose()
    }

    async fn enroll(
        &self,
        hash: &TokenHash,
        host: Host,
        agent_token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<EnrollOutcome> {
        let doing = "enrol a host";
        let mut tx = self.write(doing).await?;
        let Some(row) = enrollment(&mut tx, hash).await? else {
            return Ok(EnrollOutcome::Unknown);
        };
        if row.used_at.is_some() {
            return Ok(EnrollOutcome::Used);
        }
        if row.expires_at <= now {
            return Ok(EnrollOutcome::Expired);
        }
        if !hosts::insert(&mut tx, &host, &agent_token).await? {
            return Ok(EnrollOutcome::NameTaken);
        }
        sqlx::query("update enrollments set used_at = ?2, host_id = ?3 where id = ?1")
            .bind(row.id.to_string())
            .bind(now.as_millis())
            .bind(host.id.to_string())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(EnrollOutcome::Enrolled)
    }
}

async fn user_exists(connection: &mut SqliteConnection, id: UserId) -> Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select 1 from users where id = ?1)")
        .bind(id.to_string())
        .fetch_one(connection)
        .await
        .doing("look for a user")?;
    if exists { Ok(()) } else { Err(StoreError::Missing { what: "user", id: id.to_string() }) }
}

async fn enrollment(connection: &mut SqliteConnection, hash: &TokenHash) -> Result<Option<EnrollmentRow>> {
    let found = sqlx::query("select * from enrollments where hash = ?1")
        .bind(&hash.0[..])
        .fetch_optional(connection)
        .await
        .doing("read an enrolment token")?;
    found.as_ref().map(enrollment_row).transpose()
}

fn enrollment_row(row: &SqliteRow) -> Result<EnrollmentRow> {
    let fields = Fields::new(row, "enrolment token", "id");
    Ok(EnrollmentRow {
        id: fields.parsed("id")?,
        hash: fields.hash("hash")?,
        host_name: fields.parsed_opt("host_name")?,
        created_at: fields.at("created_at")?,
        expires_at: fields.at("expires_at")?,
        used_at: fields.at_opt("used_at")?,
        host_id: fields.parsed_opt("host_id")?,
    })
}

fn user(row: &SqliteRow) -> Result<UserRow> {
    let fields = Fields::new(row, "user", "user_id");
    Ok(UserRow {
        id: fields.parsed("user_id")?,
        name: fields.parsed("user_name")?,
        password_hash: fields.get("password_hash")?,
        created_at: fields.at("user_created_at")?,
    })
}

fn session(row: &SqliteRow) -> Result<SessionRow> {
    let fields = Fields::new(row, "session", "id");
    Ok(SessionRow {
        id: fields.parsed("id")?,
        hash: fields.hash("hash")?,
        csrf_hash: fields.hash("csrf_hash")?,
        user_id: fields.parsed("user_id")?,
        created_at: fields.at("created_at")?,
        expires_at: fields.at("expires_at")?,
    })
}

fn token(row: &SqliteRow) -> Result<TokenRow> {
    let fields = Fields::new(row, "token", "id");
    Ok(TokenRow {
        id: fields.parsed("id")?,
        hash: fields.hash("hash")?,
        user_id: fields.parsed("user_id")?,
        name: fields.parsed("name")?,
        created_at: fields.at("created_at")?,
        expires_at: fields.at("expires_at")?,
        last_used_at: fields.at_opt("last_used_at")?,
        revoked_at: fields.at_opt("revoked_at")?,
    })
}

fn token_info(row: &SqliteRow) -> Result<TokenInfo> {
    let fields = Fields::new(row, "token", "id");
    Ok(TokenInfo {
        id: fields.parsed("id")?,
        name: fields.parsed("name")?,
        username: fields.parsed("user_name")?,
        created_at: fields.at("created_at")?,
        expires_at: fields.at("expires_at")?,
        last_used_at: fields.at_opt("last_used_at")?,
        revoked_at: fields.at_opt("revoked_at")?,
    })
}
