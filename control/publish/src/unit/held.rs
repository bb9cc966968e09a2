//! Zones that are there, cannot be read, and were never served: nobody may answer for their names.
//!
//! Left out, such a zone would give its names to a zone of ours that it lies in, with other addresses, other origins and
//! other rules. So its apex is held: DNS says that it cannot tell (SERVFAIL), and the HTTP edge 503, for the apex and all
//! below it but what lies in a zone inside. The apex is told by the zone's document, be the rest of it what it may, or
//! by the key of its name, which only one zone may have.

use std::collections::HashMap;

use bartizan_model::Zone;
use bartizan_names::{ZoneId, ZoneName};
use bartizan_store::{Entry, Index, Key, Prefix, ReadError, Scope, Snapshot};
use serde::Deserialize;

/// Names that are looked at in one go.
const PAGE: usize = 4_096;

/// What a zone's document must still tell.
#[derive(Deserialize)]
struct Remains {
    name: String,
}

/// What the key of a name that must be unique holds.
#[derive(Deserialize)]
struct Holder {
    by: ZoneId,
}

/// The apex that the document of a zone names.
pub(super) fn apex_told(snapshot: &Snapshot, zone: ZoneId) -> Result<Option<ZoneName>, ReadError> {
    let remains = readable(snapshot.get(&Key::zone(zone)))?;
    let named = remains.and_then(|entry| serde_json::from_str::<Remains>(&entry.value.json).ok());
    Ok(named.and_then(|remains| Zone::parse_name(&remains.name).ok()))
}

/// Which zones have the names that pass `wanted`. Looks at all names, and at more than that only of those.
pub(super) fn named_zones(
    snapshot: &Snapshot,
    wanted: impl Fn(&ZoneName) -> bool,
) -> Result<HashMap<ZoneId, ZoneName>, ReadError> {
    let all = Prefix::unique(Scope::Edge, Index::ZoneName);
    let (mut zones, mut after) = (HashMap::new(), None);
    loop {
        let keys = match snapshot.keys(&all, after.as_ref(), PAGE) {
            Err(error) if error.is_damage() => return Ok(zones),
            keys => keys?,
        };
        for key in &keys {
            let name = key.id().split_once('/').and_then(|(_, name)| Zone::parse_name(name).ok());
            if let Some(name) = name.filter(&wanted)
                && let Some(entry) = readable(snapshot.get(key))?
                && let Ok(holder) = serde_json::from_str::<Holder>(&entry.value.json)
            {
                zones.insert(holder.by, name);
            }
        }
        match keys.into_iter().last() {
            Some(last) => after = Some(last),
            None => return Ok(zones),
        }
    }
}

/// Nothing in place of what is damaged.
fn readable(found: Result<Option<Entry>, ReadError>) -> Result<Option<Entry>, ReadError> {
    match found {
        Err(error) if error.is_damage() => Ok(None),
        found => found,
    }
}
