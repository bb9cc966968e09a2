//! From a name to its addresses: which questions are asked, and which sources are asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bartizan_names::{DnsKind, Name, RecordType};
use futures_util::future::{Either, join_all, select};

use super::NameServers;
use super::found::{Found, Service};
pub(super) use super::stub::NoAnswer;
use super::stub::{self, Records};
use super::system::{self, SystemResolver};
use crate::limits::{ADDRESSES_MAX, OTHER_FAMILY_PATIENCE, SERVICES_MAX};
use crate::places::Zone;

/// What was found, and how long it may be kept; none where the source does not say.
pub(super) struct Answer {
    pub(super) found: Found,
    pub(super) ttl: Option<Duration>,
}

/// Addresses (there may be none), and how long they may be kept.
#[derive(Default)]
pub(super) struct Addresses {
    pub(super) ips: Vec<IpAddr>,
    pub(super) ttl: Option<Duration>,
}

/// What the sources know: addresses, or that there are none. An error where none of them answers.
pub(super) async fn resolve(
    name: &Name,
    kind: DnsKind,
    zone: Zone,
    servers: &NameServers,
    system: &SystemResolver,
) -> Result<Answer, NoAnswer> {
    let (asked, asks_system) = match servers {
        NameServers::System => (system.servers().await, true),
        NameServers::These(servers) => (servers.clone(), false),
    };
    let lookup = Lookup { asked, system, asks_system, zone };
    match kind {
        DnsKind::Srv => lookup.services(name).await,
        DnsKind::Any | DnsKind::A | DnsKind::Aaaa => {
            let Addresses { ips, ttl } = lookup.addresses(name, kind).await?;
            Ok(Answer { found: Found::Addresses(ips), ttl })
        }
    }
}

/// `localhost` and the names below it always mean this machine, in both families, and nobody is asked (RFC 6761 §6.3).
fn loopback(kind: DnsKind) -> Vec<IpAddr> {
    let both = [IpAddr::from(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
    both.into_iter().filter(|address| kind.includes(*address)).collect()
}

pub(super) struct Lookup<'s> {
    asked: Vec<SocketAddr>,
    system: &'s SystemResolver,
    /// For what the servers say is not there.
    asks_system: bool,
    zone: Zone,
}

impl<'s> Lookup<'s> {
    /// One that asks name servers alone.
    pub(super) fn of_servers(asked: Vec<SocketAddr>, system: &'s SystemResolver) -> Lookup<'s> {
        Lookup { asked, system, asks_system: false, zone: None }
    }

    async fn services(&self, name: &Name) -> Result<Answer, NoAnswer> {
        let Records { rdata, ttl } = stub::ask(&self.asked, name, RecordType::SRV).await?;
        let mut records: Vec<SrvRecord> = rdata.iter().filter_map(|rdata| SrvRecord::parse(rdata)).collect();
        records.sort_by_key(|record| record.priority);
        records.truncate(SERVICES_MAX);
        let targets = join_all(records.iter().map(|record| self.addresses(&record.target, DnsKind::Any))).await;
        let mut shortest = ttl;
        let mut services = Vec::new();
        let mut unanswered = None;
        for (record, addresses) in records.into_iter().zip(targets) {
            match addresses {
                Ok(Addresses { ips, ttl }) if !ips.is_empty() => {
                    shortest = ttl.map_or(shortest, |ttl| shortest.min(ttl));
                    services.push(record.with(ips));
                }
                Ok(_) => {}
                Err(error) => unanswered = Some(error),
            }
        }
        match unanswered {
            // What the last good answer has may be there still.
            Some(error) if services.is_empty() => Err(error),
            _ => Ok(Answer { found: Found::Services(services), ttl: Some(shortest) }),
        }
    }

    /// The file of hosts comes first, then DNS, then whatever else the system knows.
    async fn addresses(&self, name: &Name, kind: DnsKind) -> Result<Addresses, NoAnswer> {
        if system::is_local(name) {
            return Ok(Addresses { ips: loopback(kind), ttl: None });
        }
        if system::is_invalid(name) {
            return Ok(Addresses::default());
        }
        let wanted = |address: &IpAddr| kind.includes(*address);
        let hosts: Vec<IpAddr> = self.system.hosts(name).await.into_iter().filter(wanted).take(ADDRESSES_MAX).collect();
        if !hosts.is_empty() {
            return Ok(Addresses { ips: hosts, ttl: None });
        }
        // Where no server answers, the system's resolver would ask the same ones, on a thread and for longer.
        let found = self.in_dns(name, kind).await?;
        if !self.asks_system || !found.ips.is_empty() {
            return Ok(found);
        }
        let known = self.system.addresses(name, self.zone).await?;
        Ok(Addresses { ips: known.into_iter().filter(wanted).take(ADDRESSES_MAX).collect(), ttl: None })
    }

    /// What the name servers know.
    pub(super) async fn in_dns(&self, name: &Name, kind: DnsKind) -> Result<Addresses, NoAnswer> {
        match kind {
            DnsKind::A => self.family(name, RecordType::A).await,
            DnsKind::Aaaa => self.family(name, RecordType::AAAA).await,
            DnsKind::Any | DnsKind::Srv => self.both_families(name).await,
        }
    }

    async fn family(&self, name: &Name, rtype: RecordType) -> Result<Addresses, NoAnswer> {
        let Records { rdata, ttl } = stub::ask(&self.asked, name, rtype).await?;
        let ips = rdata.iter().filter_map(|rdata| address_in(rdata)).take(ADDRESSES_MAX).collect();
        Ok(Addresses { ips, ttl: Some(ttl) })
    }

    /// Both at once. Once one has addresses the other gets little time more: some name servers never answer for it
    /// (RFC 8305 §3).
    async fn both_families(&self, name: &Name) -> Result<Addresses, NoAnswer> {
        let v6 = pin!(self.family(name, RecordType::AAAA));
        let v4 = pin!(self.family(name, RecordType::A));
        let (first, other) = match select(v6, v4).await {
            Either::Left((first, other)) | Either::Right((first, other)) => (first, other),
        };
        let other = match &first {
            Ok(Addresses { ips, .. }) if !ips.is_empty() => {
                tokio::time::timeout(OTHER_FAMILY_PATIENCE, other).await.unwrap_or(Err(NoAnswer))
            }
            _ => other.await,
        };
        joined(first, other)
    }
}

/// One family with addresses is enough. That there is none is true only if both families say so.
fn joined(one: Result<Addresses, NoAnswer>, other: Result<Addresses, NoAnswer>) -> Result<Addresses, NoAnswer> {
    match (one, other) {
        (Ok(one), Ok(other)) if one.ips.is_empty() => Ok(other),
        (Ok(one), Ok(other)) if other.ips.is_empty() => Ok(one),
        (Ok(mut one), Ok(other)) => {
            one.ips.extend(other.ips);
            Ok(Addresses { ips: one.ips, ttl: one.ttl.min(other.ttl) })
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.ips.is_empty() => Ok(found),
        _ => Err(NoAnswer),
    }
}

fn address_in(rdata: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(rdata).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(rdata).map(|bytes| Ipv6Addr::from(bytes).into());
    v4.or_else(|_| v6()).ok()
}

/// The data of an SRV record.
#[derive(Debug, PartialEq, Eq)]
struct SrvRecord {
    priority: u16,
    weight: u16,
    port: u16,
    target: Name,
}

impl SrvRecord {
    /// None for what is no such data, and for "there is no such service here": the root as the target.
    fn parse(rdata: &[u8]) -> Option<SrvRecord> {
        let (numbers, target) = rdata.split_at_checked(6)?;
        let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
        let target = Name::from_wire(target).ok()?;
        let record = SrvRecord { priority: number(0), weight: number(2), port: number(4), target };
        (!record.target.is_root() && record.port != 0).then_some(record)
    }

    fn with(self, addresses: Vec<IpAddr>) -> Service {
        Service { priority: self.priority, weight: self.weight, port: self.port, addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_srv_records() {
        for (rdata, expect) in [
            (&b"\0\x0a\0\x05\x15\x38\x02ab\x04test\0"[..], Some((10, 5, 5432, "ab.test"))),
            (b"\0\0\0\0\0\0\0", None),
            (b"\0\0\0\0\0\x01\0", None),
            (b"\0\0\0\0\0\0\x02ab\0", None),
            (b"\0\0\0\0\0\x01\x02ab", None),
            // The target must not be compressed (RFC 2782).
            (b"\0\0\0\0\0\x01\xc0\x0c", None),
            (b"\0\0\0\0\0", None),
            (b"", None),
        ] {
            let record = SrvRecord::parse(rdata);
            let record = record.map(|it| (it.priority, it.weight, it.port, it.target.to_string()));
            assert_eq!(record, expect.map(|(a, b, c, d)| (a, b, c, d.to_owned())), "{rdata:?}");
        }
    }
}
