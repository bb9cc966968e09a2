//! What is refused before anybody asks who calls: by the way it came, and by the name that it was sent to.
//!
//! A page of a foreign site may make its visitor's browser call us: under a name of its own that it lets lead to this machine
//! (DNS rebinding), or from its own site. So
//! - plain HTTP is for this machine only, but for the two probes, which tell nothing;
//! - a foreign Host is refused, but where whoever calls brings credentials and is no browser: clients made for another
//!   service send its name whatever the address is, and a foreign page has no credentials to bring (nothing here is sent by a
//!   browser by itself under another name). An address as Host is no name, and nobody can make it lead elsewhere;
//! - what changes something and comes from a browser comes from a page of our own, as JSON, or as a form with files;
//! - no answer says that other sites may read it (no CORS).

use std::net::IpAddr;

use axum::extract::Request;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, header};

use crate::error::{Error, Fault};
use crate::origin::Origin;

/// How a request came; what does not come over a socket has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Encrypted,
    /// On this machine.
    Loopback,
    /// In clear, over a network.
    Open,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// With these a caller says who it is. No browser sends them by itself.
const CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, HeaderName::from_static("x-auth-key")];

const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses what is not for us; `names` are our own, in lower case.
pub(crate) fn check(request: &Request, names: &[String]) -> Result<(), Error> {
    // Whoever looks after machines asks these in clear and under any name, and they are of no use to a stranger.
    if PROBES.contains(&request.uri().path()) {
        return Ok(());
    }
    if request.extensions().get() == Some(&Way::Open) {
        return Err(Fault::InClear.into());
    }
    let headers = request.headers();
    let from_browser = headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    let has_credentials = CREDENTIALS.iter().any(|name| headers.contains_key(name));
    let may_use_any_name = has_credentials && !from_browser;
    if !may_use_any_name && !hosts(request).all(|host| is_own(host, names)) {
        return Err(Fault::ForeignHost.into());
    }
    if from_browser && !request.method().is_safe() {
        if !is_from_own_page(request) {
            return Err(Fault::ForeignOrigin.into());
        }
        if !is_no_simple_form(headers) {
            return Err(Fault::NotJson.into());
        }
    }
    Ok(())
}

/// The host that was asked for, in each way in which it can be said (RFC 9112 §3.2).
fn hosts(request: &Request) -> impl Iterator<Item = &str> {
    let named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    named.chain(request.uri().authority().map(Authority::as_str))
}

fn is_own(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        // RFC 6761 §6.3.
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.contains(&name)
}

/// As `Origin` and Fetch Metadata tell it. Each is believed where it says no.
fn is_from_own_page(request: &Request) -> bool {
    let site = request.headers().get(SEC_FETCH_SITE);
    site.is_none_or(|site| site == "same-origin" || site == "none")
        && Origin::read(request.headers(), request.uri()) != Origin::Foreign
}

/// A form of a foreign page is sent as `text/plain` or as a query, without that anybody is asked first.
fn is_no_simple_form(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "multipart/form-data"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn told(method: &str, path: &str, way: Option<Way>, lines: &[(&str, &str)]) -> String {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().extend(
            way.map(|way| {
                let mut extensions = http::Extensions::new();
                extensions.insert(way);
                extensions
            })
            .unwrap_or_default(),
        );
        let names = ["edge.example.com".to_owned()];
        check(&request, &names).map_or_else(|error| format!("{:?}", error.fault), |()| "ok".to_owned())
    }

    #[test]
    fn names_that_are_ours_and_others() {
        let token = ("authorization", "Bearer x");
        for (lines, expect) in [
            (vec![("host", "127.0.0.1:8787")], "ok"),
            (vec![("host", "[2001:db8::1]:8787")], "ok"),
            (vec![("host", "localhost")], "ok"),
            (vec![("host", "api.bartizan.localhost:8787")], "ok"),
            (vec![("host", "EDGE.example.com.:8787")], "ok"),
            // HTTP/1.0 without a Host; no browser does that.
            (vec![], "ok"),
            (vec![("host", "evil.example")], "ForeignHost"),
            (vec![("host", "edge.example.com.evil.example")], "ForeignHost"),
            (vec![("host", "127.0.0.1.evil.example")], "ForeignHost"),
            (vec![("host", "a b")], "ForeignHost"),
            (vec![("host", "localhost"), ("host", "evil.example")], "ForeignHost"),
            // Clients of another service, moved here by a hosts file.
            (vec![("host", "api.cloudflare.com"), token], "ok"),
            (vec![("host", "api.cloudflare.com"), ("x-auth-key", "k"), ("x-auth-email", "e")], "ok"),
            (vec![("host", "api.cloudflare.com"), ("cookie", "session=1")], "ForeignHost"),
            (vec![("host", "evil.example"), token, ("origin", "http://evil.example")], "ForeignHost"),
            (vec![("host", "evil.example"), token, ("sec-fetch-site", "same-origin")], "ForeignHost"),
        ] {
            assert_eq!(told("GET", "/client/v4/zones", None, &lines), expect, "{lines:?}");
        }
        assert_eq!(told("GET", "http://evil.example/client/v4/zones", None, &[("host", "localhost")]), "ForeignHost");
        assert_eq!(told("GET", "/readyz", None, &[("host", "evil.example")]), "ok");
    }

    #[test]
    fn writes_of_browsers() {
        let (host, own, json) = (("host", "localhost:8787"), ("origin", "http://localhost:8787"), "application/json");
        for (lines, expect) in [
            (vec![host, own, ("content-type", json)], "ok"),
            (vec![host, own, ("content-type", "Application/JSON; charset=utf-8")], "ok"),
            (vec![host, own, ("content-type", "multipart/form-data; boundary=x")], "ok"),
            (vec![host, own], "ok"),
            (vec![host, own, ("content-type", "text/plain")], "NotJson"),
            (vec![host, own, ("content-type", "application/x-www-form-urlencoded")], "NotJson"),
            (vec![host, ("origin", "http://localhost:9000"), ("content-type", json)], "ForeignOrigin"),
            (vec![host, ("origin", "null"), ("content-type", json)], "ForeignOrigin"),
            (vec![host, own, ("sec-fetch-site", "cross-site"), ("content-type", json)], "ForeignOrigin"),
            (vec![host, ("sec-fetch-site", "same-site"), ("content-type", json)], "ForeignOrigin"),
            // A tool; some send no type, or that of a form.
            (vec![host, ("content-type", "application/x-www-form-urlencoded")], "ok"),
            (vec![host], "ok"),
        ] {
            assert_eq!(told("POST", "/client/v4/zones", None, &lines), expect, "{lines:?}");
        }
    }

    #[test]
    fn in_clear_on_this_machine_only() {
        for (way, expect) in
            [(Some(Way::Open), "InClear"), (Some(Way::Loopback), "ok"), (Some(Way::Encrypted), "ok"), (None, "ok")]
        {
            assert_eq!(told("GET", "/", way, &[("host", "192.0.2.1")]), expect, "{way:?}");
            assert_eq!(told("GET", "/healthz", way, &[("host", "pod.example")]), "ok", "{way:?}");
        }
    }
}
