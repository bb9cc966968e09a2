//! Zones that are there, cannot be read, and were never served: nobody may answer for their names.
//!
//! Without it, a zone of ours that it lies in would answer for its names, with other addresses, other origins and other
//! rules. So its apex is held: DNS answers SERVFAIL (RFC 1035 §4.1.1) and the HTTP edge 503 (RFC 9110 §15.6.4) for the apex
//! and for all names below it, except for those in a zone inside. The apex is read from the zone's document, even if
//! the rest of it cannot be read, or from the key of its name, which only one zone may have ([`Snapshot::zone_names`]).

use bartizan_model::Zone;
use bartizan_names::{ZoneId, ZoneName};
use bartizan_store::{Entry, Key, ReadError, Snapshot};
use serde::Deserialize;

/// What of a zone's document must be readable.
#[derive(Deserialize)]
struct Remains {
    name: String,
}

/// The apex that the document of a zone names.
pub(super) fn apex_told(snapshot: &Snapshot, zone: ZoneId) -> Result<Option<ZoneName>, ReadError> {
    let remains = readable(snapshot.get(&Key::zone(zone)))?;
    let named = remains.and_then(|entry| serde_json::from_str::<Remains>(&entry.value.json).ok());
    Ok(named.and_then(|remains| Zone::parse_name(&remains.name).ok()))
}

/// None if it is damaged.
fn readable(found: Result<Option<Entry>, ReadError>) -> Result<Option<Entry>, ReadError> {
    match found {
        Err(error) if error.is_damage() => Ok(None),
        found => found,
    }
}
