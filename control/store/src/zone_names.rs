//! Which zone has which name, read from the keys of the names: for zones whose own objects do not say.

use std::collections::HashMap;

use bartizan_names::{Name, ZoneId, ZoneName};
use serde::Deserialize;

use crate::error::ReadError;
use crate::key::{Index, Key, Prefix, Scope};
use crate::snapshot::Snapshot;

/// Names that are looked at in one go.
const PAGE: usize = 4_096;

/// The names of zones, readable or not, and also of zones of which nothing else is left.
#[derive(Debug, Default)]
pub struct ZoneNames {
    pub by_zone: HashMap<ZoneId, ZoneName>,
    /// Whether some of the names that are taken cannot be read, or not whose they are.
    pub is_partial: bool,
}

impl ZoneNames {
    /// Whether the zone has a name, or may have one of those that cannot be read.
    pub fn may_have_one(&self, zone: ZoneId) -> bool {
        self.is_partial || self.by_zone.contains_key(&zone)
    }
}

/// What the key of a name that must be unique holds.
#[derive(Deserialize)]
struct Holder {
    by: ZoneId,
}

impl Snapshot {
    /// Which zones have the names that pass `wanted`. Looks at the keys of all names, and at the documents of those only.
    pub fn zone_names(&self, wanted: impl Fn(&ZoneName) -> bool) -> Result<ZoneNames, ReadError> {
        let all = Prefix::unique(Scope::Edge, Index::ZoneName);
        let (mut names, mut after) = (ZoneNames::default(), None);
        loop {
            let keys = match self.keys(&all, after.as_ref(), PAGE) {
                Err(error) if error.is_damage() => return Ok(ZoneNames { is_partial: true, ..names }),
                keys => keys?,
            };
            for key in &keys {
                match name(key) {
                    Some(name) if wanted(&name) => match self.holder(key)? {
                        Some(holder) => drop(names.by_zone.insert(holder.by, name)),
                        None => names.is_partial = true,
                    },
                    Some(_) => {}
                    None => names.is_partial = true,
                }
            }
            match keys.into_iter().last() {
                Some(last) => after = Some(last),
                None => return Ok(names),
            }
        }
    }

    /// None if it is damaged.
    fn holder(&self, name: &Key) -> Result<Option<Holder>, ReadError> {
        match self.get(name) {
            Err(error) if error.is_damage() => Ok(None),
            found => Ok(found?.and_then(|entry| serde_json::from_str(&entry.value.json).ok())),
        }
    }
}

fn name(key: &Key) -> Option<ZoneName> {
    let (_, name) = key.id().split_once('/')?;
    ZoneName::new(Name::parse(name).ok()?)
}
