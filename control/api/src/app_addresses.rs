//! Which addresses an application has, and what may stand beside it there.
//!
//! Three documents hold this together, each guarded by whoever decides by it, so that two who ask at once meet:
//! - `zone/<id>/name/<owner>` lists the applications that a name leads to. All of them have the same addresses, because a
//!   client may dial any address of the name; and no record stands there, because the applications answer for it.
//! - `edge/unique/app-slot/<number>`: the name that a slot of the pool belongs to.
//! - `edge/unique/app-address/<address>`: the applications that asked for this address themselves. It lies in the pool too.

mod edge;
mod holders;
mod slots;

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use bartizan_model::{Application, EdgeIps, Zone};
use bartizan_names::{AppId, AppOrigin, Name, Protocol, ZoneId};
use bartizan_store::{Key, Prefix};
use bartizan_v4::{StoredAddress, StoredAppRef, StoredSlot};

pub(crate) use self::edge::Addresses;
use self::holders::{address_key, addresses, apps_by_ref, slot_key, slot_of, slots};
use self::slots::{free_slot, kept_slot};
use crate::apps;
use crate::error::{Error, Fault};
use crate::owner_names;
use crate::transaction::Change;

/// Applications of one name, or of one static address. Each new one is compared with all of them.
const SHARED_MAX: usize = 1_000;

/// Checks an application against everything else, and gives it a slot if it has dynamic addresses. `old` is what it was.
pub(crate) fn assign(
    change: &mut Change,
    addresses: &Addresses<'_>,
    zone: &Zone,
    old: Option<&Application>,
    app: &mut Application,
) -> Result<(), Error> {
    check_name(change, app)?;
    change.refuse_name_of_balancer(app.zone, &app.name)?;
    check_origin(change, addresses, zone, old, app)?;
    let siblings: Vec<Application> =
        change.apps_at(zone.id, &app.name)?.into_iter().filter(|other| other.id != app.id).collect();
    if let Some(other) = siblings.iter().find(|other| other.edge_ips != app.edge_ips) {
        let detail =
            format!("{} has other edge_ips; applications of one name have the same addresses", apps::called(other));
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
            let detail = format!("{}{where_} has these ports already", apps::called(other));
            Err(Fault::AppOverlap.because(detail).at("/protocol"))
        }
    }
}

/// Where each port needs a listener of its own, their number is limited. Two calls at the same moment may together exceed
/// the limit; the plane then reports the ports that it cannot listen on.
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
    for other in change.all_apps()? {
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
    let record = owner_names::parse(&document)?;
    let detail = format!("{} has a record of type {} ({})", app.name, record.data.rtype(), record.id);
    Err(Fault::HostTaken.because(detail).at("/dns/name"))
}

fn check_origin(
    change: &mut Change,
    addresses: &Addresses<'_>,
    zone: &Zone,
    old: Option<&Application>,
    app: &Application,
) -> Result<(), Error> {
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
        AppOrigin::Dns { name, .. } => match change.apps_named(name)?.first() {
            None => Ok(()),
            Some(other) => {
                let detail = format!("{name} leads to {}: a loop", apps::called(other));
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
        AppOrigin::Pool { pool, .. } => {
            let is_new = old.is_none_or(|old| old.origin != app.origin);
            if change.require_pool(zone.account, *pool, is_new)? {
                return Ok(());
            }
            Err(Fault::AppOriginDns.because(format!("there is no pool {pool}")).at("/bartizan/origin_pool"))
        }
    }
}

/// The other applications on an address: those that asked for it, and those of its slot. What this is decided by is
/// guarded.
fn others_on(
    change: &mut Change,
    addresses: &Addresses<'_>,
    app: &Application,
    address: IpAddr,
) -> Result<Vec<Application>, Error> {
    let key = address_key(address);
    change.guard(&key)?;
    let by_address: StoredAddress = change.find(&key)?.unwrap_or_default();
    let mut others = apps_by_ref(change, &by_address.apps)?;
    if let Some(slot) = addresses.pools.slot(address) {
        let key = slot_key(slot);
        change.guard(&key)?;
        if let Some(StoredSlot { zone, name }) = change.find(&key)?
            && (zone, &name) != (app.zone, &app.name)
            && change.has(&Key::zone(zone))?
        {
            let of_slot = change.apps_at(zone, &name)?;
            others.extend(of_slot.into_iter().filter(|other| addresses.of(other).contains(&address)));
        }
    }
    Ok(others)
}

/// Puts `new`, whose addresses [`assign`] gave it, in place of `old` into the documents that say who holds a name, a slot
/// or an address. The document of the application itself is for the caller to put.
pub(crate) fn update_holders(
    change: &mut Change,
    old: Option<&Application>,
    new: Option<&Application>,
) -> Result<(), Error> {
    debug_assert!(old.zip(new).is_none_or(|(old, new)| (old.zone, old.id) == (new.zone, new.id)), "one application");
    let both = || old.into_iter().chain(new);
    let Some(app) = both().next().map(|app| StoredAppRef { zone: app.zone, app: app.id }) else { return Ok(()) };
    let mut names: Vec<&Name> = both().map(|app| &app.name).collect();
    names.dedup();
    let mut left_behind = false;
    for name in names {
        let mut apps = change.app_ids_at(app.zone, name)?;
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
        let key = address_key(ip);
        let mut document: StoredAddress = change.find(&key)?.unwrap_or_default();
        document.apps.retain(|other| *other != app);
        if new.is_some_and(|new| static_ips(new).contains(&ip)) {
            document.apps.push(app);
        }
        check_shared(document.apps.len())?;
        put_holders(change, key, &document)?;
    }
    let (before, after) = (old.and_then(|old| old.slot), new.and_then(|new| new.slot));
    if let Some(slot) = before.filter(|_| before != after && !left_behind) {
        change.delete(slot_key(slot))?;
    }
    if let Some((slot, new)) = after.zip(new) {
        change.put(slot_key(slot), &StoredSlot { zone: new.zone, name: new.name.clone() })?;
    }
    Ok(())
}

/// Frees what applications hold outside their zone, which goes away as a whole. What those hold whose document cannot be
/// read is freed at the next start ([`free_if_left`]).
pub(crate) fn release(change: &mut Change, zone: ZoneId, ids: &[AppId]) -> Result<(), Error> {
    let mut apps = Vec::new();
    for id in ids {
        match change.app_if_any(zone, *id).and_then(|app| app.as_ref().map(apps::parse).transpose()) {
            Ok(app) => apps.extend(app),
            Err(error) if error.fault == Fault::Damaged => {}
            Err(error) => return Err(error),
        }
    }
    let slots: BTreeSet<u32> = apps.iter().filter_map(|app| app.slot).collect();
    for key in slots.into_iter().map(slot_key) {
        if change.find::<StoredSlot>(&key)?.is_some_and(|slot| slot.zone == zone) {
            change.delete(key)?;
        }
    }
    let ips: BTreeSet<IpAddr> = apps.iter().flat_map(static_ips).copied().collect();
    for key in ips.into_iter().map(address_key) {
        let mut document: StoredAddress = change.find(&key)?.unwrap_or_default();
        document.apps.retain(|other| !apps.iter().any(|app| app.id == other.app));
        put_holders(change, key, &document)?;
    }
    Ok(())
}

/// Every slot and every address that somebody holds.
pub(crate) fn held() -> [Prefix; 2] {
    [slots(), addresses()]
}

/// Frees a slot or an address if the application that holds it is not there: an older build could leave it behind.
pub(crate) fn free_if_left(change: &mut Change, key: &Key) -> Result<(), Error> {
    if slot_of(key).is_some() { free_slot_if_left(change, key) } else { free_address_if_left(change, key) }
}

fn free_slot_if_left(change: &mut Change, key: &Key) -> Result<(), Error> {
    let Some(StoredSlot { zone, name }) = change.find(key)? else { return Ok(()) };
    if change.app_ids_at(zone, &name)?.is_empty() {
        change.guard(&Key::name(zone, &name))?;
        change.delete(key.clone())?;
    }
    Ok(())
}

fn free_address_if_left(change: &mut Change, key: &Key) -> Result<(), Error> {
    let Some(mut document) = change.find::<StoredAddress>(key)? else { return Ok(()) };
    let mut there = Vec::new();
    for holder in &document.apps {
        let app = Key::app(holder.zone, holder.app);
        if change.has(&app)? {
            there.push(*holder);
        } else {
            change.guard(&app)?;
        }
    }
    if there.len() < document.apps.len() {
        document.apps = there;
        put_holders(change, key.clone(), &document)?;
    }
    Ok(())
}

fn put_holders(change: &mut Change, key: Key, document: &StoredAddress) -> Result<(), Error> {
    if document.apps.is_empty() { change.delete(key) } else { change.put(key, document) }
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
