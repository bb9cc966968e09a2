//! Pools of servers.

use std::net::IpAddr;

use bartizan_names::{MonitorId, Name, OriginHost, PoolId, Timestamp, TunnelId};
use bartizan_v4::load_balancing::{
    self as v4, LoadShedding, LoadSheddingBody, OriginSteering, PoolOrigin, PoolOriginBody,
};
use bartizan_v4::{Integer, Patch};

use super::{NAME_MAX, Refused, check_description, number, object, told, word};
use crate::Email;
use crate::record::is_origin;
use crate::tunnel::id_of;

/// Servers of a pool: one bit of a word each says whether it is down.
pub const NODES_MAX: usize = 64;

/// Addresses that are told of what happens to a pool.
const EMAILS_MAX: usize = 10;

/// A pool that can be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub id: PoolId,
    pub name: String,
    pub enabled: bool,
    /// At least 1, at most as many as there are nodes.
    pub minimum: u32,
    pub monitor: Option<MonitorId>,
    pub choice: NodeChoice,
    /// Degrees north and east, if they are known.
    pub place: Option<(f64, f64)>,
    /// At least one, at most [`NODES_MAX`].
    pub nodes: Vec<PoolNode>,
    pub emails: Vec<String>,
}

/// A server of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolNode {
    pub name: String,
    pub target: NodeTarget,
    pub port: Option<u16>,
    pub enabled: bool,
    pub disabled_at: Option<Timestamp>,
    /// Its share, in parts of ten thousand.
    pub weight: u16,
}

impl PoolNode {
    /// What DNS calls it, and its port, where it is a server of a service: the name that it is dialled by, else its own, if that is
    /// a host's whole name.
    pub fn service(&self) -> Option<(Name, u16)> {
        let name = match &self.target {
            NodeTarget::Host(OriginHost::Name(name)) => name.clone(),
            NodeTarget::Host(OriginHost::Address(_)) => {
                let name = Name::typed(&self.name).ok()?;
                let is_whole = name.labels().count() > 1 && name.is_host() && !name.is_wildcard();
                Some(name).filter(|_| is_whole && !ends_in_number(&self.name))?
            }
            NodeTarget::Tunnel(_) => return None,
        };
        Some((name, self.port?))
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeTarget {
    Host(OriginHost),
    Tunnel(TunnelId),
}

/// How one of a pool's servers is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChoice {
    Random,
    /// By the visitor's address.
    Hash,
    LeastOutstanding,
}

impl NodeChoice {
    const KNOWN: &'static [&'static str] = &["random", "hash", "least_outstanding_requests", "least_connections"];

    fn parse(word: &str) -> Result<NodeChoice, Refused> {
        match word {
            "" | "random" => Ok(NodeChoice::Random),
            "hash" => Ok(NodeChoice::Hash),
            "least_outstanding_requests" | "least_connections" => Ok(NodeChoice::LeastOutstanding),
            _ => Err(Refused::Word {
                pointer: "/origin_steering/policy",
                given: word.to_owned(),
                known: NodeChoice::KNOWN,
            }),
        }
    }
}

impl Pool {
    /// What is kept of what was sent, beside what was `before`.
    pub fn document(
        id: PoolId,
        before: Option<&v4::Pool>,
        body: &v4::PoolBody,
        now: Timestamp,
    ) -> Result<v4::Pool, Refused> {
        let was = |field: fn(&v4::Pool) -> &String| before.map(|before| field(before).clone());
        let name = told(&body.name, was(|pool| &pool.name), String::new());
        let monitor = match &body.monitor {
            Patch::Absent => before.and_then(|before| before.monitor),
            Patch::Null => None,
            Patch::Value(text) if text.is_empty() => None,
            Patch::Value(text) => {
                let refused = |_| Refused::Pool { pointer: "/monitor".to_owned(), given: text.clone() };
                Some(text.parse().map_err(refused)?)
            }
        };
        let origins = match (&body.origins, before) {
            (Patch::Value(origins), _) => {
                if origins.len() > NODES_MAX {
                    return Err(Refused::Origins { max: NODES_MAX });
                }
                origins.iter().enumerate().map(origin).collect::<Result<_, _>>()?
            }
            (Patch::Absent, Some(before)) => before.origins.clone(),
            (Patch::Absent | Patch::Null, _) => return Err(Refused::Missing { pointer: "/origins" }),
        };
        let policy = match &body.origin_steering {
            Patch::Value(steering) => &steering.policy,
            Patch::Null => &Patch::Null,
            Patch::Absent => &Patch::Absent,
        };
        let document = v4::Pool {
            id,
            name: name.trim().to_owned(),
            description: told(&body.description, was(|pool| &pool.description), String::new()),
            enabled: told(&body.enabled, before.map(|before| before.enabled), true),
            minimum_origins: number(
                (&body.minimum_origins, "/minimum_origins"),
                before.map(|before| before.minimum_origins),
                1,
                (1, NODES_MAX as u32),
            )?,
            monitor,
            check_regions: match &body.check_regions {
                Patch::Absent => before.and_then(|before| before.check_regions.clone()),
                given => given.value().cloned(),
            },
            latitude: some(&body.latitude, before.and_then(|before| before.latitude)),
            longitude: some(&body.longitude, before.and_then(|before| before.longitude)),
            notification_email: told(&body.notification_email, was(|pool| &pool.notification_email), String::new()),
            load_shedding: object(
                &body.load_shedding,
                before.map(|before| &before.load_shedding),
                shedding(&LoadSheddingBody::default()),
                |body| Ok(shedding(body)),
            )?,
            origin_steering: OriginSteering {
                policy: told(policy, was(|pool| &pool.origin_steering.policy), "random".to_owned()),
            },
            origins,
            created_on: before.map_or(now, |before| before.created_on),
            modified_on: before.map_or(now, |before| before.modified_on),
        };
        Pool::parse(&document)?;
        Ok(document)
    }

    /// Notes since when servers are switched off, beside what the pool was.
    pub fn note_disabled(document: &mut v4::Pool, old: Option<&v4::Pool>, now: Timestamp) {
        for origin in document.origins.iter_mut().filter(|origin| !origin.enabled) {
            let is_same = |other: &&PoolOrigin| other.address == origin.address && other.port == origin.port;
            let was = old.and_then(|old| old.origins.iter().find(is_same)).filter(|was| !was.enabled);
            origin.disabled_at = was.map_or(Some(now), |was| was.disabled_at);
        }
    }

    pub fn parse(document: &v4::Pool) -> Result<Pool, Refused> {
        check_name(&document.name, "/name")?;
        check_description(&document.description)?;
        let nodes: Vec<PoolNode> = document.origins.iter().enumerate().map(node).collect::<Result<_, _>>()?;
        if !(1..=NODES_MAX).contains(&nodes.len()) {
            return Err(Refused::Origins { max: NODES_MAX });
        }
        for (index, one) in nodes.iter().enumerate() {
            if nodes[..index].iter().any(|other| other.target == one.target && other.port == one.port) {
                return Err(Refused::Twice { index, given: document.origins[index].address.clone() });
            }
        }
        if document.minimum_origins as usize > nodes.len() {
            return Err(Refused::Minimum);
        }
        let LoadShedding { default_percent, session_percent, .. } = document.load_shedding;
        if default_percent != 0.0 || session_percent != 0.0 {
            return Err(Refused::NotOffered { pointer: "/load_shedding".to_owned() });
        }
        let inside = |place: f64, most: f64| (-most..=most).contains(&place);
        match (document.latitude, document.longitude) {
            (None, None) => {}
            (Some(latitude), Some(longitude)) if inside(latitude, 90.0) && inside(longitude, 180.0) => {}
            _ => return Err(Refused::Place),
        }
        Ok(Pool {
            id: document.id,
            name: document.name.clone(),
            enabled: document.enabled,
            minimum: document.minimum_origins.max(1),
            monitor: document.monitor,
            place: document.latitude.zip(document.longitude),
            choice: NodeChoice::parse(&document.origin_steering.policy)?,
            nodes,
            emails: emails(&document.notification_email)?,
        })
    }
}

fn shedding(body: &LoadSheddingBody) -> LoadShedding {
    LoadShedding {
        default_percent: told(&body.default_percent, None, 0.0),
        default_policy: word(&body.default_policy, "random"),
        session_percent: told(&body.session_percent, None, 0.0),
        session_policy: word(&body.session_policy, "hash"),
    }
}

fn some(field: &Patch<f64>, before: Option<f64>) -> Option<f64> {
    match field {
        Patch::Absent => before,
        given => given.value().copied(),
    }
}

/// The dialect's pools have names of these characters.
fn check_name(text: &str, pointer: &str) -> Result<(), Refused> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_known) {
        return Ok(());
    }
    Err(Refused::Name { pointer: pointer.to_owned() })
}

fn emails(text: &str) -> Result<Vec<String>, Refused> {
    let given: Vec<&str> = text.split(',').map(str::trim).filter(|email| !email.is_empty()).collect();
    if given.len() > EMAILS_MAX {
        return Err(Refused::Email { given: text.chars().take(80).collect() });
    }
    let email =
        |email: &str| Email::parse(email).map_err(|_| Refused::Email { given: email.chars().take(80).collect() });
    given.into_iter().map(|text| email(text).map(|email| email.to_string())).collect()
}

/// A server as it is kept.
fn origin((index, body): (usize, &PoolOriginBody)) -> Result<PoolOrigin, Refused> {
    let address = body.address.value().map(|text| text.trim()).unwrap_or_default();
    let name = body.name.value().map(|text| text.trim()).unwrap_or_default();
    let port = match body.port.value() {
        None | Some(Integer(0)) => None,
        Some(Integer(port)) => Some(u16::try_from(*port).ok().filter(|port| *port > 0).ok_or(Refused::Port { index })?),
    };
    let header = body.header.value().filter(|header| !header.is_empty());
    if header.is_some() {
        return Err(Refused::NotOffered { pointer: format!("/origins/{index}/header") });
    }
    Ok(PoolOrigin {
        name: if name.is_empty() { address.to_owned() } else { name.to_owned() },
        address: target(index, address)?.1,
        enabled: told(&body.enabled, None, true),
        weight: told(&body.weight, None, 1.0),
        port,
        header: None,
        disabled_at: None,
    })
}

fn node((index, origin): (usize, &PoolOrigin)) -> Result<PoolNode, Refused> {
    if origin.name.is_empty() || origin.name.len() > NAME_MAX || origin.name.chars().any(char::is_control) {
        return Err(Refused::Name { pointer: format!("/origins/{index}/name") });
    }
    if !(0.0..=1.0).contains(&origin.weight) {
        return Err(Refused::Weight { pointer: format!("/origins/{index}/weight") });
    }
    if origin.port == Some(0) {
        return Err(Refused::Port { index });
    }
    Ok(PoolNode {
        name: origin.name.clone(),
        target: target(index, &origin.address)?.0,
        port: origin.port,
        enabled: origin.enabled,
        disabled_at: origin.disabled_at.filter(|_| !origin.enabled),
        weight: (origin.weight * 10_000.0).round() as u16, // 0 to 10,000
    })
}

/// Where a server is, and its one spelling.
fn target(index: usize, text: &str) -> Result<(NodeTarget, String), Refused> {
    let refused = || Refused::Address { index, given: text.chars().take(80).collect() };
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = inside.parse::<IpAddr>() {
        let address = address.to_canonical();
        return if is_origin(address) {
            Ok((NodeTarget::Host(OriginHost::Address(address)), address.to_string()))
        } else {
            Err(refused())
        };
    }
    let name = Name::typed(text).ok().filter(|name| name.is_host() && !name.is_wildcard() && !ends_in_number(text));
    let name = name.ok_or_else(refused)?;
    let spelt = name.to_string();
    let spelt = spelt.trim_end_matches('.').to_owned();
    match id_of(&name) {
        Some(tunnel) => Ok((NodeTarget::Tunnel(tunnel), spelt)),
        None if spelt.is_empty() => Err(refused()),
        None => Ok((NodeTarget::Host(OriginHost::Name(name)), spelt)),
    }
}

/// Whose last label is a number was meant for an address (RFC 1123 §2.1).
fn ends_in_number(text: &str) -> bool {
    text.rsplit('.').next().is_some_and(|label| label.bytes().all(|it| it.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(fields: Value) -> Result<v4::Pool, Refused> {
        let mut body = json!({"name": "one", "origins": [{"name": "a", "address": "192.0.2.1"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let body = serde_json::from_value(body).unwrap();
        Pool::document(PoolId::from_bytes([1; 16]), None, &body, Timestamp::from_unix_micros(0))
    }

    #[test]
    fn what_a_pool_can_be() {
        for (fields, expect) in [
            (json!({}), ""),
            (json!({"name": "a b"}), "/name"),
            (json!({"origins": []}), "/origins"),
            (json!({"origins": null}), "/origins"),
            (json!({"minimum_origins": 2}), "/minimum_origins"),
            (json!({"minimum_origins": 0}), "/minimum_origins"),
            (json!({"monitor": "x"}), "/monitor"),
            (json!({"monitor": ""}), ""),
            (json!({"latitude": 50.0}), "/latitude"),
            (json!({"latitude": 50.0, "longitude": 181.0}), "/latitude"),
            (json!({"latitude": 50.0, "longitude": 14.4}), ""),
            (json!({"notification_email": "a@example.com, b@example.com"}), ""),
            (json!({"notification_email": "nobody"}), "/notification_email"),
            (json!({"load_shedding": {"default_percent": 10.0}}), "/load_shedding"),
            (json!({"origin_steering": {"policy": "hash"}}), ""),
            (json!({"origin_steering": {"policy": "best"}}), "/origin_steering/policy"),
            (json!({"origins": [{"address": "300.0.2.1"}]}), "/origins/0/address"),
            (json!({"origins": [{"address": "0.0.0.0"}]}), "/origins/0/address"),
            (json!({"origins": [{"address": "a.example"}, {"address": "A.example."}]}), "/origins/1/address"),
            (json!({"origins": [{"address": "a.example", "port": 80}, {"address": "a.example", "port": 81}]}), ""),
            (json!({"origins": [{"address": "::1", "weight": 1.5}]}), "/origins/0/weight"),
            (json!({"origins": [{"address": "::1", "port": 65536}]}), "/origins/0/port"),
        ] {
            let refused = document(fields.clone()).err().map(|error| error.pointer());
            assert_eq!(refused.unwrap_or_default(), expect, "{fields}");
        }
    }

    #[test]
    fn what_servers_are_called_in_a_service() {
        for (origin, expect) in [
            (json!({"address": "a.example", "port": 80}), Some("a.example:80")),
            (json!({"name": "node-1", "address": "a.example", "port": 80}), Some("a.example:80")),
            (json!({"name": "node-1.example", "address": "192.0.2.1", "port": 80}), Some("node-1.example:80")),
            (json!({"name": "node-1.example", "address": "192.0.2.1"}), None),
            (json!({"name": "node-1", "address": "192.0.2.1", "port": 80}), None),
            (json!({"name": "the first.example", "address": "192.0.2.1", "port": 80}), None),
            (json!({"address": "192.0.2.1", "port": 80}), None),
            (json!({"address": "2001:db8::1", "port": 80}), None),
            (json!({"name": "a.example", "address": "00000000-0000-0000-0000-000000000001.cfargotunnel.com"}), None),
        ] {
            let parsed = Pool::parse(&document(json!({"origins": [origin.clone()]})).unwrap()).unwrap();
            let told = parsed.nodes[0]
                .service()
                .map(|(name, port)| format!("{}:{port}", name.to_string().trim_end_matches('.')));
            assert_eq!(told.as_deref(), expect, "{origin}");
        }
    }

    #[test]
    fn what_is_left_out_stays_or_is_the_default() {
        let before = document(json!({"description": "x", "enabled": false})).unwrap();
        assert_eq!(before.origins[0].weight, 1.0);
        let body = serde_json::from_value(json!({"name": "two"})).unwrap();
        let at = Timestamp::from_unix_micros(1);
        let after = Pool::document(before.id, Some(&before), &body, at).unwrap();
        assert_eq!((after.name.as_str(), after.description.as_str(), after.enabled), ("two", "x", false));
        assert_eq!(after.created_on, before.created_on);
        let node = Pool::parse(&after).unwrap().nodes.remove(0);
        assert_eq!(node.target, NodeTarget::Host(OriginHost::Address("192.0.2.1".parse().unwrap())));
    }
}
