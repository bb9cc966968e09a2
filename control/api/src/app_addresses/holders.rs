//! Who holds a slot of the pool, and who an address.

use std::net::IpAddr;

use bartizan_model::Application;
use bartizan_store::{Index, Key, Prefix, Scope};
use bartizan_v4::StoredAppRef;

use crate::apps;
use crate::error::Error;
use crate::transaction::View;

pub(super) fn slot_key(slot: u32) -> Key {
    // Ten digits, so that the order of the keys is that of the numbers.
    Key::unique(Scope::Edge, Index::AppSlot, format_args!("{slot:010}"))
}

pub(super) fn slots() -> Prefix {
    Prefix::unique(Scope::Edge, Index::AppSlot)
}

pub(super) fn slot_of(key: &Key) -> Option<u32> {
    key.id().rsplit('/').next()?.parse().ok()
}

pub(super) fn address_key(address: IpAddr) -> Key {
    Key::unique(Scope::Edge, Index::AppAddress, address)
}

pub(super) fn addresses() -> Prefix {
    Prefix::unique(Scope::Edge, Index::AppAddress)
}

/// The applications that are there of those that a document names. One whose zone is being deleted is not.
pub(super) fn apps_by_ref(view: &View, apps: &[StoredAppRef]) -> Result<Vec<Application>, Error> {
    let mut found = Vec::new();
    for StoredAppRef { zone, app } in apps {
        if view.has(&Key::zone(*zone))?
            && let Some(document) = view.app_if_any(*zone, *app)?
        {
            found.push(apps::parse(&document)?);
        }
    }
    Ok(found)
}
