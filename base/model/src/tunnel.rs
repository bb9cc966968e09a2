//! Tunnels, their configuration, and the names by which records point at them.

use bartizan_names::{AccountId, Name, TunnelId, rust_pattern};
use bartizan_v4::{StoredTunnel, TunnelConfiguration};
use regex::RegexBuilder;
use serde_json::Value;

/// A proxied CNAME to `<tunnel id>` below this name points at a tunnel. Never looked up: only its form counts.
pub const TUNNEL_DOMAIN: &str = "cfargotunnel.com";

/// Ingress rules of one tunnel: each is tried in turn for every request.
pub const INGRESS_MAX: usize = 1_000;

/// A tunnel that connectors may connect for, unless it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub id: TunnelId,
    pub account: AccountId,
    pub name: String,
    /// Of the secret that a connector shows.
    pub secret_sha256: [u8; 32],
    pub deleted: bool,
    /// Its configuration is kept here and pushed to connectors.
    pub remotely_managed: bool,
}

/// The configuration of a tunnel as it is pushed to connectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    pub version: i32,
    /// The object with `ingress`, `originRequest` and `warp-routing`, as text.
    pub json: String,
}

/// Why a tunnel or its configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    #[error("the hash of the tunnel's secret is not 64 hexadecimal digits")]
    Secret,
    #[error("config must be an object")]
    Config,
    #[error("config.ingress must be a list of at most {INGRESS_MAX} rules, each with a service")]
    Ingress,
    #[error("the last ingress rule must match all URLs: it may have no hostname and no path")]
    LastRule,
    #[error("the service {service:?} of ingress rule {rule} is no answer: http_status takes a status from 200 to 599")]
    Status { rule: usize, service: String },
    #[error(
        "the service {service:?} of ingress rule {rule} is none that a connector knows: it is SCHEME://HOST:PORT without a path, \
         unix:PATH, http_status:NNN, hello_world, bastion or socks-proxy"
    )]
    Service { rule: usize, service: String },
    #[error("ingress rule {rule} matches all URLs, so that the rules behind it are never used: it has to be the last")]
    NotLast { rule: usize },
    #[error(
        "the hostname {hostname:?} of ingress rule {rule} may have a wildcard only as its first character, and no port"
    )]
    Hostname { rule: usize, hostname: String },
    #[error("the path {path:?} of ingress rule {rule} is no regular expression: {why}")]
    Path { rule: usize, path: String, why: String },
    #[error("{key} of {place} has to be {form}")]
    Key { place: String, key: &'static str, form: &'static str },
}

/// What a key of `originRequest` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Whole seconds, or a count.
    Number,
    Switch,
    Text,
    List,
    Object,
}

/// All that stock connectors read of it, and how: what has another form makes them refuse all of a configuration.
const ORIGIN_REQUEST: [(&str, Form); 19] = [
    ("connectTimeout", Form::Number),
    ("tlsTimeout", Form::Number),
    ("tcpKeepAlive", Form::Number),
    ("noHappyEyeballs", Form::Switch),
    ("keepAliveConnections", Form::Number),
    ("keepAliveTimeout", Form::Number),
    ("httpHostHeader", Form::Text),
    ("originServerName", Form::Text),
    ("matchSNItoHost", Form::Switch),
    ("caPool", Form::Text),
    ("noTLSVerify", Form::Switch),
    ("disableChunkedEncoding", Form::Switch),
    ("bastionMode", Form::Switch),
    ("proxyAddress", Form::Text),
    ("proxyPort", Form::Number),
    ("proxyType", Form::Text),
    ("ipRules", Form::List),
    ("http2Origin", Form::Switch),
    ("access", Form::Object),
];

impl Form {
    fn has(self, value: &Value) -> bool {
        match self {
            Form::Number => value.as_i64().is_some_and(|number| number >= 0),
            Form::Switch => value.is_boolean(),
            Form::Text => value.is_string(),
            Form::List => value.is_array(),
            Form::Object => value.is_object(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Form::Number => "a whole number (times are in seconds)",
            Form::Switch => "true or false",
            Form::Text => "a text",
            Form::List => "a list",
            Form::Object => "an object",
        }
    }
}

impl Tunnel {
    pub fn parse(document: &StoredTunnel) -> Result<Tunnel, TunnelError> {
        Ok(Tunnel {
            id: document.id,
            account: document.account_tag,
            name: document.name.clone(),
            secret_sha256: sha256(&document.secret_sha256).ok_or(TunnelError::Secret)?,
            deleted: document.deleted_at.is_some(),
            remotely_managed: document.config_src == "cloudflare",
        })
    }
}

impl TunnelConfig {
    /// Reads a stored configuration; it must be one that a connector accepts in its outline.
    pub fn parse(document: &TunnelConfiguration) -> Result<TunnelConfig, TunnelError> {
        let config = document.config.as_object().ok_or(TunnelError::Config)?;
        match config.get("ingress") {
            None | Some(Value::Null) => {}
            Some(Value::Array(rules)) => check_ingress(rules)?,
            Some(_) => return Err(TunnelError::Ingress),
        }
        Ok(TunnelConfig { version: document.version, json: document.config.to_string() })
    }

    /// The same of a new one, of which each rule has to be such as connectors read: they refuse all of a configuration for one
    /// that is not. Its statuses are final ones alone (RFC 9110 §15.2). What was stored before stays readable.
    pub fn parse_new(document: &TunnelConfiguration) -> Result<TunnelConfig, TunnelError> {
        let config = TunnelConfig::parse(document)?;
        TunnelConfig::check(&document.config)?;
        Ok(config)
    }

    /// What [`TunnelConfig::parse_new`] asks of the rules of a new one, which takes time for each pattern.
    pub fn check(config: &Value) -> Result<(), TunnelError> {
        check_origin_request(config, || "config".to_owned())?;
        let rules = config.get("ingress").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (at, rule) in rules.iter().enumerate() {
            check_rule(at + 1, rule)?;
            if at + 1 < rules.len() && matches_all(rule) {
                return Err(TunnelError::NotLast { rule: at + 1 });
            }
        }
        Ok(())
    }
}

fn check_rule(number: usize, rule: &Value) -> Result<(), TunnelError> {
    let text = |key: &'static str| match rule.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(TunnelError::Key { place: format!("ingress rule {number}"), key, form: Form::Text.words() }),
    };
    let (service, hostname, path) = (text("service")?, text("hostname")?, text("path")?);
    if let Some(status) = service.strip_prefix("http_status:") {
        if !status.parse().is_ok_and(|status: u16| (200..=599).contains(&status)) {
            return Err(TunnelError::Status { rule: number, service: service.to_owned() });
        }
    } else if !is_service(service) && rule["originRequest"]["bastionMode"] != true {
        return Err(TunnelError::Service { rule: number, service: service.to_owned() });
    }
    let has_port = hostname.rsplit_once(':').is_some();
    if has_port || hostname.rfind('*').is_some_and(|at| at > 0) {
        return Err(TunnelError::Hostname { rule: number, hostname: hostname.to_owned() });
    }
    check_path(path).map_err(|why| TunnelError::Path { rule: number, path: path.to_owned(), why })?;
    check_origin_request(rule, || format!("ingress rule {number}"))
}

/// Whether it says what connectors look for. Which schemes a connector serves is for that one to say.
fn is_service(service: &str) -> bool {
    if matches!(service, "hello_world" | "hello-world" | "bastion" | "socks-proxy") {
        return true;
    }
    if let Some(path) = service.strip_prefix("unix:").or_else(|| service.strip_prefix("unix+tls:")) {
        return !path.is_empty();
    }
    let Some((scheme, authority)) = service.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let (host, port_is_one) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.is_empty() || rest.strip_prefix(':').is_some_and(port)),
        None => authority.rsplit_once(':').map_or((authority, true), |(host, number)| (host, port(number))),
    };
    let is_host = !host.is_empty() && !host.contains(|char: char| char.is_whitespace() || "/?#@[]".contains(char));
    is_scheme && is_host && port_is_one
}

/// The most memory of one pattern where it is compiled.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

fn check_path(path: &str) -> Result<(), String> {
    let pattern = rust_pattern(path).map_err(|error| error.to_string())?;
    let compiled = RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build();
    compiled.map(drop).map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

fn check_origin_request(holder: &Value, place: impl Fn() -> String) -> Result<(), TunnelError> {
    let wrong = |key, form: Form| TunnelError::Key { place: place(), key, form: form.words() };
    let request = match holder.get("originRequest") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(request)) => request,
        Some(_) => return Err(wrong("originRequest", Form::Object)),
    };
    let known = ORIGIN_REQUEST.iter().filter_map(|(key, form)| Some((*key, *form, request.get(*key)?)));
    match known.filter(|(_, _, value)| !value.is_null()).find(|(_, form, value)| !form.has(value)) {
        Some((key, form, _)) => Err(wrong(key, form)),
        None => Ok(()),
    }
}

fn matches_all(rule: &Value) -> bool {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(text("hostname"), "" | "*") && text("path").is_empty()
}

fn check_ingress(rules: &[Value]) -> Result<(), TunnelError> {
    let has_service = |rule: &Value| rule.get("service").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if rules.len() > INGRESS_MAX || !rules.iter().all(has_service) {
        return Err(TunnelError::Ingress);
    }
    if rules.last().is_none_or(matches_all) { Ok(()) } else { Err(TunnelError::LastRule) }
}

/// The target of a CNAME that points at `tunnel`.
pub fn tunnel_name(tunnel: TunnelId) -> String {
    format!("{tunnel}.{TUNNEL_DOMAIN}")
}

/// The tunnel that `target` names.
pub(crate) fn id_of(target: &Name) -> Option<TunnelId> {
    let mut labels = target.labels();
    let id = std::str::from_utf8(labels.next()?).ok()?.parse().ok()?;
    labels.eq(TUNNEL_DOMAIN.split('.').map(str::as_bytes)).then_some(id)
}

fn sha256(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use bartizan_names::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_that_name_a_tunnel() {
        let id: TunnelId = "07070707-0707-4707-8707-070707070707".parse().unwrap();
        for (target, expect) in [
            (tunnel_name(id), Some(id)),
            (tunnel_name(id).to_uppercase() + ".", Some(id)),
            (format!("x.{}", tunnel_name(id)), None),
            (format!("{id}.cfargotunnel.org"), None),
            (format!("{id}.com"), None),
            ("cfargotunnel.com".to_owned(), None),
            ("nonsense.cfargotunnel.com".to_owned(), None),
        ] {
            assert_eq!(id_of(&Name::parse(&target).unwrap()), expect, "{target}");
        }
    }

    fn document(config: &Value) -> TunnelConfiguration {
        TunnelConfiguration {
            tunnel_id: TunnelId::from_random([1; 16]),
            version: 3,
            config: config.clone(),
            source: "cloudflare".to_owned(),
            created_at: Timestamp::from_unix_micros(0),
            account_id: AccountId::from_bytes([1; 16]),
        }
    }

    #[test]
    fn configurations() {
        for (config, expect) in [
            (json!({}), Ok(())),
            (json!({"ingress": []}), Ok(())),
            (json!({"ingress": [{"hostname": "a.b", "service": "http://x"}, {"service": "http_status:404"}]}), Ok(())),
            (json!({"ingress": [{"hostname": "*", "service": "http://x"}]}), Ok(())),
            (json!(null), Err(TunnelError::Config)),
            (json!({"ingress": {}}), Err(TunnelError::Ingress)),
            (json!({"ingress": [{"hostname": "a.b"}]}), Err(TunnelError::Ingress)),
            (json!({"ingress": [{"hostname": "a.b", "service": "http://x"}]}), Err(TunnelError::LastRule)),
            (json!({"ingress": [{"path": "/x", "service": "http://x"}]}), Err(TunnelError::LastRule)),
        ] {
            let document = document(&config);
            let parsed = TunnelConfig::parse(&document);
            assert_eq!(parsed, TunnelConfig::parse_new(&document), "{config}");
            assert_eq!(parsed.map(|parsed| assert_eq!(parsed.version, 3)), expect, "{config}");
        }
    }

    /// Of a new configuration; a stored one is read whatever its rules are.
    #[test]
    fn rules_are_such_as_connectors_read() {
        let service = |service: &str| (json!([{"hostname": "a.b", "service": service}]), json!({}));
        let hostname = |hostname: &str| (json!([{"hostname": hostname, "service": "http://x"}]), json!({}));
        let path = |path: &str| (json!([{"path": path, "service": "http://x"}]), json!({}));
        let origin =
            |request: Value| (json!([{"hostname": "a.b", "service": "http://x", "originRequest": request}]), json!({}));
        for ((mut rules, all), expect) in [
            (service("http://localhost:8000"), ""),
            (service("https://[::1]:8443"), ""),
            (service("tcp://10.0.0.1:22"), ""),
            (service("ssh://h"), ""),
            (service("rdp://h:3389"), ""),
            (service("ws://h"), ""),
            (service("unix:/run/a.sock"), ""),
            (service("unix+tls:/run/a.sock"), ""),
            (service("hello_world"), ""),
            (service("hello-world"), ""),
            (service("bastion"), ""),
            (service("socks-proxy"), ""),
            (service("nonsense"), "the service \"nonsense\" of ingress rule 1 is none that a connector knows"),
            (service("localhost:8000"), "the service"),
            (service("http://"), "the service"),
            (service("http://:80"), "the service"),
            (service("http://h/path"), "the service"),
            (service("http://h:port"), "the service"),
            (service("http://h:65536"), "the service"),
            (service("1http://h"), "the service"),
            (service("http://a@h"), "the service"),
            (service("unix:"), "the service"),
            (hostname("*.a.b"), ""),
            (hostname("a.*.b"), "the hostname \"a.*.b\" of ingress rule 1"),
            (hostname("a.b:80"), "the hostname"),
            (path(r"^/\Q.well-known\E/"), ""),
            (path("a{,2}[[]"), ""),
            (path("(["), "the path \"([\" of ingress rule 1 is no regular expression: error: unclosed"),
            (path("(?=a)"), "the path"),
            (path("(?x)a"), "the path"),
            (path("(.{1000}){1000}"), "the path"),
            (
                origin(json!({"connectTimeout": 30, "noTLSVerify": true, "access": {}, "caPool": null, "later": "x"})),
                "",
            ),
            (origin(json!({"connectTimeout": "30s"})), "connectTimeout of ingress rule 1 has to be a whole number"),
            (origin(json!({"noTLSVerify": "yes"})), "noTLSVerify of ingress rule 1 has to be true or false"),
            (origin(json!({"ipRules": {}})), "ipRules of ingress rule 1 has to be a list"),
            (origin(json!([])), "originRequest of ingress rule 1 has to be an object"),
            ((json!([]), json!({"proxyPort": -1})), "proxyPort of config has to be a whole number"),
            ((json!([{"service": "http://x"}]), json!({})), "ingress rule 1 matches all URLs"),
            (
                (json!([{"hostname": 5, "service": "http://x"}]), json!({})),
                "hostname of ingress rule 1 has to be a text",
            ),
        ] {
            rules.as_array_mut().unwrap().push(json!({"service": "http_status:404"}));
            let document = document(&json!({"ingress": rules, "originRequest": all}));
            assert!(TunnelConfig::parse(&document).is_ok(), "{rules}");
            let error = TunnelConfig::parse_new(&document).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expect) && error.is_empty() == expect.is_empty(), "{rules}: {error}");
        }
    }

    /// The same of statuses.
    #[test]
    fn statuses() {
        for (status, is_final) in [
            ("200", true),
            ("404", true),
            ("599", true),
            ("100", false),
            ("101", false),
            ("199", false),
            ("600", false),
            ("", false),
            ("-404", false),
            ("teapot", false),
        ] {
            let service = format!("http_status:{status}");
            let rules = json!({"ingress": [{"hostname": "a.b", "service": "http://x"}, {"service": service}]});
            let document = document(&rules);
            let refused = Err(TunnelError::Status { rule: 2, service });
            let stored = TunnelConfig::parse(&document);
            assert!(stored.is_ok(), "{status}");
            assert_eq!(TunnelConfig::parse_new(&document), if is_final { stored } else { refused }, "{status}");
        }
    }

    #[test]
    fn hashes() {
        assert_eq!(sha256(&"0a".repeat(32)), Some([10; 32]));
        for text in ["", "0a", &"0g".repeat(32), &"é".repeat(32)] {
            assert_eq!(sha256(text), None, "{text}");
        }
    }
}
