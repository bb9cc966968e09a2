//! Names of which the changes of a step say all: what is put at them need not be looked for in the store.

use std::collections::HashMap;

use bartizan_model::Record;
use bartizan_names::{Name, ZoneId};
use bartizan_store::{Change, Entry, Key, Kind, Op, Rev, Value};
use bartizan_v4::StoredName;

use super::name::record;
use crate::reading::document;

/// Records by their names, all of each name.
#[derive(Default)]
pub(crate) struct Written(HashMap<(ZoneId, Name), Vec<Record>>);

impl Written {
    /// A name is in it if as many records were put at it as it has from now on.
    pub(crate) fn of(changes: &[Change]) -> Written {
        // What was said of each last.
        let last: HashMap<&Key, &Op> = changes.iter().flat_map(|change| &change.ops).map(|op| (op.key(), op)).collect();
        let mut names: HashMap<(ZoneId, Name), Vec<Record>> = HashMap::new();
        let mut counts = Vec::new();
        for (key, value) in last.into_iter().filter_map(put) {
            match key.kind() {
                // One that cannot be read is missing from its name, which is then read from the store.
                Kind::Record => {
                    if let (Some(zone), Ok(record)) = (key.zone_id(), record(&entry(key, value))) {
                        names.entry((zone, record.owner.clone())).or_default().push(record);
                    }
                }
                Kind::Name => counts.push((key, value)),
                _ => {}
            }
        }
        let mut written = Written::default();
        for (key, value) in counts {
            let (Some(zone), Some(owner)) = (key.zone_id(), key.id_as::<Name>()) else { continue };
            let Ok(StoredName { records: count, .. }) = document(&entry(key, value)) else { continue };
            let name = (zone, owner);
            if let Some(mut records) = names.remove(&name).filter(|records| records.len() == count) {
                records.sort_unstable_by_key(|record| record.id);
                written.0.insert(name, records);
            }
        }
        written
    }

    /// All records of a name, in the order of their ids; none if the step does not say all of them.
    pub(crate) fn take(&mut self, zone: ZoneId, owner: &Name) -> Option<Vec<Record>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&(zone, owner.clone()))
    }
}

/// A document in the format of today that is put.
fn put<'o>((key, op): (&'o Key, &'o Op)) -> Option<(&'o Key, &'o Value)> {
    match op {
        Op::Put { value, .. } if value.is_of_today(key.kind()) => Some((key, value)),
        Op::Put { .. } | Op::Del { .. } => None,
    }
}

fn entry(key: &Key, value: &Value) -> Entry {
    Entry { key: key.clone(), rev: Rev::ZERO, value: value.clone() }
}
