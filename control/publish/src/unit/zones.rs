//! Zones and their policies: which there are, and what a step changes about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_model::Zone;
use bartizan_names::{Name, ZoneId};
use bartizan_policy::Policy;
use bartizan_store::{Filter, Key, Kind, ReadError, Rev, Scope};

use crate::reading::{Found, Reading, Touched, document};
use crate::unit::directory::Directory;
use crate::unit::policy;

/// A zone that is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServedZone {
    pub(crate) zone: Zone,
    pub(crate) policy: Arc<Policy>,
}

/// All zones that are served.
#[derive(Default)]
pub(crate) struct KnownZones {
    by_id: HashMap<ZoneId, Arc<ServedZone>>,
    directory: Directory,
}

/// One zone before and after a step; none is a zone that is not served.
pub(crate) struct ZoneChange {
    pub(crate) before: Option<Arc<ServedZone>>,
    pub(crate) after: Option<Arc<ServedZone>>,
}

/// What a step changes about zones.
#[derive(Default)]
pub(crate) struct ZoneChanges {
    pub(crate) by_id: BTreeMap<ZoneId, ZoneChange>,
    /// The newest revision of every zone that will be served and of which anything changed.
    pub(crate) serials: BTreeMap<ZoneId, Rev>,
    /// Owner names that mean something else now.
    pub(crate) owners: BTreeSet<(ZoneId, Name)>,
    /// Applications of zones that were not served before.
    pub(crate) apps: BTreeSet<Key>,
}

impl ZoneChange {
    /// Whether the zone was not served before, or under another name: then nothing of it is known.
    pub(crate) fn is_new(&self) -> bool {
        self.after.is_some() && (self.before.is_none() || self.goes())
    }

    /// Whether what is known of the zone is to be forgotten.
    pub(crate) fn goes(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => before.zone.name != after.zone.name,
            (before, _) => before.is_some(),
        }
    }
}

impl ZoneChanges {
    /// Whether a zone is served after the step.
    pub(crate) fn will_serve(&self, known: &KnownZones, zone: ZoneId) -> bool {
        match self.by_id.get(&zone) {
            Some(change) => change.after.is_some(),
            None => known.get(zone).is_some(),
        }
    }
}

impl KnownZones {
    /// The kinds that bring a zone or take it. Everything else in a zone's scope may change its serial.
    pub(crate) const KINDS: &'static [Kind] = &[Kind::Zone];

    pub(crate) fn get(&self, zone: ZoneId) -> Option<&ServedZone> {
        self.by_id.get(&zone).map(|served| &**served)
    }

    pub(crate) fn ids(&self) -> Vec<ZoneId> {
        self.by_id.keys().copied().collect()
    }

    pub(crate) fn is_server(&self, name: &Name) -> bool {
        self.directory.is_server(name)
    }

    /// Every name of this edge's servers, in every zone of ours that it lies in.
    pub(crate) fn server_units(&self) -> BTreeSet<(ZoneId, Name)> {
        self.directory.server_units()
    }

    /// Reads the zones that were touched, and the serials of those of which anything was.
    pub(crate) fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<ZoneChanges, ReadError> {
        let mut changes = ZoneChanges::default();
        let kinds = [Kind::Zone].iter().chain(policy::KINDS);
        let ids: BTreeSet<ZoneId> = kinds.flat_map(|kind| touched.of(*kind)).filter_map(Key::zone_id).collect();
        for id in ids {
            let change = self.read_zone(reading, id)?;
            if change.before.is_some() || change.after.is_some() {
                changes.by_id.insert(id, change);
            }
        }
        self.refuse_second_owners(reading, &mut changes);
        for zone in touched.keys().filter_map(Key::zone_id).collect::<BTreeSet<_>>() {
            if changes.will_serve(self, zone) {
                changes.serials.insert(zone, read_serial(reading, zone)?);
            }
        }
        Ok(changes)
    }

    /// Adds what is in new zones already, and the names of servers whose meaning changes with a zone. Not needed at a
    /// start, which loads all names anyway.
    pub(crate) fn read_contents(&self, reading: &mut Reading<'_>, changes: &mut ZoneChanges) -> Result<(), ReadError> {
        let ZoneChanges { by_id, owners, apps, .. } = changes;
        self.touch_servers(by_id, owners);
        for (id, change) in by_id {
            if change.is_new() {
                let everything = Filter::Scope(Scope::Zone(*id));
                let unreadable = reading.snapshot.for_each(&everything, &mut |entry| match entry.key.kind() {
                    Kind::Name => owners.extend(entry.key.id_as().map(|owner| (*id, owner))),
                    Kind::App => apps.extend([entry.key]),
                    _ => {}
                })?;
                unreadable.into_iter().for_each(|one| reading.unreadable(one));
            }
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, changes: &ZoneChanges) {
        // Those that go come first: another zone may have got the name of one.
        for before in changes.by_id.values().filter_map(|change| change.before.as_ref()) {
            self.directory.remove(&before.zone);
            self.by_id.remove(&before.zone.id);
        }
        for after in changes.by_id.values().filter_map(|change| change.after.as_ref()) {
            self.directory.add(&after.zone);
            self.by_id.insert(after.zone.id, Arc::clone(after));
        }
    }

    fn read_zone(&self, reading: &mut Reading<'_>, id: ZoneId) -> Result<ZoneChange, ReadError> {
        let before = self.by_id.get(&id).cloned();
        let found = reading.get(&Key::zone(id), |entry| Ok(Zone::parse(&document(entry)?)?))?;
        let zone = match found {
            Found::Value(zone) => Some(zone),
            Found::Nothing => None,
            Found::Bad => before.as_ref().map(|before| before.zone.clone()),
        };
        let Some(zone) = zone else { return Ok(ZoneChange { before, after: None }) };
        let policy = policy::read(reading, id, before.as_ref().map(|before| &*before.policy))?;
        Ok(ZoneChange { before, after: Some(Arc::new(ServedZone { zone, policy: Arc::new(policy) })) })
    }

    /// A name is one zone's. The store sees to that; where it failed to, the first one stays.
    fn refuse_second_owners(&self, reading: &mut Reading<'_>, changes: &mut ZoneChanges) {
        let mut taken: BTreeSet<Name> = BTreeSet::new();
        let leaves = |id: &ZoneId| changes.by_id.get(id).is_some_and(ZoneChange::goes);
        let mut refused = Vec::new();
        for (id, change) in &changes.by_id {
            let Some(after) = change.after.as_ref().filter(|_| change.is_new()) else { continue };
            let apex = after.zone.name.as_name();
            let other = self.directory.zone_at(apex).filter(|other| other != id && !leaves(other));
            if other.is_some() || !taken.insert(apex.clone()) {
                refused.push(*id);
            }
        }
        for id in refused {
            reading.fault(&Key::zone(id), "another zone is served under its name");
            if let Some(change) = changes.by_id.get_mut(&id) {
                change.after = change.before.clone();
            }
        }
    }

    /// Notes the names of servers that begin or cease to be one, in every zone in which such a name lies.
    fn touch_servers(&self, changes: &BTreeMap<ZoneId, ZoneChange>, owners: &mut BTreeSet<(ZoneId, Name)>) {
        let servers_of = |zone: &Option<Arc<ServedZone>>| -> BTreeSet<Name> {
            zone.iter().flat_map(|served| served.zone.nameservers.iter().cloned()).collect()
        };
        let mut touched = BTreeSet::new();
        for change in changes.values() {
            touched.extend(&servers_of(&change.before) ^ &servers_of(&change.after));
        }
        for server in &touched {
            owners.extend(self.directory.units_of(server));
        }
        // Zones that come are not in the directory yet, and the servers of all others may lie in them.
        for (id, change) in changes.iter().filter(|(_, change)| change.is_new()) {
            let Some(after) = &change.after else { continue };
            let servers = self.directory.servers().chain(&touched);
            owners
                .extend(servers.filter(|server| after.zone.name.contains(server)).map(|server| (*id, server.clone())));
        }
    }
}

/// The newest revision of a zone. Where it cannot be read any newer one does, for serials must only grow.
fn read_serial(reading: &mut Reading<'_>, zone: ZoneId) -> Result<Rev, ReadError> {
    match reading.zone_changed(zone) {
        Ok(changed) => Ok(changed.unwrap_or(Rev::ZERO)),
        Err(error) => reading.damaged(&Key::zone(zone), error).map(|()| reading.snapshot.head()),
    }
}
