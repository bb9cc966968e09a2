//! Several copies of one log: each decides by itself, and all decide alike.

use std::sync::Mutex;

use bartizan_store::{
    Budget, Change, ChangeSet, CommitError, Envelope, Epoch, Filter, Guard, Key, Log, Meta, Op, Part, ReadError, Rev,
    Scope, Snapshot, State, Store, TailError, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::objects::{Record, at, everything, hashes, open, put, set, zone, zone_op};

const EPOCH: Epoch = Epoch(7);

const ALL: Budget = Budget { changes: usize::MAX, bytes: usize::MAX };

/// A log without a file: an order of envelopes, and one copy that says what became of them.
struct InMemory {
    envelopes: Mutex<Vec<Envelope>>,
    copy: Copy,
}

impl Log for InMemory {
    fn append(&self, envelope: Envelope) -> Result<Verdict, CommitError> {
        let mut envelopes = self.envelopes.lock().unwrap();
        envelopes.push(envelope.clone());
        self.copy.store.append(envelope)
    }

    fn tail(&self, after: Rev, filter: &Filter, budget: Budget) -> Result<Vec<Change>, TailError> {
        self.copy.store.tail(after, filter, budget)
    }

    fn head(&self) -> Result<(Epoch, Rev), ReadError> {
        self.copy.store.head()
    }
}

struct Copy {
    store: Store,
    _dir: TempDir,
}

impl Copy {
    /// With this state to begin with.
    fn of(state: State) -> Copy {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        store.install(state).unwrap();
        Copy { store, _dir: dir }
    }
}

/// What a copy is filled with that joins now and wants this part.
fn state(snapshot: &Snapshot, filter: &Filter, parts: &[Part]) -> State {
    let mut entries = Vec::new();
    snapshot.for_each(filter, &mut |entry| entries.push(Ok(entry))).unwrap();
    let zones = (1..=2).filter_map(|number| Some((zone(number), snapshot.zone_changed(zone(number)).unwrap()?)));
    State {
        epoch: snapshot.epoch().unwrap(),
        head: snapshot.head(),
        zones: zones.collect(),
        hashes: parts.iter().map(|part| (*part, snapshot.state_hash(*part).unwrap())).collect(),
        entries: Box::new(entries.into_iter()),
    }
}

fn empty() -> State {
    State { epoch: EPOCH, head: Rev::ZERO, zones: vec![], hashes: vec![], entries: Box::new(std::iter::empty()) }
}

const KEYS: usize = 6;

fn key(index: usize) -> Key {
    match index {
        0 | 1 => Key::zone(zone(index as u8 + 1)),
        2 | 3 => Record::new(index as u8 - 1, 1, "", "", "").key(),
        4 => Key::meta("a"),
        _ => Key::settings(zone(1)),
    }
}

fn write(index: usize) -> Op {
    match index {
        0 | 1 => zone_op(index as u8 + 1, "x.test", 1, "active"),
        2 | 3 => Record::new(index as u8 - 1, 1, "a.x.test", "A", "192.0.2.1").put(),
        _ => put(key(index), "{}"),
    }
}

#[derive(Clone, Debug)]
struct Plan {
    guard: Option<(usize, u64)>,
    ops: Vec<(usize, bool)>,
    /// Few, so that some come again.
    request: u8,
    epoch: Epoch,
}

impl Plan {
    fn envelope(&self) -> Envelope {
        let guard = self.guard.map(|(index, rev)| match rev {
            0 => Guard::Absent(key(index)),
            1 => Guard::Exists(key(index)),
            rev => Guard::At(key(index), Rev(rev - 1)),
        });
        let op = |(index, puts): &(usize, bool)| if *puts { write(*index) } else { Op::Del { key: key(*index) } };
        let meta = Meta { at: at(1), request_id: [self.request; 16], ..set(vec![], vec![]).meta };
        let ops = self.ops.iter().map(op).collect();
        Envelope::new(self.epoch, ChangeSet { guards: guard.into_iter().collect(), ops, meta })
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    let guard = proptest::option::of((0..KEYS, 0_u64..6));
    let epoch = prop_oneof![9 => Just(EPOCH), 1 => Just(Epoch(8))];
    (guard, vec((0..KEYS, any::<bool>()), 0..4), 0_u8..24, epoch).prop_map(|(guard, ops, request, epoch)| Plan {
        guard,
        ops,
        request,
        epoch,
    })
}

fn run(plans: &[Plan], joins_at: usize) {
    let log = InMemory { envelopes: Mutex::default(), copy: Copy::of(empty()) };
    let only = Filter::Scope(Scope::Zone(zone(1)));
    let mut late = None;
    let mut verdicts = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        if number == joins_at {
            let snapshot = log.copy.store.read().unwrap();
            let all = Copy::of(state(&snapshot, &Filter::Everything, &[Part::Zone(zone(2))]));
            let part = Copy::of(state(&snapshot, &only, &[Part::Zone(zone(1))]));
            late = Some((snapshot.head(), all, part));
        }
        verdicts.push(log.append(plan.envelope()).unwrap());
    }
    let original = log.copy.store.read().unwrap();
    let (epoch, head) = log.head().unwrap();

    // One that decides for itself.
    let other = Copy::of(empty());
    let envelopes = log.envelopes.lock().unwrap();
    let decided: Vec<_> = envelopes.iter().map(|envelope| other.store.append(envelope.clone()).unwrap()).collect();
    assert_eq!(decided, verdicts);
    let snapshot = other.store.read().unwrap();
    assert_eq!(
        (snapshot.head(), everything(&snapshot), hashes(&snapshot)),
        (head, everything(&original), hashes(&original))
    );

    let Some((joined, all, part)) = late else { return };
    // One that takes over what others decided.
    for change in log.tail(joined, &Filter::Everything, ALL).unwrap() {
        all.store.apply(epoch, change).unwrap();
    }
    let snapshot = all.store.read().unwrap();
    assert_eq!(
        (snapshot.head(), everything(&snapshot), hashes(&snapshot)),
        (head, everything(&original), hashes(&original))
    );
    assert_eq!(snapshot.wrong_parts().unwrap(), []);
    for number in 1..=2 {
        assert_eq!(snapshot.zone_changed(zone(number)).unwrap(), original.zone_changed(zone(number)).unwrap());
    }
    // And one that has a zone only.
    for change in log.tail(joined, &only, ALL).unwrap() {
        part.store.apply(epoch, change).unwrap();
    }
    let (snapshot, of) = (part.store.read().unwrap(), Part::Zone(zone(1)));
    assert_eq!(snapshot.head(), head);
    assert_eq!(snapshot.state_hash(of).unwrap(), original.state_hash(of).unwrap());
    assert!(everything(&snapshot).iter().all(|entry| entry.key.scope() == Scope::Zone(zone(1))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn copies_of_one_log_are_alike(plans in vec(plan(), 0..24), joins_at in 0_usize..24) {
        run(&plans, joins_at);
    }
}

#[test]
fn a_copy_takes_only_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for _ in 0..3 {
        store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    }
    let (epoch, _) = store.head().unwrap();
    let tail = store.tail(Rev::ZERO, &Filter::Everything, ALL).unwrap();
    let copy = Copy::of(State { epoch, ..empty() });
    for (epoch, index, expect) in [
        (epoch, 1, "Err(Gap { head: Rev(0) })"),
        (Epoch(epoch.0 ^ 1), 0, "Err(Foreign)"),
        (epoch, 0, "Ok(())"),
        (epoch, 0, "Err(Gap { head: Rev(1) })"),
        (epoch, 2, "Err(Gap { head: Rev(1) })"),
        (epoch, 1, "Ok(())"),
    ] {
        assert_eq!(format!("{:?}", copy.store.apply(epoch, tail[index].clone())), expect);
    }
    // The log goes by its budget.
    for (changes, bytes, expect) in [(2, usize::MAX, 2), (9, 0, 1), (9, usize::MAX, 3)] {
        assert_eq!(store.tail(Rev::ZERO, &Filter::Everything, Budget { changes, bytes }).unwrap().len(), expect);
    }
}

/// What was restored has another log: whoever followed the old one takes nothing of it, and what was meant for the old one does
/// not land.
#[test]
fn what_was_restored_has_another_log() {
    let (dir, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&dir);
    let write = |store: &Store| store.commit(set(vec![], vec![put(Key::meta("a"), "1")])).unwrap();
    for _ in 0..3 {
        write(&store);
    }
    let (old, head) = store.head().unwrap();
    let follower = Copy::of(state(&store.read().unwrap(), &Filter::Everything, &[]));
    let late = Envelope::new(old, set(vec![], vec![put(Key::meta("a"), "2")]));
    store.backup(&restored.path().join("store.sqlite")).unwrap();
    assert_eq!(Store::begin_epoch(restored.path()).unwrap(), head);
    let contents = Store::contents(restored.path()).unwrap().unwrap();
    assert_ne!(contents.epoch, old);
    assert_eq!((contents.head, contents.wrong), (head, vec![]));

    let restored = open(&restored);
    assert_eq!(restored.append(late).unwrap(), Verdict::Foreign);
    assert_eq!(write(&restored), Rev(head.0 + 1));
    let (new, _) = restored.head().unwrap();
    let change = restored.tail(head, &Filter::Everything, ALL).unwrap().remove(0);
    assert_eq!(format!("{:?}", follower.store.apply(new, change)), "Err(Foreign)");
    // The old one, should it still be there, goes on beside it.
    assert_eq!((store.head().unwrap(), write(&store)), ((old, head), Rev(head.0 + 1)));
}

#[test]
fn a_state_comes_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], vec![write(0), write(2), write(4)])).unwrap();
    let original = store.read().unwrap();
    let announced = |state: State| State {
        hashes: vec![(Part::Zone(zone(1)), original.state_hash(Part::Zone(zone(1))).unwrap())],
        ..state
    };
    let copy = Copy::of(empty());
    copy.store.install(state(&original, &Filter::Everything, &[])).unwrap();
    let before = everything(&copy.store.read().unwrap());
    let short =
        announced(State { entries: Box::new(state(&original, &Filter::Everything, &[]).entries.skip(2)), ..empty() });
    assert!(matches!(copy.store.install(short), Err(CommitError::Differs { .. })));
    let broken = State { entries: Box::new(std::iter::once(Err(ReadError::Busy))), ..empty() };
    assert!(matches!(copy.store.install(broken), Err(CommitError::BrokeOff(ReadError::Busy))));
    let snapshot = copy.store.read().unwrap();
    assert_eq!((everything(&snapshot), snapshot.head()), (before, Rev(1)));
}
