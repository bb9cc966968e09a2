//! How a step reads: everything that can fail, before anything is changed.
//!
//! Two things can go wrong. The store cannot be read: then the step ends, nothing was changed, and the step is taken again.
//! Or one object cannot be made into what is served, because it is damaged or a newer version wrote it: then that is noted,
//! its last value stays in force, and it holds up no other object.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::iter::successors;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::thread;

use bartizan_names::ZoneId;
use bartizan_seal::SealedError;
use bartizan_store::{Blame, Entry, Filter, Key, Kind, Lost, Prefix, ReadError, Rev, Scope, Snapshot, Unreadable};
use serde::de::DeserializeOwned;

use crate::problems::Problems;

/// Why an object cannot be made into what is served.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// Why an object that damage removed is a problem.
const LOST: &str = "it is lost by damage, and what it may have kept out stays out";

/// The keys that a run of changes touched, by kind.
#[derive(Default)]
pub(crate) struct Touched(BTreeMap<Kind, BTreeSet<Key>>);

impl Touched {
    pub(crate) fn note(&mut self, key: &Key) {
        self.0.entry(key.kind()).or_default().insert(key.clone());
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        self.0.get(&kind).into_iter().flatten()
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.0.get(&key.kind()).is_some_and(|keys| keys.contains(key))
    }

    pub(crate) fn has(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.0.contains_key(kind))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.values().flatten()
    }
}

/// What is at a key.
pub(crate) enum Found<T> {
    Value(T),
    Nothing,
    /// Something that cannot be read; that is noted.
    Bad,
}

/// One step's view of the store, and what it could not read in it.
pub(crate) struct Reading<'s> {
    pub(crate) snapshot: &'s Snapshot,
    ahead: Ahead,
    /// What damage took; read when it is first asked for.
    lost: Option<Lost>,
    /// What of it zones have several of.
    lost_in_zones: Option<HashMap<(ZoneId, Kind), Vec<Key>>>,
    /// Keys that the log tells of. What the log says of them is right, also that they are deleted.
    logged: Option<&'s Touched>,
    faults: Vec<(Arc<str>, Arc<str>, Blame)>,
    /// Keys that are read without being touched and have nothing wrong with them. Kept only if something is wrong at all.
    fine: Option<Vec<Key>>,
}

/// What a start reads before it is needed: one scan costs less than 100,000 look-ups.
#[derive(Default)]
struct Ahead {
    objects: HashMap<Key, Entry>,
    /// The newest revision of every zone.
    serials: Option<HashMap<ZoneId, Rev>>,
    of_zones: OfZones,
    /// Keys of what some zones have several of, by zone and kind; none: they are to be looked up.
    in_zones: Option<HashMap<(ZoneId, Kind), Vec<Key>>>,
}

/// What a zone has one of, or none.
const OF_ZONES: &[Kind] = &[Kind::Settings, Kind::Dnssec];

/// What few zones have any of, and those several.
const IN_ZONES: &[Kind] = &[Kind::ClientHost, Kind::OriginRoot];

/// Of these, so many of a zone are read: more than the API makes.
const IN_ZONE_MAX: usize = 10_000;

/// Of what zones have, so many bytes are kept until their zones are read, what goes with each document included. What there is
/// beyond that is looked up zone by zone, which takes longer and holds nothing.
const AHEAD_BYTES: usize = 32 << 20;

/// What is left of that.
struct Budget(usize);

impl Budget {
    /// Takes what an object costs; false if there is not so much, now or later.
    fn takes(&mut self, entry: &Entry) -> bool {
        let cost = size_of::<(Key, Entry)>() + entry.key.as_str().len() + entry.value.json.len();
        let left = self.0.checked_sub(cost);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// Hands every object of these kinds to a function.
type ForEach = fn(&Snapshot, Vec<Kind>, &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError>;

/// Whether all was read ahead. What makes a start faster ends none: the rest is looked up. But a damaged file is told, which
/// has it mended.
fn is_whole(read: Result<Vec<Unreadable>, ReadError>) -> Result<bool, ReadError> {
    match read {
        Ok(unreadable) => Ok(unreadable.is_empty()),
        Err(error) if error.is_damage() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "what zones have is read zone by zone, which makes the start slower");
            Ok(false)
        }
    }
}

/// Whether some of it that was not read ahead may still be in the store.
#[derive(Default, PartialEq, Eq)]
enum OfZones {
    #[default]
    MayBeThere,
    AllRead,
}

impl<'s> Reading<'s> {
    pub(crate) fn new(snapshot: &'s Snapshot, problems: &Problems) -> Reading<'s> {
        let fine = (!problems.is_empty()).then(Vec::new);
        let (lost, lost_in_zones) = (None, None);
        Reading { snapshot, ahead: Ahead::default(), lost, lost_in_zones, logged: None, faults: Vec::new(), fine }
    }

    /// The same for what changes touched.
    pub(crate) fn of_changes(snapshot: &'s Snapshot, problems: &Problems, touched: &'s Touched) -> Reading<'s> {
        Reading { logged: Some(touched), ..Reading::new(snapshot, problems) }
    }

    /// Reads at once what a start needs for each zone beside the zone itself. What is damaged is looked up one by one later, and
    /// so is what would be too much to keep.
    pub(crate) fn read_zones_ahead(&mut self) -> Result<(), ReadError> {
        self.read_zones_ahead_within(AHEAD_BYTES, for_each_ahead)
    }

    fn read_zones_ahead_within(&mut self, bytes: usize, for_each: ForEach) -> Result<(), ReadError> {
        let serials = self.snapshot.zones_changed();
        self.ahead.serials = serials.inspect_err(|error| tracing::warn!(%error, "serials are read zone by zone")).ok();
        let snapshot = self.snapshot;
        let (mut budget, mut is_all) = (Budget(bytes), true);
        // Few zones have any of these, which are found by a look-up less where it is known which.
        let mut in_zones: HashMap<(ZoneId, Kind), Vec<Key>> = HashMap::new();
        let read = snapshot.for_each(&Filter::Kinds(IN_ZONES.to_vec()), &mut |entry| {
            is_all &= budget.takes(&entry);
            if is_all {
                if let Some(zone) = entry.key.zone_id() {
                    in_zones.entry((zone, entry.key.kind())).or_default().push(entry.key.clone());
                }
                self.hand_ahead(entry);
            }
        });
        // What is damaged still has its key, which a look-up finds.
        self.ahead.in_zones = (is_whole(read)? && is_all).then_some(in_zones);
        is_all = true;
        let read = for_each(snapshot, OF_ZONES.to_vec(), &mut |entry| {
            is_all &= budget.takes(&entry);
            if is_all {
                self.hand_ahead(entry);
            }
        });
        if is_whole(read)? && is_all {
            self.ahead.of_zones = OfZones::AllRead;
        }
        Ok(())
    }

    /// Keeps an object until it is looked at.
    pub(crate) fn hand_ahead(&mut self, entry: Entry) {
        self.ahead.objects.insert(entry.key.clone(), entry);
    }

    fn find(&mut self, key: &Key) -> Result<Option<Entry>, ReadError> {
        match self.ahead.objects.remove(key) {
            None if OF_ZONES.contains(&key.kind()) && self.ahead.of_zones == OfZones::AllRead => Ok(None),
            None => self.snapshot.get(key),
            found => Ok(found),
        }
    }

    /// The keys of all objects of a kind in a zone, those that damage took included.
    pub(crate) fn keys_in(&mut self, zone: ZoneId, kind: Kind) -> Result<Vec<Key>, ReadError> {
        debug_assert!(IN_ZONES.contains(&kind));
        let mut keys = match &mut self.ahead.in_zones {
            Some(in_zones) => in_zones.remove(&(zone, kind)).unwrap_or_default(),
            None => self.snapshot.keys(&Prefix::of(Scope::Zone(zone), kind), None, IN_ZONE_MAX)?,
        };
        if self.lost_in_zones.is_none() {
            let mut lost: HashMap<(ZoneId, Kind), Vec<Key>> = HashMap::new();
            for key in self.lost().guards().filter(|key| IN_ZONES.contains(&key.kind())) {
                if let Some(zone) = key.zone_id() {
                    lost.entry((zone, key.kind())).or_default().push(key);
                }
            }
            self.lost_in_zones = Some(lost);
        }
        let lost = self.lost_in_zones.as_ref().and_then(|lost| lost.get(&(zone, kind)));
        let missing: Vec<Key> = lost.into_iter().flatten().filter(|key| !keys.contains(key)).cloned().collect();
        keys.extend(missing);
        Ok(keys)
    }

    /// The newest revision of a zone; none if there never was such a zone.
    pub(crate) fn zone_changed(&self, zone: ZoneId) -> Result<Option<Rev>, ReadError> {
        match &self.ahead.serials {
            Some(serials) => Ok(serials.get(&zone).copied()),
            None => self.snapshot.zone_changed(zone),
        }
    }

    /// The object at `key`, made into a value.
    pub(crate) fn get<T>(
        &mut self,
        key: &Key,
        make: impl FnOnce(&Entry) -> Result<T, Fault>,
    ) -> Result<Found<T>, ReadError> {
        match self.find(key) {
            Ok(Some(entry)) => Ok(self.make(&entry, make).map_or(Found::Bad, Found::Value)),
            Ok(None) if self.is_lost(key) => {
                self.fault(key, LOST, Blame::Damage);
                Ok(Found::Bad)
            }
            Ok(None) => {
                self.fine(key);
                Ok(Found::Nothing)
            }
            Err(error) => self.damaged(key, error).map(|()| Found::Bad),
        }
    }

    /// Whether the object at `key`, which is not there, was removed by damage and not by a change.
    fn is_lost(&mut self, key: &Key) -> bool {
        let is_logged = self.logged.is_some_and(|touched| touched.contains(key));
        !is_logged && self.lost().may_have(key)
    }

    pub(crate) fn lost(&mut self) -> &Lost {
        let snapshot = self.snapshot;
        self.lost.get_or_insert_with(|| snapshot.lost())
    }

    /// Notes that an object of the unit at `key` is damaged; any other failure ends the step.
    pub(crate) fn damaged(&mut self, key: &Key, error: ReadError) -> Result<(), ReadError> {
        match error {
            ReadError::Unreadable(unreadable) => self.unreadable(unreadable),
            error if error.is_damage() => self.fault(key, &error.to_string(), Blame::Disk),
            error => return Err(error),
        }
        Ok(())
    }

    /// The value that an object stands for; none if it cannot be made, which is noted.
    pub(crate) fn make<T>(&mut self, entry: &Entry, make: impl FnOnce(&Entry) -> Result<T, Fault>) -> Option<T> {
        match make(entry) {
            Ok(value) => {
                self.fine(&entry.key);
                Some(value)
            }
            Err(fault) => {
                let named = entry.key.kind().called(&entry.value.json).map(|name| format!("{name}: "));
                self.refuse(&entry.key, &named.unwrap_or_default(), &fault);
                None
            }
        }
    }

    /// Notes that the object at `key` is not in force as it is, or not in all of it.
    pub(crate) fn fault(&mut self, key: &Key, reason: &str, blame: Blame) {
        self.faults.push((key.as_str().into(), reason.into(), blame));
    }

    /// The same of what was committed, with what people call it in front.
    pub(crate) fn refuse(&mut self, key: &Key, named: &str, fault: &Fault) {
        let first: &(dyn Error + 'static) = &**fault;
        let mut causes = successors(Some(first), |&error| error.source());
        let is_sealed = causes.any(|error| error.is::<SealedError>());
        self.fault(key, &format!("{named}{fault}"), if is_sealed { Blame::Seal } else { Blame::Document });
    }

    pub(crate) fn unreadable(&mut self, unreadable: Unreadable) {
        self.faults.push((unreadable.key.into(), unreadable.reason.into(), unreadable.blame));
    }

    fn fine(&mut self, key: &Key) {
        if let Some(fine) = &mut self.fine {
            fine.push(key.clone());
        }
    }

    /// Brings the list of problems up to date: what was touched or read is as this step saw it.
    pub(crate) fn settle(self, touched: &Touched, problems: &mut Problems) {
        let bad: BTreeSet<&str> = self.faults.iter().map(|(key, ..)| &**key).collect();
        if !problems.is_empty() {
            for key in touched.keys().chain(self.fine.iter().flatten()).filter(|key| !bad.contains(key.as_str())) {
                problems.forget(key.as_str());
            }
        }
        for (key, reason, blame) in self.faults {
            problems.note(key, reason, blame);
        }
    }
}

/// Objects that are read ahead, in so many pieces of so many at most; and of so many bytes, with the object that goes beyond it.
const AHEAD_PIECES: usize = 8;
const AHEAD_PIECE: usize = 512;
const AHEAD_PIECE_BYTES: usize = 256 << 10;

/// In a store of fewer objects than these no thread is begun.
const AHEAD_FROM: NonZeroU32 = NonZeroU32::new(16_384).expect("not zero");

/// Hands every object of these kinds to `f`, as [`Snapshot::for_each`] does. Where there are many, another thread reads what
/// comes next meanwhile: to get them out of the file, to see that they are whole, and to make something of them takes about as
/// long. What keeps it from that makes a start slower, and no worse.
pub(crate) fn for_each_ahead(
    snapshot: &Snapshot,
    kinds: Vec<Kind>,
    f: &mut dyn FnMut(Entry),
) -> Result<Vec<Unreadable>, ReadError> {
    let all = Filter::Kinds(kinds);
    let is_large = snapshot.stretches(AHEAD_FROM).is_ok_and(|stretches| stretches.len() > 1);
    // None where somebody commits just now.
    let beside = if is_large { snapshot.beside().ok().flatten() } else { None };
    let Some(beside) = beside else { return snapshot.for_each(&all, f) };
    thread::scope(|scope| {
        let (sender, pieces) = mpsc::sync_channel(AHEAD_PIECES);
        let kinds = &all;
        let reader = thread::Builder::new().spawn_scoped(scope, move || {
            let mut piece = Piece::default();
            let unreadable = beside.for_each(kinds, &mut |entry| {
                if let Some(full) = piece.push(entry) {
                    // It fails only if this start has ended by a panic.
                    let _ = sender.send(full);
                }
            });
            let _ = sender.send(piece.entries);
            beside.forget_pages();
            unreadable
        });
        // None where the system has no more threads.
        let Ok(reader) = reader else { return snapshot.for_each(&all, f) };
        pieces.into_iter().flatten().for_each(f);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Objects that were read ahead, and how long their documents are together.
#[derive(Default)]
struct Piece {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Piece {
    /// Gives all of them when there are enough.
    fn push(&mut self, entry: Entry) -> Option<Vec<Entry>> {
        self.bytes += entry.value.json.len();
        self.entries.push(entry);
        let is_full = self.entries.len() >= AHEAD_PIECE || self.bytes >= AHEAD_PIECE_BYTES;
        is_full.then(|| std::mem::take(self).entries)
    }
}

/// Reads an object's document.
pub(crate) fn document<D: DeserializeOwned>(entry: &Entry) -> Result<D, Fault> {
    Ok(serde_json::from_str(&entry.value.json)?)
}

#[cfg(test)]
mod tests {
    use bartizan_names::Timestamp;
    use bartizan_store::{ChangeSet, Meta, Op, Store, Value};

    use super::*;

    const ZONES: u8 = 40;

    fn zone(number: u8) -> ZoneId {
        ZoneId::from_bytes([number; 16])
    }

    /// A store of zones that have settings.
    fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let value = Value { format: 1, json: format!("\"{}\"", "x".repeat(1_000)).into() };
        let put = |key: Key| Op::Put { key, value: value.clone() };
        let at = Timestamp::from_unix_micros(1);
        let (actor, interface) = ("test".to_owned(), "test".to_owned());
        let meta = Meta { at, actor, interface, client: None, request_id: [1; 16] };
        let ops = (0..ZONES).map(|number| put(Key::settings(zone(number)))).collect();
        store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
        (store, dir)
    }

    fn finds(reading: &mut Reading<'_>, number: u8) -> bool {
        let found = reading.get(&Key::settings(zone(number)), document::<serde_json::Value>).unwrap();
        matches!(found, Found::Value(_))
    }

    /// What is more than may be kept is found all the same, and what is not there is not.
    #[test]
    fn what_is_kept_of_zones_is_bounded() {
        let (store, _dir) = store();
        let (snapshot, problems) = (store.read().unwrap(), Problems::default());
        for (bytes, fewest, most) in [(0, 0, 0), (20 << 10, 10, 20), (AHEAD_BYTES, 40, 40)] {
            let mut reading = Reading::new(&snapshot, &problems);
            reading.read_zones_ahead_within(bytes, for_each_ahead).unwrap();
            let kept = reading.ahead.objects.len();
            assert!((fewest..=most).contains(&kept), "{kept} of {bytes}");
            assert!((0..ZONES).all(|number| finds(&mut reading, number)) && !finds(&mut reading, ZONES), "{bytes}");
            assert!(reading.ahead.objects.is_empty());
        }
    }

    /// Another reader gives up in the middle: nothing counts as not there for that.
    #[test]
    fn a_reader_that_fails_makes_a_start_slower_and_ends_none() {
        fn gives_up(
            snapshot: &Snapshot,
            kinds: Vec<Kind>,
            f: &mut dyn FnMut(Entry),
        ) -> Result<Vec<Unreadable>, ReadError> {
            let mut left = ZONES / 2;
            for_each_ahead(snapshot, kinds, &mut |entry| {
                if left > 0 {
                    left -= 1;
                    f(entry);
                }
            })?;
            Err(ReadError::Busy)
        }
        fn is_damaged(_: &Snapshot, _: Vec<Kind>, _: &mut dyn FnMut(Entry)) -> Result<Vec<Unreadable>, ReadError> {
            Err(ReadError::Corrupt("a page".to_owned()))
        }
        let (store, _dir) = store();
        let (snapshot, problems) = (store.read().unwrap(), Problems::default());
        let mut reading = Reading::new(&snapshot, &problems);
        reading.read_zones_ahead_within(AHEAD_BYTES, gives_up).unwrap();
        assert_eq!(reading.ahead.objects.len(), usize::from(ZONES / 2));
        assert!((0..ZONES).all(|number| finds(&mut reading, number)) && !finds(&mut reading, ZONES));
        let damaged = Reading::new(&snapshot, &problems).read_zones_ahead_within(AHEAD_BYTES, is_damaged);
        assert!(damaged.is_err_and(|error| error.is_damage()));
    }

    #[test]
    fn what_is_read_ahead_is_bounded_by_objects_and_by_bytes() {
        for (octets, expect) in [(2, AHEAD_PIECE), (AHEAD_PIECE_BYTES / 4, 4), (AHEAD_PIECE_BYTES - 1, 2), (1 << 20, 1)]
        {
            let mut piece = Piece::default();
            let key = Key::zone(ZoneId::from_bytes([1; 16]));
            let value = Value { format: 1, json: "x".repeat(octets).into() };
            let mut push = || piece.push(Entry { key: key.clone(), rev: Rev::ZERO, value: value.clone() });
            for _ in 0..2 {
                assert!((1..expect).all(|_| push().is_none()), "{octets}");
                assert_eq!(push().map(|full| full.len()), Some(expect), "{octets}");
            }
        }
    }
}
