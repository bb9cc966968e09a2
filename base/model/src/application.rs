//! Spectrum applications: from a request or from the store to a value that can be served, and to the document that is
//! kept.
//!
//! What follows from other objects is for the caller to decide: which slot an application has, whether its tunnel is
//! there, and whether it gets along with the others.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bartizan_names::{AppId, AppOrigin, AppTls, Families, Name, Protocol, ProxyProtocol, Timestamp, WordError, ZoneId};
use bartizan_v4::spectrum::{AppDns, AppDnsBody, AppExtensionBody, EdgeIpsBody, OriginDnsBody, OriginPortBody};
use bartizan_v4::{AppBody, Integer, Patch, StoredApp, spectrum};

use crate::app_origin;
use crate::{AppError, Zone};

/// Static addresses of one application.
pub const EDGE_IPS_MAX: usize = 16;

/// An application that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    pub id: AppId,
    pub zone: ZoneId,
    /// The name that leads to it.
    pub name: Name,
    pub dns_type: AppDnsType,
    pub protocol: Protocol,
    /// Never empty, and without port 0.
    pub ports: RangeInclusive<u16>,
    pub edge_ips: EdgeIps,
    /// The number of its dynamic addresses; none with static ones, and before it has been given one.
    pub slot: Option<u32>,
    pub origin: AppOrigin,
    pub tls: AppTls,
    pub proxy_protocol: ProxyProtocol,
    /// Whether access rules are in force here.
    pub ip_firewall: bool,
}

/// What the dialect calls the name's record. Both answer with addresses here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppDnsType {
    Cname,
    Address,
}

/// The addresses of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeIps {
    /// From each PoP's pool.
    Dynamic(Families),
    /// The same in every PoP; at least one.
    Static(Vec<IpAddr>),
}

impl AppDnsType {
    pub const fn as_str(self) -> &'static str {
        match self {
            AppDnsType::Cname => "CNAME",
            AppDnsType::Address => "ADDRESS",
        }
    }
}

impl Application {
    /// Reads a stored document. It was made by [`Application::document`]; an error means that it was not.
    pub fn parse(document: &StoredApp) -> Result<Application, AppError> {
        let refused = || AppError::Name { text: document.dns.name.clone() };
        let name = Name::parse(&document.dns.name).map_err(|_| refused())?;
        let mut application = Application::read(document.id, document.zone_id, name, &body_of(document))?;
        application.slot = document.slot;
        match (&application.edge_ips, application.slot) {
            (EdgeIps::Dynamic(_), None) => Err(AppError::Slot),
            _ => Ok(application),
        }
    }

    /// Reads a request for an application, which has no slot yet.
    pub fn parse_body(zone: &Zone, id: AppId, body: &AppBody) -> Result<Application, AppError> {
        let name = name_in(zone, body.dns.value().and_then(|dns| dns.name.value()))?;
        Application::read(id, zone.id, name, body)
    }

    fn read(id: AppId, zone: ZoneId, name: Name, body: &AppBody) -> Result<Application, AppError> {
        let (protocol, ports) = protocol(body.protocol.value())?;
        let tls = word(body.tls.value(), AppTls::Off, AppError::Tls)?;
        let proxy_protocol = word(body.proxy_protocol.value(), ProxyProtocol::Off, AppError::ProxyProtocol)?;
        if protocol == Protocol::Udp && tls != AppTls::Off {
            return Err(AppError::TlsOverUdp);
        }
        match (protocol, proxy_protocol) {
            (Protocol::Tcp, ProxyProtocol::Simple) | (Protocol::Udp, ProxyProtocol::V1) => {
                return Err(AppError::ProxyProtocolOver { form: proxy_protocol.as_str(), protocol });
            }
            _ => {}
        }
        match body.traffic_type.value().map(String::as_str) {
            None | Some("direct") => {}
            Some(other) => return Err(AppError::TrafficType(other.to_owned())),
        }
        Ok(Application {
            dns_type: dns_type(body.dns.value().and_then(|dns| dns.kind.value()))?,
            edge_ips: edge_ips(body.edge_ips.value())?,
            slot: None,
            origin: app_origin::parse(body, protocol, &ports, &name)?,
            ip_firewall: body.ip_firewall.value().copied().unwrap_or(true),
            id,
            zone,
            name,
            protocol,
            ports,
            tls,
            proxy_protocol,
        })
    }

    /// The document to store.
    pub fn document(&self, created_on: Timestamp, modified_on: Timestamp) -> StoredApp {
        let origin = app_origin::texts(&self.origin, self.protocol, &self.ports);
        let (connectivity, ips) = match &self.edge_ips {
            EdgeIps::Dynamic(connectivity) => (Some(connectivity.as_str().to_owned()), None),
            EdgeIps::Static(ips) => (None, Some(ips.iter().map(ToString::to_string).collect())),
        };
        let kind = if ips.is_some() { "static" } else { "dynamic" };
        StoredApp {
            id: self.id,
            zone_id: self.zone,
            protocol: self.edge_port(),
            dns: AppDns { kind: self.dns_type.as_str().to_owned(), name: self.name.to_string() },
            origin_direct: origin.direct,
            origin_dns: origin.dns,
            origin_port: origin.port,
            origin_address: origin.address,
            origin_pool: origin.pool,
            edge_ips: spectrum::EdgeIps { kind: kind.to_owned(), connectivity, ips },
            slot: self.slot,
            ip_firewall: self.ip_firewall,
            proxy_protocol: self.proxy_protocol.as_str().to_owned(),
            tls: self.tls.as_str().to_owned(),
            traffic_type: "direct".to_owned(),
            created_on,
            modified_on,
        }
    }

    /// `tcp/22`, or `tcp/1000-2000`.
    pub fn edge_port(&self) -> String {
        format!("{}/{}", self.protocol, ports_text(&self.ports))
    }

    /// Whether both would get what arrives at one address and port. Two that end TLS are told apart by the name that a
    /// client asks for. Whether they share an address is for the caller to know.
    pub fn overlaps(&self, other: &Application) -> bool {
        let share = self.ports.start() <= other.ports.end() && other.ports.start() <= self.ports.end();
        let told_apart = self.tls != AppTls::Off && other.tls != AppTls::Off && self.name != other.name;
        self.protocol == other.protocol && share && !told_apart
    }
}

/// A word in any case.
fn word<T: FromStr<Err = WordError>>(
    text: Option<&String>,
    default: T,
    refused: fn(String) -> AppError,
) -> Result<T, AppError> {
    match text {
        None => Ok(default),
        Some(text) => text.to_ascii_lowercase().parse().map_err(|WordError| refused(text.clone())),
    }
}

fn dns_type(text: Option<&String>) -> Result<AppDnsType, AppError> {
    let Some(text) = text else { return Ok(AppDnsType::Cname) };
    let mut known = [AppDnsType::Cname, AppDnsType::Address].into_iter();
    let found = known.find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| AppError::DnsType(text.clone()))
}

/// `22`, or `1000-2000`; never empty, and without port 0.
pub(crate) fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    // The library would take a sign too.
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    (first != 0 && first <= last).then_some(first..=last)
}

pub(crate) fn ports_text(ports: &RangeInclusive<u16>) -> String {
    let (first, last) = (ports.start(), ports.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn protocol(text: Option<&String>) -> Result<(Protocol, RangeInclusive<u16>), AppError> {
    let text = text.map(|text| text.trim()).ok_or(AppError::ProtocolMissing)?;
    let (protocol, edge_ports) = text.split_once('/').ok_or_else(|| AppError::Protocol(text.to_owned()))?;
    let protocol = protocol.parse().map_err(|_| AppError::Protocol(text.to_owned()))?;
    let edge_ports = ports(edge_ports).ok_or_else(|| AppError::Ports(text.to_owned()))?;
    Ok((protocol, edge_ports))
}

/// Whole, or one label of the zone. Anything else with a dot was meant for another zone.
fn name_in(zone: &Zone, text: Option<&String>) -> Result<Name, AppError> {
    let text = text.map(|text| text.trim()).filter(|text| !text.is_empty()).ok_or(AppError::NameMissing)?;
    let apex = zone.name.as_name();
    if text == "@" {
        return Ok(apex.clone());
    }
    let refused = || AppError::Name { text: text.to_owned() };
    let name = Name::typed(text).ok().filter(|name| name.is_host() && !name.is_wildcard()).ok_or_else(refused)?;
    match (zone.name.contains(&name), name.labels().next(), name.labels().count()) {
        (true, _, _) => Ok(name),
        (false, Some(label), 1) => apex.child(label).map_err(|_| refused()),
        _ => Err(refused()),
    }
}

fn edge_ips(body: Option<&EdgeIpsBody>) -> Result<EdgeIps, AppError> {
    let empty = EdgeIpsBody::default();
    let body = body.unwrap_or(&empty);
    match body.kind.value().map(String::as_str) {
        None | Some("dynamic") => {
            let connectivity = body.connectivity.value();
            word(connectivity, Families::All, AppError::Connectivity).map(EdgeIps::Dynamic)
        }
        Some("static") => static_ips(body.ips.value().map(Vec::as_slice).unwrap_or_default()).map(EdgeIps::Static),
        Some(other) => Err(AppError::EdgeType(other.to_owned())),
    }
}

fn static_ips(texts: &[String]) -> Result<Vec<IpAddr>, AppError> {
    if !(1..=EDGE_IPS_MAX).contains(&texts.len()) {
        return Err(AppError::StaticCount);
    }
    let mut ips = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let ip: IpAddr = text.trim().parse().map_err(|_| AppError::StaticAddress { index, text: text.clone() })?;
        if !ips.contains(&ip.to_canonical()) {
            ips.push(ip.to_canonical());
        }
    }
    Ok(ips)
}

/// The request that would make the document.
fn body_of(document: &StoredApp) -> AppBody {
    let text = |text: &str| Patch::Value(text.to_owned());
    AppBody {
        protocol: text(&document.protocol),
        dns: Patch::Value(AppDnsBody { kind: text(&document.dns.kind), name: text(&document.dns.name) }),
        origin_direct: document.origin_direct.clone().into(),
        origin_dns: Patch::from(document.origin_dns.as_ref().map(|origin| OriginDnsBody {
            name: text(&origin.name),
            kind: origin.kind.clone().into(),
            ttl: origin.ttl.map(|ttl| Integer(ttl.into())).into(),
        })),
        origin_port: Patch::from(document.origin_port.as_ref().map(|port| match port {
            spectrum::OriginPort::Port(port) => OriginPortBody::Port(Integer((*port).into())),
            spectrum::OriginPort::Range(range) => OriginPortBody::Range(range.clone()),
        })),
        edge_ips: Patch::Value(EdgeIpsBody {
            kind: text(&document.edge_ips.kind),
            connectivity: document.edge_ips.connectivity.clone().into(),
            ips: document.edge_ips.ips.clone().into(),
        }),
        ip_firewall: Patch::Value(document.ip_firewall),
        proxy_protocol: text(&document.proxy_protocol),
        tls: text(&document.tls),
        traffic_type: text(&document.traffic_type),
        argo_smart_routing: Patch::Absent,
        bartizan: Patch::Value(AppExtensionBody {
            origin_address: document.origin_address.clone().into(),
            origin_pool: Patch::from(document.origin_pool.map(|pool| pool.to_string())),
        }),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, Phishing, ZoneName};
    use serde_json::{Value, json};

    use super::*;

    fn zone() -> Zone {
        Zone {
            id: ZoneId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            name: ZoneName::new(Name::parse("x.test").unwrap()).unwrap(),
            nameservers: Vec::new(),
            paused: false,
            phishing: Phishing::No,
        }
    }

    /// A request that is good, with these fields in place of its own; `null` leaves a field out.
    fn read(fields: Value) -> Result<Application, AppError> {
        let mut body = json!({"protocol": "tcp/22", "dns": {"name": "ssh"}, "origin_direct": ["tcp://192.0.2.1:22"]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let body: AppBody = serde_json::from_value(body).unwrap();
        Application::parse_body(&zone(), AppId::from_bytes([3; 16]), &body)
    }

    fn documented(application: &Application) -> Value {
        let at = Timestamp::from_unix_micros(0);
        let mut document = serde_json::to_value(application.document(at, at)).unwrap();
        for key in ["id", "zone_id", "created_on", "modified_on"] {
            document.as_object_mut().unwrap().remove(key).unwrap();
        }
        document
    }

    #[test]
    fn the_simple_form_has_defaults() {
        assert_eq!(
            documented(&read(json!({})).unwrap()),
            json!({
                "protocol": "tcp/22", "dns": {"type": "CNAME", "name": "ssh.x.test"},
                "origin_direct": ["tcp://192.0.2.1:22"], "edge_ips": {"type": "dynamic", "connectivity": "all"},
                "ip_firewall": true, "proxy_protocol": "off", "tls": "off", "traffic_type": "direct",
            })
        );
    }

    /// What is written differently and means the same is kept in one form.
    #[test]
    fn fields_have_one_spelling() {
        let tunnel = "07070707-0707-4707-8707-070707070707.cfargotunnel.com";
        for (fields, expect) in [
            (json!({"protocol": "TCP/22"}), json!({"protocol": "tcp/22"})),
            (json!({"protocol": "tcp/22-22"}), json!({"protocol": "tcp/22"})),
            (json!({"protocol": "tcp/1-65535"}), json!({"protocol": "tcp/1-65535"})),
            (
                json!({"protocol": "udp/53", "origin_direct": ["udp://192.0.2.1:5353"], "proxy_protocol": "simple"}),
                json!({"protocol": "udp/53", "origin_direct": ["udp://192.0.2.1:5353"], "proxy_protocol": "simple"}),
            ),
            (
                json!({"protocol": "udp/53", "origin_direct": ["udp://192.0.2.1:5353"], "proxy_protocol": "v2"}),
                json!({"protocol": "udp/53", "origin_direct": ["udp://192.0.2.1:5353"], "proxy_protocol": "v2"}),
            ),
            (
                json!({"dns": {"name": "SSH.X.test.", "type": "address"}}),
                json!({"dns": {"type": "ADDRESS", "name": "ssh.x.test"}}),
            ),
            (json!({"dns": {"name": "@"}}), json!({"dns": {"type": "CNAME", "name": "x.test"}})),
            (json!({"dns": {"name": "a.b.x.test"}}), json!({"dns": {"type": "CNAME", "name": "a.b.x.test"}})),
            (
                json!({"origin_direct": ["tcp://[2001:DB8::1]:22", "tcp://192.0.2.1:2222"]}),
                json!({"origin_direct": ["tcp://[2001:db8::1]:22", "tcp://192.0.2.1:2222"]}),
            ),
            (
                json!({"protocol": "tcp/1000-2000", "origin_direct": ["tcp://[::1]:3000-4000", "tcp://192.0.2.1:22"]}),
                json!({"protocol": "tcp/1000-2000", "origin_direct": ["tcp://[::1]:3000-4000", "tcp://192.0.2.1:22"]}),
            ),
            (
                json!({"origin_direct": null, "origin_dns": {"name": "Ssh.Example.", "type": ""}, "origin_port": "22"}),
                json!({"origin_dns": {"name": "ssh.example"}, "origin_port": 22}),
            ),
            (
                json!({"origin_direct": null, "origin_dns": {"name": "a.example", "type": "AAAA", "ttl": 600}, "origin_port": 22}),
                json!({"origin_dns": {"name": "a.example", "type": "AAAA", "ttl": 600}, "origin_port": 22}),
            ),
            (
                json!({"origin_direct": null, "origin_dns": {"name": "_ssh._tcp.example", "type": "SRV"}}),
                json!({"origin_dns": {"name": "_ssh._tcp.example", "type": "SRV"}}),
            ),
            (
                json!({"protocol": "tcp/1000-2000", "origin_direct": null, "origin_dns": {"name": "a.example"}, "origin_port": "3000-4000"}),
                json!({"protocol": "tcp/1000-2000", "origin_dns": {"name": "a.example"}, "origin_port": "3000-4000"}),
            ),
            (
                json!({"origin_direct": null, "origin_dns": {"name": tunnel}, "origin_port": 22, "bartizan": {"origin_address": "10.0.0.5"}}),
                json!({"origin_dns": {"name": tunnel}, "origin_port": 22, "origin_address": "10.0.0.5"}),
            ),
            (
                json!({"origin_direct": null, "bartizan": {"origin_pool": "0A0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}}),
                json!({"origin_pool": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}),
            ),
            (
                json!({"origin_direct": null, "origin_port": "22", "bartizan": {"origin_pool": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}}),
                json!({"origin_pool": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "origin_port": 22}),
            ),
            (
                json!({"edge_ips": {"type": "dynamic", "connectivity": "ipv4", "ips": ["192.0.2.9"]}}),
                json!({"edge_ips": {"type": "dynamic", "connectivity": "ipv4"}}),
            ),
            (
                json!({"edge_ips": {"type": "static", "ips": ["192.0.2.9", "::ffff:192.0.2.9", "2001:DB8::9"]}}),
                json!({"edge_ips": {"type": "static", "ips": ["192.0.2.9", "2001:db8::9"]}}),
            ),
            (json!({"tls": "strict", "proxy_protocol": "v2"}), json!({"tls": "strict", "proxy_protocol": "v2"})),
            (json!({"ip_firewall": false, "argo_smart_routing": true}), json!({"ip_firewall": false})),
        ] {
            let application = read(fields.clone()).unwrap_or_else(|error| panic!("{fields}: {error}"));
            let document = documented(&application);
            for (key, value) in expect.as_object().unwrap() {
                assert_eq!(document.get(key), Some(value), "{fields}");
            }
            // And it is read back as what it is.
            let placed = Application { slot: Some(7), ..application };
            let at = Timestamp::from_unix_micros(0);
            assert_eq!(Application::parse(&placed.document(at, at)), Ok(placed), "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_served() {
        let own = json!({"origin_direct": null, "origin_dns": {"name": "ssh.x.test"}, "origin_port": 22});
        let dns = |fields: Value| {
            let mut whole = json!({"origin_direct": null, "origin_dns": {"name": "a.example"}, "origin_port": 22});
            whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            whole
        };
        for (fields, pointer) in [
            (json!({"protocol": null}), "/protocol"),
            (json!({"protocol": "22"}), "/protocol"),
            (json!({"protocol": "sctp/22"}), "/protocol"),
            (json!({"protocol": "tcp/0"}), "/protocol"),
            (json!({"protocol": "tcp/0-10"}), "/protocol"),
            (json!({"protocol": "tcp/65536"}), "/protocol"),
            (json!({"protocol": "tcp/20-10"}), "/protocol"),
            (json!({"protocol": "tcp/+22"}), "/protocol"),
            (json!({"protocol": "tcp/"}), "/protocol"),
            (json!({"protocol": "tcp/ssh"}), "/protocol"),
            (json!({"dns": null}), "/dns/name"),
            (json!({"dns": {"name": ""}}), "/dns/name"),
            (json!({"dns": {"name": "ssh.other.test"}}), "/dns/name"),
            (json!({"dns": {"name": "*.x.test"}}), "/dns/name"),
            (json!({"dns": {"name": "a b"}}), "/dns/name"),
            (json!({"dns": {"name": "ssh", "type": "A"}}), "/dns/type"),
            (json!({"origin_direct": null}), "/origin_direct"),
            (json!({"origin_direct": []}), "/origin_direct"),
            (json!({"origin_dns": {"name": "a.example"}, "origin_port": 22}), "/origin_direct"),
            (json!({"origin_direct": vec!["tcp://192.0.2.1:22"; 65]}), "/origin_direct"),
            (json!({"origin_direct": ["tcp://192.0.2.1:22", "192.0.2.1:22"]}), "/origin_direct/1"),
            (json!({"origin_direct": ["udp://192.0.2.1:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://192.0.2.1"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://192.0.2.1:0"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://192.0.2.1:65536"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://2001:db8::1:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://[192.0.2.1]:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://host.example:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://0.0.0.0:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://224.0.0.1:22"]}), "/origin_direct/0"),
            (json!({"origin_direct": ["tcp://192.0.2.1:22-23"]}), "/origin_direct/0"),
            (json!({"protocol": "tcp/1000-2000", "origin_direct": ["tcp://192.0.2.1:1000-1999"]}), "/origin_direct/0"),
            (json!({"origin_port": 22}), "/origin_port"),
            (dns(json!({"origin_port": null})), "/origin_port"),
            (dns(json!({"origin_port": 0})), "/origin_port"),
            (dns(json!({"origin_port": 65536})), "/origin_port"),
            (dns(json!({"origin_port": "22-"})), "/origin_port"),
            (dns(json!({"origin_port": "22-23"})), "/origin_port"),
            (dns(json!({"origin_dns": {}})), "/origin_direct"),
            (dns(json!({"origin_dns": {"name": "a b"}})), "/origin_dns/name"),
            (dns(json!({"origin_dns": {"name": "192.0.2.1"}})), "/origin_dns/name"),
            (dns(json!({"origin_dns": {"name": "a.example", "type": "MX"}})), "/origin_dns/type"),
            (dns(json!({"origin_dns": {"name": "a.example", "ttl": 599}})), "/origin_dns/ttl"),
            (dns(json!({"origin_dns": {"name": "a.example", "ttl": 86401}})), "/origin_dns/ttl"),
            (own, "/origin_dns/name"),
            (dns(json!({"bartizan": {"origin_address": "10.0.0.5"}})), "/bartizan/origin_address"),
            (json!({"bartizan": {"origin_pool": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}}), "/origin_direct"),
            (json!({"origin_direct": null, "bartizan": {"origin_pool": "web"}}), "/bartizan/origin_pool"),
            (
                json!({"origin_direct": null, "origin_port": 0, "bartizan": {"origin_pool": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}}),
                "/origin_port",
            ),
            (json!({"edge_ips": {"type": "anycast"}}), "/edge_ips/type"),
            (json!({"edge_ips": {"connectivity": "ipv5"}}), "/edge_ips/connectivity"),
            (json!({"edge_ips": {"type": "static"}}), "/edge_ips/ips"),
            (json!({"edge_ips": {"type": "static", "ips": []}}), "/edge_ips/ips"),
            (json!({"edge_ips": {"type": "static", "ips": ["192.0.2.9", "x"]}}), "/edge_ips/ips/1"),
            (json!({"tls": "on"}), "/tls"),
            (json!({"proxy_protocol": "v3"}), "/proxy_protocol"),
            (json!({"proxy_protocol": "simple"}), "/proxy_protocol"),
            (json!({"protocol": "udp/22", "proxy_protocol": "v1"}), "/proxy_protocol"),
            (json!({"protocol": "udp/22", "tls": "flexible"}), "/tls"),
            (json!({"traffic_type": "https"}), "/traffic_type"),
        ] {
            let refused = read(fields.clone());
            let found = refused.as_ref().err().map(AppError::pointer);
            assert_eq!(found.as_deref(), Some(pointer), "{fields}: {refused:?}");
        }
    }

    #[test]
    fn overlaps() {
        let app = |protocol: &str, tls: &str, name: &str| {
            let origin = format!("{}://192.0.2.1:1", &protocol[..3]);
            read(json!({"protocol": protocol, "tls": tls, "dns": {"name": name}, "origin_direct": [origin]})).unwrap()
        };
        for (one, other, expect) in [
            (app("tcp/22", "off", "a"), app("tcp/22", "off", "b"), true),
            (app("tcp/22", "off", "a"), app("udp/22", "off", "b"), false),
            (app("tcp/22", "off", "a"), app("tcp/23", "off", "b"), false),
            (app("tcp/10-20", "off", "a"), app("tcp/20-30", "off", "b"), true),
            (app("tcp/10-20", "off", "a"), app("tcp/21-30", "off", "b"), false),
            (app("tcp/1-65535", "off", "a"), app("tcp/443", "off", "b"), true),
            (app("tcp/22", "flexible", "a"), app("tcp/22", "full", "b"), false),
            (app("tcp/22", "flexible", "a"), app("tcp/22", "flexible", "a"), true),
            (app("tcp/22", "flexible", "a"), app("tcp/22", "off", "b"), true),
        ] {
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (expect, expect), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_stored_one_has_a_slot() {
        let at = Timestamp::from_unix_micros(0);
        let unplaced = read(json!({})).unwrap();
        assert_eq!(Application::parse(&unplaced.document(at, at)), Err(AppError::Slot));
    }
}
