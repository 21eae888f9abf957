//! The doors: which `Host` a request may name, who asks, and whether a browser was tricked into asking.

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use restic_manager_core::model::Host;
use restic_manager_core::secret::Secret;

use super::answer::Refusal;
use super::ask::Ask;
use super::table::Route;
use super::{Incoming, Settings};
use crate::app::{AppError, Caller, ErrorKind, Session, TOKEN_PREFIX};

/// The name of the session's cookie.
pub(super) const SESSION_COOKIE: &str = "rm_session";
/// The header that carries a session's CSRF token.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";

/// The field of a form that carries it where no header can.
pub(super) const CSRF_FIELD: &str = "csrf_token";

/// Somebody logged in.
pub(super) struct User {
    /// Who.
    pub(super) caller: Caller,
    /// How they showed it.
    pub(super) by: Credential,
}

/// How somebody showed who they are.
pub(super) enum Credential {
    /// By the cookie of a session.
    Session {
        /// The session.
        session: Session,
        /// The cookie's value.
        cookie: Secret,
    },
    /// By an API token.
    Token,
}

/// What a browser says of the page that made it ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    /// A page of this server.
    Own,
    /// Another page.
    Foreign,
    /// Nothing: no browser, or an old one.
    Unsaid,
}

/// The host the request was sent to, with its port, if it is one of ours.
pub(super) fn known_host(settings: &Settings, incoming: &Incoming) -> Result<String, Refusal> {
    let one_host = incoming.headers.get_all(HOST).iter().count() <= 1;
    let authority =
        incoming.authority.as_ref().filter(|authority| one_host && !authority.as_str().contains('@'));
    match authority {
        Some(authority) if settings.knows_host(authority.host()) => Ok(authority.to_string()),
        named => {
            let message = match named {
                Some(named) => {
                    let shown: String = named.as_str().chars().take(255).collect();
                    format!("this server is not known as `{shown}`")
                }
                None => "the request names no host that can be understood".to_owned(),
            };
            let error = AppError::new(ErrorKind::Malformed, "unknown_host", message)
                .hint("set `public_url` (RM_PUBLIC_URL) to the address the server is reached under");
            Err(Refusal::from(error).with_status(StatusCode::MISDIRECTED_REQUEST))
        }
    }
}

/// Refuses what a foreign page makes a browser send to a door that is open to all, such as the login.
pub(super) fn refuse_cross_site(ask: &Ask, route: &Route) -> Result<(), Refusal> {
    if !route.writes() {
        return Ok(());
    }
    refuse_foreign(ask)
}

/// Refuses what a browser says was made by a foreign page. Browsers do not ask before they open a WebSocket anywhere.
pub(super) fn refuse_foreign(ask: &Ask) -> Result<(), Refusal> {
    match site(ask) {
        Site::Own | Site::Unsaid => Ok(()),
        Site::Foreign => Err(cross_site("the request comes from a page of another site")),
    }
}

/// The host whose agent asks.
pub(super) async fn agent(ask: &Ask) -> Result<Host, Refusal> {
    let token = bearer(&ask.headers)?.ok_or_else(|| {
        AppError::new(ErrorKind::Unauthenticated, "not_enrolled", "the agent's token is missing")
            .hint("enrol the agent: `restic-manager-agent enrol --server URL --token TOKEN`")
    })?;
    let known = ask.state.app.agent(&token).await;
    Ok(known.inspect_err(|error| {
        tracing::warn!(from = %ask.client.address, code = error.code(), "an agent was refused: {error}");
    })?)
}

/// Who asks: by API token, or by the cookie of a session. A token given means that cookies are ignored.
pub(super) async fn user(ask: &mut Ask, route: &Route) -> Result<User, Refusal> {
    let accounts = &ask.state.accounts;
    if let Some(token) = bearer(&ask.headers)? {
        if !token.expose().starts_with(TOKEN_PREFIX) {
            let message = "the token is not an API token";
            return Err(AppError::new(ErrorKind::Unauthenticated, "unknown_token", message)
                .hint(format!("API tokens start with `{TOKEN_PREFIX}`; `rmctl login` makes one"))
                .into());
        }
        return Ok(User { caller: accounts.token(&token).await?.caller, by: Credential::Token });
    }
    let Some(cookie) = session_cookie(&ask.headers) else {
        return Err(AppError::new(ErrorKind::Unauthenticated, "not_logged_in", "nobody is logged in")
            .hint(format!("log in, or send an API token: `Authorization: Bearer {TOKEN_PREFIX}...`"))
            .into());
    };
    let session = accounts.session(&cookie).await?.ok_or_else(|| {
        AppError::new(ErrorKind::Unauthenticated, "session_over", "the session is over").hint("log in again")
    })?;
    if route.writes() {
        check_write(ask, &session).await?;
    }
    Ok(User { caller: session.caller.clone(), by: Credential::Session { session, cookie } })
}

/// Whoever has a session, by its cookie: what a page goes by.
pub(super) async fn session(ask: &Ask) -> Result<Option<(Session, Secret)>, Refusal> {
    let Some(cookie) = session_cookie(&ask.headers) else { return Ok(None) };
    let session = ask.state.accounts.session(&cookie).await?;
    Ok(session.map(|session| (session, cookie)))
}

/// A form must come from a page of ours, and carry the session's token as a field.
pub(super) fn check_form(ask: &Ask, session: &Session, given: &Secret) -> Result<(), Refusal> {
    if site(ask) != Site::Own {
        return Err(cross_site("the form does not come from a page of this server"));
    }
    if session.csrf_matches(given) {
        return Ok(());
    }
    let message = "the form is older than the session it was sent with";
    Err(AppError::new(ErrorKind::Forbidden, "csrf_token_wrong", message)
        .hint("go back, load the page anew, and send the form again")
        .into())
}

/// A write with a cookie must come from a page of ours, which knows the session's token.
async fn check_write(ask: &mut Ask, session: &Session) -> Result<(), Refusal> {
    match site(ask) {
        Site::Own => {}
        Site::Foreign => return Err(cross_site("the request comes from a page of another site")),
        Site::Unsaid => {
            return Err(cross_site("a write with a cookie must say which page it comes from (`Origin`)"));
        }
    }
    let given = match ask.headers.get(CSRF_HEADER) {
        Some(value) => value.to_str().ok().map(Secret::new),
        None => ask.field(CSRF_FIELD).await?.map(Secret::from),
    };
    if given.is_some_and(|given| session.csrf_matches(&given)) {
        return Ok(());
    }
    let message = format!(
        "the header `{CSRF_HEADER}` (a form's field `{CSRF_FIELD}`) is missing or is not that of the session"
    );
    Err(AppError::new(ErrorKind::Forbidden, "csrf_token_wrong", message)
        .hint("GET /api/auth/session tells it; programs use API tokens and need none")
        .into())
}

fn cross_site(message: &str) -> Refusal {
    AppError::new(ErrorKind::Forbidden, "cross_site", message)
        .hint("open the dashboard at its own address; programs use API tokens instead of cookies")
        .into()
}

fn site(ask: &Ask) -> Site {
    // No script can forge it, and it holds behind proxies that rewrite `Host`.
    if let Some(value) = ask.headers.get("sec-fetch-site") {
        return if value.as_bytes() == b"same-origin" { Site::Own } else { Site::Foreign };
    }
    let Some(origin) = ask.headers.get(ORIGIN) else { return Site::Unsaid };
    let own = origin
        .to_str()
        .is_ok_and(|origin| ask.state.settings.is_own_origin(origin, &ask.host, ask.client.https));
    if own { Site::Own } else { Site::Foreign }
}

fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
    });
    match token {
        Some(token) => Ok(Some(token)),
        None => Err(AppError::new(
            ErrorKind::Unauthenticated,
            "bearer_expected",
            "the Authorization header is no bearer token",
        )
        .hint(format!("write it as `Authorization: Bearer {TOKEN_PREFIX}...`"))
        .into()),
    }
}

fn session_cookie(headers: &HeaderMap) -> Option<Secret> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == SESSION_COOKIE && !value.is_empty())
        .map(|(_, value)| Secret::new(value))
}
