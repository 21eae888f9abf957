//! People, sessions, tokens, enrolment.

use std::cmp::Reverse;

use async_trait::async_trait;
use restic_manager_core::api::TokenInfo;
use restic_manager_core::id::{EnrollmentId, TokenId, UserId};
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::text::LoginName;
use restic_manager_core::time::{DAY, Timestamp};

use super::{MemoryStore, State, missing, pages};
use crate::{
    Accounts, Bootstrapped, EnrollOutcome, EnrollmentRow, Listed, PageRequest, Result, SessionRow,
    TokenCreated, TokenHash, TokenRow, UserRow,
};

#[async_trait]
impl Accounts for MemoryStore {
    async fn has_users(&self) -> Result<bool> {
        Ok(!self.state().users.is_empty())
    }

    async fn create_first_user(&self, user: UserRow, audit: AuditEntry) -> Result<Bootstrapped> {
        let mut state = self.state();
        if !state.users.is_empty() {
            return Ok(Bootstrapped::AlreadyDone);
        }
        state.users.insert(user.id, user);
        state.write_audit(audit);
        Ok(Bootstrapped::Created)
    }

    async fn user_by_name(&self, name: &LoginName) -> Result<Option<UserRow>> {
        Ok(self.state().users.values().find(|user| user.name == *name).cloned())
    }

    async fn set_password(&self, user_id: UserId, password_hash: &str, audit: AuditEntry) -> Result<bool> {
        let mut state = self.state();
        let Some(user) = state.users.get_mut(&user_id) else { return Ok(false) };
        password_hash.clone_into(&mut user.password_hash);
        state.sessions.retain(|_, session| session.user_id != user_id);
        state.write_audit(audit);
        Ok(true)
    }

    async fn create_session(&self, session: SessionRow, now: Timestamp, audit: AuditEntry) -> Result<()> {
        let mut state = self.state();
        state.known_user(session.user_id)?;
        state.sessions.retain(|_, other| other.expires_at >= now);
        state.sessions.insert(session.hash, session);
        state.write_audit(audit);
        Ok(())
    }

    async fn session(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<(SessionRow, UserRow)>> {
        let state = self.state();
        let Some(session) = state.sessions.get(hash).filter(|session| now < session.expires_at) else {
            return Ok(None);
        };
        Ok(Some((session.clone(), state.known_user(session.user_id)?.clone())))
    }

    async fn delete_session(&self, hash: &TokenHash, audit: AuditEntry) -> Result<()> {
        let mut state = self.state();
        if state.sessions.remove(hash).is_some() {
            state.write_audit(audit);
        }
        Ok(())
    }

    async fn create_token(&self, token: TokenRow, audit: AuditEntry) -> Result<TokenCreated> {
        let mut state = self.state();
        state.known_user(token.user_id)?;
        let taken = state.tokens.values().any(|other| {
            other.user_id == token.user_id
                && other.name == token.name
                && other.revoked_at.is_none()
                && token.created_at < other.expires_at
        });
        if taken {
            return Ok(TokenCreated::NameTaken);
        }
        state.tokens.insert(token.id, token);
        state.write_audit(audit);
        Ok(TokenCreated::Created)
    }

    async fn tokens(&self, user_id: UserId, page: PageRequest) -> Result<Listed<TokenInfo>> {
        let state = self.state();
        let of_user = state.tokens.values().rev().filter(|token| token.user_id == user_id);
        let user = state.users.get(&user_id);
        let rows = of_user.filter_map(|token| Some((Reverse(token.id), shown(token, user?))));
        pages::page(rows, &page)
    }

    async fn token(&self, hash: &TokenHash) -> Result<Option<(TokenRow, UserRow)>> {
        let state = self.state();
        let Some(token) = state.tokens.values().find(|token| token.hash == *hash) else { return Ok(None) };
        Ok(Some((token.clone(), state.known_user(token.user_id)?.clone())))
    }

    async fn revoke_token(
        &self,
        user_id: UserId,
        id: TokenId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool> {
        let mut state = self.state();
        let Some(token) = state.tokens.get_mut(&id).filter(|token| token.user_id == user_id) else {
            return Ok(false);
        };
        if token.revoked_at.is_none() {
            token.revoked_at = Some(now);
            state.write_audit(audit);
        }
        Ok(true)
    }

    async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<()> {
        if let Some(token) = self.state().tokens.get_mut(&id) {
            token.last_used_at = token.last_used_at.max(Some(now));
        }
        Ok(())
    }

    async fn create_enrollment(&self, row: EnrollmentRow, audit: AuditEntry) -> Result<()> {
        let mut state = self.state();
        state.enrollments.retain(|_, other| other.expires_at >= row.created_at - DAY);
        state.enrollments.insert(row.id, row);
        state.write_audit(audit);
        Ok(())
    }

    async fn enrollment(&self, hash: &TokenHash) -> Result<Option<EnrollmentRow>> {
        Ok(self.state().enrollments.values().find(|row| row.hash == *hash).cloned())
    }

    async fn enrollment_by_id(&self, id: EnrollmentId) -> Result<Option<EnrollmentRow>> {
        Ok(self.state().enrollments.get(&id).cloned())
    }

    async fn enroll(
        &self,
        enrollment: &TokenHash,
        host: Host,
        agent_token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<EnrollOutcome> {
        let mut state = self.state();
        let name_taken = state.host_named(&host.name, None);
        let Some(row) = state.enrollments.values_mut().find(|row| row.hash == *enrollment) else {
            return Ok(EnrollOutcome::Unknown);
        };
        if row.used_at.is_some() {
            return Ok(EnrollOutcome::Used);
        }
        if now >= row.expires_at {
            return Ok(EnrollOutcome::Expired);
        }
        if name_taken {
            return Ok(EnrollOutcome::NameTaken);
        }
        row.used_at = Some(now);
        row.host_id = Some(host.id);
        state.agent_tokens.insert(agent_token, host.id);
        state.hosts.insert(host.id, host);
        state.write_audit(audit);
        Ok(EnrollOutcome::Enrolled)
    }
}

impl State {
    fn known_user(&self, id: UserId) -> Result<&UserRow> {
        self.users.get(&id).ok_or_else(|| missing("user", id))
    }
}

fn shown(token: &TokenRow, user: &UserRow) -> TokenInfo {
    TokenInfo {
        id: token.id,
        name: token.name.clone(),
        username: user.name.clone(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
        revoked_at: token.revoked_at,
    }
}
