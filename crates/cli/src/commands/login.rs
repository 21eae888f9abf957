//! Logging in and out.

use std::path::PathBuf;

use clap::Args;
use restic_manager_core::api::{LoginRequest, TokenRequest, TokenResponse};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{DisplayName, LoginName};
use url::Url;

use crate::client::{Client, Login as As};
use crate::connection::{ConnectionError, Environment, PlainHttp, Wanted, address, is_for};
use crate::context::{Context, ContextFile, Contexts, readable_by_others};
use crate::error::CliError;
use crate::input::{SecretSource, Secrets, ask_line};
use crate::route::Route;
use crate::ui::{note, warn};

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The name to log in with
    #[arg(long, value_name = "NAME")]
    username: Option<LoginName>,
    /// Read the password from this file, or from standard input (`-`)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Store the API token in this file (or `-`) instead of making one by name and password
    #[arg(long, value_name = "FILE", conflicts_with_all = ["username", "password_file", "expires_in_days"])]
    token_file: Option<PathBuf>,
    /// Days until the token expires
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    expires_in_days: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {}

impl Login {
    pub(crate) fn run(&self, wanted: &Wanted, environment: &Environment) -> Result<(), CliError> {
        let server = server(wanted, environment)?;
        let mut secrets = Secrets::default();
        if let Some(path) = &self.token_file {
            let source = SecretSource::of(Some(path));
            let token = secrets.read("the API token", "--token-file", &source)?;
            let client = Client::new(server, As::Token(token.clone()));
            client.get(&Route::new(["status"]))?;
            return store(
                wanted,
                environment,
                client.server(),
                Made { token, token_id: None, username: None },
            );
        }
        let username = match &self.username {
            Some(name) => name.clone(),
            None => typed_name()?,
        };
        let source = SecretSource::of(self.password_file.as_deref());
        let password = secrets.read("Password", "--password-file", &source)?;
        let request = LoginRequest { username, password };
        let (client, username) =
            Client::new(server, As::Nobody).open_session(&Route::new(["auth", "login"]), &request)?;
        keep_token(wanted, environment, &client, &username, self.expires_in_days)
    }
}

fn typed_name() -> Result<LoginName, CliError> {
    let name = ask_line("User name", "--username")?;
    LoginName::new(name)
        .map_err(|e| CliError::usage(e.to_string(), "letters, digits, `-`, `_` and `.` make a name"))
}

/// The server that the flags or the environment name, or that of the context in use.
pub(crate) fn server(wanted: &Wanted, environment: &Environment) -> Result<Url, CliError> {
    let contexts = ContextFile::locate(environment.config_dir.clone())?.read()?;
    let known =
        wanted.context.as_ref().or(contexts.current.as_ref()).and_then(|name| contexts.contexts.get(name));
    let named = wanted.server.as_ref().or(environment.server.as_ref());
    let text = named.or(known.map(|context| &context.server)).ok_or(ConnectionError::NoServer)?;
    let plain =
        wanted.allow_plain_http || known.is_some_and(|known| known.server == *text && known.allow_plain_http);
    Ok(address(text, PlainHttp::allowed(plain))?)
}

/// Makes a token of its own in a session, closes the session and stores the token.
pub(crate) fn keep_token(
    wanted: &Wanted,
    environment: &Environment,
    session: &Client,
    username: &LoginName,
    expires_in_days: Option<u32>,
) -> Result<(), CliError> {
    let request = TokenRequest { name: token_name()?, expires_in_days };
    let made = session.post(&Route::new(["tokens"]), &request).and_then(|body| body.read::<TokenResponse>());
    if let Err(e) = session.start(&Route::new(["auth", "logout"])) {
        warn(&format!("the session for the login stays open until it expires: {e}"));
    }
    let made = made?;
    let made = Made {
        token: made.token,
        token_id: Some(made.info.id.to_string()),
        username: Some(username.to_string()),
    };
    store(wanted, environment, session.server(), made)
}

/// A token with what is known of it.
struct Made {
    token: Secret,
    token_id: Option<String>,
    username: Option<String>,
}

/// Unique among the user's tokens: a name is refused while another token has it.
fn token_name() -> Result<DisplayName, CliError> {
    let now = jiff::Timestamp::now();
    let machine = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let machine: String =
        machine.unwrap_or_default().trim().chars().filter(|c| !c.is_control()).take(60).collect();
    let machine = if machine.is_empty() { "a terminal" } else { &machine };
    let name = DisplayName::new(format!("rmctl on {machine}, {now:.3}"));
    name.map_err(|e| CliError::usage(e.to_string(), "set HOSTNAME to a plain name"))
}

fn store(wanted: &Wanted, environment: &Environment, server: &Url, made: Made) -> Result<(), CliError> {
    let file = ContextFile::locate(environment.config_dir.clone())?;
    if readable_by_others(file.path()) {
        warn(&format!("{} could be read by others until now", file.path().display()));
    }
    let mut contexts = file.read()?;
    let name = wanted.context.clone().unwrap_or_else(|| default_name(server));
    let said_as = made.username.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    let context = Context {
        server: server.to_string(),
        username: made.username,
        token_id: made.token_id,
        allow_plain_http: wanted.allow_plain_http,
        token: made.token,
    };
    let token = context.token.clone();
    let token_id = context.token_id.clone();
    let former = contexts.contexts.insert(name.clone(), context);
    contexts.current = Some(name.clone());
    let client = Client::new(server.clone(), As::Token(token.clone()));
    if let Err(error) = file.write(&contexts) {
        if let Some(id) = token_id {
            // Nobody could use it or find out what it is: it goes again.
            let _ = client.delete(&Route::new(["tokens", &id]));
        }
        return Err(error.into());
    }
    if let Some(former) = former.filter(|former| former.server == server.as_str())
        && let Some(id) = former.token_id
        && former.token != token
    {
        // It may have expired, or belong to somebody else: what counts is that the new one works.
        let _ = client.delete(&Route::new(["tokens", &id]));
    }
    note(&format!("logged in to {server}{said_as}; the login is called `{name}`"));
    Ok(())
}

/// The machine and, where it is not the usual one, the port.
fn default_name(server: &Url) -> String {
    let host = server.host_str().unwrap_or("server");
    server.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Logout {
    pub(crate) fn run(&self, wanted: &Wanted, environment: &Environment) -> Result<(), CliError> {
        let file = ContextFile::locate(environment.config_dir.clone())?;
        let mut contexts = file.read()?;
        let name = login_to_end(&contexts, wanted, environment)?;
        let context = contexts.remove(&name).map_err(ConnectionError::NoContext)?;
        let revoked = revoke(&context);
        file.write(&contexts)?;
        match revoked {
            Ok(()) => note(&format!("logged out of {}; the token is revoked", context.server)),
            Err(why) => warn(&format!("`{name}` is forgotten here, but its token stays valid: {why}")),
        }
        Ok(())
    }
}

/// The login that `--context` names, else the one for the server that is named, else the one in use.
fn login_to_end(contexts: &Contexts, wanted: &Wanted, environment: &Environment) -> Result<String, CliError> {
    if let Some(name) = &wanted.context {
        let context = contexts.get(name).map_err(ConnectionError::NoContext)?;
        return match &wanted.server {
            Some(server) if !is_for(context, &address(server, PlainHttp::Anywhere)?) => {
                Err(no_login(&format!("`{name}` is no login for {server}")))
            }
            Some(_) | None => Ok(name.clone()),
        };
    }
    match wanted.server.as_ref().or(environment.server.as_ref()) {
        Some(server) => login_for(contexts, server),
        None => contexts.current.clone().ok_or_else(|| {
            CliError::usage("no login is in use", "name one with --context; rmctl context ls lists them")
        }),
    }
}

/// The login for a server: the one in use before others.
fn login_for(contexts: &Contexts, server: &str) -> Result<String, CliError> {
    let url = address(server, PlainHttp::Anywhere)?;
    let logins = contexts.contexts.iter().filter(|(_, context)| is_for(context, &url));
    let found: Vec<&str> = logins.map(|(name, _)| name.as_str()).collect();
    let in_use = contexts.current.as_deref().filter(|name| found.contains(name));
    match (in_use, found.as_slice()) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [name]) => Ok((*name).to_owned()),
        (None, []) => Err(no_login(&format!("there is no login for {server}"))),
        (None, several) => Err(CliError::usage(
            format!("there are {} logins for {server}", several.len()),
            format!("name one with --context: {}", several.join(", ")),
        )),
    }
}

fn no_login(what: &str) -> CliError {
    CliError::usage(
        format!("{what}: nothing is logged out"),
        "rmctl context ls lists the logins with their servers; name one with --context or --server",
    )
}

fn revoke(context: &Context) -> Result<(), String> {
    let Some(id) = &context.token_id else {
        return Err("its id is not known; rmctl token ls and rmctl token revoke end it".to_owned());
    };
    let server =
        address(&context.server, PlainHttp::allowed(context.allow_plain_http)).map_err(|e| e.to_string())?;
    let client = Client::new(server, As::Token(context.token.clone()));
    client.delete(&Route::new(["tokens", id])).map(|_| ()).map_err(|e| e.to_string())
}
