//! Documents that are stored and never sent: what keys hold that exist for others to meet at.

use bartizan_names::{AppId, Name, RecordId, Timestamp, ZoneId};
use serde::{Deserialize, Serialize};

/// What the key of an owner name holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredName {
    pub records: usize,
    /// Spectrum applications that the name leads to. No record stands beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppId>,
}

/// What the key of a name that must be unique holds: a zone's or a tunnel's, or of the hash of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHolder {
    /// The id of whoever has the name; of a token its key.
    pub by: String,
}

/// An import that has begun and is not done: what it has put into its zone so far goes again if it does not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImport {
    /// In front of the ids of its records, which begin with the same eight bytes.
    pub ids_from: RecordId,
    pub begun_on: Timestamp,
}

impl StoredImport {
    /// Whether a record came by it.
    pub fn has(&self, record: RecordId) -> bool {
        record.as_bytes()[..8] == self.ids_from.as_bytes()[..8]
    }
}

/// What the key of a slot of the address pools holds: the name that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSlot {
    pub zone: ZoneId,
    pub name: Name,
}

/// What the key of an address holds that applications asked for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAddress {
    pub apps: Vec<StoredAppRef>,
}

/// An application, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAppRef {
    pub zone: ZoneId,
    pub app: AppId,
}
