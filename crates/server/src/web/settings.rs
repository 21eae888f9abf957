//! Where the server is reached, and what follows from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;
use url::{Host, Url};

use super::ask::Client;
use crate::config::PublicUrl;
use crate::shell::{Peer, client_addr, is_https};

/// Where the server is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The socket it listens on.
    pub listen: SocketAddr,
    /// The address it is known under, where one was given.
    pub public_url: Option<PublicUrl>,
    /// The reverse proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Settings {
    /// Who sits at the other end.
    pub(super) fn client(&self, peer: Option<Peer>, headers: &HeaderMap) -> Client {
        match peer {
            Some(Peer(peer)) => Client {
                address: client_addr(peer, headers, &self.trusted_proxies),
                https: is_https(peer, headers, &self.trusted_proxies),
            },
            // An embedder's own accept loop that tells nothing: all of its clients are one.
            None => Client { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), https: false },
        }
    }

    /// Whether a request may be sent to this host.
    ///
    /// A foreign web page can make its own name point here (DNS rebinding), but it cannot own an address of this machine or the
    /// server's public name.
    pub(super) fn knows_host(&self, host: &str) -> bool {
        let Ok(host) = Host::parse(host) else { return false };
        let public = self.public_url.as_ref().and_then(|url| url.as_url().host());
        if public.is_some_and(|public| public.to_owned() == host) {
            return true;
        }
        let listen = self.listen.ip().to_canonical();
        let local = listen.is_loopback() || listen.is_unspecified();
        let given = match &host {
            Host::Domain(name) => return local && name == "localhost",
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
        };
        given == listen || (local && given.is_loopback()) || listen.is_unspecified()
    }

    /// Whether pages of this origin are the server's own; `host` is the one the request was sent to.
    pub(super) fn is_own_origin(&self, origin: &str, host: &str, https: bool) -> bool {
        let Ok(origin) = Url::parse(origin).map(|url| url.origin()) else { return false };
        let own = Url::parse(&server_url(host, https)).map(|url| url.origin());
        let public = self.public_url.as_ref().map(|url| url.as_url().origin());
        origin.is_tuple()
            && (own.is_ok_and(|own| own == origin) || public.is_some_and(|public| public == origin))
    }

    /// Whether browsers shall keep the session's cookie to HTTPS; only plain HTTP on loopback cannot ask for it.
    pub(super) fn secure_cookie(&self, client: Client) -> bool {
        let public_https = self.public_url.as_ref().is_some_and(|url| url.as_url().scheme() == "https");
        client.https || public_https || !self.listen.ip().to_canonical().is_loopback()
    }

    /// The address agents are told, when somebody asked by `host` for it.
    pub(super) fn server_url(&self, host: &str, https: bool) -> String {
        self.public_url.as_ref().map_or_else(|| server_url(host, https), ToString::to_string)
    }
}

fn server_url(host: &str, https: bool) -> String {
    format!("{}://{host}", if https { "https" } else { "http" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, public_url: Option<&str>) -> Settings {
        Settings {
            listen: listen.parse().unwrap(),
            public_url: public_url.map(|url| url.parse().unwrap()),
            trusted_proxies: Vec::new(),
        }
    }

    #[test]
    fn a_server_on_loopback_is_known_by_loopback_names_and_its_public_one() {
        let settings = settings("127.0.0.1:8080", Some("https://backup.example.org"));
        for host in [
            "localhost",
            "127.0.0.1",
            "127.0.0.2",
            "[::1]",
            "LOCALHOST",
            "backup.example.org",
            "Backup.Example.org",
        ] {
            assert!(settings.knows_host(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.0.2.1", "", "[::2]", "example.org", "a b"]
        {
            assert!(!settings.knows_host(host), "{host}");
        }
    }

    #[test]
    fn a_server_on_one_address_is_known_by_that_and_one_on_all_by_any_address_but_no_name() {
        let one = settings("192.0.2.7:80", None);
        assert!(one.knows_host("192.0.2.7") && !one.knows_host("192.0.2.8") && !one.knows_host("127.0.0.1"));
        assert!(!one.knows_host("localhost"));
        let all = settings("0.0.0.0:80", None);
        assert!(
            all.knows_host("192.0.2.8") && all.knows_host("localhost") && !all.knows_host("evil.example")
        );
    }

    #[test]
    fn its_own_origin_has_its_scheme_host_and_port() {
        let settings = settings("127.0.0.1:8080", Some("https://backup.example.org"));
        let own = |origin: &str| settings.is_own_origin(origin, "127.0.0.1:8080", false);
        assert!(
            own("http://127.0.0.1:8080")
                && own("https://backup.example.org")
                && own("https://backup.example.org:443")
        );
        for foreign in [
            "null",
            "http://127.0.0.1:8081",
            "https://127.0.0.1:8080",
            "http://localhost:8080",
            "http://backup.example.org",
            "https://evil.example",
            "file:///x",
        ] {
            assert!(!own(foreign), "{foreign}");
        }
    }

    #[test]
    fn only_plain_http_on_loopback_has_a_cookie_without_secure() {
        let client = |https| Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), https };
        assert!(!settings("127.0.0.1:1", None).secure_cookie(client(false)));
        assert!(settings("127.0.0.1:1", None).secure_cookie(client(true)));
        assert!(settings("127.0.0.1:1", Some("https://b.example")).secure_cookie(client(false)));
        assert!(settings("10.0.0.1:1", None).secure_cookie(client(false)));
    }
}
