//! How a host opens its repositories.

mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use restic_manager_core::api::{AttachmentView, CredentialWrite, HostView, PrimaryCredentialWrite, RepoView};
use restic_manager_core::model::CredentialKind;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::DisplayName;
use url::Url;

use super::{Session, attachment};
use crate::error::CliError;
use crate::input::{Deed, SecretSource, Secrets, ask_line};
use crate::route::Route;
use crate::ui::note;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set a credential
    ///
    /// `--kind repo` is the everyday one of a host's primary repository, which is made when there is none; for another
    /// repository it is `rmctl host attach`. `--kind admin` may delete, and only the host that does the repository's
    /// maintenance receives it.
    Set {
        #[command(flatten)]
        target: Target,
        /// Everyday or admin
        #[arg(long, value_enum, default_value_t = Kind::Repo)]
        kind: Kind,
        /// The name of the repository if it is made; the host's name when not given
        #[arg(long, value_name = "NAME", conflicts_with = "repo")]
        repo_name: Option<DisplayName>,
        #[command(flatten)]
        credential: Credential,
    },
    /// Show the credentials of a host, or the admin credential of a repository; secrets are never shown
    Show {
        #[command(flatten)]
        target: Target,
        /// Only this one
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
    /// Delete the admin credential: prune is held until there is another
    Delete {
        #[command(flatten)]
        target: Target,
        /// Which one: `admin`
        #[arg(long, value_enum)]
        kind: Kind,
        /// Delete without asking
        #[arg(long)]
        yes: bool,
    },
}

/// Which of the two credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The everyday one, ideally append-only
    Repo,
    /// The one that may delete; often with another address
    Admin,
}

/// Whose credential: a host stands for its primary repository.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// The host; its primary repository is meant
    host: Option<String>,
    /// The repository, for its admin credential
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
}

impl Target {
    /// Where the admin credential is.
    fn admin(&self, session: &Session) -> Result<Route, CliError> {
        Ok(self.route(session)?.below("admin-credentials"))
    }

    fn route(&self, session: &Session) -> Result<Route, CliError> {
        match (&self.host, &self.repo) {
            (_, Some(repo)) => Ok(Route::new(["repos", &session.client.repo_id(repo)?])),
            (host, None) => {
                let host = host.as_deref().unwrap_or_default();
                Ok(Route::new(["hosts", &session.client.host_id(host)?]))
            }
        }
    }

    /// The host, where only a host makes sense.
    fn host(&self) -> Result<&str, CliError> {
        self.host.as_deref().ok_or_else(|| {
            CliError::usage(
                "the everyday credential of a repository is different on each host",
                "name the host in place of --repo, or set the one for this repository: rmctl host attach HOST REPO",
            )
        })
    }

    /// What it is called, with its name alone.
    fn named(&self, session: &Session) -> Result<(String, String), CliError> {
        let body = session.client.get(&self.route(session)?)?;
        if self.repo.is_some() {
            let name = body.read::<RepoView>()?.repo.name.to_string();
            return Ok((format!("the repository `{name}`"), name));
        }
        let name = body.read::<HostView>()?.host.name.to_string();
        Ok((format!("the primary repository of `{name}`"), name))
    }
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Set { target, kind: Kind::Repo, repo_name, credential } => {
                set_everyday(session, target, repo_name.as_ref(), credential)
            }
            Self::Set { repo_name: Some(_), kind: Kind::Admin, .. } => Err(CliError::usage(
                "--repo-name belongs to the everyday credential, which makes the repository",
                "leave it out, or set that credential first: rmctl creds set HOST",
            )),
            Self::Set { target, kind: Kind::Admin, repo_name: None, credential } => {
                let route = target.admin(session)?;
                session.ui.show(&session.client.put(&route, &credential.read()?)?, view::admin)?;
                note("nobody has tried it yet: the next prune does, or at once `rmctl repo prune REPO`");
                Ok(())
            }
            Self::Show { target, kind } => show(session, target, *kind),
            Self::Delete { target, kind: Kind::Admin, yes } => delete(session, target, *yes),
            Self::Delete { kind: Kind::Repo, .. } => Err(CliError::usage(
                "the everyday credential goes with the host's attachment to the repository",
                "end that: rmctl host detach HOST REPO",
            )),
        }
    }
}

fn set_everyday(
    session: &Session,
    target: &Target,
    repo_name: Option<&DisplayName>,
    credential: &Credential,
) -> Result<(), CliError> {
    let route = Route::new(["hosts", &session.client.host_id(target.host()?)?, "repo-credentials"]);
    let request = PrimaryCredentialWrite { repo_name: repo_name.cloned(), credential: credential.read()? };
    session.ui.show::<AttachmentView>(&session.client.put(&route, &request)?, attachment::card)
}

fn show(session: &Session, target: &Target, kind: Option<Kind>) -> Result<(), CliError> {
    let shown = match (kind, &target.repo) {
        (Some(Kind::Admin), _) | (None, Some(_)) => {
            return session.ui.show(&session.client.get(&target.admin(session)?)?, view::admin);
        }
        (Some(Kind::Repo), _) => Some(CredentialKind::Repo),
        (None, None) => None,
    };
    let route = Route::new(["hosts", &session.client.host_id(target.host()?)?, "attachments"]);
    session.ui.show(&session.client.all(&route)?, |page, look| view::table(page, shown, look))
}

fn delete(session: &Session, target: &Target, yes: bool) -> Result<(), CliError> {
    let (whose, name) = target.named(session)?;
    if !yes {
        let deed = Deed {
            does: format!("deletes the admin credential of {whose}"),
            undone: format!("the admin credential of {whose} is not deleted"),
            option: "--yes",
        };
        deed.confirm(&name)?;
    }
    let body = session.client.delete(&target.admin(session)?)?;
    session.ui.done(&body, &format!("{whose} has no admin credential; prune is held until there is another"))
}

/// A credential on the command line: where its secrets are, never the secrets.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Credential")]
pub(crate) struct Credential {
    /// The repository's address as restic takes it, without a password in it; asked for when not given
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Read the repository's password from this file, or from standard input (`-`); asked for when not given
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The user of a REST server
    #[arg(long, value_name = "NAME")]
    rest_user: Option<String>,
    /// Read the password of the REST server from this file, or from standard input (`-`)
    #[arg(long, value_name = "FILE")]
    rest_password_file: Option<PathBuf>,
    /// An environment variable of the storage and where its value is: NAME=file:PATH, NAME=file:- or NAME (asked for)
    #[arg(long = "env", value_name = "NAME[=file:PATH]")]
    variables: Vec<String>,
}

impl Credential {
    /// Whether any part of it was given.
    pub(crate) fn is_given(&self) -> bool {
        self.url.is_some()
            || self.password_file.is_some()
            || self.rest_user.is_some()
            || self.rest_password_file.is_some()
            || !self.variables.is_empty()
    }

    /// Reads the secrets from where they are.
    pub(crate) fn read(&self) -> Result<CredentialWrite, CliError> {
        // Whatever is wrong on the command line is said before anything is asked.
        let variables = self.variables.iter().map(|text| variable(text)).collect::<Result<Vec<_>, _>>()?;
        let url = match &self.url {
            Some(url) => without_password(url)?,
            None => ask_line("Repository address", "--url")?,
        };
        let mut secrets = Secrets::default();
        let source = SecretSource::of(self.password_file.as_deref());
        let password = secrets.read("Repository password", "--password-file", &source)?;
        let rest_password = match (&self.rest_user, &self.rest_password_file) {
            (_, Some(path)) => {
                let source = SecretSource::of(Some(path));
                Some(secrets.read("REST server password", "--rest-password-file", &source)?)
            }
            (Some(_), None) => {
                Some(secrets.read("REST server password", "--rest-password-file", &SecretSource::Prompt)?)
            }
            (None, None) => None,
        };
        let mut env: BTreeMap<String, Secret> = BTreeMap::new();
        for (name, source) in variables {
            let value = secrets.read(&name, &format!("--env {name}=file:PATH"), &source)?;
            env.insert(name, value);
        }
        Ok(CredentialWrite { url, password, rest_user: self.rest_user.clone(), rest_password, env })
    }
}

/// The name of a variable and the place of its value. What may be a value is never repeated in an error.
fn variable(text: &str) -> Result<(String, SecretSource), CliError> {
    let (name, place) = text.split_once('=').map_or((text, None), |(name, place)| (name, Some(place)));
    let hint = "write --env NAME=file:PATH, --env NAME=file:- for standard input, or --env NAME to be asked";
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(CliError::usage("--env begins with the name of an environment variable", hint));
    }
    let Some(place) = place else { return Ok((name.to_owned(), SecretSource::Prompt)) };
    match place.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok((name.to_owned(), SecretSource::of(Some(Path::new(path))))),
        Some(_) | None => Err(CliError::usage(
            format!("the value of {name} cannot stand on the command line: all users could read it"),
            hint,
        )),
    }
}

fn without_password(text: &str) -> Result<String, CliError> {
    // restic writes its own scheme before that of the server: rest:https://user:password@host/.
    let address = text.find("://").map(|at| {
        let scheme = text[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |from| from + 1);
        &text[scheme..]
    });
    let Some(address) = address else { return Ok(text.to_owned()) };
    let authority = address.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let parsed = Url::parse(address).is_ok_and(|url| url.password().is_some());
    if parsed || authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(CliError::usage(
            "the address holds a password, and every user of this machine can read the command line",
            "leave it out, and give --rest-user and --rest-password-file",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_the_command_line_is_refused_and_not_repeated() {
        for text in
            ["AWS_SECRET=hunter2", "AWS_SECRET=file:", "AWS_SECRET=", "=hunter2", "1A=file:x", "a b=hunter2"]
        {
            let error = variable(text).unwrap_err();
            let said = format!("{error} {error:?} {}", error.hint());
            assert!(!said.contains("hunter2"), "{said}");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
        }
        assert_eq!(variable("A_1=file:/x=y").unwrap(), ("A_1".into(), SecretSource::File("/x=y".into())));
        assert_eq!(variable("A=file:-").unwrap().1, SecretSource::Stdin);
        assert_eq!(variable("A").unwrap().1, SecretSource::Prompt);
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_one_with_a_user_is_not() {
        for text in [
            "rest:https://ada:hunter2@x/",
            "https://ada:hunter2@x",
            "rest:http://a:hunter2@[bad/",
            "sftp://a:hunter2@x/y",
        ] {
            let error = without_password(text).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("hunter2"), "{error}");
        }
        for text in
            ["/srv/repo", "rest:https://x/a@b:c/", "sftp:ada@x:/y", "sftp://ada@x/y", "s3:s3.amazonaws.com/b"]
        {
            assert_eq!(without_password(text).unwrap(), text);
        }
    }
}
