//! The environment restic runs in: the only way secrets reach it.

use std::collections::BTreeMap;

use super::{Backend, RepoUrl};
use crate::secret::Secret;

/// All that restic needs to open a repository.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The address, without credentials.
    pub url: &'a RepoUrl,
    /// The repository's password.
    pub password: &'a Secret,
    /// The user of a REST server.
    pub rest_user: Option<&'a str>,
    /// The password of a REST server.
    pub rest_password: Option<&'a Secret>,
    /// Further variables of the storage, such as `AWS_ACCESS_KEY_ID`.
    pub variables: &'a BTreeMap<String, Secret>,
    /// The folder of restic's cache. Restic 0.19.1 refuses to run without a place for it.
    pub cache_dir: &'a str,
}

/// The environment of a restic process: what is set on top of what is inherited.
///
/// Inherited variables for which [`is_inherited_removed`] says yes are to be removed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, Secret>,
}

/// Credentials that make no environment. No variant holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// Restic takes an empty password for none.
    #[error("the repository password is empty")]
    EmptyPassword,
    /// A REST login for something else.
    #[error("a REST user or password is given, but the repository is no REST server")]
    LoginWithoutRestServer,
    /// A REST password without its user.
    #[error("a REST password is given without its user")]
    PasswordWithoutUser,
    /// A name that no environment takes.
    #[error("`{0}` is no name of an environment variable; use letters, digits and `_`")]
    BadName(String),
    /// A name that this crate sets, or with which a program could be smuggled in.
    #[error("the environment variable `{0}` may not be set with a credential")]
    ReservedName(String),
    /// A value that no environment takes.
    #[error("the value of the environment variable `{0}` holds a NUL character")]
    NulInValue(String),
}

impl Access<'_> {
    /// The environment that says all this to restic.
    ///
    /// # Errors
    ///
    /// The parts do not belong together, or a variable must not be set.
    pub fn environment(&self) -> Result<Environment, EnvironmentError> {
        if self.password.is_empty() {
            return Err(EnvironmentError::EmptyPassword);
        }
        let mut variables = BTreeMap::new();
        for (name, value) in self.variables {
            check_name(name)?;
            variables.insert(name.clone(), value.clone());
        }
        let mut set = |name: &str, value: Secret| variables.insert(name.to_owned(), value);
        set("RESTIC_REPOSITORY", self.repository()?);
        set("RESTIC_PASSWORD", self.password.clone());
        set("RESTIC_CACHE_DIR", Secret::new(self.cache_dir));
        set("RESTIC_PROGRESS_FPS", Secret::new("1"));
        match variables.iter().find(|(_, value)| value.expose().contains('\0')) {
            Some((name, _)) => Err(EnvironmentError::NulInValue(name.clone())),
            None => Ok(Environment { variables }),
        }
    }

    fn repository(&self) -> Result<Secret, EnvironmentError> {
        let password = self.rest_password.filter(|password| !password.is_empty());
        let user = self.rest_user.filter(|user| !user.is_empty());
        match (user, password) {
            (None, None) => Ok(Secret::new(self.url.as_str())),
            _ if self.url.backend() != Backend::Rest => Err(EnvironmentError::LoginWithoutRestServer),
            (None, Some(_)) => Err(EnvironmentError::PasswordWithoutUser),
            (Some(user), password) => self
                .url
                .with_login(user, password.map_or("", Secret::expose))
                .ok_or(EnvironmentError::LoginWithoutRestServer),
        }
    }
}

impl Environment {
    /// The variables to set, by name.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value of one variable.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.variables.get(name)
    }

    /// The values that must not be seen in a log: all but the address without login, the cache folder and the rate.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.variables
            .iter()
            .filter(|(name, value)| match name.as_str() {
                "RESTIC_CACHE_DIR" | "RESTIC_PROGRESS_FPS" => false,
                "RESTIC_REPOSITORY" => value.expose().parse::<RepoUrl>().is_err(),
                _ => true,
            })
            .map(|(_, value)| value)
    }
}

/// Whether a variable of the parent process must be kept from restic.
///
/// All of restic's own are: a `RESTIC_PASSWORD_FILE`, `RESTIC_PASSWORD_COMMAND`, `RESTIC_REPOSITORY_FILE` or
/// `RESTIC_KEY_HINT` left over in a shell would win over, or clash with, what is set here.
pub fn is_inherited_removed(name: &str) -> bool {
    name.starts_with("RESTIC_")
}

/// Restic's own variables that may come with a credential; the others choose repository and password.
const ALLOWED_RESTIC: [&str; 5] = [
    "RESTIC_CACERT",
    "RESTIC_TLS_CLIENT_CERT",
    "RESTIC_COMPRESSION",
    "RESTIC_PACK_SIZE",
    "RESTIC_READ_CONCURRENCY",
];

/// Variables that make a shell, the dynamic linker, ssh or rclone run a program of the giver's choice.
const PROGRAMS: [&str; 12] = [
    "PATH",
    "ENV",
    "BASH_ENV",
    "SHELL",
    "SHELLOPTS",
    "PS4",
    "IFS",
    "HOME",
    "SSH_ASKPASS",
    "RCLONE_PASSWORD_COMMAND",
    "RCLONE_CONFIG",
    "PYTHONPATH",
];

fn check_name(name: &str) -> Result<(), EnvironmentError> {
    let shown = || name.chars().take(80).collect::<String>();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(EnvironmentError::BadName(shown()));
    }
    let upper = name.to_ascii_uppercase();
    let own = upper.starts_with("RESTIC_") && !ALLOWED_RESTIC.contains(&upper.as_str());
    let linker = upper.starts_with("LD_") || upper.starts_with("DYLD_");
    if own || linker || PROGRAMS.contains(&upper.as_str()) {
        return Err(EnvironmentError::ReservedName(shown()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given {
        url: RepoUrl,
        password: Secret,
        rest_user: Option<String>,
        rest_password: Option<Secret>,
        variables: BTreeMap<String, Secret>,
    }

    impl Given {
        fn new(url: &str) -> Self {
            Self {
                url: url.parse().unwrap(),
                password: Secret::new("repo-pw"),
                rest_user: None,
                rest_password: None,
                variables: BTreeMap::new(),
            }
        }

        fn variable(mut self, name: &str, value: &str) -> Self {
            self.variables.insert(name.to_owned(), Secret::new(value));
            self
        }

        fn environment(&self) -> Result<Environment, EnvironmentError> {
            let access = Access {
                url: &self.url,
                password: &self.password,
                rest_user: self.rest_user.as_deref(),
                rest_password: self.rest_password.as_ref(),
                variables: &self.variables,
                cache_dir: "/var/cache/x",
            };
            access.environment()
        }
    }

    fn shown(environment: &Environment) -> Vec<String> {
        environment.variables().map(|(name, value)| format!("{name}={}", value.expose())).collect()
    }

    #[test]
    fn a_local_repository_needs_address_password_cache_and_rate() {
        let environment = Given::new("/srv/r").environment().unwrap();
        let expected = [
            "RESTIC_CACHE_DIR=/var/cache/x",
            "RESTIC_PASSWORD=repo-pw",
            "RESTIC_PROGRESS_FPS=1",
            "RESTIC_REPOSITORY=/srv/r",
        ];
        assert_eq!(shown(&environment), expected);
        assert!(!format!("{environment:?}").contains("repo-pw"));
        assert_eq!(environment.secrets().map(Secret::expose).collect::<Vec<_>>(), ["repo-pw"]);
    }

    #[test]
    fn a_rest_login_is_written_into_the_address() {
        let mut given = Given::new("rest:http://h:8000/a/");
        given.rest_user = Some("agent".into());
        given.rest_password = Some(Secret::new("p/w"));
        let environment = given.environment().unwrap();
        assert_eq!(
            environment.get("RESTIC_REPOSITORY").unwrap().expose(),
            "rest:http://agent:p%2Fw@h:8000/a/"
        );
        assert_eq!(environment.secrets().count(), 2, "the address is secret when a login is in it");
    }

    #[test]
    fn a_login_that_belongs_to_nothing_is_refused() {
        let mut given = Given::new("/srv/r");
        given.rest_user = Some("agent".into());
        assert_eq!(given.environment(), Err(EnvironmentError::LoginWithoutRestServer));
        let mut given = Given::new("/srv/r");
        given.rest_password = Some(Secret::new("pw"));
        assert_eq!(given.environment(), Err(EnvironmentError::LoginWithoutRestServer));
        let mut given = Given::new("rest:http://h/");
        given.rest_password = Some(Secret::new("pw"));
        assert_eq!(given.environment(), Err(EnvironmentError::PasswordWithoutUser));
        let mut given = Given::new("/srv/r");
        given.password = Secret::new("");
        assert_eq!(given.environment(), Err(EnvironmentError::EmptyPassword));
    }

    #[test]
    fn variables_of_the_storage_are_set_and_dangerous_ones_refused() {
        let given =
            Given::new("s3:h/b").variable("AWS_SECRET_ACCESS_KEY", "k").variable("RESTIC_CACERT", "/ca");
        let environment = given.environment().unwrap();
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY").unwrap().expose(), "k");
        for name in ["RESTIC_PASSWORD_COMMAND", "RESTIC_PASSWORD", "LD_PRELOAD", "path", "BASH_ENV"] {
            let error = Given::new("/r").variable(name, "x").environment();
            assert_eq!(error, Err(EnvironmentError::ReservedName(name.into())), "{name}");
        }
        for name in ["", "A=B", "A B", "1A", "É"] {
            let error = Given::new("/r").variable(name, "x").environment();
            assert_eq!(error, Err(EnvironmentError::BadName(name.into())), "{name}");
        }
        let error = Given::new("/r").variable("A", "x\0y").environment();
        assert_eq!(error, Err(EnvironmentError::NulInValue("A".into())));
    }

    #[test]
    fn what_the_parent_process_knows_of_restic_is_kept_from_it() {
        for name in
            ["RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE", "RESTIC_HOST"]
        {
            assert!(is_inherited_removed(name), "{name}");
        }
        assert!(!is_inherited_removed("AWS_PROFILE") && !is_inherited_removed("PATH"));
    }
}
