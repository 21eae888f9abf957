//! The address of the server.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// The server's address: `https://...`, or `http://...` where that was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(Url);

/// Whether tokens and passwords may cross a network in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only to this machine itself.
    LoopbackOnly,
    /// Anywhere: somebody else protects the way, such as a VPN.
    Anywhere,
}

/// A text that is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// Not an address.
    #[error("`{text}` is no server address; write one such as https://backup.example.org")]
    NotAnAddress {
        /// The text, without what may be a password.
        text: String,
    },
    /// An address with a user or password in it.
    #[error("the server address holds a user or a password; leave it out")]
    WithCredentials,
    /// Plain HTTP to another machine.
    #[error(
        "{server} is plain HTTP: the agent's token and the repository passwords would cross the network in the clear"
    )]
    PlainHttp {
        /// The address.
        server: String,
    },
}

impl ServerUrlError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAnAddress { .. } | Self::WithCredentials => None,
            Self::PlainHttp { .. } => {
                Some("use https://, or --allow-plain-http where a VPN or tunnel protects the way".to_owned())
            }
        }
    }
}

impl ServerUrl {
    /// Reads an address that a person gave.
    ///
    /// # Errors
    ///
    /// It is none, holds credentials, or is plain HTTP where that is not allowed.
    pub fn parse(text: &str, plain: PlainHttp) -> Result<Self, ServerUrlError> {
        let not_one =
            || ServerUrlError::NotAnAddress { text: text.split('@').next_back().unwrap_or("").to_owned() };
        let url = Url::parse(text.trim()).map_err(|_| not_one())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.query().is_some() {
            return Err(not_one());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerUrlError::WithCredentials);
        }
        let server = Self(url);
        server.check(plain)?;
        Ok(server)
    }

    /// Refuses plain HTTP where it is not allowed.
    ///
    /// # Errors
    ///
    /// [`ServerUrlError::PlainHttp`].
    pub fn check(&self, plain: PlainHttp) -> Result<(), ServerUrlError> {
        if self.0.scheme() == "https" || plain == PlainHttp::Anywhere || self.is_loopback() {
            return Ok(());
        }
        Err(ServerUrlError::PlainHttp { server: self.to_string() })
    }

    /// The address of one of its resources; `path` starts with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }

    /// The address of the agents' socket.
    pub fn socket(&self) -> String {
        let address = self.at("/ws/agent");
        // `http` becomes `ws`, `https` becomes `wss`.
        address.replacen("http", "ws", 1)
    }

    fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ServerUrlError;

    /// Whether plain HTTP is allowed was asked when it was first given, and is asked again where it is used.
    fn try_from(text: String) -> Result<Self, ServerUrlError> {
        Self::parse(&text, PlainHttp::Anywhere)
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerUrl, ServerUrlError> {
        ServerUrl::parse(text, PlainHttp::LoopbackOnly)
    }

    #[test]
    fn plain_http_goes_to_this_machine_only_unless_allowed() {
        for loopback in
            ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1", "http://a.localhost"]
        {
            assert!(parse(loopback).is_ok(), "{loopback}");
        }
        for far in ["http://backup.example.org", "http://10.0.0.1", "http://localhost.example.org"] {
            let error = parse(far).unwrap_err();
            assert!(matches!(error, ServerUrlError::PlainHttp { .. }), "{far}");
            assert!(error.hint().unwrap().contains("--allow-plain-http"));
            assert!(ServerUrl::parse(far, PlainHttp::Anywhere).is_ok());
        }
    }

    #[test]
    fn resources_and_socket_lie_below_the_address() {
        let server = parse("https://example.org/backup/").unwrap();
        assert_eq!(server.to_string(), "https://example.org/backup");
        assert_eq!(server.at("/healthz"), "https://example.org/backup/healthz");
        assert_eq!(server.socket(), "wss://example.org/backup/ws/agent");
        assert_eq!(parse("http://127.0.0.1:80/").unwrap().socket(), "ws://127.0.0.1/ws/agent");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_password() {
        for text in ["", "backup.example.org", "ftp://x", "https://", "https://a/?b=c"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("https://me:hunter2@example.org").unwrap_err();
        assert_eq!(error, ServerUrlError::WithCredentials);
        assert!(!parse("me:hunter2@example.org").unwrap_err().to_string().contains("hunter2"));
    }
}
