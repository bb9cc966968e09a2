//! Which addresses an application has, and what may stand beside it there.
//!
//! Three documents hold this together, each guarded by whoever decides by it, so that two who ask at once meet:
//! - `name/<zone>/<owner>` lists the applications that a name leads to. All of them have the same addresses, because a
//!   client may dial any address of the name; and no record stands there, because the applications answer for it.
//! - `meta/app-slot/<number>`: the name that a slot of the pool belongs to.
//! - `meta/app-address/<address>`: the applications that asked for this address themselves. It lies in the pool too.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use bartizan_model::{AppOrigin, Application, Connectivity, EdgeIps, Record, Zone};
use bartizan_names::{AccountId, AppId, Name, Prefix, Protocol, ZoneId, ZoneName};
use bartizan_routes::{Families, Pools};
use bartizan_store::{Key, Prefix as Keys};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault};
use crate::objects::{Change, View};
use crate::state::Facts;

/// Applications of one name, or of one static address. Each new one is compared with all of them.
const SHARED_MAX: usize = 1_000;

/// Slots read from the store in one go.
const SLOTS_PAGE: usize = 1_000;

/// Whose a slot is.
#[derive(Serialize, Deserialize)]
pub(crate) struct SlotDocument {
    zone: ZoneId,
    name: Name,
}

/// Who has a static address.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct AddressDocument {
    apps: Vec<AppRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppRef {
    zone: ZoneId,
    app: AppId,
}

/// The addresses of this edge: those for applications, and those where it listens itself.
pub(crate) struct Addresses<'f> {
    facts: &'f Facts,
    pools: &'f Pools,
}

/// A socket of the edge itself.
struct Listener {
    what: &'static str,
    protocol: Protocol,
    at: SocketAddr,
}

impl<'f> Addresses<'f> {
    pub(crate) fn new(facts: &'f Facts, pools: &'f Pools) -> Addresses<'f> {
        Addresses { facts, pools }
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
    /// machine is in nobody's way: an application's own address goes before.
    fn taken(&self, app: &Application, addresses: &[IpAddr]) -> Option<Listener> {
        self.listeners().find(|listener| {
            listener.protocol == app.protocol
                && app.ports.contains(&listener.at.port())
                && addresses.contains(&listener.at.ip())
        })
    }

    /// Why connections to an origin would come back to us.
    fn loops(&self, protocol: Protocol, address: IpAddr, ports: &std::ops::RangeInclusive<u16>) -> Option<String> {
        if self.pools.contains(address) {
            return Some("an address of this edge for applications".to_owned());
        }
        let here = address.is_loopback() || self.facts.addresses.contains(&address);
        let own = self.listeners().find(|listener| {
            let there = listener.at.ip() == address || (listener.at.ip().is_unspecified() && here);
            listener.protocol == protocol && ports.contains(&listener.at.port()) && there
        });
        own.map(|listener| format!("where this edge listens for {} ({})", listener.what, listener.at))
    }

    pub(crate) fn of(&self, app: &Application) -> Vec<IpAddr> {
        match (&app.edge_ips, app.slot) {
            (EdgeIps::Static(ips), _) => ips.clone(),
            (EdgeIps::Dynamic(connectivity), Some(slot)) => {
                self.pools.addresses(slot, families(*connectivity)).collect()
            }
            (EdgeIps::Dynamic(_), None) => Vec::new(),
        }
    }

    /// That an application asked for addresses of both kinds and the pool has one.
    pub(crate) fn one_family(&self, app: &Application) -> Option<&'static str> {
        let all = app.edge_ips == EdgeIps::Dynamic(Connectivity::All);
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
    fn check_offer(&self, connectivity: Connectivity) -> Result<(), Error> {
        if self.pools.prefixes().next().is_none() {
            let detail = "this edge has no addresses for applications; start it with --pool PREFIX";
            return Err(Fault::AppAddresses.because(detail).at("/edge_ips"));
        }
        let wanted = match connectivity {
            Connectivity::All => return Ok(()),
            Connectivity::Ipv4 => (Families::Ipv4, "IPv4"),
            Connectivity::Ipv6 => (Families::Ipv6, "IPv6"),
        };
        if self.pools.offers(wanted.0) {
            return Ok(());
        }
        let detail = format!("the pool has no {} addresses; start the edge with --pool and such a prefix", wanted.1);
        Err(Fault::AppEdgeIps.because(detail).at("/edge_ips/connectivity"))
    }

    fn check_static(&self, ips: &[IpAddr]) -> Result<(), Error> {
        let Some(index) = ips.iter().position(|ip| !self.pools.contains(*ip)) else { return Ok(()) };
        let pool: Vec<String> = self.pools.prefixes().map(ToString::to_string).collect();
        let detail = match pool.join(", ") {
            pool if pool.is_empty() => "this edge has no addresses for applications; start it with --pool".to_owned(),
            pool => format!("{} is not in this edge's pool ({pool}); start it with another --pool", ips[index]),
        };
        Err(Fault::AppEdgeIps.because(detail).at(format!("/edge_ips/ips/{index}")))
    }

    /// Whether clients can be expected to dial the addresses of a slot: many refuse the first and the last of a network.
    fn is_dialable(&self, slot: u32) -> bool {
        let mut addresses = self.pools.addresses(slot, Families::All).peekable();
        addresses.peek().is_some() && addresses.all(|address| self.pools.prefixes().all(|pool| !is_edge(pool, address)))
    }
}

fn families(connectivity: Connectivity) -> Families {
    match connectivity {
        Connectivity::All => Families::All,
        Connectivity::Ipv4 => Families::Ipv4,
        Connectivity::Ipv6 => Families::Ipv6,
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

/// How an application is called in messages.
pub(crate) fn called(app: &Application) -> String {
    format!("the application {} of {} ({})", app.edge_port(), app.name, app.id)
}

fn slot_key(slot: u32) -> Result<Key, Error> {
    // Ten digits, so that the order of the keys is that of the numbers.
    Key::parse(&format!("meta/app-slot/{slot:010}")).map_err(|error| Error::internal(&error))
}

fn address_key(address: IpAddr) -> Result<Key, Error> {
    Key::parse(&format!("meta/app-address/{address}")).map_err(|error| Error::internal(&error))
}

fn slot_of(key: &Key) -> Option<u32> {
    key.as_str().rsplit('/').next()?.parse().ok()
}

impl View {
    /// The applications that a name leads to.
    pub(crate) fn apps_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<Application>, Error> {
        self.apps_by_id(self.name_document(zone, owner)?.apps.into_iter().map(|app| AppRef { zone, app }))
    }

    /// The applications that a name leads to, in whichever zone of the account it lies.
    pub(crate) fn apps_named(&self, account: AccountId, name: &Name) -> Result<Vec<Application>, Error> {
        let mut apex = Some(name.clone());
        while let Some(candidate) = apex {
            if let Some(zone) = ZoneName::new(candidate.clone())
                && let Some(id) = self.zone_named(&zone)?
            {
                return if self.zone(account, id).is_ok() { self.apps_at(id, name) } else { Ok(Vec::new()) };
            }
            apex = candidate.parent();
        }
        Ok(Vec::new())
    }

    fn apps_by_id(&self, apps: impl Iterator<Item = AppRef>) -> Result<Vec<Application>, Error> {
        let found = apps.filter_map(|AppRef { zone, app }| self.app(zone, app).transpose());
        found.map(|document| parse(&document?)).collect()
    }
}

pub(crate) fn parse(document: &bartizan_v4::StoredApp) -> Result<Application, Error> {
    Application::parse(document).map_err(|error| Error::internal(&error))
}

/// Checks an application against everything else, and gives it a slot if it has dynamic addresses. `old` is what it was.
pub(crate) fn place(
    change: &mut Change,
    addresses: &Addresses<'_>,
    zone: &Zone,
    old: Option<&Application>,
    app: &mut Application,
) -> Result<(), Error> {
    check_name(change, app)?;
    check_origin(change, addresses, zone, app)?;
    let siblings: Vec<Application> =
        change.apps_at(zone.id, &app.name)?.into_iter().filter(|other| other.id != app.id).collect();
    if let Some(other) = siblings.iter().find(|other| other.edge_ips != app.edge_ips) {
        let detail = format!("{} has other edge_ips; applications of one name have the same addresses", called(other));
        return Err(Fault::AppEdgeIps.because(detail).at("/edge_ips"));
    }
    match &app.edge_ips {
        EdgeIps::Dynamic(connectivity) => {
            addresses.check_offer(*connectivity)?;
            app.slot = Some(match siblings.iter().find_map(|other| other.slot) {
                Some(slot) => slot,
                None => match kept_slot(change, addresses, zone, old, app)? {
                    Some(slot) => slot,
                    None => free_slot(change, addresses, app)?,
                },
            });
        }
        EdgeIps::Static(ips) => addresses.check_static(ips)?,
    }
    let here = addresses.of(app);
    if let Some(listener) = addresses.taken(app, &here) {
        let detail = format!("the edge itself listens for {} on {}", listener.what, listener.at);
        return Err(Fault::AppProtocol.because(detail).at("/protocol"));
    }
    check_listeners(change, addresses, app)?;
    let mut others = siblings;
    for address in here {
        others.extend(others_on(change, addresses, app, address)?);
    }
    match others.iter().find(|other| other.id != app.id && other.overlaps(app)) {
        None => Ok(()),
        Some(other) => {
            let where_ = addresses.of(other).first().map(|address| format!(" on {address}")).unwrap_or_default();
            let detail = format!("{}{where_} has these ports already", called(other));
            Err(Fault::AppOverlap.because(detail).at("/protocol"))
        }
    }
}

/// Where each port takes a listener, there may be so many. Who asks at the same moment may get one too many, which the
/// plane then tells as a port that it cannot hear.
fn check_listeners(change: &Change, addresses: &Addresses<'_>, app: &Application) -> Result<(), Error> {
    let Some(max) = addresses.facts.ports.max else { return Ok(()) };
    let too_many = |count: String| {
        let why = addresses.facts.ports.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let detail = format!(
            "this edge can listen on {max} ports in all, one listener for each{why}; with this application it would be {count}"
        );
        Err(Fault::AppProtocol.because(detail).at("/protocol"))
    };
    let size = app.ports.len() * addresses.of(app).len();
    if size > max {
        return too_many(size.to_string());
    }
    let mut places = HashSet::new();
    for document in change.all_apps()? {
        let other = parse(&document)?;
        let here = addresses.of(&other);
        if other.id != app.id && other.ports.len() * here.len() <= max {
            places.extend(each_place(&other, here));
        }
    }
    let before = places.len();
    places.extend(each_place(app, addresses.of(app)));
    // One that changes without growing is left alone, whatever there was before.
    if places.len() <= max.max(before) { Ok(()) } else { too_many(places.len().to_string()) }
}

fn each_place(app: &Application, addresses: Vec<IpAddr>) -> impl Iterator<Item = (Protocol, SocketAddr)> {
    let (protocol, ports) = (app.protocol, app.ports.clone());
    let places = move |address| ports.clone().map(move |port| (protocol, SocketAddr::new(address, port)));
    addresses.into_iter().flat_map(places)
}

/// No record may stand at an application's name.
fn check_name(change: &Change, app: &Application) -> Result<(), Error> {
    let Some(document) = change.records_at(app.zone, &app.name)?.into_iter().next() else { return Ok(()) };
    let record = Record::parse(&document).map_err(|error| Error::internal(&error))?;
    let detail = format!("{} has a record of type {} ({})", app.name, record.data.rtype(), record.id);
    Err(Fault::HostTaken.because(detail).at("/dns/name"))
}

fn check_origin(change: &Change, addresses: &Addresses<'_>, zone: &Zone, app: &Application) -> Result<(), Error> {
    match &app.origin {
        AppOrigin::Direct(origins) => {
            for (index, origin) in origins.iter().enumerate() {
                let ports = origin.port.range(&app.ports);
                if let Some(reason) = addresses.loops(app.protocol, origin.address, &ports) {
                    let detail = format!("{} is {reason}: a loop", origin.address);
                    return Err(Fault::AppOriginAddress.because(detail).at(format!("/origin_direct/{index}")));
                }
            }
            Ok(())
        }
        AppOrigin::Dns { name, .. } => match change.apps_named(zone.account, name)?.first() {
            None => Ok(()),
            Some(other) => {
                let detail = format!("{name} leads to {}: a loop", called(other));
                Err(Fault::AppOriginDns.because(detail).at("/origin_dns/name"))
            }
        },
        AppOrigin::Tunnel { tunnel, .. } => match change.tunnel_in_force(zone.account, *tunnel) {
            Ok(_) => Ok(()),
            Err(error) if error.fault == Fault::TunnelUnknown => {
                Err(Fault::AppOriginDns.because(format!("there is no tunnel {tunnel}")).at("/origin_dns/name"))
            }
            Err(error) => Err(error),
        },
    }
}

/// The slot that the application had, unless it leaves others there.
fn kept_slot(
    change: &Change,
    addresses: &Addresses<'_>,
    zone: &Zone,
    old: Option<&Application>,
    app: &Application,
) -> Result<Option<u32>, Error> {
    let Some((old, slot)) = old.and_then(|old| Some((old, old.slot?))) else { return Ok(None) };
    let alone = || Ok::<_, Error>(change.apps_at(zone.id, &old.name)?.iter().all(|other| other.id == app.id));
    // A pool that is another one by now may have no such slot.
    let there = addresses.pools.addresses(slot, Families::All).next().is_some();
    Ok((there && (old.name == app.name || alone()?)).then_some(slot))
}

/// The lowest slot that nobody has, and on whose addresses nothing is.
fn free_slot(change: &Change, addresses: &Addresses<'_>, app: &Application) -> Result<u32, Error> {
    let mut next = 0;
    let mut last: Option<Key> = None;
    loop {
        let taken = change.keys_after(&Keys::meta("app-slot"), last.as_ref(), SLOTS_PAGE)?;
        for slot in taken.iter().filter_map(slot_of) {
            if let Some(free) = free_between(change, addresses, app, next..slot)? {
                return Ok(free);
            }
            next = slot.saturating_add(1);
        }
        match taken.into_iter().last() {
            Some(key) => last = Some(key),
            None => break,
        }
    }
    free_between(change, addresses, app, next..addresses.pools.slots())?.ok_or_else(|| {
        let count = addresses.pools.slots();
        let detail = format!("all {count} addresses of the pool are in use; start the edge with a larger --pool");
        Fault::AppAddresses.because(detail).at("/edge_ips")
    })
}

fn free_between(
    change: &Change,
    addresses: &Addresses<'_>,
    app: &Application,
    slots: std::ops::Range<u32>,
) -> Result<Option<u32>, Error> {
    for slot in slots.start..slots.end.min(addresses.pools.slots()) {
        if is_free(change, addresses, app, slot)? {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

fn is_free(change: &Change, addresses: &Addresses<'_>, app: &Application, slot: u32) -> Result<bool, Error> {
    let here: Vec<IpAddr> = addresses.pools.addresses(slot, Families::All).collect();
    if !addresses.is_dialable(slot) || addresses.taken(app, &here).is_some() {
        return Ok(false);
    }
    for address in here {
        if change.find::<AddressDocument>(&address_key(address)?)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The other applications on an address: those that asked for it, and those of its slot. What this is decided by is
/// guarded.
fn others_on(
    change: &mut Change,
    addresses: &Addresses<'_>,
    app: &Application,
    address: IpAddr,
) -> Result<Vec<Application>, Error> {
    let key = address_key(address)?;
    change.guard(&key)?;
    let by_address: AddressDocument = change.find(&key)?.unwrap_or_default();
    let mut others = change.apps_by_id(by_address.apps.into_iter())?;
    if let Some(slot) = addresses.pools.slot(address) {
        let key = slot_key(slot)?;
        change.guard(&key)?;
        if let Some(SlotDocument { zone, name }) = change.find(&key)?
            && (zone, &name) != (app.zone, &app.name)
        {
            let of_slot = change.apps_at(zone, &name)?;
            others.extend(of_slot.into_iter().filter(|other| addresses.of(other).contains(&address)));
        }
    }
    Ok(others)
}

/// Exchanges `old` for `new`, which [`place`] has placed: in the documents that say who is where. The document of the
/// application itself is for the caller to put.
pub(crate) fn exchange(change: &mut Change, old: Option<&Application>, new: Option<&Application>) -> Result<(), Error> {
    let both = || old.into_iter().chain(new);
    let Some(app) = both().next().map(|app| AppRef { zone: app.zone, app: app.id }) else { return Ok(()) };
    let mut names: Vec<&Name> = both().map(|app| &app.name).collect();
    names.dedup();
    let mut left_behind = false;
    for name in names {
        let mut apps = change.name_document(app.zone, name)?.apps;
        apps.retain(|other| *other != app.app);
        left_behind |= old.is_some_and(|old| old.name == *name) && !apps.is_empty();
        if new.is_some_and(|new| new.name == *name) {
            apps.push(app.app);
        }
        check_shared(apps.len())?;
        change.put_name_apps(app.zone, name, apps)?;
    }
    let mut ips: Vec<IpAddr> = both().flat_map(static_ips).copied().collect();
    ips.sort_unstable();
    ips.dedup();
    for ip in ips {
        let key = address_key(ip)?;
        let mut document: AddressDocument = change.find(&key)?.unwrap_or_default();
        document.apps.retain(|other| *other != app);
        if new.is_some_and(|new| static_ips(new).contains(&ip)) {
            document.apps.push(app);
        }
        check_shared(document.apps.len())?;
        if document.apps.is_empty() { change.delete(key)? } else { change.put(key, &document)? }
    }
    let (before, after) = (old.and_then(|old| old.slot), new.and_then(|new| new.slot));
    if let Some(slot) = before.filter(|_| before != after && !left_behind) {
        change.delete(slot_key(slot)?)?;
    }
    if let Some((slot, new)) = after.zip(new) {
        change.put(slot_key(slot)?, &SlotDocument { zone: new.zone, name: new.name.clone() })?;
    }
    Ok(())
}

/// Frees what applications of a zone have that goes away as a whole, its names included.
pub(crate) fn release(change: &mut Change, apps: &[Application]) -> Result<(), Error> {
    let mut slots: Vec<u32> = apps.iter().filter_map(|app| app.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    for slot in slots {
        change.delete(slot_key(slot)?)?;
    }
    let mut ips: Vec<IpAddr> = apps.iter().flat_map(static_ips).copied().collect();
    ips.sort_unstable();
    ips.dedup();
    for ip in ips {
        let key = address_key(ip)?;
        let mut document: AddressDocument = change.find(&key)?.unwrap_or_default();
        document.apps.retain(|other| !apps.iter().any(|app| app.id == other.app));
        if document.apps.is_empty() { change.delete(key)? } else { change.put(key, &document)? }
    }
    Ok(())
}

fn static_ips(app: &Application) -> &[IpAddr] {
    match &app.edge_ips {
        EdgeIps::Static(ips) => ips,
        EdgeIps::Dynamic(_) => &[],
    }
}

fn check_shared(count: usize) -> Result<(), Error> {
    if count <= SHARED_MAX {
        return Ok(());
    }
    let detail = format!("one name or address may have {SHARED_MAX} applications at most");
    Err(Fault::AppAddresses.because(detail).at("/edge_ips"))
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
