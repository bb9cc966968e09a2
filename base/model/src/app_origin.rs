//! Where a Spectrum application leads: addresses, a name that is looked up, a tunnel, or a pool.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bartizan_names::{AppOrigin, DirectOrigin, DnsKind, Name, OriginPort, PoolId, Protocol};
use bartizan_v4::spectrum::{self, OriginDns, OriginDnsBody, OriginPortBody};
use bartizan_v4::{AppBody, Integer};

use crate::application::{ports, ports_text};
use crate::record::is_origin;
use crate::tunnel::{id_of, tunnel_name};
use crate::{AppError, OriginReason};

/// Origins of one application: tried one after the other, so that a longer list only makes clients wait.
pub const ORIGINS_MAX: usize = 64;

/// How long answers may be kept at least, in seconds. Who wants less leaves it out: then the answers say it themselves.
pub(crate) const ORIGIN_TTL_MIN: u32 = 600;

/// A day.
pub(crate) const ORIGIN_TTL_MAX: u32 = 86_400;

/// An origin as a document has it.
#[derive(Default)]
pub(crate) struct Texts {
    pub(crate) direct: Option<Vec<String>>,
    pub(crate) dns: Option<OriginDns>,
    pub(crate) port: Option<spectrum::OriginPort>,
    pub(crate) address: Option<String>,
    pub(crate) pool: Option<PoolId>,
}

/// The origin of an application with these ports and this name.
pub(crate) fn parse(
    body: &AppBody,
    protocol: Protocol,
    edge: &RangeInclusive<u16>,
    own_name: &Name,
) -> Result<AppOrigin, AppError> {
    let address = body.bartizan.value().and_then(|ours| ours.origin_address.value());
    let pool = body.bartizan.value().and_then(|ours| ours.origin_pool.value());
    let origin = match (body.origin_direct.value(), body.origin_dns.value(), pool) {
        (Some(texts), None, None) if body.origin_port.value().is_some() && !texts.is_empty() => {
            return Err(AppError::OriginPortAlone);
        }
        (Some(texts), None, None) => direct(texts, protocol, edge)?,
        (None, None, Some(text)) => pooled(text, body.origin_port.value(), edge)?,
        (None, Some(origin), None) => named(origin, body.origin_port.value(), address, edge, own_name)?,
        _ => return Err(AppError::OriginForm),
    };
    match origin {
        AppOrigin::Tunnel { .. } => Ok(origin),
        _ if address.is_some() => Err(AppError::OriginAddress),
        _ => Ok(origin),
    }
}

fn direct(texts: &[String], protocol: Protocol, edge: &RangeInclusive<u16>) -> Result<AppOrigin, AppError> {
    if !(1..=ORIGINS_MAX).contains(&texts.len()) {
        return Err(AppError::OriginCount);
    }
    let origin = |(index, text): (usize, &String)| {
        one(text.trim(), protocol, edge).map_err(|reason| AppError::Origin { index, text: text.clone(), reason })
    };
    texts.iter().enumerate().map(origin).collect::<Result<_, _>>().map(AppOrigin::Direct)
}

/// `tcp://192.0.2.1:22`, `tcp://[2001:db8::1]:1000-2000`.
fn one(text: &str, protocol: Protocol, edge: &RangeInclusive<u16>) -> Result<DirectOrigin, OriginReason> {
    let (scheme, rest) = text.split_once("://").ok_or(OriginReason::Form)?;
    if scheme.parse() != Ok(protocol) {
        return Err(OriginReason::Protocol(protocol));
    }
    let (host, origin_ports) = rest.rsplit_once(':').ok_or(OriginReason::Form)?;
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(six) => six.parse().map(IpAddr::V6).map_err(|_| OriginReason::Form)?,
        None => host.parse().map(IpAddr::V4).map_err(|_| OriginReason::Form)?,
    }
    .to_canonical();
    if !is_origin(address) {
        return Err(OriginReason::Address);
    }
    let origin_ports = ports(origin_ports).ok_or(OriginReason::Ports)?;
    Ok(DirectOrigin { address, port: beside(edge, &origin_ports).ok_or(OriginReason::Length)? })
}

/// None if the two ranges differ in length. A single port takes all of them.
fn beside(edge: &RangeInclusive<u16>, origin: &RangeInclusive<u16>) -> Option<OriginPort> {
    match origin.len() {
        1 => Some(OriginPort::One(*origin.start())),
        length if length == edge.len() => Some(OriginPort::From(*origin.start())),
        _ => None,
    }
}

fn pooled(text: &str, port: Option<&OriginPortBody>, edge: &RangeInclusive<u16>) -> Result<AppOrigin, AppError> {
    let pool = text.trim().parse().map_err(|_| AppError::OriginPool(text.to_owned()))?;
    let port = port.map(|port| origin_port(Some(port), edge)).transpose()?;
    Ok(AppOrigin::Pool { pool, port })
}

fn named(
    origin: &OriginDnsBody,
    port: Option<&OriginPortBody>,
    address: Option<&String>,
    edge: &RangeInclusive<u16>,
    own_name: &Name,
) -> Result<AppOrigin, AppError> {
    let text = origin.name.value().map(|text| text.trim()).unwrap_or_default();
    let refused = || AppError::OriginName(text.to_owned());
    // Looked up, an address would be a name that nobody has.
    let name = Name::typed(text).ok().filter(|name| name.is_host() && !name.is_wildcard()).ok_or_else(refused)?;
    if text.parse::<IpAddr>().is_ok() {
        return Err(refused());
    }
    if name == *own_name {
        return Err(AppError::OriginItself(name));
    }
    if let Some(tunnel) = id_of(&name) {
        let address = address.map(|text| text.trim().parse().map_err(|_| AppError::OriginAddress)).transpose()?;
        return Ok(AppOrigin::Tunnel { tunnel, address, port: origin_port(port, edge)? });
    }
    let kind = match origin.kind.value().map(|kind| kind.to_ascii_uppercase()).as_deref() {
        None | Some("") => DnsKind::Any,
        Some("A") => DnsKind::A,
        Some("AAAA") => DnsKind::Aaaa,
        Some("SRV") => DnsKind::Srv,
        Some(other) => return Err(AppError::OriginKind(other.to_owned())),
    };
    let port = if kind == DnsKind::Srv { OriginPort::One(*edge.start()) } else { origin_port(port, edge)? };
    Ok(AppOrigin::Dns { name, kind, port, ttl_min: ttl_min(origin.ttl.value())? })
}

fn ttl_min(ttl: Option<&Integer>) -> Result<Duration, AppError> {
    let Some(ttl) = ttl else { return Ok(Duration::ZERO) };
    let seconds = u32::try_from(ttl.0).ok().filter(|ttl| (ORIGIN_TTL_MIN..=ORIGIN_TTL_MAX).contains(ttl));
    seconds.map(|seconds| Duration::from_secs(seconds.into())).ok_or(AppError::OriginTtl)
}

fn origin_port(port: Option<&OriginPortBody>, edge: &RangeInclusive<u16>) -> Result<OriginPort, AppError> {
    let text = match port {
        None => return Err(AppError::OriginPortMissing),
        Some(OriginPortBody::Port(port)) => port.0.to_string(),
        Some(OriginPortBody::Range(range)) => range.trim().to_owned(),
    };
    let origin = ports(&text).ok_or(AppError::OriginPort(text))?;
    beside(edge, &origin).ok_or(AppError::OriginLength)
}

/// As a document has it, for an application with these ports.
pub(crate) fn texts(origin: &AppOrigin, protocol: Protocol, edge: &RangeInclusive<u16>) -> Texts {
    match origin {
        AppOrigin::Direct(origins) => {
            let text = |origin: &DirectOrigin| {
                let origin_ports = ports_text(&origin.port.range(edge));
                match origin.address {
                    IpAddr::V4(address) => format!("{protocol}://{address}:{origin_ports}"),
                    IpAddr::V6(address) => format!("{protocol}://[{address}]:{origin_ports}"),
                }
            };
            Texts { direct: Some(origins.iter().map(text).collect()), ..Texts::default() }
        }
        AppOrigin::Dns { name, kind, port, ttl_min } => Texts {
            dns: Some(OriginDns {
                name: name.to_string(),
                kind: kind_text(*kind).map(str::to_owned),
                // Bounded when it was read.
                ttl: u32::try_from(ttl_min.as_secs()).ok().filter(|ttl| *ttl != 0),
            }),
            port: (*kind != DnsKind::Srv).then(|| port_document(*port, edge)),
            ..Texts::default()
        },
        AppOrigin::Tunnel { tunnel, address, port } => Texts {
            dns: Some(OriginDns { name: tunnel_name(*tunnel), kind: None, ttl: None }),
            port: Some(port_document(*port, edge)),
            address: address.as_ref().map(ToString::to_string),
            ..Texts::default()
        },
        AppOrigin::Pool { pool, port } => {
            Texts { pool: Some(*pool), port: port.map(|port| port_document(port, edge)), ..Texts::default() }
        }
    }
}

const fn kind_text(kind: DnsKind) -> Option<&'static str> {
    match kind {
        DnsKind::Any => None,
        DnsKind::A => Some("A"),
        DnsKind::Aaaa => Some("AAAA"),
        DnsKind::Srv => Some("SRV"),
    }
}

fn port_document(port: OriginPort, edge: &RangeInclusive<u16>) -> spectrum::OriginPort {
    match port {
        OriginPort::One(port) => spectrum::OriginPort::Port(port),
        OriginPort::From(_) => spectrum::OriginPort::Range(ports_text(&port.range(edge))),
    }
}
