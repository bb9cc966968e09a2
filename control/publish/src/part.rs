//! The parts of a bundle: one file each.
//!
//! ```text
//! keys of changes ─► touched ─► read: everything that can fail ─► patches ─► apply: cannot fail ─► Bundle
//! ```
//! A part says which kinds of objects it is made of, reads those that a step touched into a patch, and applies the patch
//! later. What cannot be read is in the patch with its last value, and an empty patch makes no new generation. Each part has
//! a generation of its own, so that a plane is told only of what it uses.
//!
//! A part that is made of objects of its own is a [`Part`], and has a line in `own_parts!`. Zones, hosts and applications are
//! made of each other's objects too: the owner names and settings of zones are read once for all of them, in
//! [`crate::unit`].

mod apps;
mod balancers;
mod certificates;
mod challenges;
mod cookies;
mod firewall;
mod hosts;
mod pops;
mod strays;
mod tunnels;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_authority::{NameContent, Taken};
use bartizan_names::{AccountId, Name, PopId, ZoneId};
use bartizan_seal::Key as SealKey;
use bartizan_signer::Validity;
use bartizan_store::{Filter, Key, Kind, ReadError, Rev, Scope, Snapshot};

use crate::bundle::Bundle;
use crate::dnssec::Signing;
use crate::reading::{Reading, Touched, for_each_ahead};
use crate::unit::{
    Copier, KnownZones, Loaded, LoadedName, NameUnit, Served, ZoneChanges, on_all_processors, read_names,
};
use apps::{AppsPart, AppsPatch};
pub use balancers::check_of;
use balancers::{BalancersPart, BalancersPatch};
use hosts::{HostsPart, Owners};
use zones::{Others, ZonesPart};
pub use zones::{soa_rname, soa_serial};

/// Objects that a start puts in force in one go, and bytes of their documents: some tens of megabytes, however many there are.
const PIECE_OBJECTS: usize = 8_192;
const PIECE_BYTES: usize = 16 << 20;

/// A part that is made of objects of its own.
trait Part {
    /// The kinds of its objects.
    const KINDS: &'static [Kind];

    /// What a step is going to change; nothing by default.
    type Patch: Default;

    /// Nothing in force.
    fn empty(edge: &Edge) -> Self;

    /// Reads what was touched. What cannot be read stays as this part has it.
    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError>;

    fn apply(&mut self, patch: Self::Patch, at: u64);
}

/// What parts must know that is not in the store.
#[derive(Clone)]
pub struct Edge {
    pub seal: SealKey,
    /// The PoP that this edge is.
    pub pop: PopId,
    /// Its own account, whose rules are for everything.
    pub account: AccountId,
    /// Of the signatures that it makes.
    pub validity: Validity,
}

macro_rules! own_parts {
    ($($part:ident: $Part:ty,)*) => {
        struct OwnParts {
            $($part: $Part,)*
        }

        #[derive(Default)]
        struct OwnPatches {
            $($part: <$Part as Part>::Patch,)*
        }

        impl OwnParts {
            const KINDS: &[&[Kind]] = &[$(<$Part>::KINDS,)*];

            fn empty(edge: &Edge) -> OwnParts {
                OwnParts { $($part: Part::empty(edge),)* }
            }

            fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<OwnPatches, ReadError> {
                Ok(OwnPatches { $($part: self.$part.read(reading, touched)?,)* })
            }

            fn apply(&mut self, patches: OwnPatches, at: u64) {
                $(self.$part.apply(patches.$part, at);)*
            }
        }
    };
}

own_parts! {
    pops: pops::PopsPart,
    firewall: firewall::FirewallPart,
    certificates: certificates::CertificatesPart,
    challenges: challenges::ChallengesPart,
    tunnels: tunnels::TunnelsPart,
    cookies: cookies::CookiesPart,
}

/// All parts, and what several of them are made of.
pub(crate) struct Parts {
    known: KnownZones,
    zones: ZonesPart,
    hosts: HostsPart,
    apps: AppsPart,
    balancers: BalancersPart,
    own: OwnParts,
}

/// What a step is going to change.
#[derive(Default)]
pub(crate) struct Patches {
    zones: ZoneChanges,
    names: Vec<NameUnit>,
    apps: AppsPatch,
    balancers: BalancersPatch,
    own: OwnPatches,
}

impl Parts {
    /// Nothing in force.
    pub(crate) fn empty(edge: &Edge) -> Parts {
        Parts {
            known: KnownZones::signed_by(signing(edge)),
            zones: ZonesPart::empty(),
            hosts: HostsPart::empty(),
            apps: AppsPart::empty(),
            balancers: BalancersPart::empty(),
            own: OwnParts::empty(edge),
        }
    }

    /// The kinds of which a start touches every object; what others are made of comes first. Names and records are loaded
    /// apart: there are too many of them.
    fn loaded() -> Vec<Kind> {
        [OwnParts::KINDS, &[KnownZones::KINDS, AppsPart::KINDS, BalancersPart::KINDS]].concat().concat()
    }

    /// Everything that is in force in the snapshot, as generation `at`. What cannot be read is as `last` has it. In `folder` may
    /// be a copy of the records; what is given back keeps that.
    pub(crate) fn load(
        &mut self,
        last: &Parts,
        reading: &mut Reading<'_>,
        folder: &Path,
        at: Rev,
    ) -> Result<Copier, ReadError> {
        let mut laps = Laps(Instant::now());
        reading.read_zones_ahead()?;
        self.load_objects(last, reading, at)?;
        let lost = Patches { zones: self.known.read_lost(reading)?, ..Patches::default() };
        self.apply(lost, at);
        let objects = laps.lap();
        let zones = &self.zones.zones.value;
        let is_served = |zone| self.known.get(zone).is_some();
        let loaded = Loaded::read(reading, folder, |owner| zones.place_of(owner), is_served);
        let read = laps.lap();
        let (mut owners, behind) = match loaded {
            Ok(loaded) => {
                self.put_all(&loaded);
                let (records, placed, behind) = (loaded.len(), laps.lap(), loaded.behind());
                tracing::debug!(?objects, records, ?read, ?placed, ?behind);
                // What is left of a name is in force, unless all of it is known from before.
                let spoilt = loaded.spoilt.iter().filter_map(|record| last.owner_of(reading.snapshot, record));
                let mut owners: BTreeSet<_> = spoilt.collect();
                owners.extend(loaded.changed.into_iter().flatten());
                (owners, behind)
            }
            Err(error) if error.is_damage() => {
                self.load_by_zone(last, reading, at)?;
                (BTreeSet::new(), None)
            }
            Err(error) => return Err(error),
        };
        // An application's name has no records of its own, and a name server's need not have any.
        owners.extend(self.apps.owners().cloned().chain(self.known.server_units()));
        owners.extend(self.balancers.owners().cloned());
        let names = read_names(reading, &Touched::default(), owners, |zone| self.known.get(zone).is_some())?;
        self.apply_names(last, names, at);
        Ok(Copier::of(behind))
    }

    /// Places all names of a start: most of them by several threads, and behind these what concerns other names too.
    fn put_all(&mut self, loaded: &Loaded) {
        let fill = self.zones.zones.value.fill(loaded.len());
        let done = on_all_processors(loaded.len(), |number, of| {
            let (mut part, mut left_over, mut proxied) = (fill.part(number, of), Vec::new(), Vec::new());
            let (mut last, mut room) = (None, NameContent::default());
            loaded.each_name(&fill.places(number, of), |name| {
                // Many names are of few zones.
                let served = match last {
                    Some((zone, served)) if zone == name.zone => Some(served),
                    _ => self.known.get(name.zone),
                };
                let Some(served) = served else { return };
                last = Some((name.zone, served));
                let Some((owner, content)) = self.answered(&name, std::mem::take(&mut room)) else { return };
                if part.put(&served.zone.name, &owner, &content) == Taken::LeftOver {
                    left_over.push(name.place);
                }
                room = content;
                if name.is_proxied() {
                    proxied.push(name.place);
                }
            });
            (part.end(), left_over, proxied)
        });
        let (mut filled, mut left_over, mut proxied) = (Vec::new(), Vec::new(), Vec::new());
        for (part, more_left_over, more_proxied) in done {
            filled.push(part);
            left_over.extend(more_left_over);
            proxied.extend(more_proxied);
        }
        let mut edit = fill.finish(filled).edit();
        edit.reserve(left_over.len());
        loaded.each_name_at(left_over, |name| {
            let answered = self.known.get(name.zone).zip(self.answered(&name, NameContent::default()));
            if let Some((served, (owner, content))) = answered {
                edit.put_name(&served.zone.name, &owner, content);
            }
        });
        let (mut hosts, mut strays) = self.hosts.edit();
        let owners = self.owners();
        loaded.each_name_at(proxied, |name| {
            // There is no host yet that would have to go.
            if let (Some(owner), Some(target)) = (name.owner(), name.target()) {
                self.hosts.put(&mut hosts, &mut strays, (name.zone, &owner), Some(target), owners);
            }
        });
        self.zones.zones.value = edit.finish();
        self.hosts.finish((hosts, strays));
    }

    /// A name of a start in a zone that is served, and what DNS answers there, in the memory of `room`.
    fn answered(&self, name: &LoadedName<'_>, room: NameContent) -> Option<(Name, NameContent)> {
        let owner = name.owner()?;
        let content = zones::with_addresses((name.zone, &owner), name.content(room), self.others());
        Some((owner, content))
    }

    /// Everything but names and records, by one scan and a piece at a time.
    fn load_objects(&mut self, last: &Parts, reading: &mut Reading<'_>, at: Rev) -> Result<(), ReadError> {
        let (mut touched, mut loaded) = (Touched::default(), Ok(()));
        let (mut objects, mut bytes) = (0, 0);
        let snapshot = reading.snapshot;
        let unreadable = for_each_ahead(snapshot, Parts::loaded(), &mut |entry| {
            if loaded.is_err() {
                return;
            }
            touched.note(&entry.key);
            (objects, bytes) = (objects + 1, bytes + entry.value.json.len());
            reading.hand_ahead(entry);
            if objects >= PIECE_OBJECTS || bytes >= PIECE_BYTES {
                loaded = self.load_piece(last, reading, &std::mem::take(&mut touched), at);
                (objects, bytes) = (0, 0);
            }
        })?;
        loaded?;
        for one in unreadable {
            // What has a key is read by it once more: a part may have its last value, or something that stands in for it.
            if let Ok(key) = Key::parse(&one.key) {
                touched.note(&key);
            }
            reading.unreadable(one);
        }
        // The scan does not meet what damage took. Without a rule, those would come in whom it was made to keep out.
        let loaded = Parts::loaded();
        reading.lost().guards().filter(|key| loaded.contains(&key.kind())).for_each(|key| touched.note(&key));
        self.load_piece(last, reading, &touched, at)
    }

    fn load_piece(
        &mut self,
        last: &Parts,
        reading: &mut Reading<'_>,
        touched: &Touched,
        at: Rev,
    ) -> Result<(), ReadError> {
        // The newest serial comes with the zone, so the other objects in it need not be looked at for that.
        let has_zones = touched.has(KnownZones::KINDS);
        let zones = if has_zones { self.known.read(&last.known, reading, touched)? } else { ZoneChanges::default() };
        let patches = self.read_others(last, reading, touched, zones)?;
        self.apply(patches, at);
        Ok(())
    }

    /// The slow way around damage in the list of all records: zone by zone, and in each zone name by name.
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
        let owners = patches.zones.owners.iter().chain(patches.apps.owners.keys()).chain(&patches.balancers.owners);
        let owners = owners.cloned().collect();
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
        let own = last.own.read(reading, touched)?;
        let mut apps = last.apps.read(reading, touched, &self.known, &zones)?;
        if let Some(pop) = &own.pops {
            self.apps.move_to(&pop.pools, &mut apps);
        }
        let mut balancers = last.balancers.read(reading, touched, &self.known, &zones)?;
        balancers.place = own.pops.as_ref().map(|pop| pop.name.clone());
        Ok(Patches { zones, names: Vec::new(), apps, balancers, own })
    }

    /// Puts in force what was read, all of it.
    pub(crate) fn apply(&mut self, mut patches: Patches, at: Rev) {
        self.known.apply(&patches.zones);
        let moved = patches.own.tunnels.moved().collect();
        self.own.apply(patches.own, at.0);
        self.own.firewall.follow(&patches.zones, at.0);
        self.own.certificates.follow(&patches.zones, at.0);
        let had = std::mem::take(&mut patches.apps.owners);
        self.apps.apply(patches.apps, at.0);
        self.balancers.apply(patches.balancers, &self.known, at.0);
        let others = Others { known: &self.known, apps: &self.apps, balancers: &self.balancers };
        self.zones.apply(&patches.zones, &patches.names, &had, others, at.0);
        let owners = Owners { known: &self.known, tunnels: &self.own.tunnels, balancers: &self.balancers };
        self.hosts.apply(&patches.zones, &patches.names, &moved, owners, at.0);
    }

    fn owners(&self) -> Owners<'_> {
        Owners { known: &self.known, tunnels: &self.own.tunnels, balancers: &self.balancers }
    }

    fn others(&self) -> Others<'_> {
        Others { known: &self.known, apps: &self.apps, balancers: &self.balancers }
    }

    /// Puts names in force at a start, when everything else is. Those that cannot be read are as `last` has them.
    fn apply_names(&mut self, last: &Parts, mut names: Vec<NameUnit>, at: Rev) {
        for unit in names.iter_mut().filter(|unit| unit.records.is_none()) {
            unit.records = last.records(unit.zone, &unit.owner);
        }
        let zones = ZoneChanges::default();
        let others = Others { known: &self.known, apps: &self.apps, balancers: &self.balancers };
        self.zones.apply(&zones, &names, &BTreeMap::new(), others, at.0);
        let owners = Owners { known: &self.known, tunnels: &self.own.tunnels, balancers: &self.balancers };
        self.hosts.apply(&zones, &names, &BTreeSet::new(), owners, at.0);
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
        let own = &self.own;
        Bundle {
            number: number.0,
            pop: own.pops.pop.clone(),
            zones: self.zones.zones.clone(),
            routes: self.hosts.routes.clone(),
            apps: self.apps.apps.clone(),
            balancers: self.balancers.balancers.clone(),
            checks: self.balancers.checks.clone(),
            firewall: own.firewall.firewall.clone(),
            hosts: own.certificates.hosts.clone(),
            tunnel_certificate: own.certificates.for_connectors(),
            tunnels: own.tunnels.tunnels.clone(),
            challenges: own.challenges.challenges.clone(),
            cookies: own.cookies.secrets.clone(),
        }
    }
}

/// Where the time of a start goes.
struct Laps(Instant);

impl Laps {
    /// What the last part of it took.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}

fn signing(edge: &Edge) -> Signing {
    let seal = edge.seal.clone();
    Signing { unseal: Arc::new(move |context, sealed| seal.open(context, sealed).ok()), validity: edge.validity }
}

/// Who owns zones chooses names and addresses: where they are kept must not be theirs to guess.
fn secret_seed() -> u64 {
    u64::from_ne_bytes(bartizan_seal::random())
}
