//! Who asks, behind which proxies.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of the TCP connection; every request carries it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The address of whoever asks.
///
/// That is the peer, unless the peer is a trusted proxy: then it is the rightmost address in `X-Forwarded-For` that is no
/// trusted proxy itself. Everything left of that one was written by somebody nobody vouches for.
pub fn client_addr(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client, trusted) {
        return client;
    }
    for hop in values_from_the_right(headers, &FORWARDED_FOR) {
        // What cannot be read ends the chain: the last proxy that could be named has to answer for it.
        let Some(address) = parse_hop(hop) else { return client };
        client = address;
        if !is_trusted(client, trusted) {
            return client;
        }
    }
    client
}

/// Whether whoever asks came by HTTPS: only a trusted proxy can say so, because the server itself speaks plain HTTP.
pub fn is_https(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    is_trusted(peer.ip().to_canonical(), trusted)
        && values_from_the_right(headers, &FORWARDED_PROTO)
            .next()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The values of a header that is a list, over all its lines, last first.
fn values_from_the_right<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim)
}

/// An address, with or without brackets and port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| ((*name).clone(), http::HeaderValue::from_static(value))).collect()
    }

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(FORWARDED_FOR, http::HeaderValue::from_static(line));
        }
        client_addr(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("192.0.2.1:5", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("[::ffff:192.0.2.1]:5", &[]), "192.0.2.1");
    }

    #[test]
    fn a_proxy_names_the_rightmost_address_that_is_no_proxy() {
        assert_eq!(client("10.0.0.1:5", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1:5", &["203.0.113.9", "198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("[::ffff:10.0.0.1]:5", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("[fd00::1]:5", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client("[fd00::1]:5", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn a_chain_without_a_stranger_or_with_rubbish_ends_at_the_last_proxy_known() {
        assert_eq!(client("10.0.0.1:5", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:5", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1:5", &["198.51.100.7, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1:5", &["198.51.100.7,"]), "10.0.0.1");
    }

    #[test]
    fn only_a_proxy_can_say_that_it_was_https() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let https = |peer: &str, lines: &[(&HeaderName, &'static str)]| {
            is_https(peer.parse().unwrap(), &headers(lines), &trusted)
        };
        assert!(https("10.0.0.1:5", &[(&FORWARDED_PROTO, "HTTPS")]));
        assert!(!https("10.0.0.1:5", &[(&FORWARDED_PROTO, "https, http")]));
        assert!(!https("10.0.0.1:5", &[]));
        assert!(!https("192.0.2.1:5", &[(&FORWARDED_PROTO, "https")]));
    }
}
