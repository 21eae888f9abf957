//! The server's JSON API over blocking HTTP.

use std::io::Read;
use std::time::Duration;

use restic_manager_core::api::{ErrorBody, Page, SessionInfo};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::LoginName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, SendBody};
use url::Url;

use crate::exit::Exit;
use crate::route::Route;

const CONNECT: Duration = Duration::from_secs(10);
const WHOLE_CALL: Duration = Duration::from_secs(60);
const LARGEST_ANSWER: u64 = 64 << 20;
const PAGE: u32 = restic_manager_core::api::MAX_LIMIT;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{server} cannot be reached: {reason}")]
    Unreachable { server: String, reason: String, hint: &'static str },
    #[error("{server} answers, but not as a restic-manager does ({what})")]
    Foreign { server: String, what: String },
    #[error("{server} sends every request on to {to}")]
    Redirected { server: String, to: String },
    #[error("{}", body.message)]
    Refused { status: u16, body: ErrorBody },
    #[error("the server's answer is not understood: {detail}")]
    NotUnderstood { detail: String },
}

impl ClientError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::Foreign { .. } | Self::Redirected { .. } => Exit::Unreachable,
            Self::Refused { status: 404, .. } => Exit::NotFound,
            Self::Refused { .. } | Self::NotUnderstood { .. } => Exit::Refused,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unreachable { hint, .. } => (*hint).to_owned(),
            Self::Foreign { .. } => {
                "check the address and the port; `curl <address>/api/version` should answer with JSON"
                    .to_owned()
            }
            Self::Redirected { to, .. } => format!("log in there: rmctl login --server {to}"),
            Self::Refused { body: ErrorBody { hint: Some(hint), .. }, .. } => hint.clone(),
            Self::Refused { status, .. } => hint_of_status(*status).to_owned(),
            Self::NotUnderstood { .. } => {
                "rmctl and the server are of different versions: compare `rmctl --version` with /api/version"
                    .to_owned()
            }
        }
    }

    /// Whether the server says that there is no such thing.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

const fn hint_of_status(status: u16) -> &'static str {
    match status {
        401 => "log in again: rmctl login --server URL",
        403 => "this login may not do that; ask an administrator",
        404 => "list what there is with the `ls` command",
        409 => "see what stands in the way, then try again",
        429 => "wait a minute, then try again",
        500..=599 => "look into the server's log",
        _ => "change the request; `--help` of this command shows what it takes",
    }
}

/// How a request proves who asks.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    Nobody,
    Token(Secret),
    Session { cookie: Secret, csrf_token: Secret },
}

/// The text of a good answer, as the server sent it.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    text: String,
}

impl Body {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.text).map_err(|e| ClientError::NotUnderstood { detail: e.to_string() })
    }
}

/// Speaks with one server as one user.
pub(crate) struct Client {
    server: Url,
    agent: Agent,
    login: Login,
}

impl Client {
    pub(crate) fn new(server: Url, login: Login) -> Self {
        let tls = TlsConfig::builder().root_certs(roots(&server)).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("rmctl/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Self { server, agent: config.into(), login }
    }

    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// The same server, as somebody else.
    pub(crate) fn with_login(&self, login: Login) -> Self {
        Self { server: self.server.clone(), agent: self.agent.clone(), login }
    }

    pub(crate) fn get(&self, route: &Route) -> Result<Body, ClientError> {
        self.call(Method::GET, route, None)
    }

    /// The thing at `route`, or nothing when the server says that there is none.
    pub(crate) fn find(&self, route: &Route) -> Result<Option<Body>, ClientError> {
        match self.get(route) {
            Ok(body) => Ok(Some(body)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn post(&self, route: &Route, content: &impl Serialize) -> Result<Body, ClientError> {
        self.call(Method::POST, route, Some(written(content)?))
    }

    pub(crate) fn put(&self, route: &Route, content: &impl Serialize) -> Result<Body, ClientError> {
        self.call(Method::PUT, route, Some(written(content)?))
    }

    pub(crate) fn patch(&self, route: &Route, content: &impl Serialize) -> Result<Body, ClientError> {
        self.call(Method::PATCH, route, Some(written(content)?))
    }

    pub(crate) fn delete(&self, route: &Route) -> Result<Body, ClientError> {
        self.call(Method::DELETE, route, None)
    }

    /// Asks the server to start something that needs no further words.
    pub(crate) fn start(&self, route: &Route) -> Result<Body, ClientError> {
        self.call(Method::POST, route, Some(Secret::default()))
    }

    /// Every item of a list as one page. The items stay as the server wrote them.
    pub(crate) fn all(&self, route: &Route) -> Result<Body, ClientError> {
        let mut items: Vec<Box<RawValue>> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let route = route.clone().with("limit", Some(PAGE.to_string())).with("cursor", cursor.clone());
            let page: Page<Box<RawValue>> = self.get(&route)?.read()?;
            items.extend(page.items);
            if page.next_cursor.is_none() {
                break;
            }
            if page.next_cursor == cursor {
                let detail = "a page names itself as the next one".to_owned();
                return Err(ClientError::NotUnderstood { detail });
            }
            cursor = page.next_cursor;
        }
        let page = Page { items, next_cursor: None };
        let text = serde_json::to_string(&page);
        text.map(Body::new).map_err(|e| ClientError::NotUnderstood { detail: e.to_string() })
    }

    /// A text of any length, such as a log.
    pub(crate) fn stream(&self, route: &Route) -> Result<impl Read + use<>, ClientError> {
        let request = self.request(Method::GET, route, None)?;
        let request = self.agent.configure_request(request).timeout_recv_response(Some(WHOLE_CALL)).build();
        let answer = self.agent.run(request).map_err(|e| self.unreachable(&e))?;
        if answer.status().is_success() {
            return Ok(answer.into_body().into_with_config().limit(u64::MAX).reader());
        }
        match self.judge(answer) {
            Err(e) => Err(e),
            Ok(_) => Err(ClientError::NotUnderstood { detail: "a log without a text".to_owned() }),
        }
    }

    /// Opens a session by a login or by the bootstrap: the same server with that session, and whose it is.
    pub(crate) fn open_session(
        &self,
        route: &Route,
        request: &impl Serialize,
    ) -> Result<(Self, LoginName), ClientError> {
        let answer = self.send(Method::POST, route, Some(written(request)?))?;
        let cookie = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(|pair| pair.starts_with("rm_session="))
            .map(Secret::new);
        let session: SessionInfo = self.judge(answer)?.read()?;
        let missing = || ClientError::NotUnderstood { detail: "no session cookie came along".to_owned() };
        let login = Login::Session { cookie: cookie.ok_or_else(missing)?, csrf_token: session.csrf_token };
        Ok((self.with_login(login), session.username))
    }

    fn call(&self, method: Method, route: &Route, content: Option<Secret>) -> Result<Body, ClientError> {
        let answer = self.send(method, route, content)?;
        self.judge(answer)
    }

    fn send(
        &self,
        method: Method,
        route: &Route,
        content: Option<Secret>,
    ) -> Result<Response<ureq::Body>, ClientError> {
        let request = self.request(method, route, content)?;
        let request = self.agent.configure_request(request).timeout_global(Some(WHOLE_CALL)).build();
        self.agent.run(request).map_err(|e| self.unreachable(&e))
    }

    fn request(
        &self,
        method: Method,
        route: &Route,
        content: Option<Secret>,
    ) -> Result<Request<SendBody<'static>>, ClientError> {
        let mut request = Request::builder().method(method).uri(route.on(&self.server).as_str());
        request = request.header("accept", "application/json, text/plain, application/x-ndjson");
        request = match &self.login {
            Login::Nobody => request.header("origin", self.server.origin().ascii_serialization()),
            Login::Token(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            Login::Session { cookie, csrf_token } => request
                .header("origin", self.server.origin().ascii_serialization())
                .header("cookie", cookie.expose())
                .header("x-csrf-token", csrf_token.expose()),
        };
        let body = match content {
            None => SendBody::none(),
            Some(text) => {
                request = request.header("content-type", "application/json");
                let bytes = text.expose().as_bytes().to_vec();
                request = request.header("content-length", bytes.len().to_string());
                SendBody::from_owned_reader(std::io::Cursor::new(bytes))
            }
        };
        request.body(body).map_err(|_| ClientError::Unreachable {
            server: self.server.to_string(),
            reason: "the login holds characters that no header takes".to_owned(),
            hint: "log in again: rmctl login --server URL",
        })
    }

    fn judge(&self, mut answer: Response<ureq::Body>) -> Result<Body, ClientError> {
        let status = answer.status();
        let kind = answer.body().mime_type().unwrap_or("no type").to_owned();
        if status.is_redirection() {
            let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            return Err(ClientError::Redirected { server: self.shown(), to: to.to_owned() });
        }
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).lossy_utf8(true).read_to_string();
        let text = text.map_err(|e| self.unreachable(&e))?;
        let foreign =
            || ClientError::Foreign { server: self.shown(), what: format!("HTTP {status}, {kind}") };
        if !status.is_success() {
            let body: ErrorBody = serde_json::from_str(&text).map_err(|_| foreign())?;
            return Err(ClientError::Refused { status: status.as_u16(), body });
        }
        if !text.is_empty() && !kind.ends_with("json") {
            return Err(foreign());
        }
        Ok(Body::new(text))
    }

    fn shown(&self) -> String {
        self.server.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn unreachable(&self, error: &ureq::Error) -> ClientError {
        let (reason, hint) = match error {
            ureq::Error::HostNotFound => {
                ("no machine has this name".to_owned(), "check the spelling of the address and the DNS")
            }
            ureq::Error::Timeout(_) => (
                "it does not answer in time".to_owned(),
                "check the address, the port and the firewalls between",
            ),
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                ("nothing listens there".to_owned(), "check the port, and that the server runs")
            }
            ureq::Error::Io(e) if e.to_string().contains("certificate") => (e.to_string(), CERTIFICATE),
            ureq::Error::Rustls(e) => (e.to_string(), CERTIFICATE),
            other => (other.to_string(), "check the address, the port and the firewalls between"),
        };
        ClientError::Unreachable { server: self.shown(), reason, hint }
    }
}

const CERTIFICATE: &str = "an authority of your own is trusted when the file in SSL_CERT_FILE holds its certificate; \
                           a plain server needs http:// in its address";

/// The body, in the type that is wiped: it may hold a password.
fn written(content: &impl Serialize) -> Result<Secret, ClientError> {
    let text = serde_json::to_string(content);
    text.map(Secret::new).map_err(|e| ClientError::NotUnderstood { detail: e.to_string() })
}

fn roots(server: &Url) -> RootCerts {
    if server.scheme() != "https" {
        return RootCerts::WebPki;
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<Certificate<'static>> =
        found.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}
