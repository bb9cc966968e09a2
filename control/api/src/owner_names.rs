//! What stands at an owner name of a zone: records, or applications, never both. The name is the unit that is guarded,
//! so whoever decides by what is there meets everybody else who changes it.

use std::collections::BTreeMap;

use bartizan_certs::Certs;
use bartizan_model::{Application, Record, Zone};
use bartizan_names::{AppId, Name, RecordId, RecordType, Timestamp, ZoneId};
use bartizan_publish::Refused;
use bartizan_store::Key;
use bartizan_v4::{StoredImport, StoredName};

use crate::apps;
use crate::error::{Error, Fault};
use crate::transaction::{Change, View, damaged, document};

impl View {
    pub(crate) fn records_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<bartizan_v4::Record>, Error> {
        self.0.records_at(zone, owner)?.iter().map(document).collect()
    }

    /// Without applications that are not there: one that cannot be read is deleted by its key alone, and nobody knows
    /// then which name led to it.
    fn name_document(&self, zone: ZoneId, owner: &Name) -> Result<StoredName, Error> {
        let StoredName { records, apps: named } = self.find(&Key::name(zone, owner))?.unwrap_or_default();
        let mut apps = Vec::new();
        for app in named {
            if self.has(&Key::app(zone, app))? {
                apps.push(app);
            }
        }
        Ok(StoredName { records, apps })
    }

    /// The ids of the applications that a name leads to.
    pub(crate) fn app_ids_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<AppId>, Error> {
        Ok(self.name_document(zone, owner)?.apps)
    }

    /// A name at which an import that is not done has put records is nobody else's: they may go again, and nobody is told
    /// of them, or has a change of them acknowledged, before they are there to stay.
    pub(crate) fn refuse_unfinished(&self, zone: ZoneId, records: &[bartizan_v4::Record]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let Some(import) = self.find::<StoredImport>(&Key::import(zone))? else { return Ok(()) };
        match records.iter().find(|record| import.has(record.id)) {
            Some(record) => Err(Fault::ImportBusy.because(format!("{} has records of it", record.name)).at("/name")),
            None => Ok(()),
        }
    }

    /// A name may lead to no tunnel of another account: what goes there is theirs. One that is nowhere may come from elsewhere;
    /// the edge leads nobody to it whosever it is (`publish/src/part/hosts.rs`).
    pub(crate) fn refuse_tunnels_of_others(&self, zone: &Zone, records: &[Record]) -> Result<(), Error> {
        for tunnel in records.iter().filter_map(Record::tunnel_target) {
            if !self.has(&Key::tunnel(zone.account, tunnel))? && self.0.has_tunnel(tunnel)? {
                let detail = format!("the tunnel {tunnel} is another account's");
                return Err(Fault::RecordInvalid.because(detail).at("/content"));
            }
        }
        Ok(())
    }

    /// The applications that a name leads to.
    pub(crate) fn apps_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<Application>, Error> {
        let ids = self.app_ids_at(zone, owner)?;
        let found = ids.into_iter().filter_map(|app| self.app_if_any(zone, app).transpose());
        found.map(|document| apps::parse(&document?)).collect()
    }

    /// The applications that a name leads to, in whichever zone it lies.
    pub(crate) fn apps_named(&self, name: &Name) -> Result<Vec<Application>, Error> {
        match self.zone_around(name)? {
            Some((_, zone)) => self.apps_at(zone, name),
            None => Ok(Vec::new()),
        }
    }
}

impl Change {
    /// Exchanges records of a zone: `gone` for `new`. All touched owner names are guarded, counted anew, and checked:
    /// what cannot be served together is refused.
    pub(crate) fn put_records(
        &mut self,
        zone: &Zone,
        gone: &[bartizan_v4::Record],
        new: &[(Record, bartizan_v4::Record)],
    ) -> Result<(), Error> {
        for old in gone.iter().filter(|old| !new.iter().any(|(_, document)| document.id == old.id)) {
            self.delete(Key::record(zone.id, old.id))?;
        }
        for (_, document) in new {
            self.put(Key::record(zone.id, document.id), document)?;
        }
        let mut owners: Vec<Name> = gone.iter().map(owner).collect::<Result<_, _>>()?;
        owners.extend(new.iter().map(|(record, _)| record.owner.clone()));
        owners.sort_unstable();
        owners.dedup();
        owners.iter().try_for_each(|owner| self.put_name(zone, owner, gone, new))?;
        new.iter().try_for_each(|(record, _)| self.refuse_alias_loop(zone, record))?;
        self.refuse_by_dnames(zone, &new.iter().map(|(record, _)| record).collect::<Vec<_>>())?;
        new.iter()
            .filter(|(record, _)| record.proxied)
            .try_for_each(|(record, _)| self.put_certificate(zone, &record.owner))
    }

    fn put_name(
        &mut self,
        zone: &Zone,
        owner: &Name,
        gone: &[bartizan_v4::Record],
        new: &[(Record, bartizan_v4::Record)],
    ) -> Result<(), Error> {
        let mut records = Vec::new();
        for document in self.records_at(zone.id, owner)? {
            let leaves = gone.iter().any(|old| old.id == document.id);
            if !leaves && !new.iter().any(|(_, new)| new.id == document.id) {
                records.push(parse(&document)?);
            }
        }
        records.extend(new.iter().map(|(record, _)| record).filter(|record| record.owner == *owner).cloned());
        self.put_name_records(zone, owner, &records)
    }

    /// Notes what stands at a name from now on, if it can be served together; the name is guarded.
    pub(crate) fn put_name_records(&mut self, zone: &Zone, owner: &Name, records: &[Record]) -> Result<(), Error> {
        if self.has(&Key::import(zone.id))? {
            self.refuse_unfinished(zone.id, &self.records_at(zone.id, owner)?)?;
        }
        self.put_imported_records(zone, owner, records)
    }

    /// The same for an import, which is alone at its names while it goes on.
    pub(crate) fn put_imported_records(&mut self, zone: &Zone, owner: &Name, records: &[Record]) -> Result<(), Error> {
        match bartizan_publish::check(&zone.name, records) {
            // However it came to be: who takes some of it away is on the way back.
            Err(Refused::TooLarge { rtype, .. }) if self.gets_fewer(zone.id, owner, rtype, records)? => {}
            checked => checked?,
        }
        self.refuse_tunnels_of_others(zone, records)?;
        let known = self.name_document(zone.id, owner)?;
        if !records.is_empty() && !known.apps.is_empty() {
            let apps: Vec<String> = self.apps_at(zone.id, owner)?.iter().map(apps::called).collect();
            return Err(Fault::HostTaken.because(format!("{owner} leads to {}", apps.join(", "))).at("/name"));
        }
        // Most names are new, or no deeper than what the zone's certificate is for.
        let was_there = known.records > 0 && Certs::is_apart(&zone.name, owner);
        if was_there && !records.iter().any(|record| record.proxied) {
            self.drop_wish(zone.id, owner)?;
        }
        self.put_name_document(zone.id, owner, StoredName { records: records.len(), ..known })
    }

    /// Deletes records that need not be readable, by their keys and their places in the listing. They are counted off their
    /// names without a look at the other records there, of which more may be unreadable.
    pub(crate) fn delete_unread_records(&mut self, zone: ZoneId, ids: &[RecordId]) -> Result<(), Error> {
        let mut gone: BTreeMap<Name, usize> = BTreeMap::new();
        for id in ids {
            if let Some(owner) = self.0.record_owner(zone, *id)? {
                *gone.entry(owner).or_default() += 1;
            }
            self.delete(Key::record(zone, *id))?;
        }
        for (owner, count) in gone {
            let StoredName { records, apps } = self.name_document(zone, &owner)?;
            let left = StoredName { records: records.saturating_sub(count), apps };
            if left.records == 0 && left.apps.is_empty() {
                self.drop_wish(zone, &owner)?;
            }
            self.put_name_document(zone, &owner, left)?;
        }
        Ok(())
    }

    /// Whether a name has fewer records of a type by these than it has now.
    fn gets_fewer(&self, zone: ZoneId, owner: &Name, rtype: RecordType, records: &[Record]) -> Result<bool, Error> {
        let is_of = |there: &&bartizan_v4::Record| there.kind.eq_ignore_ascii_case(&rtype.to_string());
        let before = self.records_at(zone, owner)?.iter().filter(is_of).count();
        Ok(records.iter().filter(|record| record.data.rtype() == rtype).count() < before)
    }

    /// Exchanges the applications that a name leads to.
    pub(crate) fn put_name_apps(&mut self, zone: ZoneId, owner: &Name, apps: Vec<AppId>) -> Result<(), Error> {
        let document = StoredName { apps, ..self.name_document(zone, owner)? };
        if document.apps.is_empty() && document.records == 0 {
            self.drop_wish(zone, owner)?;
        }
        self.put_name_document(zone, owner, document)
    }

    fn put_name_document(&mut self, zone: ZoneId, owner: &Name, document: StoredName) -> Result<(), Error> {
        let key = Key::name(zone, owner);
        if document.records == 0 && document.apps.is_empty() { self.delete(key) } else { self.put(key, &document) }
    }
}

/// An id for a record that is made now. It begins with the time (as in RFC 9562 §5.7), so that what is made together lies
/// together in the store's indexes: with ids of chance alone each record would touch a page of its own in several of them.
pub(crate) fn new_id(now: Timestamp) -> RecordId {
    let mut id: [u8; 16] = bartizan_seal::random();
    id[..6].copy_from_slice(&(now.unix_micros() / 1_000).to_be_bytes()[2..]);
    RecordId::from_bytes(id)
}

pub(crate) fn parse(document: &bartizan_v4::Record) -> Result<Record, Error> {
    Record::parse(document).map_err(|error| damaged(&Key::record(document.zone_id, document.id), &error))
}

/// The name at which a record stands.
pub(crate) fn owner(document: &bartizan_v4::Record) -> Result<Name, Error> {
    let key = || Key::record(document.zone_id, document.id);
    Name::parse(&document.name).map_err(|error| damaged(&key(), &error))
}
