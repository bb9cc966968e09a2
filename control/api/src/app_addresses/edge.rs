//! The addresses of this edge: which it can give to applications, and where it listens itself.

use std::net::{IpAddr, SocketAddr};

use bartizan_model::{Application, EdgeIps};
use bartizan_names::{Families, Prefix, Protocol};
use bartizan_routes::Pools;

use crate::error::{Error, Fault};
use crate::state::{Api, Facts};
use crate::transaction::Change;

/// The addresses of this edge: those for applications, and those where it listens itself.
pub(crate) struct Addresses<'f> {
    pub(super) facts: &'f Facts,
    pub(super) pools: Pools,
}

/// A socket of the edge itself.
pub(super) struct Listener {
    pub(super) what: &'static str,
    protocol: Protocol,
    pub(super) at: SocketAddr,
}

impl<'f> Addresses<'f> {
    /// As they are in force: what is shown is what is served.
    pub(crate) fn of_edge(api: &'f Api) -> Addresses<'f> {
        Addresses { facts: api.facts(), pools: api.pools().clone() }
    }

    /// As the PoP has them, by which a change may give them away.
    pub(crate) fn to_give(change: &mut Change, api: &'f Api) -> Result<Addresses<'f>, Error> {
        let pop = change.guarded_pop(api.facts().pop.id)?;
        Ok(Addresses { facts: api.facts(), pools: Pools::new(pop.pools) })
    }

    fn listeners(&self) -> impl Iterator<Item = Listener> {
        use Protocol::{Tcp, Udp};
        let Facts { dns, http, https, api, tunnel_edges, .. } = self.facts;
        let all: [(&'static str, &'static [Protocol], &[SocketAddr]); 5] = [
            ("DNS", &[Tcp, Udp], dns),
            ("HTTP", &[Tcp], http),
            ("HTTPS", &[Tcp, Udp], https),
            ("the API", &[Tcp], api),
            ("tunnels", &[Tcp, Udp], tunnel_edges),
        ];
        all.into_iter().flat_map(|(what, protocols, sockets)| {
            let both = protocols.iter().flat_map(move |protocol| sockets.iter().map(move |at| (*protocol, *at)));
            both.map(move |(protocol, at)| Listener { what, protocol, at })
        })
    }

    /// A socket of our own that has one of the application's ports on one of these addresses. One on all addresses of the
    /// machine does not conflict: the kernel prefers the listener on the more specific address.
    pub(super) fn taken(&self, app: &Application, addresses: &[IpAddr]) -> Option<Listener> {
        self.listeners().find(|listener| {
            listener.protocol == app.protocol
                && app.ports.contains(&listener.at.port())
                && addresses.contains(&listener.at.ip())
        })
    }

    /// Why connections to an origin would come back to us.
    pub(super) fn loops(
        &self,
        protocol: Protocol,
        address: IpAddr,
        ports: &std::ops::RangeInclusive<u16>,
    ) -> Option<String> {
        if self.pools.contains(address) {
            return Some("an address of this edge for applications".to_owned());
        }
        let here = address.is_loopback() || self.facts.pop.addresses.contains(&address);
        let own = self.listeners().find(|listener| {
            let there = listener.at.ip() == address || (listener.at.ip().is_unspecified() && here);
            listener.protocol == protocol && ports.contains(&listener.at.port()) && there
        });
        own.map(|listener| format!("where this edge listens for {} ({})", listener.what, listener.at))
    }

    pub(crate) fn of(&self, app: &Application) -> Vec<IpAddr> {
        match (&app.edge_ips, app.slot) {
            (EdgeIps::Static(ips), _) => ips.clone(),
            (EdgeIps::Dynamic(families), Some(slot)) => self.pools.addresses(slot, *families).collect(),
            (EdgeIps::Dynamic(_), None) => Vec::new(),
        }
    }

    /// That an application asked for addresses of both kinds and the pool has one.
    pub(crate) fn one_family(&self, app: &Application) -> Option<&'static str> {
        let all = app.edge_ips == EdgeIps::Dynamic(Families::All);
        match (self.pools.offers(Families::Ipv4), self.pools.offers(Families::Ipv6)) {
            (true, false) if all => Some(
                "the pool has no IPv6 addresses: this application is served over IPv4 only; for both start the edge with --pool and an IPv6 prefix as well",
            ),
            (false, true) if all => Some(
                "the pool has no IPv4 addresses: this application is served over IPv6 only; for both start the edge with --pool and an IPv4 prefix as well",
            ),
            _ => None,
        }
    }

    /// The families that were asked for must be on offer; of both, one is enough.
    pub(super) fn check_offer(&self, families: Families) -> Result<(), Error> {
        if self.pools.prefixes().next().is_none() {
            let detail = "this edge has no addresses for applications; start it with --pool PREFIX";
            return Err(Fault::AppAddresses.because(detail).at("/edge_ips"));
        }
        let wanted = match families {
            Families::All => return Ok(()),
            Families::Ipv4 => "IPv4",
            Families::Ipv6 => "IPv6",
        };
        if self.pools.offers(families) {
            return Ok(());
        }
        let detail = format!("the pool has no {wanted} addresses; start the edge with --pool and such a prefix");
        Err(Fault::AppEdgeIps.because(detail).at("/edge_ips/connectivity"))
    }

    pub(super) fn check_static(&self, ips: &[IpAddr]) -> Result<(), Error> {
        let Some(index) = ips.iter().position(|ip| !self.pools.contains(*ip)) else { return Ok(()) };
        let pool: Vec<String> = self.pools.prefixes().map(ToString::to_string).collect();
        let detail = match pool.join(", ") {
            pool if pool.is_empty() => "this edge has no addresses for applications; start it with --pool".to_owned(),
            pool => format!("{} is not in this edge's pool ({pool}); start it with another --pool", ips[index]),
        };
        Err(Fault::AppEdgeIps.because(detail).at(format!("/edge_ips/ips/{index}")))
    }

    /// Whether clients can be expected to dial the addresses of a slot: many refuse the first and the last of a network.
    pub(super) fn is_dialable(&self, slot: u32) -> bool {
        let mut addresses = self.pools.addresses(slot, Families::All).peekable();
        addresses.peek().is_some() && addresses.all(|address| self.pools.prefixes().all(|pool| !is_edge(pool, address)))
    }
}

/// Whether an address is the first one of a network or the broadcast address (RFC 919; RFC 3021: not of a /31). IPv6 has
/// no broadcast, and its first address belongs to all routers (RFC 4291 §2.6.1).
fn is_edge(pool: &Prefix, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) if pool.length() < 31 && pool.contains(address) => {
            let next = v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into()));
            pool.network() == address || next.is_none_or(|next| !pool.contains(next))
        }
        IpAddr::V6(_) => pool.length() < 127 && pool.network() == address,
        IpAddr::V4(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_clients_refuse_to_dial() {
        for (pool, address, expect) in [
            ("192.0.2.0/24", "192.0.2.0", true),
            ("192.0.2.0/24", "192.0.2.1", false),
            ("192.0.2.0/24", "192.0.2.254", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.4/31", "192.0.2.4", false),
            ("192.0.2.4/32", "192.0.2.4", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("2001:db8::/64", "2001:db8::", true),
            ("2001:db8::/64", "2001:db8::1", false),
            ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", false),
            ("2001:db8::/127", "2001:db8::", false),
        ] {
            assert_eq!(is_edge(&pool.parse().unwrap(), address.parse().unwrap()), expect, "{address} of {pool}");
        }
    }
}
