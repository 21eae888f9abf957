//! API tokens: how programs come in.

use restic_manager_core::api::{Page, TokenInfo, TokenRequest, TokenResponse};
use restic_manager_core::id::TokenId;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, MINUTE, Timestamp};
use restic_manager_store::{TokenCreated, TokenRow, UserRow};

use super::{Accounts, caller};
use crate::app::page::page;
use crate::app::{AppError, Caller, ErrorKind, ListQuery};
use crate::random::token_hash;

/// What every API token starts with.
pub const TOKEN_PREFIX: &str = "rmt_";

const DEFAULT_DAYS: u32 = 90;
const MAX_DAYS: u32 = 3650;

/// Who comes with an API token.
#[derive(Debug, Clone)]
pub struct TokenCaller {
    /// The user.
    pub caller: Caller,
    /// The token they use.
    pub token_id: TokenId,
}

impl Accounts {
    /// Who comes with this token. That it was used is noted at most once a minute.
    ///
    /// # Errors
    ///
    /// When it is unknown, expired or revoked, or the store fails.
    pub async fn token(&self, given: &Secret) -> Result<TokenCaller, AppError> {
        let now = self.app.clock.now();
        let (row, user) = self.app.store.token(&token_hash(given)).await?.ok_or_else(|| {
            refused("unknown_token", "the API token is unknown")
                .hint("check that the whole token was copied, and that it belongs to this server")
        })?;
        check(&row, &user, now)?;
        if row.last_used_at.is_none_or(|used| now.millis_since(used) >= MINUTE) {
            self.app.store.touch_token(row.id, now).await?;
        }
        Ok(TokenCaller { caller: caller(&user), token_id: row.id })
    }

    /// Makes an API token for the caller; it is shown this once.
    ///
    /// # Errors
    ///
    /// When the days are out of bounds, the name is taken, or the store fails.
    pub async fn create_token(
        &self,
        caller: &Caller,
        request: TokenRequest,
    ) -> Result<TokenResponse, AppError> {
        let days = request.expires_in_days.unwrap_or(DEFAULT_DAYS);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(AppError::invalid(
                "expires_in_days",
                format!("{days} is not between 1 and {MAX_DAYS}"),
            ));
        }
        let token = self.app.random.mint_token(TOKEN_PREFIX);
        let created_at = self.app.clock.now();
        let row = TokenRow {
            id: TokenId::mint(created_at, self.app.random.id_bytes()),
            hash: token_hash(&token),
            user_id: caller.user_id,
            name: request.name,
            created_at,
            expires_at: created_at + i64::from(days) * DAY,
            last_used_at: None,
            revoked_at: None,
        };
        let audit = self.app.audit_of(
            caller,
            "token.created",
            ("token", row.id.to_string()),
            [("name", row.name.to_string().into()), ("expires_at", row.expires_at.as_millis().into())],
        );
        match self.app.store.create_token(row.clone(), audit).await? {
            TokenCreated::Created => Ok(TokenResponse { token, info: info(row, caller) }),
            TokenCreated::NameTaken => Err(AppError::name_taken("API token", &row.name)),
        }
    }

    /// The caller's tokens, newest first, revoked ones included.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn tokens(&self, caller: &Caller, list: &ListQuery) -> Result<Page<TokenInfo>, AppError> {
        let listed = self.app.store.tokens(caller.user_id, list.request()?).await?;
        Ok(page(listed, |info| info))
    }

    /// Revokes a token of the caller; twice is fine.
    ///
    /// # Errors
    ///
    /// When they have no such token, or the store fails.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<(), AppError> {
        let now = self.app.clock.now();
        let audit = self.app.audit_of(caller, "token.revoked", ("token", id.to_string()), []);
        if self.app.store.revoke_token(caller.user_id, id, now, audit).await? {
            return Ok(());
        }
        Err(AppError::not_found("API token", id))
    }
}

fn check(row: &TokenRow, user: &UserRow, now: Timestamp) -> Result<(), AppError> {
    let renew = "make another one: `rmctl login`, or POST /api/tokens";
    if let Some(at) = row.revoked_at {
        let message = format!("the API token `{}` of `{}` was revoked at {at}", row.name, user.name);
        return Err(refused("token_revoked", message).hint(renew));
    }
    if now >= row.expires_at {
        let message =
            format!("the API token `{}` of `{}` expired at {}", row.name, user.name, row.expires_at);
        return Err(refused("token_expired", message).hint(renew));
    }
    Ok(())
}

fn refused(code: &'static str, message: impl Into<String>) -> AppError {
    AppError::new(ErrorKind::Unauthenticated, code, message)
}

fn info(row: TokenRow, caller: &Caller) -> TokenInfo {
    TokenInfo {
        id: row.id,
        name: row.name,
        username: caller.username.clone(),
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
    }
}
