//! The zone's own name can stand for another one (a CNAME there is answered as addresses), and must not stand for itself.

use bartizan_model::{Record, RecordData, Zone};
use bartizan_names::{Name, ZoneName};
use bartizan_publish::Refused;

use crate::error::Error;
use crate::owner_names;
use crate::transaction::View;

/// CNAMEs that are followed: as many as answers follow. A longer way is none that DNS goes.
const STEPS_MAX: usize = 8;

impl View {
    /// Refuses a CNAME that leads back to its name by way of the apex of a zone. Others that do are no worse than elsewhere
    /// in DNS, and are answered as they are.
    pub(crate) fn refuse_alias_loop(&self, zone: &Zone, record: &Record) -> Result<(), Error> {
        let RecordData::Cname(first) = &record.data else { return Ok(()) };
        if record.proxied {
            return Ok(());
        }
        let mut meets_apex = record.owner == *zone.name.as_name();
        let mut name = first.clone();
        for _ in 0..STEPS_MAX {
            if name == record.owner {
                let refused = Refused::AliasLoop { owner: name, target: first.clone() };
                return if meets_apex { Err(refused.into()) } else { Ok(()) };
            }
            let Some((apex, next)) = self.alias_of(&name)? else { return Ok(()) };
            meets_apex |= *apex.as_name() == name;
            name = next;
        }
        Ok(())
    }

    /// The target of the CNAME that a name in our zones is answered with, and the apex of its zone.
    fn alias_of(&self, name: &Name) -> Result<Option<(ZoneName, Name)>, Error> {
        let Some((apex, zone)) = self.zone_around(name)? else { return Ok(None) };
        for document in self.records_at(zone, name)? {
            let record = owner_names::parse(&document)?;
            if let (RecordData::Cname(target), false) = (record.data, record.proxied) {
                return Ok(Some((apex, target)));
            }
        }
        Ok(None)
    }
}
