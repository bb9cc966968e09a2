//! Answers that the edge makes itself: they say what is wrong and what to do, for people and for programs.
//!
//! Nothing of the request is repeated in a page, and no address of an origin ever appears.

use std::fmt;
use std::sync::Arc;

use bartizan_exchange::{Body, LocalBoxFuture, Request, Response, Service};
use bartizan_names::{OriginFault, RefusalForm, Unbelieved};
use bartizan_tls::ClientAuth;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::dns_query::DnsQuery;
use crate::ingress::Refusal;
use crate::ray::Ray;

/// What the edge answers in place of an origin.
pub(crate) enum Instead<'w> {
    Problem(Problem),
    /// The host lets in nobody who is not known to it, and may have words of its own for that.
    Stranger(Problem, Arc<ClientAuth>),
    /// The URL to go to instead.
    Moved(HeaderValue),
    /// What can be asked of the edge itself.
    Options,
    /// What shows that a name is ours.
    Shown(String),
    /// The answer to a DNS query.
    Dns(DnsQuery<'w>),
}

impl From<Problem> for Instead<'_> {
    fn from(problem: Problem) -> Self {
        Instead::Problem(problem)
    }
}

impl fmt::Display for Instead<'_> {
    /// For who wants to see why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instead::Problem(problem) | Instead::Stranger(problem, _) => problem.fmt(f),
            Instead::Moved(location) => write!(f, "301 to {}", String::from_utf8_lossy(location.as_bytes())),
            Instead::Options => write!(f, "200, the methods that pass the edge"),
            Instead::Shown(_) => write!(f, "200, what shows an authority that the name is ours"),
            Instead::Dns(_) => write!(f, "DNS over HTTPS"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words { status, code, what, .. } = self.words();
        write!(f, "{status} {code}: {what}")
    }
}

/// That, for the request with this number.
pub(crate) struct Page<'w> {
    pub(crate) instead: Instead<'w>,
    pub(crate) ray: Ray,
}

impl Service for Page<'_> {
    fn answer(&self, request: Request) -> LocalBoxFuture<'_, Response> {
        let response = match &self.instead {
            Instead::Problem(problem) => problem.page(&request.headers, &self.ray),
            Instead::Stranger(problem, auth) => match &auth.policy.refusal {
                Some(words) => refused(words.form, words.body.to_string()),
                None => problem.page(&request.headers, &self.ray),
            },
            Instead::Moved(location) => moved(location.clone()),
            Instead::Options => options(),
            Instead::Shown(text) => shown(text.clone()),
            Instead::Dns(query) => return query.answer(request),
        };
        Box::pin(std::future::ready(response))
    }
}

/// Why a request is not answered by an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request breaks the rules.
    Refused(Refusal),
    UnknownHost,
    /// The firewall does not let the visitor in.
    Blocked,
    /// A rule or the zone cannot be read, so that nobody knows who may come in, or to where.
    Unread,
    WebSocketOff,
    Http2Off,
    Http3Off,
    /// The connection came about with what the site does not take.
    TlsRefused,
    /// The connection was made for a host that asks something else of its clients.
    OtherClients,
    /// The site wants a certificate, and the visitor has shown none.
    CertificateMissing,
    /// The visitor has shown one that the site does not believe.
    CertificateRefused(Unbelieved),
    /// It may be a copy, and the handshake that would tell did not end in time.
    TooEarly,
    Loop,
    /// The body has more octets than the zone takes.
    UploadTooLarge,
    /// The visitor's body ended early or broke the rules.
    BodyBroken,
    /// Its origin gave none. Untold: a connector does not say why.
    Origin(OriginFault),
    /// The same between a connector and its service, of which the zone's settings say nothing.
    TlsBehindTunnel,
    OriginAnswerTimedOut,
    TunnelNotConnected,
    /// The connection to a connector was lost, or what it said is no answer.
    TunnelBroken,
    /// The load balancer has no server that may be asked.
    NoServer,
    /// There are as many connections to origins as there may be, or as this visitor may have.
    NoRoom,
}

/// The words for a problem.
struct Words {
    status: u16,
    code: &'static str,
    title: &'static str,
    what: &'static str,
    /// What the visitor or the owner of the site can do.
    advice: &'static str,
}

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

const OWNER_CHECKS_ORIGIN: &str = "Visitors: try again in a minute. Owner: check that the origin server runs, listens on \
                                   the configured address and port, and lets this edge in.";

impl Problem {
    fn words(self) -> Words {
        let (status, code, title, what, advice) = match self {
            Problem::Refused(refusal) => (
                refusal.status(),
                refusal.code(),
                "Bad request",
                refusal.what(),
                "Nothing was passed on. If this came from a browser, a proxy in between may be at fault.",
            ),
            Problem::UnknownHost => (
                404,
                "unknown_host",
                "No such site here",
                "The name in the address leads to this edge, but no site with this name is configured here.",
                "Visitors: check the address. Owner: add a proxied record or a tunnel for this name, or end the pause of \
                 its zone.",
            ),
            Problem::Blocked => (
                403,
                "blocked",
                "You are not let in",
                "The owner of this site does not let in visitors from your address.",
                "Visitors: tell the owner the ray of this page. Owner: \"bartizan firewall test\" with the visitor's \
                 address says which rule decides.",
            ),
            Problem::Unread => (
                503,
                "configuration_unread",
                "This site is held up",
                "This edge cannot read all of what it was told about this site, and lets nobody in rather than the wrong ones.",
                "Visitors: try again later. Owner: \"bartizan status\" names what cannot be read; write it again or delete it.",
            ),
            Problem::WebSocketOff => (
                403,
                "websockets_off",
                "WebSocket is off",
                "WebSocket connections are switched off for this site.",
                "Owner: switch the zone's setting \"websockets\" on.",
            ),
            // RFC 9110 §15.5.20: a client may ask again on another connection, and browsers do.
            Problem::Http2Off => (
                421,
                "http2_off",
                "Not on this connection",
                "HTTP/2 is switched off for this site, and this request came over it.",
                "Ask again on a new connection. Owner: the zone's setting \"http2\" switches it on.",
            ),
            Problem::Http3Off => (
                421,
                "http3_off",
                "Not on this connection",
                "HTTP/3 is switched off for this site, and this request came over it.",
                "Ask again on a new connection. Owner: the zone's setting \"http3\" switches it on.",
            ),
            Problem::TlsRefused => (
                421,
                "tls_refused",
                "Not on this connection",
                "This site wants a newer version of TLS, or another cipher, than this connection was made with.",
                "Ask again on a new connection, with a newer browser if that does not help. Owner: the zone's settings \
                 \"min_tls_version\" and \"ciphers\" say what is wanted.",
            ),
            Problem::OtherClients => (
                421,
                "other_clients",
                "Not on this connection",
                "This site asks other questions about its visitors' certificates than the one that this connection was made \
                 for.",
                "Ask again on a new connection.",
            ),
            Problem::CertificateMissing => (
                403,
                "certificate_missing",
                "A certificate is wanted",
                "This site lets in visitors with a certificate of theirs alone, and none was shown.",
                "Visitors: choose the certificate that the owner of this site has given you, in a new window. Programs: \
                 send it in the TLS handshake. Owner: the host's client certificate policy is \"enforce\".",
            ),
            Problem::CertificateRefused(reason) => (
                403,
                "certificate_refused",
                "Your certificate is not accepted",
                match reason {
                    Unbelieved::Expired => "The certificate that was shown, or one above it, has run out.",
                    Unbelieved::NotYetValid => "The certificate that was shown, or one above it, is not valid yet.",
                    Unbelieved::Untrusted => {
                        "The certificate that was shown comes from nobody whom this site believes."
                    }
                    Unbelieved::Revoked => "The certificate that was shown was revoked.",
                    Unbelieved::WrongUsage => "The certificate that was shown is not for clients.",
                    Unbelieved::Unreadable => {
                        "The certificate that was shown has a form that cannot be used: it must be one of version 3 of X.509, which \
                         `openssl x509 -req` makes with `-extfile`, and what it calls critical must be known."
                    }
                },
                "Visitors: ask the owner of this site for a new certificate. Owner: the policy, the authorities and the \
                 revoked certificates of this host say whom it believes.",
            ),
            // RFC 8470 §5.2.
            Problem::TooEarly => (
                425,
                "too_early",
                "Too early",
                "This request came ahead of the end of the TLS handshake, and that never came: it may be the copy of an \
                 earlier one.",
                "Send the request again.",
            ),
            Problem::Loop => (
                508,
                "loop",
                "The request goes in circles",
                "This request has passed an edge of this kind too often: the origin seems to be the edge itself.",
                "Owner: point the site at the server that makes its pages, not at a name behind this edge.",
            ),
            // RFC 9110 §15.5.14.
            Problem::UploadTooLarge => (
                413,
                "upload_too_large",
                "Too much at once",
                "The body of the request is larger than this site takes.",
                "Visitors: send less at once. Owner: the zone's setting \"max_upload\" says how many megabytes it takes.",
            ),
            Problem::BodyBroken => (
                400,
                "body_broken",
                "Bad request",
                "The body of the request broke off, or its framing was wrong.",
                "Send the request again.",
            ),
            Problem::Origin(OriginFault::Refused) => (
                502,
                "origin_refused",
                "The origin refuses connections",
                "The edge works; the server behind it does not accept connections.",
                OWNER_CHECKS_ORIGIN,
            ),
            Problem::Origin(OriginFault::Unreachable) => (
                502,
                "origin_unreachable",
                "The origin cannot be reached",
                "The edge works; there is no way to the server behind it.",
                OWNER_CHECKS_ORIGIN,
            ),
            Problem::Origin(OriginFault::Unresolved) => (
                502,
                "origin_unresolved",
                "The origin's name has no address",
                "The edge works; the name of the server behind it could not be resolved.",
                "Owner: check the name that the site's record points at.",
            ),
            Problem::Origin(OriginFault::NotAllowed) => (
                502,
                "origin_not_allowed",
                "The origin is not a place to go to",
                "The edge works; the site's record leads to an address that the edge does not dial: one of its own, a \
                 private one, or one with a special meaning.",
                "Owner: point the site at the server that makes its pages. Operator: the edge's log and its metric \
                 bartizan_dials_refused say what kind of address it is.",
            ),
            Problem::Origin(OriginFault::Tls) => (
                502,
                "origin_tls",
                "No secure connection to the origin",
                "The edge works; the server behind it does not speak TLS, or its certificate is not accepted.",
                "Owner: install a valid certificate at the origin, or choose another value of the zone's setting \"ssl\".",
            ),
            Problem::TlsBehindTunnel => (
                502,
                "origin_tls",
                "No secure connection to the origin",
                "The edge and the tunnel work; the server behind the connector does not speak TLS, or the connector does not \
                 accept its certificate.",
                "Owner: give the server a certificate that the connector's machine trusts, name the host that its \
                 certificate is for (--origin-server-name), or start the connector with --no-tls-verify; in a tunnel's \
                 configuration these are originServerName and noTLSVerify of originRequest.",
            ),
            Problem::Origin(OriginFault::Broken) => (
                502,
                "origin_broken",
                "The origin's answer is broken",
                "The edge works; the server behind it closed the connection or did not answer in HTTP.",
                OWNER_CHECKS_ORIGIN,
            ),
            Problem::Origin(OriginFault::ConnectTimedOut) => (
                504,
                "origin_connect_timed_out",
                "The origin does not respond",
                "The edge works; no connection to the server behind it came about in time.",
                OWNER_CHECKS_ORIGIN,
            ),
            Problem::OriginAnswerTimedOut => (
                504,
                "origin_answer_timed_out",
                "The origin takes too long",
                "The edge works; the server behind it took the request but did not answer in time.",
                "Visitors: try again in a minute. Owner: look for slow work at the origin.",
            ),
            Problem::TunnelNotConnected => (
                530,
                "tunnel_not_connected",
                "The tunnel is not connected",
                "The edge works; no connector is connected for the tunnel that this site uses.",
                "Visitors: try again in a minute. Owner: start the connector (bartizan tunnel run) beside the service.",
            ),
            Problem::TunnelBroken => (
                502,
                "tunnel_broken",
                "The tunnel broke",
                "The edge works; the connection to the tunnel's connector broke while this request was on its way.",
                "Visitors: try again in a minute. Owner: look at the connector's log, and at the network between it and \
                 the edge.",
            ),
            Problem::Origin(OriginFault::Untold) => (
                502,
                "tunnel_no_answer",
                "No answer through the tunnel",
                "The edge and the tunnel work; the connector at its other end got no answer from the server there.",
                "Visitors: try again in a minute. Owner: the connector's log says why; check that the service runs and \
                 answers where the connector looks for it.",
            ),
            Problem::NoServer => (
                503,
                "no_server",
                "No server left",
                "No server of this site's pools is switched on.",
                "Visitors: try again in a minute. Owner: look at the load balancer's pools; a server has to be enabled, with a \
                 weight of more than 0.",
            ),
            Problem::NoRoom => (
                503,
                "no_room",
                "Too many requests at once",
                "The edge has no connection to an origin left for this request.",
                "Visitors: try again in a minute. Owner: give the edge more open files (ulimit -n), or look for slow work at \
                 the origin.",
            ),
        };
        Words { status, code, title, what, advice }
    }

    /// Its name in logs and answers.
    pub(crate) fn code(self) -> &'static str {
        self.words().code
    }

    /// The answer as HTML or JSON, whichever `Accept` in `asked` prefers.
    pub(crate) fn page(self, asked: &HeaderMap, ray: &Ray) -> Response {
        let words = self.words();
        let (kind, text) = if prefers_json(asked) {
            ("application/json", words.json(ray))
        } else {
            ("text/html; charset=utf-8", words.html(ray))
        };
        // 530 has no registered name, but is in the range.
        let status = StatusCode::from_u16(words.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        Response { status, headers, body: Body::whole(text), upgraded: None }
    }
}

impl Words {
    fn html(&self, ray: &Ray) -> String {
        let Words { status, title, what, advice, .. } = self;
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {title}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;\
             overflow-wrap:anywhere}}small{{opacity:.75}}</style></head>\n\
             <body><h1>{title}</h1>\n<p>{what}</p>\n<p>{advice}</p>\n\
             <p><small>Error {status} &middot; ray {} &middot; bartizan</small></p></body></html>\n",
            ray.as_str(),
        )
    }

    /// All parts are our own texts, so only quotation marks need escaping.
    fn json(&self, ray: &Ray) -> String {
        let quoted = |text: &str| text.replace('"', "\\\"");
        format!(
            "{{\"error\":{{\"status\":{},\"code\":\"{}\",\"title\":\"{}\",\"message\":\"{}\",\"advice\":\"{}\",\"ray\":\"{}\"}}}}\n",
            self.status,
            self.code,
            quoted(self.title),
            quoted(self.what),
            quoted(self.advice),
            ray.as_str(),
        )
    }
}

/// The methods that the edge itself lets pass, whatever the origin makes of them.
fn options() -> Response {
    let headers = HeaderMap::from_iter([(ALLOW, HeaderValue::from_static(METHODS))]);
    Response { status: StatusCode::OK, headers, body: Body::whole(""), upgraded: None }
}

/// In the words of the site's owner.
fn refused(form: RefusalForm, body: String) -> Response {
    let kind = match form {
        RefusalForm::Json => "application/json",
        RefusalForm::Html => "text/html; charset=utf-8",
    };
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    Response { status: StatusCode::FORBIDDEN, headers, body: Body::whole(body), upgraded: None }
}

fn shown(text: String) -> Response {
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    Response { status: StatusCode::OK, headers, body: Body::whole(text), upgraded: None }
}

/// Sends the visitor elsewhere, for good.
fn moved(location: HeaderValue) -> Response {
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    Response { status: StatusCode::MOVED_PERMANENTLY, headers, body: Body::whole("Moved.\n"), upgraded: None }
}

/// Whether JSON is asked for by name, and more than HTML (RFC 9110 §12.5.1).
fn prefers_json(asked: &HeaderMap) -> bool {
    let (mut json, mut html) = (0.0_f32, 0.0_f32);
    for value in asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if kind.eq_ignore_ascii_case("application/json") {
                json = weight;
            } else if kind.eq_ignore_ascii_case("text/html") {
                html = weight;
            }
        }
    }
    json > html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for (accept, json) in [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/html, application/json", false),
            ("text/html;q=0.5, application/json", true),
            ("application/json;q=0", false),
            ("application/json;q=x", true),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_json(&asked), json, "{accept}");
        }
    }
}
