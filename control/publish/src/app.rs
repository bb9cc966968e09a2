//! Spectrum applications and access rules, from the words of the API into those of the engines.

use bartizan_authority::RecordSet;
use bartizan_firewall as firewall;
use bartizan_model as model;
use bartizan_names::RecordType;
use bartizan_routes as routes;
use bartizan_routes::Pools;
use bartizan_v4::StoredRuleScope;

/// How long resolvers may keep an application's addresses, in seconds: they change only when somebody changes them.
const ADDRESS_TTL: u32 = 300;

/// What an application's name answers at the PoP with these pools.
pub(crate) fn address_sets<'a>(apps: impl Iterator<Item = &'a routes::App>, pools: &Pools) -> Vec<RecordSet> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in apps.flat_map(|app| app.addresses_at(pools)) {
        match address {
            std::net::IpAddr::V4(address) => v4.push(address.octets().to_vec()),
            std::net::IpAddr::V6(address) => v6.push(address.octets().to_vec()),
        }
    }
    // Several applications of one name may share an address.
    [(RecordType::A, v4), (RecordType::AAAA, v6)]
        .into_iter()
        .filter(|(_, rdata)| !rdata.is_empty())
        .map(|(rtype, mut rdata)| {
            rdata.sort_unstable();
            rdata.dedup();
            RecordSet { rtype, ttl: ADDRESS_TTL, rdata }
        })
        .collect()
}

/// The application as the edge serves it; none while it has neither a slot nor addresses of its own.
pub(crate) fn served(app: &model::Application) -> Option<routes::App> {
    let addresses = match (&app.edge_ips, app.slot) {
        (model::EdgeIps::Static(addresses), _) => routes::AppAddresses::Literal(addresses.clone()),
        (model::EdgeIps::Dynamic(connectivity), Some(number)) => {
            let families = match connectivity {
                model::Connectivity::All => routes::Families::All,
                model::Connectivity::Ipv4 => routes::Families::Ipv4,
                model::Connectivity::Ipv6 => routes::Families::Ipv6,
            };
            routes::AppAddresses::Slot { number, families }
        }
        (model::EdgeIps::Dynamic(_), None) => return None,
    };
    Some(routes::App {
        id: app.id,
        zone: app.zone,
        name: app.name.clone(),
        protocol: app.protocol,
        ports: app.ports.clone(),
        addresses,
        origin: origin(&app.origin),
        tls: match app.tls {
            model::AppTls::Off => routes::AppTls::Off,
            model::AppTls::Flexible => routes::AppTls::Flexible,
            model::AppTls::Full => routes::AppTls::Full,
            model::AppTls::Strict => routes::AppTls::Strict,
        },
        proxy_protocol: match app.proxy_protocol {
            model::ProxyProtocol::Off => routes::ProxyProtocol::Off,
            model::ProxyProtocol::V1 => routes::ProxyProtocol::V1,
            model::ProxyProtocol::V2 => routes::ProxyProtocol::V2,
            model::ProxyProtocol::Simple => routes::ProxyProtocol::Simple,
        },
        ip_firewall: app.ip_firewall,
    })
}

fn origin(origin: &model::AppOrigin) -> routes::AppOrigin {
    match origin {
        model::AppOrigin::Direct(origins) => routes::AppOrigin::Direct(
            origins
                .iter()
                .map(|origin| routes::DirectOrigin { address: origin.address, port: port(origin.port) })
                .collect(),
        ),
        model::AppOrigin::Dns { name, kind, port: origin_port, ttl_min } => routes::AppOrigin::Dns {
            name: name.clone(),
            kind: match kind {
                model::DnsKind::Any => routes::DnsKind::Any,
                model::DnsKind::A => routes::DnsKind::A,
                model::DnsKind::Aaaa => routes::DnsKind::Aaaa,
                model::DnsKind::Srv => routes::DnsKind::Srv,
            },
            port: port(*origin_port),
            ttl_min: *ttl_min,
        },
        model::AppOrigin::Tunnel { tunnel, address, port: origin_port } => routes::AppOrigin::Tunnel {
            tunnel: *tunnel,
            address: address.as_ref().map(|address| match address {
                model::OriginHost::Address(address) => routes::OriginHost::Address(*address),
                model::OriginHost::Name(name) => routes::OriginHost::Name(name.clone()),
            }),
            port: port(*origin_port),
        },
    }
}

fn port(port: model::OriginPort) -> routes::OriginPort {
    match port {
        model::OriginPort::One(port) => routes::OriginPort::One(port),
        model::OriginPort::From(first) => routes::OriginPort::From(first),
    }
}

/// An access rule as the firewall knows it.
pub(crate) fn rule(rule: &model::AccessRule) -> firewall::Rule {
    let (level, zone) = match rule.scope {
        StoredRuleScope::User(_) => (firewall::Level::User, None),
        StoredRuleScope::Organization(_) => (firewall::Level::Account, None),
        StoredRuleScope::Zone(zone) => (firewall::Level::Zone, Some(zone)),
    };
    firewall::Rule {
        id: rule.id,
        level,
        zone,
        mode: match rule.mode {
            model::AccessMode::Block => firewall::Mode::Block,
            model::AccessMode::Challenge => firewall::Mode::Challenge,
            model::AccessMode::JsChallenge => firewall::Mode::JsChallenge,
            model::AccessMode::ManagedChallenge => firewall::Mode::ManagedChallenge,
            model::AccessMode::Whitelist => firewall::Mode::Whitelist,
        },
        target: match rule.target {
            model::AccessTarget::Ip(address) => firewall::Target::Ip(address),
            model::AccessTarget::Range(prefix) => firewall::Target::Range(prefix),
            model::AccessTarget::Asn(asn) => firewall::Target::Asn(asn),
            model::AccessTarget::Country(country) => firewall::Target::Country(country),
        },
    }
}
