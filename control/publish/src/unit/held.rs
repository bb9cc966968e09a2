//! Zones that are there, cannot be read, and were never served: nobody may answer for their names.
//!
//! Left out, such a zone would give its names to a zone of ours that it lies in, with other addresses, other origins and
//! other rules. So its apex is held: DNS says that it cannot tell (SERVFAIL,
//! RFC 1035 §4.1.1), and the HTTP edge 503 (RFC 9110 §15.6.4), for the apex and all
//! below it but what lies in a zone inside. The apex is told by the zone's document, be the rest of it what it may, or
//! by the key of its name, which only one zone may have ([`Snapshot::zone_names`]).

use bartizan_model::Zone;
use bartizan_names::{ZoneId, ZoneName};
use bartizan_store::{Entry, Key, ReadError, Snapshot};
use serde::Deserialize;

/// What a zone's document must still tell.
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

/// Nothing in place of what is damaged.
fn readable(found: Result<Option<Entry>, ReadError>) -> Result<Option<Entry>, ReadError> {
    match found {
        Err(error) if error.is_damage() => Ok(None),
        found => found,
    }
}
