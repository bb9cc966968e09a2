//! Which fields pass the edge: which are removed, and which the edge adds (design §2.5).

use bartizan_firewall::Source;
use bartizan_names::CountryCode;
use bartizan_routes::Scheme;
use bartizan_wire::http1::{Field, Trailers, left_behind, may_follow_a_body};
use http::header::{CONNECTION, COOKIE, EXPECT, Entry, FORWARDED, HOST, MAX_FORWARDS, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::limits::LOOPS_MAX;
use crate::ray::Ray;

const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
const CF_IPCOUNTRY: HeaderName = HeaderName::from_static("cf-ipcountry");
const CF_RAY: HeaderName = HeaderName::from_static("cf-ray");
const CF_VISITOR: HeaderName = HeaderName::from_static("cf-visitor");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Our name in `CDN-Loop` and `Server`.
const EDGE: &str = "bartizan";

/// How many fields [`to_origin`] and [`sign`] may add. Room for them is made when a map is: one that grows is built anew.
pub(crate) const FIELDS_TO_ORIGIN: usize = 9;
pub(crate) const FIELDS_SIGNED: usize = 2;

/// A source as origins are told of it. Written once for a connection.
pub(crate) struct SourceFields {
    address: HeaderValue,
    country: HeaderValue,
}

impl From<&Source> for SourceFields {
    fn from(source: &Source) -> SourceFields {
        // Digits, letters, dots and colons are legal.
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        let country = source.country.unwrap_or(CountryCode::UNKNOWN);
        SourceFields { address: value(&source.address.to_string()), country: value(country.as_str()) }
    }
}

/// What an origin is told about a request.
pub(crate) struct Provenance<'r> {
    pub(crate) source: &'r SourceFields,
    pub(crate) scheme: Scheme,
    /// As received, a port included.
    pub(crate) host: &'r str,
    pub(crate) ray: &'r Ray,
}

/// How often the request has passed an edge of this kind, as `CDN-Loop` says (RFC 8586 §2).
pub(crate) fn passes(headers: &HeaderMap) -> usize {
    let values = headers.get_all(CDN_LOOP);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|info| info.split(';').next().is_some_and(|id| id.trim().eq_ignore_ascii_case(EDGE)))
        .count()
}

/// Counts an `OPTIONS` down, and tells whether it was meant for us (RFC 9110 §7.6.2).
pub(crate) fn ends_here(method: &Method, headers: &mut HeaderMap) -> bool {
    if *method != Method::OPTIONS {
        return false;
    }
    let stated = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    match stated {
        Some(0) => true,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
        None => false,
    }
}

/// Whether the request has passed too often to be forwarded once more.
pub(crate) fn is_loop(headers: &HeaderMap) -> bool {
    passes(headers) > LOOPS_MAX
}

/// Turns a visitor's fields into those that an origin gets.
pub(crate) fn to_origin(headers: &mut HeaderMap, provenance: &Provenance<'_>) {
    strip_hop_by_hop(headers);
    // `Expect` is answered by us (RFC 9110 §10.1.1), `Host` travels beside the fields.
    headers.remove(EXPECT);
    headers.remove(HOST);
    strip_reserved(headers);
    let Provenance { source, scheme, host, ray } = provenance;
    let proto = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let visitor = match scheme {
        Scheme::Http => r#"{"scheme":"http"}"#,
        Scheme::Https => r#"{"scheme":"https"}"#,
    };
    headers.insert(X_FORWARDED_FOR, source.address.clone());
    headers.insert(CF_CONNECTING_IP, source.address.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(CF_VISITOR, HeaderValue::from_static(visitor));
    headers.insert(CF_IPCOUNTRY, source.country.clone());
    headers.insert(CF_RAY, ray.value());
    // The host was checked when it was read, so it is legal in a field.
    if let Ok(value) = HeaderValue::try_from(*host) {
        headers.insert(X_FORWARDED_HOST, value);
    }
    if let Ok(value) = HeaderValue::try_from(forwarded(source.address.as_bytes(), proto, host)) {
        headers.insert(FORWARDED, value);
    }
    add_pass(headers);
}

/// Takes out of a visitor's trailers what may not be there, or only from an edge.
pub(crate) fn trailers_to_origin(trailers: &mut HeaderMap) {
    keep_trailers(trailers);
    strip_reserved(trailers);
}

/// Takes out of trailers what may not be there.
pub(crate) fn keep_trailers(trailers: &mut HeaderMap) {
    let wrong: Vec<HeaderName> =
        trailers.keys().filter(|name| !may_follow_a_body(name.as_str().as_bytes())).cloned().collect();
    for name in &wrong {
        remove(trailers, name);
    }
}

/// Trailers as they were read from HTTP/1.1.
pub(crate) fn trailers_of(read: &Trailers) -> HeaderMap {
    let field = |field: Field<'_>| {
        // What was read is legal.
        Some((HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
    };
    read.fields().iter().filter_map(field).collect()
}

/// Turns an origin's fields into those that a visitor gets.
pub(crate) fn to_visitor(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    // `Alt-Svc` (RFC 7838) would send visitors to ports of the origin.
    headers.remove(ALT_SVC);
}

/// The fields of every answer, also of our own.
pub(crate) fn sign(headers: &mut HeaderMap, ray: &Ray) {
    headers.insert(SERVER, HeaderValue::from_static(EDGE));
    headers.insert(CF_RAY, ray.value());
}

/// RFC 7239 §4: IPv6 addresses and hosts with a port need quotation marks. `address` is one that was printed.
fn forwarded(address: &[u8], proto: &str, host: &str) -> Vec<u8> {
    let [open, close] = if address.contains(&b':') { ["\"[", "]\""] } else { [""; 2] };
    let parts =
        ["for=".as_bytes(), open.as_bytes(), address, close.as_bytes(), b";host=\"", host.as_bytes(), b"\";proto="];
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + proto.len());
    parts.iter().for_each(|part| text.extend_from_slice(part));
    text.extend_from_slice(proto.as_bytes());
    text
}

/// Removes what belongs to the connection, and framing, which each hop makes anew.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let options = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let gone = left_behind(headers.keys().map(HeaderName::as_str), options);
    let gone: Vec<HeaderName> = gone.filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Makes one line of a `Cookie` that HTTP/2 has split: for HTTP/1.1 it has to be one (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if let (Some(_), Some(_)) = (lines.next(), lines.next()) {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        // Legal values joined by a semicolon are legal.
        if let Ok(value) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, value);
        }
    }
}

/// Removes fields that only an edge may set. Any sign counts as `-` here: CGI (RFC 3875 §4.1.18) makes the same variable
/// of `-` and `_`, and some servers of all that is neither letter nor digit.
fn strip_reserved(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> = headers.keys().filter(|name| is_reserved(name.as_str())).cloned().collect();
    for name in &forged {
        remove(headers, name);
    }
}

fn is_reserved(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["cf-", "x-forwarded-", "bartizan-"];
    const NAMES: [&str; 5] = ["forwarded", "client-cert", "client-cert-chain", "x-real-ip", "true-client-ip"];
    let same = |one: &str, other: &str| {
        one.len() == other.len()
            && one
                .bytes()
                .zip(other.bytes())
                .all(|(one, other)| one == other || (other == b'-' && one.is_ascii_punctuation()))
    };
    PREFIXES.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|start| same(start, prefix)))
        || NAMES.iter().any(|reserved| same(name, reserved))
}

/// Removes a field with all its lines.
fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if let Entry::Occupied(entry) = headers.entry(name) {
        entry.remove_entry_mult();
    }
}

/// Adds us at the end of `CDN-Loop`, in one line.
fn add_pass(headers: &mut HeaderMap) {
    if !headers.contains_key(CDN_LOOP) {
        headers.insert(CDN_LOOP, HeaderValue::from_static(EDGE));
        return;
    }
    let mut passed = Vec::new();
    for value in headers.get_all(CDN_LOOP) {
        passed.extend_from_slice(value.as_bytes());
        passed.extend_from_slice(b", ");
    }
    passed.extend_from_slice(EDGE.as_bytes());
    // Legal values with a comma between them are a legal value.
    if let Ok(value) = HeaderValue::from_bytes(&passed) {
        headers.insert(CDN_LOOP, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ray::Rays;

    /// Prints what an origin would get of these fields, sorted, without what is always there.
    fn fields_to_origin(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let ray = Rays::new(1, 0).draw("LAB");
        let source =
            Source { address: "2001:db8::7".parse().unwrap(), country: Some("NL".parse().unwrap()), asn: None };
        let source = &SourceFields::from(&source);
        to_origin(&mut headers, &Provenance { source, scheme: Scheme::Https, host: "a.test:8443", ray: &ray });
        let always = [
            ("x-forwarded-for", "2001:db8::7"),
            ("cf-connecting-ip", "2001:db8::7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.test:8443"),
            ("cf-visitor", r#"{"scheme":"https"}"#),
            ("cf-ipcountry", "NL"),
            ("cf-ray", ray.as_str()),
            ("forwarded", r#"for="[2001:db8::7]";host="a.test:8443";proto=https"#),
        ];
        for (name, value) in always {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name}");
            headers.remove(name);
        }
        let mut left: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        left
    }

    #[test]
    fn fields_that_an_origin_gets() {
        for (fields, expect) in [
            (&[][..], &["cdn-loop: bartizan"][..]),
            (&[("accept", "a"), ("cookie", "x=1")], &["accept: a", "cdn-loop: bartizan", "cookie: x=1"]),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7")], &["cdn-loop: bartizan"]),
            (&[("cf-connecting-ip", "6.6.6.6"), ("cf_connecting_ip", "6.6.6.6")], &["cdn-loop: bartizan"]),
            (
                &[("x_forwarded-proto", "http"), ("x-forwarded-port", "1"), ("forwarded", "for=x")],
                &["cdn-loop: bartizan"],
            ),
            (
                &[("bartizan-cert-status", "valid"), ("client_cert", "x"), ("x-real-ip", "6.6.6.6")],
                &["cdn-loop: bartizan"],
            ),
            (&[("cf.connecting.ip", "6.6.6.6"), ("x~real!ip", "6.6.6.6")], &["cdn-loop: bartizan"]),
            (&[("cf-access-jwt-assertion", "x"), ("true-client-ip", "6.6.6.6")], &["cdn-loop: bartizan"]),
            (&[("cfx", "kept"), ("x-forwarder", "kept")], &["cdn-loop: bartizan", "cfx: kept", "x-forwarder: kept"]),
            (&[("connection", "close, X-Secret, content-length"), ("x-secret", "1")], &["cdn-loop: bartizan"]),
            (&[("connection", "cf-connecting-ip, cdn-loop"), ("cdn-loop", "bartizan")], &["cdn-loop: bartizan"]),
            (&[("te", "trailers"), ("trailer", "x"), ("keep-alive", "1"), ("upgrade", "h2c")], &["cdn-loop: bartizan"]),
            (
                &[("proxy-authorization", "x"), ("http2-settings", "x"), ("proxy-connection", "x")],
                &["cdn-loop: bartizan"],
            ),
            (
                &[("transfer_encoding", "chunked"), ("content_length", "5"), ("keep_alive", "x"), ("proxy", "x")],
                &["cdn-loop: bartizan"],
            ),
            (&[("expect", "100-continue"), ("host", "b.test"), ("content-length", "5")], &["cdn-loop: bartizan"]),
            (&[("cdn-loop", "other; v=1"), ("cdn-loop", "x")], &["cdn-loop: other; v=1, x, bartizan"]),
        ] {
            assert_eq!(fields_to_origin(fields), expect, "{fields:?}");
        }
    }

    #[test]
    fn passes_are_counted() {
        for (values, expect) in [
            (&[][..], 0),
            (&["other"], 0),
            (&["bartizan"], 1),
            (&["Bartizan; pop=1, other, bartizan"], 2),
            (&["bartizan,bartizan", "bartizan"], 3),
            (&["bartizan2", "x; bartizan"], 0),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CDN_LOOP, HeaderValue::from_static(value));
            }
            assert_eq!(passes(&headers), expect, "{values:?}");
        }
    }

    #[test]
    fn fields_that_a_visitor_gets() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-internal"),
            ("x-internal", "10.0.0.1"),
            ("transfer-encoding", "chunked"),
            ("alt-svc", "h3=\":9443\""),
            ("server", "origin/1.0"),
            ("cf-ray", "forged"),
            ("set-cookie", "a=1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        to_visitor(&mut headers);
        let ray = Rays::new(1, 0).draw("LAB");
        sign(&mut headers, &ray);
        let mut left: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, [format!("cf-ray: {}", ray.as_str()), "server: bartizan".into(), "set-cookie: a=1".into()]);
    }
}
