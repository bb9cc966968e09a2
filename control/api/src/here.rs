//! Whether whoever asks sits at this machine, for what is shown without a login.
//!
//! Three things must hold: the peer is a loopback address (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3), the Host is a loopback name
//! (RFC 6761 §6.3; a foreign site that points its own name here by DNS does not see it), and no proxy is in between (RFC 7239
//! §4, RFC 9110 §7.6.3; one on this machine does not show it to the world).

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use http::{HeaderMap, Uri, header};

use crate::extract::Peer;

/// Whether whoever asks sits at this machine.
pub(crate) fn asks(request: &Request) -> bool {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(peer))| *peer);
    is_here(peer, request.headers(), request.uri())
}

fn is_here(peer: Option<SocketAddr>, headers: &HeaderMap, uri: &Uri) -> bool {
    const PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "via", "cf-ray"];
    let loopback = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let direct = PROXIES.iter().all(|name| !headers.contains_key(*name));
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|host| host.as_str()));
    loopback && direct && host.is_some_and(is_loopback_name)
}

fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sits_here() {
        for (peer, headers, expect) in [
            (Some("127.0.0.1:9"), vec![("host", "127.0.0.1:8787")], true),
            (Some("[::1]:9"), vec![("host", "[::1]:8787")], true),
            (Some("[::ffff:127.0.0.1]:9"), vec![("host", "localhost:8787")], true),
            (Some("127.0.0.1:9"), vec![("host", "LOCALHOST")], true),
            (None, vec![("host", "localhost")], false),
            (Some("192.0.2.1:9"), vec![("host", "localhost")], false),
            (Some("127.0.0.1:9"), vec![], false),
            // A name of somebody else that resolves to this machine, and a proxied record that leads here.
            (Some("127.0.0.1:9"), vec![("host", "evil.example")], false),
            (Some("127.0.0.1:9"), vec![("host", "127.0.0.1.evil.example")], false),
            (Some("127.0.0.1:9"), vec![("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], false),
        ] {
            let peer = peer.map(|peer| peer.parse().unwrap());
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>();
            assert_eq!(is_here(peer, &map, &Uri::from_static("/")), expect, "{peer:?} {headers:?}");
        }
    }
}
