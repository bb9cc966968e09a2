//! Which fields pass the edge, and which the edge adds (design §2.5): the same in all forms that fields have.

use std::rc::Rc;

use bartizan_firewall::Source;
use bartizan_names::{CountryCode, is_session_cookie};
use bartizan_routes::Scheme;
use bartizan_wire::http1::{self, Decimal, Field, Rewrite, is_or_passes_for, may_follow_a_body};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::answered::Answered;
use crate::clients::Told;
use crate::date::Dates;
use crate::fields::{Fields, Name, Own, Sink};
use crate::limits::LOOPS_MAX;
use crate::ray::Ray;

const ALT_SVC: Name = Name { lower: "alt-svc", written: "Alt-Svc" };

/// How long a visitor may go straight to HTTP/3, in seconds: a day, as RFC 7838 §3.1 has it where nobody says otherwise.
const HTTP3_KNOWN_FOR: &str = "86400";
const CDN_LOOP: Name = Name { lower: "cdn-loop", written: "CDN-Loop" };
const CF_CONNECTING_IP: Name = Name { lower: "cf-connecting-ip", written: "CF-Connecting-IP" };
const CF_IPCOUNTRY: Name = Name { lower: "cf-ipcountry", written: "CF-IPCountry" };
const CF_RAY: Name = Name { lower: "cf-ray", written: "CF-Ray" };
const CF_VISITOR: Name = Name { lower: "cf-visitor", written: "CF-Visitor" };
const DATE: Name = Name { lower: "date", written: "Date" };
const EARLY_DATA: Name = Name { lower: "early-data", written: "Early-Data" };
const EXPECT: &str = "expect";
const FORWARDED: Name = Name { lower: "forwarded", written: "Forwarded" };
const MAX_FORWARDS: &str = "max-forwards";
const NOSNIFF: Name = Name { lower: "x-content-type-options", written: "X-Content-Type-Options" };
const PROMISE: Name = Name { lower: "strict-transport-security", written: "Strict-Transport-Security" };
const STAY: Name = Name { lower: "set-cookie", written: "Set-Cookie" };
const SERVER: Name = Name { lower: "server", written: "Server" };
const X_FORWARDED_FOR: Name = Name { lower: "x-forwarded-for", written: "X-Forwarded-For" };
const X_FORWARDED_HOST: Name = Name { lower: "x-forwarded-host", written: "X-Forwarded-Host" };
const X_FORWARDED_PROTO: Name = Name { lower: "x-forwarded-proto", written: "X-Forwarded-Proto" };

/// Our name in `CDN-Loop` and `Server`.
const EDGE: &str = "bartizan";

/// How many fields [`to_origin`] may add, but for what is told of certificates. Room for them is made when a map is: one that grows is built anew.
pub(crate) const FIELDS_TO_ORIGIN: usize = 10;

/// A source as origins are told of it. Written once for a connection.
pub(crate) struct SourceFields {
    /// Lines of a head, the last of which wants a host. In the first is the address.
    lines: Box<str>,
    country: CountryCode,
    address_length: u8,
    scheme: Scheme,
}

/// Behind the host in the last line of [`SourceFields`], by the scheme: the end of that, and the name of the next one.
const BEHIND_HOST: [&str; 2] = ["\";proto=http\r\nX-Forwarded-Host: ", "\";proto=https\r\nX-Forwarded-Host: "];

/// Our own line, where no other edge has been before, and the name of the next one.
const OWN_LOOP: &str = "\r\nCDN-Loop: bartizan\r\nCF-Ray: ";

/// What each answer has of ours, up to its number.
const OWN_ANSWER: &str = "Server: bartizan\r\nCF-Ray: ";

impl SourceFields {
    pub(crate) fn new(source: &Source, scheme: Scheme) -> SourceFields {
        let (address, country) = (source.address.to_string(), source.country.unwrap_or(CountryCode::UNKNOWN));
        let [proto, visitor] = words(scheme);
        let [open, close] = marks(&address);
        let lines = format!(
            "X-Forwarded-For: {address}\r\nCF-Connecting-IP: {address}\r\nX-Forwarded-Proto: {proto}\r\n\
             CF-Visitor: {visitor}\r\nCF-IPCountry: {}\r\nForwarded: for={open}{address}{close};host=\"",
            country.as_str()
        );
        SourceFields { lines: lines.into(), country, address_length: address.len() as u8, scheme }
    }

    fn address(&self) -> &str {
        let from = X_FORWARDED_FOR.written.len() + ": ".len();
        &self.lines[from..from + usize::from(self.address_length)]
    }
}

/// `X-Forwarded-Proto` and `CF-Visitor`.
fn words(scheme: Scheme) -> [&'static str; 2] {
    match scheme {
        Scheme::Http => ["http", r#"{"scheme":"http"}"#],
        Scheme::Https => ["https", r#"{"scheme":"https"}"#],
    }
}

/// RFC 7239 §4: IPv6 addresses and hosts with a port need quotation marks.
fn marks(address: &str) -> [&'static str; 2] {
    if address.contains(':') { ["\"[", "]\""] } else { [""; 2] }
}

/// What an origin is told about a request.
pub(crate) struct Provenance<'r> {
    pub(crate) source: &'r SourceFields,
    /// With the port if one was named.
    pub(crate) host: &'r str,
    pub(crate) ray: &'r Ray,
    /// It goes on before the visitor's handshake is over.
    pub(crate) is_early: bool,
    /// What is known of the visitor by its certificate, where that is asked for.
    pub(crate) client: Option<&'r Rc<Told>>,
}

/// How often the request has passed an edge of this kind, as `CDN-Loop` says (RFC 8586 §2).
pub(crate) fn passes(fields: &Fields) -> usize {
    let infos = fields.values(CDN_LOOP.lower).flat_map(|value| value.split(|byte| *byte == b','));
    let ids = infos.filter_map(|info| info.split(|byte| *byte == b';').next());
    ids.filter(|id| id.trim_ascii().eq_ignore_ascii_case(EDGE.as_bytes())).count()
}

/// Whether the request has passed too often to be forwarded once more.
pub(crate) fn is_loop(fields: &Fields) -> bool {
    passes(fields) > LOOPS_MAX
}

/// Whether an `OPTIONS` was meant for us (RFC 9110 §7.6.2).
pub(crate) fn ends_here(method: &Method, fields: &Fields) -> bool {
    forwards_left(method, fields) == Some(0)
}

/// How many hops an `OPTIONS` may still go, if it says so. Other methods have no such limit.
fn forwards_left(method: &Method, fields: &Fields) -> Option<u32> {
    let stated = if *method == Method::OPTIONS { fields.get(MAX_FORWARDS)? } else { return None };
    std::str::from_utf8(stated).ok()?.parse().ok()
}

/// Writes the fields that an origin gets of a visitor's.
// Hot: once a request. No allocation but in a sink, and for requests that passed other edges or show a session of the API.
pub(crate) fn to_origin<S: Sink>(method: &Method, fields: &Fields, provenance: &Provenance<'_>, sink: S) -> S {
    let left = forwards_left(method, fields).map(|left| left.saturating_sub(1).to_string());
    let mut counted = left.as_deref();
    let mut passed: Vec<&[u8]> = Vec::new();
    let without_session = cookies_without_session(fields);
    let mut cookies = without_session.iter();
    let mut is_early = provenance.is_early;
    let is_chosen = |name: &[u8]| provenance.client.is_some_and(|told| told.is_chosen(name));
    let sink = sink.pass(fields, |name, value| match Fate::with_an_origin(name) {
        _ if is_chosen(name) => Rewrite::Drop,
        Fate::Cookie if shows_session(value) => match cookies.next() {
            Some(rest) if !rest.is_empty() => Rewrite::Replace(rest),
            _ => Rewrite::Drop,
        },
        Fate::Cookie => Rewrite::Keep,
        Fate::Passes => Rewrite::Keep,
        Fate::Stays => Rewrite::Drop,
        Fate::Once => {
            is_early = true;
            Rewrite::Drop
        }
        Fate::Gathered => {
            passed.extend([value, b", "]);
            Rewrite::Drop
        }
        // One line is counted down, others of the same name would contradict it.
        Fate::Counted if left.is_some() => {
            counted.take().map_or(Rewrite::Drop, |left| Rewrite::Replace(left.as_bytes()))
        }
        Fate::Counted => Rewrite::Keep,
    });
    // RFC 8470 §5.1: passed on whatever it says, and as one.
    let sink = if is_early { sink.add(EARLY_DATA, Own::Word("1")) } else { sink };
    let Provenance { source, host, ray, .. } = provenance;
    let told = provenance.client.into_iter().flat_map(|told| &told.fields);
    let sink = told.fold(sink, |sink, (name, value)| sink.tell(name, value));
    let host = host.as_bytes();
    // The usual case, with nine lines in a few pieces.
    let sink = if passed.is_empty() {
        let behind = BEHIND_HOST[usize::from(source.scheme == Scheme::Https)];
        let lines = [(&*source.lines, host), (behind, host), (OWN_LOOP, ray.as_bytes())];
        match sink.add_lines(&lines.map(|(made, value)| (made.as_bytes(), value))) {
            Ok(sink) => return sink,
            Err(sink) => sink,
        }
    } else {
        sink
    };
    let [proto, visitor] = words(source.scheme);
    let [open, close] = marks(source.address()).map(str::as_bytes);
    let address = source.address().as_bytes();
    let forwarded = [b"for=", open, address, close, b";host=\"", host, b"\";proto=", proto.as_bytes()];
    let pass = if passed.is_empty() {
        Own::Word(EDGE)
    } else {
        // One line, in which we are the last.
        passed.push(EDGE.as_bytes());
        Own::Parts(&passed)
    };
    sink.add(X_FORWARDED_FOR, Own::Parts(&[address]))
        .add(CF_CONNECTING_IP, Own::Parts(&[address]))
        .add(X_FORWARDED_PROTO, Own::Word(proto))
        .add(CF_VISITOR, Own::Word(visitor))
        .add(CF_IPCOUNTRY, Own::Parts(&[source.country.as_str().as_bytes()]))
        .add(CF_RAY, Own::Parts(&[ray.as_bytes()]))
        .add(X_FORWARDED_HOST, Own::Parts(&[host]))
        .add(FORWARDED, Own::Parts(&forwarded))
        .add(CDN_LOOP, pass)
}

/// Writes the fields that a visitor gets of an answer's, and those of every answer, also of our own.
// Hot: once an answer. No allocation but in a sink.
pub(crate) fn to_visitor<S: Sink>(answered: &Answered, dates: &Dates, sink: S) -> S {
    let mut is_dated = false;
    let promise = answered.promise;
    let is = |name: &[u8], ours: Name| name.eq_ignore_ascii_case(ours.lower.as_bytes());
    let mut sink = sink.pass(&answered.fields, |name, value| {
        is_dated |= is(name, DATE);
        // Two lines would be one too many (RFC 6797 §8.1).
        if promise.enabled && is(name, PROMISE) || promise.nosniff && is(name, NOSNIFF) {
            return Rewrite::Drop;
        }
        // An origin would log the visitor in as somebody else, or out.
        let sets_session = name.eq_ignore_ascii_case(SET_COOKIE.as_str().as_bytes())
            && is_session_cookie(value.split(|byte| *byte == b';').next().unwrap_or_default());
        if sets_session { Rewrite::Drop } else { fate_with_a_visitor(name) }
    });
    if !is_dated {
        // RFC 9110 §6.6.1: a recipient adds it when it passes the answer on.
        sink = sink.add(DATE, Own::Parts(&[dates.now().as_bytes()]));
    }
    if promise.enabled {
        let with = |is_said: bool, directive: &'static [u8]| if is_said { directive } else { b"" };
        sink = sink.add(
            PROMISE,
            Own::Parts(&[
                b"max-age=",
                Decimal::of(promise.max_age.into()).as_bytes(),
                with(promise.include_subdomains, b"; includeSubDomains"),
                with(promise.preload, b"; preload"),
            ]),
        );
    }
    if promise.nosniff {
        sink = sink.add(NOSNIFF, Own::Word("nosniff"));
    }
    if let Some(port) = answered.http3 {
        let port = Decimal::of(port.into());
        sink = sink.add(ALT_SVC, Own::Parts(&[b"h3=\":", port.as_bytes(), b"\"; ma=", HTTP3_KNOWN_FOR.as_bytes()]));
    }
    if let Some(sticky) = answered.sticky {
        sink = sink.add(STAY, Own::Parts(&[sticky.set_cookie().as_bytes()]));
    }
    let ray = answered.ray.as_bytes();
    match sink.add_lines(&[(OWN_ANSWER.as_bytes(), ray)]) {
        Ok(sink) => sink,
        Err(sink) => sink.add(SERVER, Own::Word(EDGE)).add(CF_RAY, Own::Parts(&[ray])),
    }
}

/// What an interim answer may say: what to load before the answer is here (RFC 8297 §2), and under which policy. Anything
/// else is the answer's to say, for a visitor that keeps it would act on what is not decided yet: a cookie, a challenge, how
/// long to trust only TLS.
const HINTS: [&str; 3] = ["link", "content-security-policy", "referrer-policy"];

/// Writes the fields that a visitor gets of an interim answer's.
pub(crate) fn interim_to_visitor<S: Sink>(fields: &Fields, sink: S) -> S {
    sink.pass(fields, |name, _| {
        let is_hint = HINTS.iter().any(|hint| name.eq_ignore_ascii_case(hint.as_bytes()));
        if is_hint { Rewrite::Keep } else { Rewrite::Drop }
    })
}

fn fate_with_a_visitor(name: &[u8]) -> Rewrite<'static> {
    // `Alt-Svc` (RFC 7838) would send visitors to ports of the origin; the others are ours.
    let stays = [ALT_SVC.lower, SERVER.lower, CF_RAY.lower].iter().any(|stays| is_or_passes_for(name, stays));
    if stays { Rewrite::Drop } else { Rewrite::Keep }
}

/// What becomes of a visitor's field on its way to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    Stays,
    /// That it is there is passed on.
    Once,
    /// Its lines become one, at the end of which is ours.
    Gathered,
    /// It limits how far the request goes.
    Counted,
    /// It may show a session of the API, which is nothing for an origin.
    Cookie,
}

impl Fate {
    // Hot: once a field.
    fn with_an_origin(name: &[u8]) -> Fate {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // `Expect` is answered by us (RFC 9110 §10.1.1).
        if is(EXPECT) || is_reserved(name) {
            Fate::Stays
        } else if is(EARLY_DATA.lower) {
            Fate::Once
        } else if is(CDN_LOOP.lower) {
            Fate::Gathered
        } else if [EARLY_DATA.lower, CDN_LOOP.lower].iter().any(|ours| is_or_passes_for(name, ours)) {
            // It would contradict ours.
            Fate::Stays
        } else if is(MAX_FORWARDS) {
            Fate::Counted
        } else if is(COOKIE.as_str()) {
            Fate::Cookie
        } else {
            Fate::Passes
        }
    }
}

/// Whether a `Cookie` shows a session of the API: whoever has it is that user. A browser that is logged in sends it to the
/// HTTP plane as well where that is on the API's host, as cookies know no ports.
fn shows_session(value: &[u8]) -> bool {
    value.split(|byte| *byte == b';').any(is_session_cookie)
}

/// The `Cookie` lines that show a session, each without it, in their order.
fn cookies_without_session(fields: &Fields) -> Vec<Vec<u8>> {
    let without = |value: &[u8]| {
        let others = value.split(|byte| *byte == b';').filter(|pair| !is_session_cookie(pair));
        others.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).collect::<Vec<_>>().join(&b"; "[..])
    };
    fields.values(COOKIE.as_str()).filter(|value| shows_session(value)).map(without).collect()
}

/// Trailers as they were read from a visitor or an origin, without what may not be there (RFC 9110 §6.5.1): what is read
/// before a body only, and whatever would not pass in a head as it is, both ways.
pub(crate) fn trailers(read: http1::Fields<'_>) -> HeaderMap {
    let passes = |name: &[u8]| {
        let is_untouched = Fate::with_an_origin(name) == Fate::Passes;
        is_untouched && may_follow_a_body(name) && matches!(fate_with_a_visitor(name), Rewrite::Keep)
    };
    let field = |field: Field<'_>| {
        // What was read is legal.
        Some((HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
    };
    read.iter().filter(|field| passes(field.name)).filter_map(field).collect()
}

/// Whether only an edge may set a field of this name, in any spelling.
fn is_reserved(name: &[u8]) -> bool {
    const PREFIXES: [&str; 3] = ["cf-", "x-forwarded-", "bartizan-"];
    const NAMES: [&str; 5] = ["forwarded", "client-cert", "client-cert-chain", "x-real-ip", "true-client-ip"];
    // Where `access tcp --destination` wants to go, which the connector's bastion reads. It says nothing about who asks.
    const OF_CLIENTS: &str = "cf-access-jump-destination";
    if name.eq_ignore_ascii_case(OF_CLIENTS.as_bytes()) {
        return false;
    }
    let begins_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| is_or_passes_for(start, prefix));
    PREFIXES.iter().any(|prefix| begins_with(prefix)) || NAMES.iter().any(|reserved| is_or_passes_for(name, reserved))
}

#[cfg(test)]
mod tests;
