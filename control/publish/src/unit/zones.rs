//! Zones and their policies: which there are, and what a step changes about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_model::Zone;
use bartizan_names::{Name, ZoneId, ZoneName};
use bartizan_policy::Policy;
use bartizan_signer::ZoneKeys;
use bartizan_store::{Blame, Filter, Index, Key, Kind, ReadError, Rev, Scope};

use crate::dnssec::Signing;
use crate::reading::{Found, Reading, Touched, document};
use crate::unit::clients::Clients;
use crate::unit::directory::Directory;
use crate::unit::{clients, held, keys, policy};

/// A zone that is served.
#[derive(Debug, PartialEq)]
pub(crate) struct ServedZone {
    pub(crate) zone: Zone,
    pub(crate) policy: Arc<Policy>,
    /// None: it is not signed.
    pub(crate) keys: Option<Arc<ZoneKeys>>,
    pub(crate) clients: Clients,
}

/// All zones that are served.
pub(crate) struct KnownZones {
    signing: Signing,
    by_id: HashMap<ZoneId, Arc<ServedZone>>,
    /// The apexes of zones that cannot be read and were never served.
    held: BTreeMap<ZoneId, ZoneName>,
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
    /// Zones of which nothing is known but their apex.
    pub(crate) hold: BTreeMap<ZoneId, ZoneName>,
    /// Zones that are no longer held, or are held under another name.
    pub(crate) release: BTreeMap<ZoneId, ZoneName>,
    /// Zones that cannot be read, and whose apex is not known yet.
    nameless: Vec<ZoneId>,
    /// The newest revision of every zone that will be served and of which anything changed.
    pub(crate) serials: BTreeMap<ZoneId, Rev>,
    /// Owner names that mean something else now.
    pub(crate) owners: BTreeSet<(ZoneId, Name)>,
    /// Applications of zones that were not served before.
    pub(crate) apps: BTreeSet<Key>,
    /// And their load balancers.
    pub(crate) balancers: BTreeSet<Key>,
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
    /// Whether the zone that has this name goes, or gets another name.
    fn takes(&self, apex: &ZoneName) -> bool {
        let goes = self.by_id.values().filter(|change| change.goes());
        goes.filter_map(|change| change.before.as_ref()).any(|before| before.zone.name == *apex)
    }

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

    /// None yet.
    pub(crate) fn signed_by(signing: Signing) -> KnownZones {
        KnownZones { signing, by_id: HashMap::new(), held: BTreeMap::new(), directory: Directory::default() }
    }

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

    /// Whether a zone is served under this name.
    pub(crate) fn is_apex(&self, name: &ZoneName) -> bool {
        self.directory.zone_at(name.as_name()).is_some()
    }

    /// Reads the zones that were touched, and the serials of those of which anything was. What cannot be read is as `last`
    /// has it.
    pub(crate) fn read(
        &self,
        last: &KnownZones,
        reading: &mut Reading<'_>,
        touched: &Touched,
    ) -> Result<ZoneChanges, ReadError> {
        let mut changes = ZoneChanges::default();
        let kinds = [Kind::Zone, Kind::Dnssec].iter().chain(policy::KINDS).chain(clients::KINDS);
        let mut ids: BTreeSet<ZoneId> = kinds.flat_map(|kind| touched.of(*kind)).filter_map(Key::zone_id).collect();
        // A zone of which only the name is left ends when the name is freed.
        let is_touched = |apex: &ZoneName| touched.contains(&Key::unique(Scope::Edge, Index::ZoneName, apex));
        ids.extend(self.held.iter().filter(|(_, apex)| is_touched(apex)).map(|(id, _)| *id));
        for id in ids {
            let before = self.by_id.get(&id).cloned();
            let after = match read_zone(last, reading, id, &self.signing)? {
                Read::Zone(zone) => Some(zone),
                Read::Nothing => None,
                Read::Held(Some(apex)) => {
                    changes.hold.insert(id, apex);
                    None
                }
                Read::Held(None) => {
                    changes.nameless.push(id);
                    None
                }
            };
            if let Some(apex) = self.held.get(&id) {
                changes.release.insert(id, apex.clone());
            }
            if before.is_some() || after.is_some() {
                changes.by_id.insert(id, ZoneChange { before, after });
            }
        }
        self.refuse_second_owners(reading, &mut changes);
        self.yield_names(&mut changes);
        // Resolvers do not see certificates and access rules.
        let moving = touched.keys().filter(|key| key.kind().moves_serial());
        for zone in moving.filter_map(Key::zone_id).collect::<BTreeSet<_>>() {
            if changes.will_serve(self, zone) {
                changes.serials.insert(zone, read_serial(reading, zone)?);
            }
        }
        Ok(changes)
    }

    /// Adds what is in new zones already, and the names of servers whose meaning changes with a zone. Not needed at a
    /// start, which loads all names anyway.
    pub(crate) fn read_contents(&self, reading: &mut Reading<'_>, changes: &mut ZoneChanges) -> Result<(), ReadError> {
        if !changes.nameless.is_empty() {
            let mut named = reading.snapshot.zone_names(|name| !self.is_apex(name) || changes.takes(name))?.by_zone;
            changes.hold.extend(changes.nameless.iter().filter_map(|id| Some((*id, named.remove(id)?))));
        }
        let ZoneChanges { by_id, owners, apps, balancers, .. } = changes;
        self.touch_servers(by_id, owners);
        for (id, change) in by_id {
            if change.is_new() {
                let everything = Filter::Scope(Scope::Zone(*id));
                let unreadable = reading.snapshot.for_each(&everything, &mut |entry| match entry.key.kind() {
                    Kind::Name => owners.extend(entry.key.id_as().map(|owner| (*id, owner))),
                    Kind::App => apps.extend([entry.key]),
                    Kind::LoadBalancer => balancers.extend([entry.key]),
                    _ => {}
                })?;
                unreadable.into_iter().for_each(|one| reading.unreadable(one));
            }
        }
        Ok(())
    }

    /// The zones to hold when all others are loaded: those whose names are taken but not served. A zone that is not there at
    /// all was lost, since a zone that is deleted gives its name back at once.
    pub(crate) fn read_lost(&self, reading: &mut Reading<'_>) -> Result<ZoneChanges, ReadError> {
        let mut hold = reading.snapshot.zone_names(|name| !self.is_apex(name))?.by_zone;
        hold.retain(|zone, _| !self.held.contains_key(zone));
        for zone in hold.keys() {
            let key = Key::zone(*zone);
            if reading.snapshot.rev(&key).is_ok_and(|rev| rev.is_none()) {
                reading.fault(&key, "the zone is lost, and only its name is there", Blame::Damage);
            }
        }
        Ok(ZoneChanges { hold: hold.into_iter().collect(), ..ZoneChanges::default() })
    }

    pub(crate) fn apply(&mut self, changes: &ZoneChanges) {
        for zone in changes.release.keys() {
            self.held.remove(zone);
        }
        self.held.extend(changes.hold.clone());
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

    /// Holds no name that is served.
    fn yield_names(&self, changes: &mut ZoneChanges) {
        let taken: Vec<ZoneId> = changes
            .hold
            .iter()
            .filter(|(_, apex)| self.is_apex(apex) && !changes.takes(apex))
            .map(|(id, _)| *id)
            .collect();
        let ZoneChanges { by_id, hold, release, .. } = changes;
        taken.iter().for_each(|id| drop(hold.remove(id)));
        let comes = |apex: &ZoneName| {
            by_id.values().filter_map(|change| change.after.as_ref()).any(|after| after.zone.name == *apex)
        };
        hold.retain(|_, apex| !comes(apex));
        release.extend(self.held.iter().filter(|(_, apex)| comes(apex)).map(|(id, apex)| (*id, apex.clone())));
    }

    /// Only one zone has a name. The store sees to that; if it failed to, the first zone keeps it.
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
            reading.fault(&Key::zone(id), "another zone is served under its name", Blame::Document);
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

/// What there is of a zone.
enum Read {
    Zone(Arc<ServedZone>),
    Nothing,
    /// It cannot be read, and was not served before. With its apex, if that is known.
    Held(Option<ZoneName>),
}

fn read_zone(last: &KnownZones, reading: &mut Reading<'_>, id: ZoneId, signing: &Signing) -> Result<Read, ReadError> {
    let last = last.get(id);
    let found = reading.get(&Key::zone(id), |entry| Ok(Zone::parse(&document(entry)?)?))?;
    let zone = match (found, last) {
        (Found::Value(zone), _) => zone,
        (Found::Nothing, _) => return Ok(Read::Nothing),
        (Found::Bad, Some(last)) => last.zone.clone(),
        (Found::Bad, None) => return Ok(Read::Held(held::apex_told(reading.snapshot, id)?)),
    };
    let clients = clients::read(reading, &zone, last.map(|last| &last.clients))?;
    let policy = policy::read(reading, id, last.map(|last| &*last.policy), !clients.hosts.is_empty())?;
    let keys = keys::read(reading, id, last.and_then(|last| last.keys.as_ref()), signing)?;
    Ok(Read::Zone(Arc::new(ServedZone { zone, policy: Arc::new(policy), keys, clients })))
}

/// The newest revision of a zone. If it cannot be read, any newer one will do, because serials must only grow.
fn read_serial(reading: &mut Reading<'_>, zone: ZoneId) -> Result<Rev, ReadError> {
    match reading.zone_changed(zone) {
        Ok(changed) => Ok(changed.unwrap_or(Rev::ZERO)),
        Err(error) => reading.damaged(&Key::zone(zone), error).map(|()| reading.snapshot.head()),
    }
}
