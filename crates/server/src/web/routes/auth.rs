//! The first administrator, logging in and out.

use http::StatusCode;
use restic_manager_core::api::{BootstrapRequest, LoginRequest, PasswordChange, SessionInfo};
use restic_manager_core::secret::Secret;
use warp::reply::Response;

use super::super::answer::{Refusal, json, no_content, ok, with_cookie};
use super::super::ask::Ask;
use super::super::guard::{Credential, SESSION_COOKIE, User};
use super::super::table::{Answer, Route};
use crate::app::{AppError, Caller, ErrorKind, NewSession, Session};
use crate::engine::chain;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::public::<__path_bootstrap, _>(bootstrap),
        Route::public::<__path_login, _>(login),
        Route::user::<__path_logout, _>(logout),
        Route::user::<__path_session, _>(session),
        Route::user::<__path_password, _>(password),
    ]
}

/// Makes the first administrator, once, with the token that the server wrote into its data folder; opens a session.
#[utoipa::path(post, path = "/api/bootstrap", tag = "auth", request_body = BootstrapRequest,
    responses((status = 201, description = "Made and logged in.", body = SessionInfo)))]
async fn bootstrap(mut ask: Ask) -> Answer {
    let request: BootstrapRequest = ask.json().await?;
    let session = first_session(&ask, request).await?;
    Ok(opened(&ask, StatusCode::CREATED, &session))
}

/// Makes the first administrator, for whoever has the token of the server's data folder.
pub(in crate::web) async fn first_session(
    ask: &Ask,
    request: BootstrapRequest,
) -> Result<NewSession, Refusal> {
    ask.state.limits.address(ask.client.address)?;
    let file = &ask.state.bootstrap;
    if ask.state.accounts.needs_bootstrap().await? && !file.matches(&request.token).map_err(unreadable)? {
        let error = AppError::new(
            ErrorKind::Unauthenticated,
            "wrong_bootstrap_token",
            "the bootstrap token is wrong",
        )
        .hint("it stands in the file `bootstrap-token` of the server's data folder; `restic-manager-server admin bootstrap-token` makes a new one");
        return Err(error.into());
    }
    let session = ask.state.accounts.bootstrap(request.username, &request.password).await?;
    if let Err(error) = file.remove() {
        // Without effect from here on: there is a user. The next start removes it.
        tracing::warn!(error = %chain(&error), file = %file.path().display(), "the used bootstrap token could not be removed");
    }
    Ok(session)
}

/// Opens a session.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, description = "Logged in; the session's cookie comes along.", body = SessionInfo)))]
async fn login(mut ask: Ask) -> Answer {
    let request: LoginRequest = ask.json().await?;
    let session = new_session(&ask, &request).await?;
    Ok(opened(&ask, StatusCode::OK, &session))
}

/// Opens a session for whoever knows a name and its password.
pub(in crate::web) async fn new_session(ask: &Ask, request: &LoginRequest) -> Result<NewSession, Refusal> {
    ask.state.limits.attempt(ask.client.address, &request.username)?;
    let from = ask.client.address.to_string();
    Ok(ask.state.accounts.login(&request.username, &request.password, &from).await?)
}

/// Ends the session.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", responses((status = 204, description = "Ended.")))]
async fn logout(user: User, ask: Ask) -> Answer {
    match &user.by {
        Credential::Session { session, .. } => {
            ask.state.accounts.logout(session).await?;
            Ok(with_cookie(no_content(), &no_cookie(&ask)))
        }
        Credential::Token => Err(no_session()),
    }
}

/// The session one is logged in with, and its CSRF token.
#[utoipa::path(get, path = "/api/auth/session", tag = "auth",
    responses((status = 200, description = "The session.", body = SessionInfo)))]
async fn session(user: User, ask: Ask) -> Answer {
    match &user.by {
        Credential::Session { session, cookie } => Ok(ok(&ask.state.accounts.session_info(session, cookie))),
        Credential::Token => Err(no_session()),
    }
}

/// Changes one's own password. Every session of the user ends: whoever asks in one gets another in its place, by a cookie that comes
/// along, with a CSRF token of its own. API tokens stay good.
#[utoipa::path(post, path = "/api/account/password", operation_id = "change_password", tag = "auth", request_body = PasswordChange,
    responses((status = 204, description = "Changed.")))]
async fn password(user: User, mut ask: Ask) -> Answer {
    let change: PasswordChange = ask.json().await?;
    let session = match &user.by {
        Credential::Session { session, .. } => Some(session),
        Credential::Token => None,
    };
    let opened = new_password(&ask, &user.caller, session, &change).await?;
    Ok(match opened {
        Some(session) => with_cookie(no_content(), &cookie_of(&ask, &session)),
        None => no_content(),
    })
}

/// Changes the password of whoever knows it; as often as one may try to log in.
pub(in crate::web) async fn new_password(
    ask: &Ask,
    caller: &Caller,
    session: Option<&Session>,
    change: &PasswordChange,
) -> Result<Option<NewSession>, Refusal> {
    ask.state.limits.attempt(ask.client.address, &caller.username)?;
    let from = ask.client.address.to_string();
    Ok(ask.state.accounts.change_password(caller, session, change, &from).await?)
}

fn no_session() -> Refusal {
    AppError::new(ErrorKind::Conflict, "no_session", "an API token has no session")
        .hint("DELETE /api/tokens/{id} revokes a token")
        .into()
}

fn unreadable(error: std::io::Error) -> AppError {
    let message = "the server cannot read its bootstrap token";
    let hint =
        "`restic-manager-server admin bootstrap-token` makes a new one; the server's log says what is wrong";
    AppError::fault("bootstrap_token_unreadable", message, hint, error)
}

fn opened(ask: &Ask, status: StatusCode, session: &NewSession) -> Response {
    with_cookie(json(status, &session.info), &cookie_of(ask, session))
}

/// The cookie of a session, as a browser is told to keep it.
pub(in crate::web) fn cookie_of(ask: &Ask, session: &NewSession) -> Secret {
    let now = ask.state.app.clock().now();
    let seconds = session.info.expires_at.millis_since(now) / 1000;
    cookie(ask, session.cookie.expose(), seconds)
}

/// What makes a browser forget the cookie of its session.
pub(in crate::web) fn no_cookie(ask: &Ask) -> Secret {
    cookie(ask, "", 0)
}

fn cookie(ask: &Ask, value: &str, seconds: i64) -> Secret {
    let secure = if ask.state.settings.secure_cookie(ask.client) { "; Secure" } else { "" };
    Secret::new(format!(
        "{SESSION_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    ))
}
