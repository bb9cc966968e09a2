//! Who holds a slot of the pool, and who an address.

use std::net::IpAddr;

use bartizan_model::Application;
use bartizan_names::{AppId, Name, ZoneId};
use bartizan_store::Key;
use serde::{Deserialize, Serialize};

use crate::apps;
use crate::error::Error;
use crate::transaction::View;

/// Whose a slot is.
#[derive(Serialize, Deserialize)]
pub(super) struct SlotDocument {
    pub(super) zone: ZoneId,
    pub(super) name: Name,
}

pub(super) fn slot_key(slot: u32) -> Result<Key, Error> {
    // Ten digits, so that the order of the keys is that of the numbers.
    Key::parse(&format!("meta/app-slot/{slot:010}")).map_err(|error| Error::internal(&error))
}

pub(super) fn slot_of(key: &Key) -> Option<u32> {
    key.as_str().rsplit('/').next()?.parse().ok()
}

/// Who has a static address.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct AddressDocument {
    pub(super) apps: Vec<AppRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AppRef {
    pub(super) zone: ZoneId,
    pub(super) app: AppId,
}

pub(super) fn address_key(address: IpAddr) -> Result<Key, Error> {
    Key::parse(&format!("meta/app-address/{address}")).map_err(|error| Error::internal(&error))
}

/// The applications that are there of those that a document names.
pub(super) fn apps_by_ref(view: &View, apps: Vec<AppRef>) -> Result<Vec<Application>, Error> {
    let found = apps.into_iter().filter_map(|AppRef { zone, app }| view.app_if_any(zone, app).transpose());
    found.map(|document| apps::parse(&document?)).collect()
}
