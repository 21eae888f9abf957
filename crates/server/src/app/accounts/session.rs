//! The first administrator, and logging in and out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use restic_manager_core::api::{PasswordChange, SessionInfo};
use restic_manager_core::id::{SessionId, UserId};
use restic_manager_core::model::Actor;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::LoginName;
use restic_manager_core::time::Timestamp;
use restic_manager_store::{Bootstrapped, SessionRow, TokenHash, UserRow};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{Accounts, caller, wrong_credentials};
use crate::app::{AppError, Caller, ErrorKind};
use crate::password::check_length;
use crate::random::token_hash;

const COOKIE_PREFIX: &str = "rms_";
/// Separates the key of the HMAC from any other use of a cookie.
const CSRF_LABEL: &[u8] = b"restic-manager session: csrf token, 1";

/// A session that was just opened.
#[derive(Debug)]
pub struct NewSession {
    /// The value of its cookie, shown this once.
    pub cookie: Secret,
    /// What the caller is told of it.
    pub info: SessionInfo,
}

/// A session that stands.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose.
    pub caller: Caller,
    /// When it ends.
    pub expires_at: Timestamp,
    hash: TokenHash,
    csrf_hash: TokenHash,
}

impl Session {
    /// Whether this is the token that writes with this session's cookie must carry.
    pub fn csrf_matches(&self, given: &Secret) -> bool {
        token_hash(given).0.ct_eq(&self.csrf_hash.0).into()
    }
}

impl Accounts {
    /// Makes the first administrator and opens a session for them. Whether the caller may do so was checked by the
    /// one-time token, which is the shell's.
    ///
    /// # Errors
    ///
    /// When there is a user already, the password is too short or too long, or the store fails.
    pub async fn bootstrap(&self, username: LoginName, password: &Secret) -> Result<NewSession, AppError> {
        if !self.needs_bootstrap().await? {
            return Err(already_done());
        }
        let password_hash = self.passwords.hash(password).await?;
        let created_at = self.app.clock.now();
        let id = UserId::mint(created_at, self.app.random.id_bytes());
        let user = UserRow { id, name: username, password_hash, created_at };
        let audit = self.app.engine.audit(
            Actor::user(&user.name),
            "user.created",
            ("user", id.to_string()),
            [("name", user.name.to_string().into()), ("by", "bootstrap token".into())],
        );
        match self.app.store.create_first_user(user.clone(), audit).await? {
            Bootstrapped::Created => self.open_session(&user).await,
            Bootstrapped::AlreadyDone => Err(already_done()),
        }
    }

    /// Opens a session. `from` is where the caller sits, for the audit log, which also gets the attempts that fail.
    ///
    /// # Errors
    ///
    /// When name or password are wrong, without saying which, or the store fails.
    pub async fn login(
        &self,
        name: &LoginName,
        password: &Secret,
        from: &str,
    ) -> Result<NewSession, AppError> {
        let user = self.app.store.user_by_name(name).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        // An unknown name costs as much time as a known one.
        let right = self.passwords.verify(password, stored).await?;
        match user.filter(|_| right) {
            Some(user) => self.open_session(&user).await,
            None => {
                tracing::warn!(user = %name, from, "a login was refused");
                let audit = self.app.engine.audit(
                    Actor::system(),
                    "login.failed",
                    ("user", name.to_string()),
                    [("from", from.into())],
                );
                self.app.store.record(audit).await?;
                Err(wrong_credentials(name))
            }
        }
    }

    /// The session with this cookie, if it stands.
    ///
    /// # Errors
    ///
    /// A fault of the store.
    pub async fn session(&self, cookie: &Secret) -> Result<Option<Session>, AppError> {
        let found = self.app.store.session(&token_hash(cookie), self.app.clock.now()).await?;
        Ok(found.map(|(row, user)| Session {
            caller: caller(&user),
            expires_at: row.expires_at,
            hash: row.hash,
            csrf_hash: row.csrf_hash,
        }))
    }

    /// What a browser is told of its session.
    pub fn session_info(&self, session: &Session, cookie: &Secret) -> SessionInfo {
        SessionInfo {
            user_id: session.caller.user_id,
            username: session.caller.username.clone(),
            csrf_token: csrf_token(cookie),
            expires_at: session.expires_at,
        }
    }

    /// Changes the caller's own password. Every session of theirs ends; whoever asked in a session gets another one in its place, so that
    /// a copied cookie is worth nothing from then on. API tokens stay good. `from` is where the caller sits, for the audit log, which
    /// also gets the attempts that fail.
    ///
    /// # Errors
    ///
    /// When the current password is wrong, the new one is the same, too short or too long, or the store fails.
    pub async fn change_password(
        &self,
        caller: &Caller,
        session: Option<&Session>,
        change: &PasswordChange,
        from: &str,
    ) -> Result<Option<NewSession>, AppError> {
        check_length(&change.new).map_err(|error| {
            let refusal = AppError::invalid("new", &error);
            error.hint().into_iter().fold(refusal, AppError::hint)
        })?;
        let subject = || ("user", caller.user_id.to_string());
        let name = [("name", caller.username.to_string().into()), ("from", from.into())];
        let user = self.app.store.user_by_name(&caller.username).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let right = self.passwords.verify(&change.current, stored).await?;
        let Some(user) = user.filter(|_| right) else {
            let audit = self.app.audit_of(caller, "user.password_refused", subject(), name);
            self.app.store.record(audit).await?;
            return Err(wrong_password());
        };
        if change.new == change.current {
            return Err(AppError::invalid("new", "it is the password that it is to replace"));
        }
        let hash = self.passwords.hash(&change.new).await?;
        let audit = self.app.audit_of(caller, "user.password_changed", subject(), name);
        if !self.app.store.set_password(user.id, &hash, audit).await? {
            return Err(AppError::not_found("user", &user.name));
        }
        match session {
            Some(_) => Ok(Some(self.open_session(&user).await?)),
            None => Ok(None),
        }
    }

    /// Ends a session; twice is fine.
    ///
    /// # Errors
    ///
    /// A fault of the store.
    pub async fn logout(&self, session: &Session) -> Result<(), AppError> {
        let caller = &session.caller;
        let audit = self.app.audit_of(caller, "session.closed", ("user", caller.user_id.to_string()), []);
        Ok(self.app.store.delete_session(&session.hash, audit).await?)
    }

    async fn open_session(&self, user: &UserRow) -> Result<NewSession, AppError> {
        let cookie = self.app.random.mint_token(COOKIE_PREFIX);
        let csrf_token = csrf_token(&cookie);
        let now = self.app.clock.now();
        let row = SessionRow {
            id: SessionId::mint(now, self.app.random.id_bytes()),
            hash: token_hash(&cookie),
            csrf_hash: token_hash(&csrf_token),
            user_id: user.id,
            created_at: now,
            expires_at: now + self.session_lifetime_ms,
        };
        let expires_at = row.expires_at;
        let audit = self.app.audit_of(&caller(user), "session.opened", ("user", user.id.to_string()), []);
        self.app.store.create_session(row, now, audit).await?;
        let info = SessionInfo { user_id: user.id, username: user.name.clone(), csrf_token, expires_at };
        Ok(NewSession { cookie, info })
    }
}

/// The token follows from the cookie, so that it can be told again and again while only hashes are stored.
fn csrf_token(cookie: &Secret) -> Secret {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(cookie.expose().as_bytes()).expect("an HMAC takes keys of any length");
    mac.update(CSRF_LABEL);
    Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn wrong_password() -> AppError {
    AppError::new(ErrorKind::Forbidden, "wrong_password", "the current password is wrong").hint(
        "an administrator of the server can set a new one with `restic-manager-server admin reset-password`",
    )
}

fn already_done() -> AppError {
    AppError::new(ErrorKind::Conflict, "already_bootstrapped", "the first administrator was made already")
        .hint("log in; `restic-manager-server admin reset-password` sets a password that was forgotten")
}
