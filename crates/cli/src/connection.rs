//! Which server, and as whom: flags before environment before contexts.

use std::path::PathBuf;

use restic_manager_core::secret::Secret;
use url::{Host, Url};

use crate::context::{Context, ContextError, ContextFile, Contexts};
use crate::error::CliError;
use crate::exit::Exit;
use crate::input;

/// Why no server can be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("it is not known which server to ask")]
    NoServer,
    #[error("{server} is not known here: there is no login for it")]
    NoLogin { server: String },
    #[error(transparent)]
    NoContext(ContextError),
    #[error("`{text}` is no address of a server: {problem}")]
    Address { text: String, problem: String },
    #[error("a password in the address can be read by every user of this machine")]
    PasswordInAddress,
    #[error("the token in {place} {belongs}; rmctl needs an API token")]
    OtherToken { place: &'static str, belongs: &'static str },
    #[error("plain http to {host} would show the token to everybody on the way")]
    PlainHttp { host: String },
}

impl ConnectionError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::NoServer
            | Self::NoLogin { .. }
            | Self::NoContext(_)
            | Self::Address { .. }
            | Self::PasswordInAddress
            | Self::OtherToken { .. }
            | Self::PlainHttp { .. } => Exit::Usage,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoServer => {
                "log in first: rmctl login --server URL; or name one with --server, --context or RM_SERVER"
                    .to_owned()
            }
            Self::NoLogin { server } => {
                format!("log in: rmctl login --server {server}; or give a token in RM_TOKEN or RM_TOKEN_FILE")
            }
            Self::NoContext(e) => e.hint(),
            Self::Address { .. } => {
                "write it like https://backup.example.net or http://127.0.0.1:8080".to_owned()
            }
            Self::PasswordInAddress => "leave it out; rmctl login asks for the password".to_owned(),
            Self::OtherToken { .. } => {
                "API tokens begin with rmt_: rmctl token create makes one; what enrols an agent goes to it in \
                 RM_ENROLLMENT_TOKEN"
                    .to_owned()
            }
            Self::PlainHttp { .. } => {
                "use https://, or say --allow-plain-http where the network itself is trusted".to_owned()
            }
        }
    }
}

/// Whether plain HTTP may leave this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    Loopback,
    Anywhere,
}

impl PlainHttp {
    pub(crate) const fn allowed(flag: bool) -> Self {
        if flag { Self::Anywhere } else { Self::Loopback }
    }
}

/// What the environment says, read once at the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `RM_SERVER`.
    pub(crate) server: Option<String>,
    /// `RM_TOKEN`.
    pub(crate) token: Option<Secret>,
    /// `RM_TOKEN_FILE`.
    pub(crate) token_file: Option<PathBuf>,
    /// `RMCTL_CONFIG_DIR`.
    pub(crate) config_dir: Option<PathBuf>,
}

impl Environment {
    pub(crate) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let path = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        Self {
            server: text("RM_SERVER"),
            token: text("RM_TOKEN").map(Secret::new),
            token_file: path("RM_TOKEN_FILE"),
            config_dir: path("RMCTL_CONFIG_DIR"),
        }
    }
}

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// `--server`.
    pub(crate) server: Option<String>,
    /// `--context`.
    pub(crate) context: Option<String>,
    /// `--allow-plain-http`.
    pub(crate) allow_plain_http: bool,
}

/// A server and the token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) server: Url,
    pub(crate) token: Secret,
}

impl Connection {
    /// Decides by flags, then environment, then contexts.
    ///
    /// A named context brings its own login and silences the environment. The token of a context is never sent to any
    /// other server than its own.
    pub(crate) fn decide(wanted: &Wanted, environment: &Environment) -> Result<Self, CliError> {
        let contexts = ContextFile::locate(environment.config_dir.clone())?.read()?;
        if let Some(name) = &wanted.context {
            let context = contexts.get(name).map_err(ConnectionError::NoContext)?;
            let server = wanted.server.as_deref().unwrap_or(&context.server);
            return Self::with_context(server, context, wanted);
        }
        let current = contexts.current.as_deref().and_then(|name| contexts.contexts.get(name));
        let server = wanted.server.as_deref().or(environment.server.as_deref());
        let server =
            server.or(current.map(|context| context.server.as_str())).ok_or(ConnectionError::NoServer)?;
        if let Some(token) = from_environment(environment)? {
            let allowed = PlainHttp::allowed(wanted.allow_plain_http || plain_allowed(&contexts, server));
            return Ok(Self { server: address(server, allowed)?, token });
        }
        let url = address(server, PlainHttp::Anywhere)?;
        let same = |context: &&Context| is_for(context, &url);
        let context = current.filter(same).or_else(|| contexts.contexts.values().find(same));
        let context = context.ok_or_else(|| ConnectionError::NoLogin { server: server.to_owned() })?;
        Self::with_context(server, context, wanted)
    }

    fn with_context(server: &str, context: &Context, wanted: &Wanted) -> Result<Self, CliError> {
        let url = address(server, PlainHttp::allowed(wanted.allow_plain_http || context.allow_plain_http))?;
        if !is_for(context, &url) {
            return Err(ConnectionError::NoLogin { server: server.to_owned() }.into());
        }
        Ok(Self { server: url, token: context.token.clone() })
    }
}

fn from_environment(environment: &Environment) -> Result<Option<Secret>, CliError> {
    let (token, place) = match (&environment.token, &environment.token_file) {
        (Some(token), _) => (token.clone(), "RM_TOKEN"),
        (None, Some(path)) => (input::secret_file("the token", path)?, "the file of RM_TOKEN_FILE"),
        (None, None) => return Ok(None),
    };
    // Each kind of token has a prefix of its own, so the mistake is seen before anything is sent.
    let others = [("rme_", "enrols an agent"), ("rma_", "belongs to an agent")];
    match others.into_iter().find(|(prefix, _)| token.expose().starts_with(prefix)) {
        Some((_, belongs)) => Err(ConnectionError::OtherToken { place, belongs }.into()),
        None => Ok(Some(token)),
    }
}

/// Whether a login is one for this server, however its address was written.
pub(crate) fn is_for(context: &Context, server: &Url) -> bool {
    address(&context.server, PlainHttp::Anywhere).is_ok_and(|known| known == *server)
}

fn plain_allowed(contexts: &Contexts, server: &str) -> bool {
    contexts.contexts.values().any(|context| context.server == server && context.allow_plain_http)
}

/// The address of a server: `http` or `https`, plain only where it may be.
pub(crate) fn address(text: &str, plain: PlainHttp) -> Result<Url, ConnectionError> {
    let wrong =
        |problem: &str| ConnectionError::Address { text: text.to_owned(), problem: problem.to_owned() };
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => return Err(wrong("it does not begin with https://")),
        // The text may hold a password at a place where it cannot be told apart.
        Err(_) if text.contains('@') => return Err(ConnectionError::PasswordInAddress),
        Err(e) => return Err(wrong(&e.to_string())),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConnectionError::PasswordInAddress);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it does not begin with https://"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let host = url.host().map(|host| host.to_owned()).ok_or_else(|| wrong("it names no machine"))?;
    if url.scheme() == "http" && plain == PlainHttp::Loopback && !is_loopback(&host) {
        return Err(ConnectionError::PlainHttp { host: host.to_string() });
    }
    Ok(url)
}

fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stored(folder: &std::path::Path) -> Environment {
        let context = |server: &str, token: &str, allow_plain_http| Context {
            server: server.into(),
            username: None,
            token_id: None,
            allow_plain_http,
            token: Secret::new(token),
        };
        let contexts = Contexts {
            current: Some("home".into()),
            contexts: BTreeMap::from([
                ("home".into(), context("https://home.example", "rmt_home", false)),
                ("lan".into(), context("http://lan.example:8080", "rmt_lan", true)),
            ]),
        };
        ContextFile::locate(Some(folder.to_owned())).unwrap().write(&contexts).unwrap();
        Environment { config_dir: Some(folder.to_owned()), ..Environment::default() }
    }

    fn decided(wanted: &Wanted, environment: &Environment) -> (String, String) {
        let connection = Connection::decide(wanted, environment).unwrap();
        (connection.server.to_string(), connection.token.expose().to_owned())
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_context() {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = stored(folder.path());
        let none = Wanted::default();
        assert_eq!(decided(&none, &environment), ("https://home.example/".into(), "rmt_home".into()));
        environment.server = Some("https://env.example".into());
        environment.token = Some(Secret::new("rmt_env"));
        assert_eq!(decided(&none, &environment), ("https://env.example/".into(), "rmt_env".into()));
        let server = Wanted { server: Some("https://flag.example".into()), ..none.clone() };
        assert_eq!(decided(&server, &environment), ("https://flag.example/".into(), "rmt_env".into()));
        let context = Wanted { context: Some("lan".into()), ..none };
        assert_eq!(decided(&context, &environment), ("http://lan.example:8080/".into(), "rmt_lan".into()));
    }

    #[test]
    fn a_token_of_another_kind_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        for token in ["rme_hunter2", "rma_hunter2"] {
            let environment = Environment { token: Some(Secret::new(token)), ..stored(folder.path()) };
            let error = Connection::decide(&Wanted::default(), &environment).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage);
            let said = format!("{error} {error:?} {}", error.hint());
            assert!(said.contains("RM_ENROLLMENT_TOKEN") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn the_token_of_a_context_goes_to_its_own_server_only() {
        let folder = tempfile::tempdir().unwrap();
        let environment = stored(folder.path());
        let other = Wanted { server: Some("https://evil.example".into()), ..Wanted::default() };
        let error = Connection::decide(&other, &environment).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        let named = Wanted { context: Some("home".into()), ..other };
        assert_eq!(Connection::decide(&named, &environment).unwrap_err().exit(), Exit::Usage);
        let known = Wanted { server: Some("http://lan.example:8080/".into()), ..Wanted::default() };
        assert_eq!(decided(&known, &environment).1, "rmt_lan");
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_it_is_allowed() {
        for near in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://far.example"] {
            assert!(address(near, PlainHttp::Loopback).is_ok(), "{near}");
        }
        for far in ["http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example"] {
            assert!(
                matches!(address(far, PlainHttp::Loopback), Err(ConnectionError::PlainHttp { .. })),
                "{far}"
            );
            assert!(address(far, PlainHttp::Anywhere).is_ok(), "{far}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_in_it_is_not_repeated() {
        for text in ["backup.example", "ftp://x", "file:///x", "http://", ""] {
            assert!(
                matches!(address(text, PlainHttp::Loopback), Err(ConnectionError::Address { .. })),
                "{text}"
            );
        }
        for text in ["https://ada:hunter2@x.example", "https://ada:hunter2@[x"] {
            let error = address(text, PlainHttp::Loopback).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("hunter2"), "{error:?}");
        }
        assert_eq!(address("https://x/a?b#c", PlainHttp::Loopback).unwrap().as_str(), "https://x/a/");
    }
}
