//! Tunnels, their configuration, and the names by which records point at them.

use bartizan_names::{AccountId, Name, TunnelId};
use bartizan_v4::{StoredTunnel, TunnelConfiguration};
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

    /// The same of a new one, whose rules answer with final statuses alone (RFC 9110 §15.2): our connector refuses all of a
    /// configuration that has another. What was stored before stays readable.
    pub fn parse_new(document: &TunnelConfiguration) -> Result<TunnelConfig, TunnelError> {
        let config = TunnelConfig::parse(document)?;
        let rules = document.config.get("ingress").and_then(Value::as_array);
        for (rule, service) in rules.into_iter().flatten().map(|rule| rule["service"].as_str()).enumerate() {
            let service = service.unwrap_or_default();
            let Some(status) = service.strip_prefix("http_status:") else { continue };
            if !status.parse().is_ok_and(|status: u16| (200..=599).contains(&status)) {
                return Err(TunnelError::Status { rule: rule + 1, service: service.to_owned() });
            }
        }
        Ok(config)
    }
}

fn check_ingress(rules: &[Value]) -> Result<(), TunnelError> {
    let has_service = |rule: &Value| rule.get("service").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if rules.len() > INGRESS_MAX || !rules.iter().all(has_service) {
        return Err(TunnelError::Ingress);
    }
    let matches_all = |rule: &Value| {
        let host = rule.get("hostname").and_then(Value::as_str).unwrap_or_default();
        let path = rule.get("path").and_then(Value::as_str).unwrap_or_default();
        matches!(host, "" | "*") && path.is_empty()
    };
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

    /// Of a new configuration; a stored one is read whatever its statuses are.
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
