//! The address of a repository as restic takes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// What restic speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// A folder of the host.
    Local,
    /// A REST server (rest-server, `rclone serve restic`).
    Rest,
    /// S3 and what speaks like it.
    S3,
    /// A folder by SSH.
    Sftp,
    /// Backblaze B2.
    B2,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gs,
    /// OpenStack Swift.
    Swift,
    /// Whatever rclone reaches.
    Rclone,
}

/// The address of a repository, without any user, password or key of REST and S3 addresses.
///
/// It may be shown and stored in the clear. Its text form is what restic takes as `RESTIC_REPOSITORY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoUrl(String);

/// An address taken apart from the credentials that stood in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separated {
    /// The address without them.
    pub url: RepoUrl,
    /// The user (REST) or the access key id (S3), percent-decoded.
    pub user: Option<String>,
    /// The password (REST) or the secret access key (S3), percent-decoded.
    pub password: Option<Secret>,
}

/// A text that is no address of a repository. No variant repeats what may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepoUrlError {
    /// Nothing there.
    #[error("the repository address is empty")]
    Empty,
    /// A line break, a tab, an escape.
    #[error("the repository address holds a line break or another control character")]
    ControlCharacter,
    /// White space around it.
    #[error("the repository address begins or ends with a space")]
    SurroundingSpace,
    /// A path that depends on where restic is started.
    #[error("the repository path is relative; give it from the root, such as /srv/restic")]
    RelativePath,
    /// `http://...` alone.
    #[error(
        "a web address alone is no repository; write rest:http://... for a REST server or s3:http://... for S3"
    )]
    BareWebAddress,
    /// Something before a colon that restic does not know.
    #[error(
        "restic knows no such kind of repository; use a path, rest:, s3:, sftp:, b2:, azure:, gs:, swift: or rclone:"
    )]
    UnknownBackend,
    /// `rest:` without a web address.
    #[error("a REST repository is written rest:http://host:8000/path/ or rest:https://...")]
    NotAWebAddress,
    /// A part that the kind of repository asks for is missing.
    #[error("the repository address lacks {0}")]
    Missing(&'static str),
    /// A query or fragment.
    #[error("the repository address holds `?` or `#`; write them as %3F and %23")]
    QueryOrFragment,
    /// A password where restic takes none.
    #[error("restic takes no password in an sftp address; use an SSH key")]
    SftpPassword,
    /// An `@` behind the host: part of a password with a slash, or of a path.
    #[error("the path of the repository address holds `@`; write it as %40, and a `/` in a password as %2F")]
    AtSignInPath,
    /// Credentials where only an address belongs.
    #[error("the repository address holds a user or password; give them apart from it")]
    CredentialsInside,
    /// A broken percent escape in the user or password.
    #[error("the user or password in the repository address holds a broken percent escape")]
    BrokenEscape,
}

impl RepoUrl {
    /// Reads an address and takes the credentials of REST and S3 addresses out of it.
    ///
    /// # Errors
    ///
    /// The text is no address that restic takes, or one that depends on where restic is started.
    pub fn separate(text: &str) -> Result<Separated, RepoUrlError> {
        if text.is_empty() {
            return Err(RepoUrlError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(RepoUrlError::ControlCharacter);
        }
        if text.trim() != text {
            return Err(RepoUrlError::SurroundingSpace);
        }
        let (backend, rest) = split_backend(text)?;
        match backend {
            Backend::Local => local(text, rest),
            Backend::Rest => rest_server(rest),
            Backend::S3 => s3(rest),
            Backend::Sftp => sftp(text, rest),
            Backend::B2 | Backend::Azure | Backend::Gs | Backend::Swift | Backend::Rclone => {
                container(text, rest, backend)
            }
        }
    }

    /// What restic speaks to.
    pub fn backend(&self) -> Backend {
        // The text was split the same way when it was taken in, so there is no error to come.
        split_backend(&self.0).map_or(Backend::Local, |(backend, _)| backend)
    }

    /// The text as restic takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text with a user and password in it, for restic's environment; REST addresses only.
    ///
    /// Restic 0.14.0 knows no other way to give them.
    pub(super) fn with_login(&self, user: &str, password: &str) -> Option<Secret> {
        let address = self.0.strip_prefix("rest:")?;
        let (scheme, after) = address.split_once("://")?;
        let login = format!("{}:{}", percent_encode(user), percent_encode(password));
        Some(Secret::new(format!("rest:{scheme}://{login}@{after}")))
    }
}

const BACKENDS: [(&str, Backend); 9] = [
    ("local:", Backend::Local),
    ("rest:", Backend::Rest),
    ("s3:", Backend::S3),
    ("sftp:", Backend::Sftp),
    ("b2:", Backend::B2),
    ("azure:", Backend::Azure),
    ("gs:", Backend::Gs),
    ("swift:", Backend::Swift),
    ("rclone:", Backend::Rclone),
];

fn split_backend(text: &str) -> Result<(Backend, &str), RepoUrlError> {
    for (prefix, backend) in BACKENDS {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Ok((backend, rest));
        }
    }
    if is_absolute(text) {
        return Ok((Backend::Local, text));
    }
    match text.split_once(':') {
        Some(("http" | "https", _)) => Err(RepoUrlError::BareWebAddress),
        Some((before, _)) if !before.contains('/') => Err(RepoUrlError::UnknownBackend),
        Some(_) | None => Err(RepoUrlError::RelativePath),
    }
}

fn is_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/');
    path.starts_with('/') || path.starts_with("\\\\") || drive
}

fn plain(text: &str) -> Separated {
    Separated { url: RepoUrl(text.to_owned()), user: None, password: None }
}

fn local(text: &str, path: &str) -> Result<Separated, RepoUrlError> {
    if path.is_empty() {
        return Err(RepoUrlError::Missing("the path"));
    }
    if !is_absolute(path) {
        return Err(RepoUrlError::RelativePath);
    }
    Ok(plain(text))
}

fn rest_server(address: &str) -> Result<Separated, RepoUrlError> {
    let Some((scheme @ ("http" | "https"), after)) = address.split_once("://") else {
        return Err(RepoUrlError::NotAWebAddress);
    };
    let Authority { user, password, host, path } = authority(after)?;
    let url = RepoUrl(format!("rest:{scheme}://{host}{path}"));
    Ok(Separated { url, user, password })
}

fn s3(address: &str) -> Result<Separated, RepoUrlError> {
    let (scheme, after) = match address.split_once("://") {
        Some((scheme @ ("http" | "https"), after)) => (format!("{scheme}://"), after),
        Some(_) => return Err(RepoUrlError::NotAWebAddress),
        None => match address.strip_prefix("//") {
            Some(after) => ("//".to_owned(), after),
            None => (String::new(), address),
        },
    };
    let Authority { user, password, host, path } = authority(after)?;
    if path.trim_matches('/').is_empty() {
        return Err(RepoUrlError::Missing("the bucket"));
    }
    let url = RepoUrl(format!("s3:{scheme}{host}{path}"));
    Ok(Separated { url, user, password })
}

struct Authority<'a> {
    user: Option<String>,
    password: Option<Secret>,
    host: &'a str,
    path: &'a str,
}

fn authority(after: &str) -> Result<Authority<'_>, RepoUrlError> {
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, path) = after.split_at(end);
    // A password with an unescaped slash would otherwise end up in the path, in the clear.
    if path.contains(['?', '#']) {
        return Err(RepoUrlError::QueryOrFragment);
    }
    if path.contains('@') {
        return Err(RepoUrlError::AtSignInPath);
    }
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if host.is_empty() || host.starts_with(':') {
        return Err(RepoUrlError::Missing("the host"));
    }
    let Some(login) = login else {
        return Ok(Authority { user: None, password: None, host, path });
    };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let user = Some(percent_decode(user)?).filter(|user| !user.is_empty());
    let password = password.map(percent_decode).transpose()?.map(Secret::new).filter(|p| !p.is_empty());
    Ok(Authority { user, password, host, path })
}

fn sftp(text: &str, rest: &str) -> Result<Separated, RepoUrlError> {
    let (login_and_host, path) = match rest.strip_prefix("//") {
        Some(after) => after.split_once('/').ok_or(RepoUrlError::Missing("the path"))?,
        None => {
            let (login, after) = rest.rsplit_once('@').unwrap_or(("", rest));
            if login.contains(':') {
                return Err(RepoUrlError::SftpPassword);
            }
            after.split_once(':').ok_or(RepoUrlError::Missing("the path"))?
        }
    };
    let (login, host) = login_and_host.rsplit_once('@').unwrap_or(("", login_and_host));
    if login.contains(':') {
        return Err(RepoUrlError::SftpPassword);
    }
    if host.is_empty() {
        return Err(RepoUrlError::Missing("the host"));
    }
    if path.is_empty() {
        return Err(RepoUrlError::Missing("the path"));
    }
    Ok(plain(text))
}

fn container(text: &str, rest: &str, backend: Backend) -> Result<Separated, RepoUrlError> {
    let name = rest.split([':', '/']).next().unwrap_or_default();
    if name.is_empty() {
        return Err(RepoUrlError::Missing(if backend == Backend::Rclone {
            "the remote"
        } else {
            "the bucket"
        }));
    }
    Ok(plain(text))
}

fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Result<String, RepoUrlError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit =
            || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(RepoUrlError::BrokenEscape);
        let value = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(value).map_err(|_| RepoUrlError::BrokenEscape)?);
    }
    String::from_utf8(decoded).map_err(|_| RepoUrlError::BrokenEscape)
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses an address with credentials in it; [`RepoUrl::separate`] takes them out.
impl FromStr for RepoUrl {
    type Err = RepoUrlError;

    fn from_str(text: &str) -> Result<Self, RepoUrlError> {
        match Self::separate(text)? {
            Separated { url, user: None, password: None } => Ok(url),
            Separated { .. } => Err(RepoUrlError::CredentialsInside),
        }
    }
}

impl TryFrom<String> for RepoUrl {
    type Error = RepoUrlError;

    fn try_from(text: String) -> Result<Self, RepoUrlError> {
        text.parse()
    }
}

impl From<RepoUrl> for String {
    fn from(url: RepoUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_is_taken_as_restic_takes_it() {
        for (text, backend) in [
            ("/srv/restic", Backend::Local),
            ("local:/srv/restic", Backend::Local),
            ("C:\\restic", Backend::Local),
            ("rest:http://127.0.0.1:8000/web1/", Backend::Rest),
            ("rest:https://backup.example.org", Backend::Rest),
            ("s3:s3.amazonaws.com/bucket/path", Backend::S3),
            ("s3:http://127.0.0.1:9000/bucket", Backend::S3),
            ("s3://minio.example.org/bucket", Backend::S3),
            ("sftp:user@host:/srv/restic", Backend::Sftp),
            ("sftp://user@[::1]:2222//srv/restic", Backend::Sftp),
            ("b2:bucket:path", Backend::B2),
            ("azure:container:/", Backend::Azure),
            ("gs:bucket:/", Backend::Gs),
            ("swift:container:/path", Backend::Swift),
            ("rclone:remote:path", Backend::Rclone),
        ] {
            let url: RepoUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.backend(), url.as_str()), (backend, text));
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        use RepoUrlError as E;
        for (text, error) in [
            ("", E::Empty),
            ("/srv\nrestic", E::ControlCharacter),
            (" /srv", E::SurroundingSpace),
            ("srv/restic", E::RelativePath),
            ("~/restic", E::RelativePath),
            ("./a:b", E::RelativePath),
            ("local:srv", E::RelativePath),
            ("local:", E::Missing("the path")),
            ("https://host/path", E::BareWebAddress),
            ("ftp://host/path", E::UnknownBackend),
            ("nosuch:thing", E::UnknownBackend),
            ("rest:", E::NotAWebAddress),
            ("rest:host/path", E::NotAWebAddress),
            ("rest:http:///path", E::Missing("the host")),
            ("rest:http://host/?a=b", E::QueryOrFragment),
            ("rest:http://u:p/w@host/", E::AtSignInPath),
            ("rest:http://u:%zz@host/", E::BrokenEscape),
            ("s3:https://host/", E::Missing("the bucket")),
            ("s3:ftp://host/bucket", E::NotAWebAddress),
            ("sftp:host", E::Missing("the path")),
            ("sftp:user:pw@host:/p", E::SftpPassword),
            ("sftp://user:pw@host/p", E::SftpPassword),
            ("b2:", E::Missing("the bucket")),
            ("rclone::path", E::Missing("the remote")),
        ] {
            assert_eq!(RepoUrl::separate(text), Err(error), "{text}");
        }
    }

    #[test]
    fn credentials_are_taken_out_of_rest_and_s3_addresses() {
        let rest = RepoUrl::separate("rest:http://agent:p%40ss%2Fw:x@host:8000/web1/").unwrap();
        assert_eq!(rest.url.as_str(), "rest:http://host:8000/web1/");
        assert_eq!(rest.user.as_deref(), Some("agent"));
        assert_eq!(rest.password.as_ref().unwrap().expose(), "p@ss/w:x");
        assert!(!format!("{rest:?} {}", rest.url).contains("p@ss"), "shown: {rest:?}");

        let s3 = RepoUrl::separate("s3:https://AKIA:sekret@host/bucket").unwrap();
        assert_eq!((s3.url.as_str(), s3.user.as_deref()), ("s3:https://host/bucket", Some("AKIA")));
        assert_eq!(s3.password.unwrap().expose(), "sekret");

        let user_only = RepoUrl::separate("rest:https://agent@host/").unwrap();
        assert_eq!((user_only.user.as_deref(), user_only.password), (Some("agent"), None));
    }

    #[test]
    fn an_address_read_from_json_holds_no_credentials() {
        let error =
            serde_json::from_str::<RepoUrl>("\"rest:http://u:hunter2@host/\"").unwrap_err().to_string();
        assert!(error.contains("give them apart"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_login_goes_into_a_rest_address_percent_encoded() {
        let url: RepoUrl = "rest:https://host:8000/a/".parse().unwrap();
        let full = url.with_login("a b", "p@ss:/é%").unwrap();
        assert_eq!(full.expose(), "rest:https://a%20b:p%40ss%3A%2F%C3%A9%25@host:8000/a/");
        let back = RepoUrl::separate(full.expose()).unwrap();
        assert_eq!((back.url, back.user.as_deref()), (url, Some("a b")));
        assert_eq!(back.password.unwrap().expose(), "p@ss:/é%");
        assert_eq!("/srv".parse::<RepoUrl>().unwrap().with_login("a", "b"), None);
    }

    #[test]
    fn an_address_is_written_as_it_was_given_and_a_bare_drive_is_none() {
        let url: RepoUrl = "sftp:user@host:/srv/restic".parse().unwrap();
        assert_eq!(
            (url.to_string(), String::from(url.clone())),
            (url.as_str().to_owned(), url.as_str().to_owned())
        );
        assert!("C:".parse::<RepoUrl>().is_err());
    }
}
