//! How a host opens its repositories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use restic_manager_core::api::{AttachmentView, CredentialWrite, PrimaryCredentialWrite};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::DisplayName;
use url::Url;

use super::{Session, attachment};
use crate::error::CliError;
use crate::input::{SecretSource, Secrets, ask_line};
use crate::route::Route;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set the everyday credential of a host's primary repository, which is made when there is none
    Set {
        /// The host
        host: String,
        /// The name of the repository if it is made; the host's name when not given
        #[arg(long, value_name = "NAME")]
        repo_name: Option<DisplayName>,
        #[command(flatten)]
        credential: Credential,
    },
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        match self {
            Self::Set { host, repo_name, credential } => {
                let route = Route::new(["hosts", &session.client.host_id(host)?, "repo-credentials"]);
                let request =
                    PrimaryCredentialWrite { repo_name: repo_name.clone(), credential: credential.read()? };
                let body = session.client.put(&route, &request)?;
                session.ui.show::<AttachmentView>(&body, attachment::card)
            }
        }
    }
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
