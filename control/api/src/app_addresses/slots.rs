//! Slots of the pool: a number is an address of each family, and belongs to one name.

use std::net::IpAddr;

use bartizan_model::{Application, Zone};
use bartizan_names::Families;
use bartizan_store::Key;

use super::edge::Addresses;
use super::holders::{address_key, slot_of, slots};
use crate::error::{Error, Fault};
use crate::transaction::Change;

/// Slots read from the store in one go.
const SLOTS_PAGE: usize = 1_000;

/// The slot that the application had, unless it leaves others there.
pub(super) fn kept_slot(
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
pub(super) fn free_slot(change: &Change, addresses: &Addresses<'_>, app: &Application) -> Result<u32, Error> {
    let mut next = 0;
    let mut last: Option<Key> = None;
    loop {
        let taken = change.keys(&slots(), last.as_ref(), SLOTS_PAGE)?;
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
        if change.has(&address_key(address))? {
            return Ok(false);
        }
    }
    Ok(true)
}
