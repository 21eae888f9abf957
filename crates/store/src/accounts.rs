//! People, their sessions and tokens, and the enrolment of agents.

use async_trait::async_trait;
use restic_manager_core::api::TokenInfo;
use restic_manager_core::id::{EnrollmentId, HostId, SessionId, TokenId, UserId};
use restic_manager_core::model::{AuditEntry, Host};
use restic_manager_core::text::{DisplayName, LoginName};
use restic_manager_core::time::Timestamp;

use crate::{Listed, PageRequest, Result};

/// The SHA-256 of a token: all that is stored of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// A person who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Its identifier.
    pub id: UserId,
    /// The login name, unique.
    pub name: LoginName,
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A browser session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its identifier.
    pub id: SessionId,
    /// The hash of the cookie's value.
    pub hash: TokenHash,
    /// The hash of the token that cookie-borne writes carry.
    pub csrf_hash: TokenHash,
    /// Whose.
    pub user_id: UserId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its identifier.
    pub id: TokenId,
    /// The token's hash.
    pub hash: TokenHash,
    /// Whose.
    pub user_id: UserId,
    /// What it is for.
    pub name: DisplayName,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A one-time enrolment token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentRow {
    /// Its identifier.
    pub id: EnrollmentId,
    /// The token's hash.
    pub hash: TokenHash,
    /// The name the host will have.
    pub host_name: Option<DisplayName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// The host that came of it; it may be gone since.
    pub host_id: Option<HostId>,
}

/// Whether the first user could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootstrapped {
    /// Made.
    Created,
    /// There is a user already; nothing changed.
    AlreadyDone,
}

/// Whether a token could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCreated {
    /// Made.
    Created,
    /// The user has a token of that name that is neither revoked nor expired.
    NameTaken,
}

/// What became of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollOutcome {
    /// The host is enrolled and the token is used up.
    Enrolled,
    /// No such token.
    Unknown,
    /// Its hour is over.
    Expired,
    /// It was used before; that it also expired since does not matter.
    Used,
    /// Another host has that name, in whatever case; the token is still good.
    NameTaken,
}

/// People, sessions, tokens, enrolment.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Whether there is any user.
    async fn has_users(&self) -> Result<bool>;
    /// Makes the first user; of several at once exactly one succeeds, and only its audit row is written.
    async fn create_first_user(&self, user: UserRow, audit: AuditEntry) -> Result<Bootstrapped>;
    /// The user of that name, in exactly this spelling.
    async fn user_by_name(&self, name: &LoginName) -> Result<Option<UserRow>>;
    /// Sets a password and ends all sessions of that user; false when there is no such user. Tokens stay good.
    async fn set_password(&self, user_id: UserId, password_hash: &str, audit: AuditEntry) -> Result<bool>;

    /// Opens a session and forgets those, of whatever user, that ended before `now`.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] when there is no such user.
    async fn create_session(&self, session: SessionRow, now: Timestamp, audit: AuditEntry) -> Result<()>;
    /// The session with this cookie that has not ended at `now` (`now < expires_at`), with its user.
    async fn session(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<(SessionRow, UserRow)>>;
    /// Ends a session; ending it twice is fine, and only the first writes the audit row.
    async fn delete_session(&self, hash: &TokenHash, audit: AuditEntry) -> Result<()>;

    /// Makes an API token. Names are compared as they are, and only with the user's own tokens that are neither revoked nor expired
    /// when this one is made (`created_at`).
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] when there is no such user.
    async fn create_token(&self, token: TokenRow, audit: AuditEntry) -> Result<TokenCreated>;
    /// Tokens of a user, newest first by id, revoked ones included.
    async fn tokens(&self, user_id: UserId, page: PageRequest) -> Result<Listed<TokenInfo>>;
    /// The token with this hash with its user, whether or not it is still good: the caller compares times.
    async fn token(&self, hash: &TokenHash) -> Result<Option<(TokenRow, UserRow)>>;
    /// Revokes a token of a user; false when there is none. Revoking twice keeps the first time and writes no second audit row.
    async fn revoke_token(
        &self,
        user_id: UserId,
        id: TokenId,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<bool>;
    /// Notes that a token was used; an earlier time than the one known, or a token that is gone, changes nothing.
    async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<()>;

    /// Makes an enrolment token and forgets those that expired more than a day before it was made.
    async fn create_enrollment(&self, row: EnrollmentRow, audit: AuditEntry) -> Result<()>;
    /// The enrolment token with this hash.
    async fn enrollment(&self, hash: &TokenHash) -> Result<Option<EnrollmentRow>>;
    /// The enrolment token with this id, until it is forgotten.
    async fn enrollment_by_id(&self, id: EnrollmentId) -> Result<Option<EnrollmentRow>>;
    /// Uses an enrolment token up (`used_at` becomes `now`, `host_id` that of the host) and makes the host as it is given, in one step; of several at once exactly
    /// one succeeds. A token is good while `now < expires_at`.
    async fn enroll(
        &self,
        enrollment: &TokenHash,
        host: Host,
        agent_token: TokenHash,
        now: Timestamp,
        audit: AuditEntry,
    ) -> Result<EnrollOutcome>;
}
