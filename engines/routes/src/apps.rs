//! Applications: a port, or a range of them, on addresses of the edge, and what it leads to.
//!
//! ```text
//! publish ── AppEdit ──► Apps (immutable, shared) ──► at(pools, tcp, 127.77.0.1:22) ──► the applications there
//! ```
//! Whether two applications may share an address and a port is decided where they are made. Here all of them are given,
//! and the plane tells them apart by the name that the client asks for.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{AppId, AppOrigin, AppTls, Families, Name, OriginPort, Protocol, ProxyProtocol, ZoneId};

use crate::Pools;

/// An application, as the edge serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    pub zone: ZoneId,
    /// The name that leads to it: of its certificate, and in the ClientHello of those who share an address and port.
    pub name: Name,
    pub protocol: Protocol,
    /// Never empty, and without port 0.
    pub ports: RangeInclusive<u16>,
    pub addresses: AppAddresses,
    pub origin: AppOrigin,
    pub tls: AppTls,
    pub proxy_protocol: ProxyProtocol,
    /// Whether access rules are in force here.
    pub ip_firewall: bool,
}

/// Where an application is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAddresses {
    /// Each PoP has addresses of its own for it.
    Slot { number: u32, families: Families },
    /// The same everywhere.
    Literal(Vec<IpAddr>),
}

impl App {
    /// The port to dial at an origin for a port that was dialled here.
    pub fn port_at_origin(&self, port: OriginPort, dialled: u16) -> u16 {
        match port {
            OriginPort::One(port) => port,
            // A range that would run over the end is refused where it is made.
            OriginPort::From(first) => first.saturating_add(dialled.saturating_sub(*self.ports.start())),
        }
    }

    /// The addresses of this application at a PoP.
    pub fn addresses_at(&self, pools: &Pools) -> Vec<IpAddr> {
        match &self.addresses {
            AppAddresses::Slot { number, families } => pools.addresses(*number, *families).collect(),
            AppAddresses::Literal(addresses) => addresses.clone(),
        }
    }
}

/// Every application of this edge. Cheap to clone.
#[derive(Clone)]
pub struct Apps {
    by_id: PersistentMap<AppId, Arc<App>>,
    by_slot: PersistentMap<u32, SharedBy>,
    by_address: PersistentMap<IpAddr, SharedBy>,
}

/// The applications that share a slot or an address, ascending by id: equal tables are asked in the same order, whatever
/// came first. Never empty.
type SharedBy = Arc<[Arc<App>]>;

impl Apps {
    pub fn empty() -> Apps {
        Apps::with_seed(0)
    }

    /// As [`Apps::empty`], with a secret number: users choose addresses, and must not choose where they are kept.
    pub fn with_seed(seed: u64) -> Apps {
        Apps {
            by_id: PersistentMap::with_seed(seed),
            by_slot: PersistentMap::with_seed(seed),
            by_address: PersistentMap::with_seed(seed),
        }
    }

    /// Begins a change. Nothing of it is seen before [`AppEdit::finish`], and never in `self`.
    pub fn edit(&self) -> AppEdit {
        AppEdit(self.clone())
    }

    /// The applications on an address and port: none, one, or several that are told apart by the name in the client's
    /// TLS handshake (RFC 6066 §3).
    // Hot: once a connection or flow. No allocation.
    pub fn at(&self, pools: &Pools, protocol: Protocol, dialled: SocketAddr) -> impl Iterator<Item = &Arc<App>> {
        let address = dialled.ip();
        let by_slot = pools.slot(address).and_then(|slot| self.by_slot.get(&slot));
        let by_address = self.by_address.get(&address);
        let here = by_slot.into_iter().chain(by_address).flat_map(|apps| apps.iter());
        here.filter(move |app| {
            let announced = match &app.addresses {
                AppAddresses::Slot { families, .. } => families.include(address),
                AppAddresses::Literal(_) => true,
            };
            announced && app.protocol == protocol && app.ports.contains(&dialled.port())
        })
    }

    pub fn get(&self, id: AppId) -> Option<&Arc<App>> {
        self.by_id.get(&id)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<App>> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether both are the same generation, without looking at every application.
    pub fn is_same(&self, other: &Apps) -> bool {
        self.by_id.is_same(&other.by_id)
    }
}

impl Default for Apps {
    fn default() -> Apps {
        Apps::empty()
    }
}

/// A change in the making.
pub struct AppEdit(Apps);

impl AppEdit {
    /// Adds an application, or puts it in the place of the one with the same id.
    pub fn put(&mut self, app: App) {
        self.remove(app.id);
        let app = Arc::new(app);
        match &app.addresses {
            AppAddresses::Slot { number, .. } => add(&mut self.0.by_slot, *number, &app),
            AppAddresses::Literal(addresses) => {
                for address in addresses {
                    add(&mut self.0.by_address, *address, &app);
                }
            }
        }
        self.0.by_id.insert(app.id, app);
    }

    /// Forgets an application, if it is there.
    pub fn remove(&mut self, id: AppId) {
        let Some(app) = self.0.by_id.remove(&id) else { return };
        match &app.addresses {
            AppAddresses::Slot { number, .. } => drop_from(&mut self.0.by_slot, number, id),
            AppAddresses::Literal(addresses) => {
                for address in addresses {
                    drop_from(&mut self.0.by_address, address, id);
                }
            }
        }
    }

    /// The table with all of these changes.
    pub fn finish(self) -> Apps {
        self.0
    }
}

fn add<K: Clone + Eq + Hash>(table: &mut PersistentMap<K, SharedBy>, key: K, app: &Arc<App>) {
    let others = table.get(&key).map_or(&[][..], |apps| apps);
    let (before, after) = others.split_at(others.partition_point(|other| other.id < app.id));
    // An application may name an address twice.
    let after = after.iter().filter(|other| other.id != app.id);
    let apps = before.iter().chain([app]).chain(after).cloned().collect();
    table.insert(key, apps);
}

fn drop_from<K: Clone + Eq + Hash>(table: &mut PersistentMap<K, SharedBy>, key: &K, id: AppId) {
    let Some(apps) = table.get(key) else { return };
    let others: SharedBy = apps.iter().filter(|app| app.id != id).cloned().collect();
    if others.is_empty() {
        table.remove(key);
    } else {
        table.insert(key.clone(), others);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn app(number: u8, protocol: Protocol, ports: RangeInclusive<u16>, addresses: AppAddresses) -> App {
        App {
            id: AppId::from_bytes([number; 16]),
            zone: ZoneId::from_bytes([0; 16]),
            name: Name::parse("app.test").unwrap(),
            protocol,
            ports,
            addresses,
            origin: AppOrigin::Direct(Vec::new()),
            tls: AppTls::Off,
            proxy_protocol: ProxyProtocol::Off,
            ip_firewall: true,
        }
    }

    fn slot(number: u32, families: Families) -> AppAddresses {
        AppAddresses::Slot { number, families }
    }

    fn literal(addresses: &[&str]) -> AppAddresses {
        AppAddresses::Literal(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn pools() -> Pools {
        Pools::new(["127.77.0.0/16", "2001:db8::/64"].map(|prefix| prefix.parse().unwrap()))
    }

    /// The first byte of the id of each application at a place.
    fn found(apps: &Apps, protocol: Protocol, dialled: &str) -> Vec<u8> {
        let pools = pools();
        let at = apps.at(&pools, protocol, dialled.parse().unwrap());
        at.map(|app| app.id.as_bytes()[0]).collect()
    }

    fn apps() -> Apps {
        let mut edit = Apps::empty().edit();
        edit.put(app(1, Protocol::Tcp, 22..=22, slot(1, Families::All)));
        edit.put(app(2, Protocol::Udp, 53..=53, slot(1, Families::All)));
        edit.put(app(3, Protocol::Tcp, 1000..=2000, slot(2, Families::Ipv4)));
        edit.put(app(4, Protocol::Tcp, 1..=65535, slot(3, Families::Ipv6)));
        edit.put(app(5, Protocol::Tcp, 5671..=5671, literal(&["203.0.113.5", "2001:db8:5::5"])));
        edit.put(app(6, Protocol::Tcp, 5671..=5671, literal(&["203.0.113.5"])));
        // A literal address may lie in the pool.
        edit.put(app(7, Protocol::Tcp, 80..=80, literal(&["127.77.0.1"])));
        edit.finish()
    }

    #[test]
    fn applications_at_an_address_and_port() {
        use Protocol::{Tcp, Udp};
        let apps = apps();
        for (protocol, dialled, expect) in [
            (Tcp, "127.77.0.1:22", &[1][..]),
            (Tcp, "[2001:db8::7f4d:1]:22", &[1]),
            (Udp, "127.77.0.1:22", &[]),
            (Udp, "127.77.0.1:53", &[2]),
            (Tcp, "127.77.0.1:80", &[7]),
            (Tcp, "127.77.0.2:999", &[]),
            (Tcp, "127.77.0.2:1000", &[3]),
            (Tcp, "127.77.0.2:2000", &[3]),
            (Tcp, "127.77.0.2:2001", &[]),
            (Tcp, "[2001:db8::7f4d:2]:1000", &[]),
            (Tcp, "127.77.0.3:1", &[]),
            (Tcp, "[2001:db8::7f4d:3]:65535", &[4]),
            (Tcp, "203.0.113.5:5671", &[5, 6]),
            (Tcp, "[2001:db8:5::5]:5671", &[5]),
            (Tcp, "203.0.113.6:5671", &[]),
            (Tcp, "[2001:db8::3]:65535", &[]),
        ] {
            assert_eq!(found(&apps, protocol, dialled), expect, "{protocol} {dialled}");
        }
        assert_eq!(apps.len(), 7);
    }

    #[test]
    fn a_change_is_seen_in_the_new_table_only() {
        let before = apps();
        let mut edit = before.edit();
        edit.put(app(1, Protocol::Tcp, 2222..=2222, slot(9, Families::All))); // moved
        edit.remove(AppId::from_bytes([5; 16]));
        edit.remove(AppId::from_bytes([99; 16])); // not there
        let after = edit.finish();
        for (dialled, old, new) in [
            ("127.77.0.1:22", &[1][..], &[][..]),
            ("127.77.0.9:2222", &[], &[1]),
            ("203.0.113.5:5671", &[5, 6], &[6]),
            ("[2001:db8:5::5]:5671", &[5], &[]),
            ("127.77.0.1:80", &[7], &[7]),
        ] {
            assert_eq!(found(&before, Protocol::Tcp, dialled), old, "{dialled}");
            assert_eq!(found(&after, Protocol::Tcp, dialled), new, "{dialled}");
        }
        assert_eq!((before.len(), after.len(), after.all().count()), (7, 6, 6));
        assert!(before.is_same(&before.clone()) && !before.is_same(&after));
        assert!(after.get(AppId::from_bytes([5; 16])).is_none());
    }

    #[test]
    fn ports_at_origins() {
        let app = app(1, Protocol::Tcp, 1000..=2000, slot(1, Families::All));
        for (port, dialled, expect) in [
            (OriginPort::One(22), 1000, 22),
            (OriginPort::One(22), 2000, 22),
            (OriginPort::From(1000), 1500, 1500),
            (OriginPort::From(30_000), 1000, 30_000),
            (OriginPort::From(30_000), 2000, 31_000),
        ] {
            assert_eq!(app.port_at_origin(port, dialled), expect, "{port:?} {dialled}");
        }
    }

    /// Applications of the histories below: few places, so that they meet there.
    fn some_app() -> impl Strategy<Value = App> {
        let addresses = prop_oneof![
            (0_u32..3).prop_map(|number| slot(number, Families::All)),
            (0_u32..3).prop_map(|number| slot(number, Families::Ipv4)),
            Just(literal(&["203.0.113.5", "127.77.0.1", "203.0.113.5"])),
            Just(literal(&["203.0.113.6"])),
            Just(literal(&[])),
        ];
        (0_u8..8, any::<bool>(), 21_u16..24, addresses).prop_map(|(number, tcp, port, addresses)| {
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
            app(number, protocol, 21..=port, addresses)
        })
    }

    /// What a plain list of applications says to a place: in no table, and so in no order but that of ids.
    fn expected(model: &BTreeMap<AppId, App>, protocol: Protocol, dialled: SocketAddr) -> Vec<AppId> {
        let here =
            |app: &&App| app.addresses_at(&pools()).contains(&dialled.ip()) && app.ports.contains(&dialled.port());
        model.values().filter(|app| app.protocol == protocol).filter(here).map(|app| app.id).collect()
    }

    fn check(apps: &Apps, model: &BTreeMap<AppId, App>) -> Result<(), TestCaseError> {
        for address in ["127.77.0.0", "127.77.0.1", "127.77.0.2", "2001:db8::7f4d:1", "203.0.113.5", "203.0.113.6"] {
            for (protocol, port) in [(Protocol::Tcp, 21), (Protocol::Udp, 23)] {
                let dialled = SocketAddr::new(address.parse().unwrap(), port);
                let mut found: Vec<AppId> = apps.at(&pools(), protocol, dialled).map(|app| app.id).collect();
                // Those of the slot come before those of the address.
                found.sort_unstable();
                prop_assert_eq!(found, expected(model, protocol, dialled), "{} {}", protocol, dialled);
            }
        }
        let all: BTreeMap<AppId, App> = apps.all().map(|app| (app.id, App::clone(app))).collect();
        prop_assert_eq!(apps.len(), model.len());
        prop_assert_eq!(&all, model);
        Ok(())
    }

    proptest! {
        /// Every version of a history answers as its applications do; the last one, in the very order of a table that was
        /// filled with them at once.
        #[test]
        fn a_history_answers_as_its_end_does(
            steps in prop::collection::vec((some_app(), any::<bool>()), 0..40),
            seed: u64,
        ) {
            let mut model = BTreeMap::new();
            let mut apps = Apps::with_seed(seed);
            let mut versions = Vec::new();
            for (app, put) in steps {
                versions.push((apps.clone(), model.clone()));
                let mut edit = apps.edit();
                if put {
                    model.insert(app.id, app.clone());
                    edit.put(app);
                } else {
                    model.remove(&app.id);
                    edit.remove(app.id);
                }
                apps = edit.finish();
            }
            let mut load = Apps::empty().edit();
            model.values().rev().cloned().for_each(|app| load.put(app));
            let loaded = load.finish();
            for dialled in ["127.77.0.1:21", "127.77.0.1:23", "203.0.113.5:21"] {
                prop_assert_eq!(found(&apps, Protocol::Tcp, dialled), found(&loaded, Protocol::Tcp, dialled));
            }
            versions.push((apps, model));
            for (apps, model) in versions {
                check(&apps, &model)?;
            }
        }
    }
}
