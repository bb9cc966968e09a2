//! Which request goes where: the tunnel's configuration document, parsed.
//!
//! The document is the one that the edge pushes and the API stores (`ingress`, `originRequest`; `warp-routing` is for
//! traffic that is not served here). Times are whole seconds. A key that is known and not supported is refused by name;
//! an unknown key is ignored.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{self as names, Encryption, Host, OriginError};
use bartizan_tls::{ClientConfig, Now, Roots, TlsError};
use http::{HeaderValue, StatusCode};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::egress::{HTTP2_ALPN, Http2, Origin, Tls};
use crate::uplink::client_config;

/// The most rules of a configuration.
const RULES_MAX: usize = 4096;
/// Rules without a service that are named.
const UNSERVED_NAMED: usize = 5;
/// The most memory of one compiled path pattern.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Octets of a file with authorities.
const CA_POOL_BYTES_MAX: u64 = 2 << 20;

/// All rules of a tunnel, in order. The last one matches everything.
#[derive(Debug)]
pub struct Ingress {
    rules: Vec<Rule>,
    json: Arc<str>,
    /// Rules that are not served, and why.
    unserved: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    host: HostPattern,
    path: Option<Regex>,
    service: Service,
}

#[derive(Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(String),
    /// `.example.com`, from `*.example.com`.
    Suffix(String),
}

/// What answers.
#[derive(Debug)]
pub(crate) enum Service {
    Origin(Arc<Origin>),
    Status(StatusCode),
    Hello,
    /// None: this connector does not serve it, for this reason.
    Unserved(Arc<str>),
}

/// What becomes of a rule whose service cannot be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unservable {
    /// The rules are refused.
    Refuses,
    /// It answers that there is none, and takes nothing from the others.
    StandsAlone,
}

/// How to talk to an origin. All keys of the document that are understood; none means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OriginRequest {
    /// Seconds for the connection, default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<u64>,
    /// Seconds for the TLS handshake, default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_timeout: Option<u64>,
    /// Seconds for which an idle connection is kept, default 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_timeout: Option<u64>,
    /// How many idle connections are kept, default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_connections: Option<u32>,
    /// Sent as `Host` instead of the one asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_host_header: Option<String>,
    /// The name that the origin's certificate must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_server_name: Option<String>,
    /// The certificate must have the name asked for, instead of the service's.
    #[serde(rename = "matchSNItoHost", skip_serializing_if = "Option::is_none")]
    pub match_sni_to_host: Option<bool>,
    /// A PEM file with certificate authorities to trust besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pool: Option<String>,
    #[serde(rename = "noTLSVerify", skip_serializing_if = "Option::is_none")]
    pub no_tls_verify: Option<bool>,
    // Known and not supported: refused when set to something.
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_chunked_encoding: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bastion_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_type: Option<String>,
    /// The service speaks HTTP/2, over TLS or in the clear: it gets requests of gRPC.
    #[serde(rename = "http2Origin", skip_serializing_if = "Option::is_none")]
    pub http2_origin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Access {
    required: bool,
}

/// A host has no service with which HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoHttp2 {
    #[error("its service is not said to speak HTTP/2, as gRPC needs it (--http2-origin, http2Origin of originRequest)")]
    NotSaid,
    #[error("a rule of this host has a path, and those are not seen in HTTP/2: give the service a host of its own")]
    Paths,
}

/// The configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    #[error("the configuration is not the JSON object that it should be: {0}")]
    Json(#[source] serde_json::Error),
    #[error("there are more than {RULES_MAX} rules")]
    TooManyRules,
    #[error("the last ingress rule must match all URLs (have neither hostname nor path)")]
    LastNotAll,
    #[error("rule {rule} matches all URLs, and so the rules after it would never be used")]
    AllNotLast { rule: usize },
    #[error("rule {rule}: hostname {hostname:?} may have a wildcard only as its whole first label, and no port")]
    Hostname { rule: usize, hostname: String },
    #[error("rule {rule}: path {path:?} is not a regular expression that is understood")]
    Path {
        rule: usize,
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "service {0:?} is not one of http://HOST:PORT, https://HOST:PORT, http_status:NNN (200 to 599), hello_world"
    )]
    Service(String),
    #[error("service {0:?} has a path; requests keep the path that was asked for")]
    ServicePath(String),
    #[error("{0} is not supported by this connector")]
    Unsupported(&'static str),
    #[error("httpHostHeader {0:?} is not a host")]
    HostHeader(String),
    #[error("caPool {path:?} cannot be read")]
    CaPool {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("TLS towards the origin cannot be set up: {0}")]
    Tls(#[from] TlsError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    ingress: Option<Vec<RuleBody>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_request: Option<OriginRequest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_request: Option<OriginRequest>,
}

impl Ingress {
    /// From a configuration document. May read the files that it names. Without any rule everything is a 503.
    pub fn parse(json: &[u8]) -> Result<Ingress, IngressError> {
        Ingress::parse_by(None, json)
    }

    /// The same, where certificates of origins are judged by this time.
    pub fn parse_by(now: Option<&Now>, json: &[u8]) -> Result<Ingress, IngressError> {
        Ingress::read(json, now, Unservable::Refuses)
    }

    /// The same of a document from the edge, which is for all connectors of a tunnel: a rule that this one cannot serve answers so, and
    /// the others are served ([`Ingress::unserved`]).
    pub fn parse_pushed(now: Option<&Now>, json: &[u8]) -> Result<Ingress, IngressError> {
        Ingress::read(json, now, Unservable::StandsAlone)
    }

    fn read(json: &[u8], now: Option<&Now>, unservable: Unservable) -> Result<Ingress, IngressError> {
        let document: Document = serde_json::from_slice(json).map_err(IngressError::Json)?;
        Ingress::build(document, String::from_utf8_lossy(json).into(), (now, unservable))
    }

    /// Everything goes to one service: a URL, `hello_world`, or `http_status:N`.
    pub fn single(service: &str, origin: OriginRequest) -> Result<Ingress, IngressError> {
        let rule = RuleBody { hostname: None, path: None, service: service.to_owned(), origin_request: Some(origin) };
        let document = Document { ingress: Some(vec![rule]), origin_request: None };
        let json = serde_json::to_string(&document).map_err(IngressError::Json)?;
        Ingress::build(document, json.into(), (None, Unservable::Refuses))
    }

    /// The document that these rules come from.
    pub fn json(&self) -> &Arc<str> {
        &self.json
    }

    /// Which rules are not served, and why; none if all are.
    pub fn unserved(&self) -> Option<String> {
        let named = self.unserved.iter().take(UNSERVED_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = self.unserved.len().saturating_sub(UNSERVED_NAMED);
        match (named.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(named),
            (false, more) => Some(format!("{named}; and {more} more")),
        }
    }

    fn build(
        document: Document,
        json: Arc<str>,
        (now, unservable): (Option<&Now>, Unservable),
    ) -> Result<Ingress, IngressError> {
        let bodies = document.ingress.unwrap_or_default();
        if bodies.len() > RULES_MAX {
            return Err(IngressError::TooManyRules);
        }
        let defaults = document.origin_request.unwrap_or_default();
        let last = bodies.len().saturating_sub(1);
        let (mut rules, mut unserved) = (Vec::with_capacity(bodies.len()), Vec::new());
        for (at, body) in bodies.into_iter().enumerate() {
            let rule = Rule::build(at + 1, body, &defaults, (now, unservable))?;
            if let Service::Unserved(why) = &rule.service {
                unserved.push(format!("rule {}: {why}", at + 1));
            }
            match rule.matches_all() {
                true if at < last => return Err(IngressError::AllNotLast { rule: at + 1 }),
                false if at == last => return Err(IngressError::LastNotAll),
                _ => rules.push(rule),
            }
        }
        if rules.is_empty() {
            let service = Service::Status(StatusCode::SERVICE_UNAVAILABLE);
            rules.push(Rule { host: HostPattern::Any, path: None, service });
        }
        Ok(Ingress { rules, json, unserved })
    }

    /// Closes idle connections to origins that are not to be kept.
    pub(crate) fn sweep(&self) {
        for rule in &self.rules {
            if let Service::Origin(origin) = &rule.service {
                origin.sweep();
            }
        }
    }

    /// The service for a host (a port does not count) and a path.
    pub(crate) fn find(&self, host: &Host, path: &str) -> &Service {
        let found = self.rules.iter().find(|rule| rule.matches(host.name(), path));
        // `build` makes sure that the last one matches whatever comes.
        &found.unwrap_or(&self.rules[self.rules.len() - 1]).service
    }

    /// The service of a host that speaks HTTP/2. What is asked for on a connection to it is not seen here, so no rule of the
    /// host may look at paths.
    pub(crate) fn find_http2(&self, host: &Host) -> Result<&Arc<Origin>, NoHttp2> {
        match self.rules.iter().find(|rule| rule.host.matches(host.name())) {
            Some(Rule { path: Some(_), .. }) => Err(NoHttp2::Paths),
            Some(Rule { service: Service::Origin(origin), .. }) if origin.speaks_http2() => Ok(origin),
            Some(_) | None => Err(NoHttp2::NotSaid),
        }
    }
}

impl Rule {
    fn build(
        number: usize,
        body: RuleBody,
        defaults: &OriginRequest,
        (now, unservable): (Option<&Now>, Unservable),
    ) -> Result<Rule, IngressError> {
        let path = body.path.filter(|path| !path.is_empty()).map(|path| compile(number, path)).transpose()?;
        let origin = body.origin_request.unwrap_or_default().or(defaults);
        Ok(Rule {
            host: HostPattern::parse(number, body.hostname.unwrap_or_default())?,
            path,
            service: match Service::parse(&body.service, &origin, now) {
                Err(error) if unservable == Unservable::StandsAlone => Service::Unserved(error.to_string().into()),
                parsed => parsed?,
            },
        })
    }

    fn matches(&self, host: &str, path: &str) -> bool {
        self.host.matches(host) && self.path.as_ref().is_none_or(|pattern| pattern.is_match(path))
    }

    fn matches_all(&self) -> bool {
        self.host == HostPattern::Any && self.path.is_none()
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => host == name,
            HostPattern::Suffix(suffix) => host.ends_with(suffix.as_str()),
        }
    }

    fn parse(rule: usize, hostname: String) -> Result<HostPattern, IngressError> {
        // As a request's host is compared.
        let name = hostname.strip_suffix('.').unwrap_or(&hostname).to_ascii_lowercase();
        let (wildcard, rest) = match name.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let misplaced = rest.contains(['*', ':']) || (wildcard && !rest.is_empty() && !rest.starts_with('.'));
        match (wildcard, rest) {
            _ if misplaced => Err(IngressError::Hostname { rule, hostname }),
            (_, "") => Ok(HostPattern::Any),
            (true, suffix) => Ok(HostPattern::Suffix(suffix.to_owned())),
            (false, name) => Ok(HostPattern::Exact(name.to_owned())),
        }
    }
}

fn compile(rule: usize, path: String) -> Result<Regex, IngressError> {
    let wrong = |path, source| IngressError::Path { rule, path, source };
    let pattern = match names::rust_pattern(&path) {
        Ok(pattern) => pattern,
        Err(error) => return Err(wrong(path, error.into())),
    };
    RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| wrong(path, error.into()))
}

impl Service {
    fn parse(text: &str, request: &OriginRequest, now: Option<&Now>) -> Result<Service, IngressError> {
        request.refuse_unsupported()?;
        let wrong = || IngressError::Service(text.to_owned());
        if let Some(status) = text.strip_prefix("http_status:") {
            // Only what can be a final answer (RFC 9110 §15): a 1xx is never the last one.
            let status = status.parse().ok().filter(|status: &StatusCode| (200..=599).contains(&status.as_u16()));
            return status.map(Service::Status).ok_or_else(wrong);
        }
        if text == "hello_world" || text == "hello-world" {
            return Ok(Service::Hello);
        }
        if ["unix:", "unix+tls:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(IngressError::Unsupported(
                "a service behind a Unix socket (let it listen on a port of 127.0.0.1)",
            ));
        }
        let mut origin: names::Origin = text.parse().map_err(|error| match error {
            OriginError::Path => IngressError::ServicePath(text.to_owned()),
            OriginError::Scheme | OriginError::Address => wrong(),
        })?;
        if origin.encryption == Encryption::Verified && request.no_tls_verify == Some(true) {
            origin.encryption = Encryption::Unverified;
        }
        let tls = match origin.encryption {
            Encryption::None => None,
            encryption => Some(tls(request, encryption, now)?),
        };
        let seconds = |seconds: Option<u64>, default| Duration::from_secs(seconds.unwrap_or(default));
        Ok(Service::Origin(Arc::new(Origin::new(crate::egress::Settings {
            name: origin.to_string(),
            origin,
            tls,
            host_header: request.http_host_header.as_deref().map(host_header).transpose()?,
            connect_max: seconds(request.connect_timeout, 30),
            handshake_max: seconds(request.tls_timeout, 10),
            idle_max: seconds(request.keep_alive_timeout, 90),
            idle_connections_max: request.keep_alive_connections.unwrap_or(100) as usize,
            http2: if request.http2_origin == Some(true) { Http2::Spoken } else { Http2::NotSaid },
            said: (text.to_owned(), request.clone()),
        }))))
    }
}

fn tls(request: &OriginRequest, encryption: Encryption, now: Option<&Now>) -> Result<Tls, IngressError> {
    let roots = match &request.ca_pool {
        _ if encryption == Encryption::Unverified => Roots::Unverified,
        Some(path) => {
            let pem = ca_pool(path);
            Roots::SystemAnd(pem.map_err(|source| IngressError::CaPool { path: path.clone(), source })?)
        }
        None => Roots::System,
    };
    let config = client_config(now, &roots, &[b"http/1.1"])?;
    let mut http2 = ClientConfig::clone(&config);
    http2.alpn_protocols = vec![HTTP2_ALPN.to_vec()];
    let match_host = request.match_sni_to_host == Some(true);
    Ok(Tls { config, http2: Arc::new(http2), server_name: request.origin_server_name.clone(), match_host })
}

/// The text of a file that rules name. They may have come from the edge, so that it may be a device without an end.
fn ca_pool(path: &str) -> io::Result<String> {
    let mut pem = String::new();
    File::open(path)?.take(CA_POOL_BYTES_MAX + 1).read_to_string(&mut pem)?;
    match pem.len() as u64 > CA_POOL_BYTES_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {} MB", CA_POOL_BYTES_MAX >> 20),
        )),
        false => Ok(pem),
    }
}

fn host_header(host: &str) -> Result<HeaderValue, IngressError> {
    HeaderValue::from_str(host).map_err(|_| IngressError::HostHeader(host.to_owned()))
}

impl OriginRequest {
    /// These settings, and those of `defaults` where these say nothing. An empty text says nothing.
    fn or(self, defaults: &OriginRequest) -> OriginRequest {
        let text = |own: Option<String>, default: &Option<String>| {
            own.filter(|text| !text.is_empty()).or_else(|| default.clone()).filter(|text| !text.is_empty())
        };
        OriginRequest {
            connect_timeout: self.connect_timeout.or(defaults.connect_timeout),
            tls_timeout: self.tls_timeout.or(defaults.tls_timeout),
            keep_alive_timeout: self.keep_alive_timeout.or(defaults.keep_alive_timeout),
            keep_alive_connections: self.keep_alive_connections.or(defaults.keep_alive_connections),
            http_host_header: text(self.http_host_header, &defaults.http_host_header),
            origin_server_name: text(self.origin_server_name, &defaults.origin_server_name),
            match_sni_to_host: self.match_sni_to_host.or(defaults.match_sni_to_host),
            ca_pool: text(self.ca_pool, &defaults.ca_pool),
            no_tls_verify: self.no_tls_verify.or(defaults.no_tls_verify),
            disable_chunked_encoding: self.disable_chunked_encoding.or(defaults.disable_chunked_encoding),
            bastion_mode: self.bastion_mode.or(defaults.bastion_mode),
            proxy_type: text(self.proxy_type, &defaults.proxy_type),
            http2_origin: self.http2_origin.or(defaults.http2_origin),
            access: self.access.or_else(|| defaults.access.clone()),
        }
    }

    /// If one of these was ignored, requests would go where they must not go, or unchecked.
    fn refuse_unsupported(&self) -> Result<(), IngressError> {
        let set = [
            ("originRequest.disableChunkedEncoding", self.disable_chunked_encoding == Some(true)),
            ("originRequest.bastionMode", self.bastion_mode == Some(true)),
            ("originRequest.proxyType", self.proxy_type.is_some()),
            // The edge speaks with the service then, and names the host that was asked for.
            (
                "originRequest.httpHostHeader beside http2Origin",
                self.http2_origin == Some(true) && self.http_host_header.is_some(),
            ),
            ("originRequest.access.required", self.access.as_ref().is_some_and(|access| access.required)),
        ];
        set.into_iter().find(|(_, set)| *set).map_or(Ok(()), |(key, _)| Err(IngressError::Unsupported(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service that a request meets, in the document's words.
    fn find(ingress: &Ingress, url: &str) -> String {
        let (host, path) = url.split_at(url.find('/').unwrap());
        match ingress.find(&Host::parse(host).unwrap(), path) {
            Service::Origin(origin) => origin.name().to_owned(),
            Service::Status(status) => format!("http_status:{}", status.as_u16()),
            Service::Hello => "hello_world".to_owned(),
            Service::Unserved(why) => format!("unserved: {why}"),
        }
    }

    /// What comes from the edge is for all connectors of a tunnel, and some of it may not be for this one.
    #[test]
    fn a_rule_that_cannot_be_served_takes_only_itself() {
        let rules = br#"{"ingress": [
            {"hostname": "ssh.test", "service": "tcp://localhost:22"},
            {"hostname": "sock.test", "service": "unix:/run/a.sock"},
            {"hostname": "bastion.test", "service": "http://localhost:1", "originRequest": {"bastionMode": true}},
            {"hostname": "web.test", "path": "^/\\Qa.b\\E$", "service": "http://localhost:2"},
            {"service": "http_status:404"}
        ]}"#;
        assert!(matches!(Ingress::parse(rules), Err(IngressError::Service(_))), "rules of its own it has to serve");
        let ingress = Ingress::parse_pushed(None, rules).unwrap();
        for (url, expect) in [
            ("ssh.test/", "unserved: service \"tcp://localhost:22\" is not one of"),
            ("sock.test/", "unserved: a service behind a Unix socket"),
            ("bastion.test/", "unserved: originRequest.bastionMode is not supported by this connector"),
            ("web.test/a.b", "http://localhost:2"),
            ("web.test/aXb", "http_status:404"),
            ("other.test/", "http_status:404"),
        ] {
            let found = find(&ingress, url);
            assert!(found.starts_with(expect), "{url}: {found}");
        }
        let unserved = ingress.unserved().unwrap();
        assert!(unserved.starts_with("rule 1: ") && unserved.contains("; rule 3: "), "{unserved}");
        assert_eq!(Ingress::parse_pushed(None, b"{}").unwrap().unserved(), None);
        // What no rule is made of is refused as a whole.
        for json in ["7", r#"{"ingress": [{"path": "(", "service": "http://x"}, {"service": "hello_world"}]}"#] {
            assert!(Ingress::parse_pushed(None, json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let ingress = Ingress::parse(
            br#"{"ingress": [
                {"hostname": "app.example.com", "path": "^/api/", "service": "http://localhost:1"},
                {"hostname": "App.example.com", "path": "", "service": "http://localhost:2/"},
                {"hostname": "*.example.com", "path": "\\.(png|jpg)$", "service": "https://[::1]:3",
                 "originRequest": {"noTLSVerify": true, "unknown": 1}},
                {"hostname": "*.example.com", "service": "hello_world"},
                {"hostname": "dotted.test.", "service": "http_status:403"},
                {"hostname": "fine.test", "service": "http_status:200"},
                {"hostname": "last.test", "service": "http_status:599"},
                {"service": "http_status:404"}
            ], "warp-routing": {"enabled": false}}"#,
        )
        .unwrap();
        for (url, expect) in [
            ("app.example.com/api/x", "http://localhost:1"),
            ("APP.example.com:8443/apix", "http://localhost:2"),
            ("app.example.com./apix", "http://localhost:2"),
            ("App.Example.com.:80/api/x", "http://localhost:1"),
            ("dotted.test/", "http_status:403"),
            ("fine.test/", "http_status:200"),
            ("last.test/", "http_status:599"),
            ("Dotted.test.:443/", "http_status:403"),
            ("a.b.example.com/cat.png", "https://[::1]:3"),
            ("www.example.com/", "hello_world"),
            ("example.com/", "http_status:404"),
            ("badexample.com/", "http_status:404"),
            ("[::1]:80/", "http_status:404"),
        ] {
            assert_eq!(find(&ingress, url), expect, "{url}");
        }
    }

    /// A connection is to one service, whatever is asked for on it.
    #[test]
    fn services_that_speak_http2() {
        let ingress = Ingress::parse(
            br#"{"ingress": [
                {"hostname": "grpc.test", "service": "http://localhost:1", "originRequest": {"http2Origin": true}},
                {"hostname": "tls.test", "service": "https://localhost:2",
                 "originRequest": {"http2Origin": true, "noTLSVerify": true}},
                {"hostname": "paths.test", "path": "^/admin", "service": "http_status:403"},
                {"hostname": "paths.test", "service": "http://localhost:3", "originRequest": {"http2Origin": true}},
                {"hostname": "none.test", "service": "http_status:200", "originRequest": {"http2Origin": true}},
                {"service": "http://localhost:4"}
            ]}"#,
        )
        .unwrap();
        for (host, expect) in [
            ("grpc.test", Ok("http://localhost:1")),
            ("GRPC.test.:443", Ok("http://localhost:1")),
            ("tls.test", Ok("https://localhost:2")),
            ("paths.test", Err(NoHttp2::Paths)),
            ("none.test", Err(NoHttp2::NotSaid)),
            ("other.test", Err(NoHttp2::NotSaid)),
        ] {
            let found = ingress.find_http2(&Host::parse(host).unwrap()).map(|origin| origin.name());
            assert_eq!(found, expect, "{host}");
        }
    }

    #[test]
    fn no_rule_is_unavailable() {
        for json in ["{}", r#"{"ingress": []}"#, r#"{"ingress": null}"#] {
            assert_eq!(find(&Ingress::parse(json.as_bytes()).unwrap(), "a/"), "http_status:503", "{json}");
        }
    }

    #[test]
    fn one_service() {
        let ingress = Ingress::single("http://localhost:8080", OriginRequest::default()).unwrap();
        assert_eq!(find(&ingress, "x/"), "http://localhost:8080");
        assert_eq!(&**ingress.json(), r#"{"ingress":[{"service":"http://localhost:8080","originRequest":{}}]}"#);
        assert_eq!(find(&Ingress::parse(ingress.json().as_bytes()).unwrap(), "x/"), "http://localhost:8080");
    }

    #[test]
    fn what_cannot_be_served_is_said() {
        let rule = |rule: &str| format!(r#"{{"ingress": [{rule}, {{"service": "http_status:404"}}]}}"#);
        let last = |rule: &str| format!(r#"{{"ingress": [{rule}]}}"#);
        for (json, expect) in [
            ("[".to_owned(), "the configuration is not the JSON object"),
            (
                last(r#"{"hostname": "a.example.com", "service": "hello_world"}"#),
                "the last ingress rule must match all",
            ),
            (rule(r#"{"service": "hello_world"}"#), "rule 1 matches all URLs"),
            (rule(r#"{"hostname": "*", "service": "hello_world"}"#), "rule 1 matches all URLs"),
            (rule(r#"{"hostname": "a.*.com", "service": "hello_world"}"#), "rule 1: hostname \"a.*.com\""),
            (rule(r#"{"hostname": "*a.com", "service": "hello_world"}"#), "rule 1: hostname \"*a.com\""),
            (rule(r#"{"hostname": "a.com:80", "service": "hello_world"}"#), "rule 1: hostname \"a.com:80\""),
            (rule(r#"{"path": "(", "service": "hello_world"}"#), "rule 1: path \"(\""),
            (rule(r#"{"path": "((a{99}){99}){99}", "service": "hello_world"}"#), "rule 1: path"),
            (last(r#"{"service": "ssh://localhost:22"}"#), "service \"ssh://localhost:22\" is not one of"),
            (last(r#"{"service": "unix:/run/app.sock"}"#), "a service behind a Unix socket"),
            (last(r#"{"service": "localhost"}"#), "service \"localhost\" is not one of"),
            (last(r#"{"service": "http_status:4"}"#), "service \"http_status:4\" is not one of"),
            (last(r#"{"service": "http_status:101"}"#), "service \"http_status:101\" is not one of"),
            (last(r#"{"service": "http_status:103"}"#), "service \"http_status:103\" is not one of"),
            (last(r#"{"service": "http_status:199"}"#), "service \"http_status:199\" is not one of"),
            (last(r#"{"service": "http_status:600"}"#), "service \"http_status:600\" is not one of"),
            (last(r#"{"service": "http://localhost/x"}"#), "service \"http://localhost/x\" has a path"),
            (last(r#"{"service": "http://localhost:99999"}"#), "service \"http://localhost:99999\" is not one of"),
            (last(r#"{"service": "https://[::1]:0"}"#), "service \"https://[::1]:0\" is not one of"),
            (
                last(r#"{"service": "http://a", "originRequest": {"access": {"required": true}}}"#),
                "originRequest.access.required is not supported",
            ),
            (
                r#"{"ingress": [{"service": "http://a", "originRequest": {"httpHostHeader": "b"}}],
                    "originRequest": {"http2Origin": true}}"#
                    .to_owned(),
                "originRequest.httpHostHeader beside http2Origin is not supported",
            ),
            (
                last(r#"{"service": "https://a", "originRequest": {"caPool": "/does/not/exist.pem"}}"#),
                "caPool \"/does/not/exist.pem\" cannot be read",
            ),
            (
                last(r#"{"service": "https://a", "originRequest": {"caPool": "/dev/zero"}}"#),
                "caPool \"/dev/zero\" cannot be read",
            ),
        ] {
            let error = Ingress::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{json}: {error}");
        }
    }
}
