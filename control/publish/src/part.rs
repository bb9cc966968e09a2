//! The parts of a bundle: one file each.
//!
//! ```text
//! keys of changes ─► touched ─► read: everything that can fail ─► patches ─► apply: cannot fail ─► Bundle
//! ```
//! A part says which kinds of objects it is made of, reads what a step touched of them into a patch, and applies it later:
//! what cannot be read is in the patch as it was, and a patch of nothing makes no new generation. Each part has a generation of its own, so that a plane is told only of what it uses. Zones and hosts are both made of the
//! same owner names and settings: those are read once for both, in [`crate::unit`].

mod apps;
mod certificates;
mod firewall;
mod hosts;
mod pops;
mod tunnels;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

use bartizan_names::{Name, PopId, ZoneId};
use bartizan_seal::Key as SealKey;
use bartizan_store::{Filter, Key, Kind, ReadError, Rev, Scope, Snapshot};

use crate::bundle::{Bundle, ServedPop};
use crate::reading::{Reading, Touched};
use crate::unit::{KnownZones, NameUnit, Served, ZoneChanges, load_names, read_names};
use apps::{AppsPart, AppsPatch};
use certificates::{CertificatesPart, CertificatesPatch};
use firewall::{FirewallPart, FirewallPatch};
use hosts::HostsPart;
use pops::PopsPart;
use tunnels::{TunnelsPart, TunnelsPatch};
use zones::ZonesPart;

/// Objects that a start puts in force in one go: some tens of megabytes, however many there are.
const PIECE_OBJECTS: usize = 8_192;

/// All parts, and what several of them are made of.
pub(crate) struct Parts {
    known: KnownZones,
    pops: PopsPart,
    zones: ZonesPart,
    hosts: HostsPart,
    apps: AppsPart,
    firewall: FirewallPart,
    certificates: CertificatesPart,
    tunnels: TunnelsPart,
}

/// What a step is going to change.
#[derive(Default)]
pub(crate) struct Patches {
    zones: ZoneChanges,
    names: Vec<NameUnit>,
    pops: Option<ServedPop>,
    apps: AppsPatch,
    firewall: FirewallPatch,
    certificates: CertificatesPatch,
    tunnels: TunnelsPatch,
}

impl Parts {
    /// The kinds of which a start touches every object. Names and records are loaded apart: there are too many of them.
    const LOADED: &[&[Kind]] = &[
        PopsPart::KINDS,
        KnownZones::KINDS,
        AppsPart::KINDS,
        FirewallPart::KINDS,
        CertificatesPart::KINDS,
        TunnelsPart::KINDS,
    ];

    /// Nothing in force.
    pub(crate) fn empty(seal: SealKey, pop: PopId) -> Parts {
        Parts {
            known: KnownZones::default(),
            pops: PopsPart::empty(pop),
            zones: ZonesPart::empty(),
            hosts: HostsPart::empty(),
            apps: AppsPart::empty(),
            firewall: FirewallPart::empty(),
            certificates: CertificatesPart::empty(seal),
            tunnels: TunnelsPart::empty(),
        }
    }

    /// Everything that is in force in the snapshot, as generation `at`. What cannot be read is as `last` has it.
    pub(crate) fn load(&mut self, last: &Parts, reading: &mut Reading<'_>, at: Rev) -> Result<(), ReadError> {
        reading.read_zones_ahead()?;
        self.load_objects(last, reading, at)?;
        let lost = Patches { zones: self.known.read_lost(reading)?, ..Patches::default() };
        self.apply(lost, at);
        let (mut zones, mut hosts) = (self.zones.edit(), self.hosts.edit());
        let loaded = load_names(reading, |unit| {
            zones::put(&mut zones, &unit, &self.known, &self.apps);
            self.hosts.put(&mut hosts, &unit);
        });
        self.zones.finish(zones);
        self.hosts.finish(hosts);
        let mut owners = match loaded {
            Err(error) if error.is_damage() => {
                self.load_by_zone(last, reading, at)?;
                BTreeSet::new()
            }
            // What is left of a name is in force, but where it is known what the whole of it was.
            spoilt => spoilt?.iter().filter_map(|record| last.owner_of(reading.snapshot, record)).collect(),
        };
        // An application's name has no records of its own, and a name server's need not have any.
        owners.extend(self.apps.owners().cloned().chain(self.known.server_units()));
        let names = read_names(reading, &Touched::default(), owners, |zone| self.known.get(zone).is_some())?;
        self.apply_names(last, names, at);
        Ok(())
    }

    /// Everything but names and records, by one scan and a piece at a time.
    fn load_objects(&mut self, last: &Parts, reading: &mut Reading<'_>, at: Rev) -> Result<(), ReadError> {
        let (mut touched, mut handed, mut loaded) = (Touched::default(), 0, Ok(()));
        let snapshot = reading.snapshot;
        let unreadable = snapshot.for_each(&Filter::Kinds(Parts::LOADED.concat()), &mut |entry| {
            touched.note(&entry.key);
            reading.hand_ahead(entry);
            handed += 1;
            if handed % PIECE_OBJECTS == 0 && loaded.is_ok() {
                loaded = self.load_piece(last, reading, &std::mem::take(&mut touched), at);
            }
        })?;
        loaded?;
        for one in unreadable {
            // What has a key is asked for by it, and something else may be known of it.
            if let Ok(key) = Key::parse(&one.key) {
                touched.note(&key);
            }
            reading.unreadable(one);
        }
        // Left out, it would let in whom it was made to keep out.
        reading.lost_of(Kind::AccessRule).iter().for_each(|key| touched.note(key));
        self.load_piece(last, reading, &touched, at)
    }

    fn load_piece(
        &mut self,
        last: &Parts,
        reading: &mut Reading<'_>,
        touched: &Touched,
        at: Rev,
    ) -> Result<(), ReadError> {
        // With the zone comes its newest serial, so that what else is in it needs not be looked at for that.
        let has_zones = touched.has(KnownZones::KINDS);
        let zones = if has_zones { self.known.read(&last.known, reading, touched)? } else { ZoneChanges::default() };
        let patches = self.read_others(last, reading, touched, zones)?;
        self.apply(patches, at);
        Ok(())
    }

    /// The slow way round damage in the list of all records: zone by zone, and in each name by name.
    fn load_by_zone(&mut self, last: &Parts, reading: &mut Reading<'_>, at: Rev) -> Result<(), ReadError> {
        for zone in self.known.ids() {
            let mut owners = BTreeSet::new();
            let listed = reading.snapshot.for_each(&Filter::Scope(Scope::Zone(zone)), &mut |entry| {
                if entry.key.kind() == Kind::Name {
                    owners.extend(entry.key.id_as().map(|owner| (zone, owner)));
                }
            });
            match listed {
                Ok(unreadable) => unreadable.into_iter().for_each(|one| reading.unreadable(one)),
                Err(error) => reading.damaged(&Key::zone(zone), error)?,
            }
            let names = read_names(reading, &Touched::default(), owners, |_| true)?;
            self.apply_names(last, names, at);
        }
        Ok(())
    }

    /// Reads all that was touched. Changes nothing.
    pub(crate) fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Patches, ReadError> {
        let mut zones = self.known.read(&self.known, reading, touched)?;
        self.known.read_contents(reading, &mut zones)?;
        let mut patches = self.read_others(self, reading, touched, zones)?;
        let owners = patches.zones.owners.iter().chain(patches.apps.owners.keys()).cloned().collect();
        patches.names = read_names(reading, touched, owners, |zone| patches.zones.will_serve(&self.known, zone))?;
        Ok(patches)
    }

    /// All but the names.
    fn read_others(
        &self,
        last: &Parts,
        reading: &mut Reading<'_>,
        touched: &Touched,
        zones: ZoneChanges,
    ) -> Result<Patches, ReadError> {
        let pops = last.pops.read(reading, touched)?;
        let mut apps = last.apps.read(reading, touched, &self.known, &zones)?;
        if let Some(pop) = &pops {
            self.apps.move_to(&pop.pools, &mut apps);
        }
        let firewall = last.firewall.read(reading, touched)?;
        let certificates = last.certificates.read(reading, touched)?;
        let tunnels = last.tunnels.read(reading, touched)?;
        Ok(Patches { zones, names: Vec::new(), pops, apps, firewall, certificates, tunnels })
    }

    /// Puts in force what was read, all of it.
    pub(crate) fn apply(&mut self, mut patches: Patches, at: Rev) {
        self.known.apply(&patches.zones);
        self.pops.apply(patches.pops, at.0);
        let had = std::mem::take(&mut patches.apps.owners);
        self.apps.apply(patches.apps, at.0);
        self.zones.apply(&patches.zones, &patches.names, &had, &self.known, &self.apps, at.0);
        self.hosts.apply(&patches.zones, &patches.names, at.0);
        self.firewall.apply(patches.firewall, at.0);
        self.certificates.apply(patches.certificates, at.0);
        self.tunnels.apply(patches.tunnels, at.0);
    }

    /// Puts names in force at a start, when everything else is. Those that cannot be read are as `last` has them.
    fn apply_names(&mut self, last: &Parts, mut names: Vec<NameUnit>, at: Rev) {
        for unit in names.iter_mut().filter(|unit| unit.records.is_none()) {
            unit.records = last.records(unit.zone, &unit.owner);
        }
        let zones = ZoneChanges::default();
        self.zones.apply(&zones, &names, &BTreeMap::new(), &self.known, &self.apps, at.0);
        self.hosts.apply(&zones, &names, at.0);
    }

    /// The name of a record of a zone that is served, also of one that cannot be read.
    fn owner_of(&self, snapshot: &Snapshot, record: &Key) -> Option<(ZoneId, Name)> {
        let zone = self.known.get(record.zone_id()?)?.zone.id;
        Some((zone, snapshot.record_owner(zone, record.id_as()?).ok()??))
    }

    /// What the records of a name mean; none of a zone that is not served.
    fn records(&self, zone: ZoneId, owner: &Name) -> Option<Served> {
        let served = self.known.get(zone)?;
        let had = self.apps.addresses_of(zone, owner).unwrap_or_default();
        let content = self.zones.of_records(&served.zone.name, owner, &had);
        Some(Served { content, target: self.hosts.target(zone, owner).cloned() })
    }

    /// What is in force, as the bundle with this number.
    pub(crate) fn bundle(&self, number: Rev) -> Bundle {
        Bundle {
            number: number.0,
            pop: self.pops.pop.clone(),
            zones: self.zones.zones.clone(),
            routes: self.hosts.routes.clone(),
            apps: self.apps.apps.clone(),
            firewall: self.firewall.firewall.clone(),
            certificates: self.certificates.visitors.clone(),
            tunnel_certificate: self.certificates.for_connectors().cloned(),
            tunnels: self.tunnels.tunnels.clone(),
        }
    }
}

/// Who owns zones chooses names and addresses: where they are kept must not be theirs to guess.
fn secret_seed() -> u64 {
    u64::from_ne_bytes(bartizan_seal::random())
}
