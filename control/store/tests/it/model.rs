//! Random histories against a model that anybody can check by eye: a map, a list, and no disk.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use bartizan_names::ZoneId;
use bartizan_store::{
    ChangeSet, CommitError, Entry, Guard, Key, Kind, Meta, Op, RecordQuery, RecordText, Retention, Rev, Snapshot,
    Store, TailError, TunnelQuery, Value, ZoneQuery,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::objects::{
    Record, account, at, everything, hashes, name, open, put, record_id, tunnel, tunnel_op, zone, zone_op,
};

/// How many different keys there are: few, so that change sets meet.
const KEYS: usize = 12;

#[derive(Clone, Copy, Debug)]
enum GuardPlan {
    /// One that holds, whatever is there.
    Fitting,
    Absent,
    Exists,
    At(u64),
}

#[derive(Clone, Copy, Debug)]
enum OpPlan {
    Put(u8),
    Del,
}

#[derive(Clone, Debug)]
enum Step {
    Commit {
        guards: Vec<(usize, GuardPlan)>,
        ops: Vec<(usize, OpPlan)>,
    },
    /// An earlier request again, perhaps one that met a conflict.
    Repeat(usize),
    Compact(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let guard = prop_oneof![
        6 => Just(GuardPlan::Fitting),
        1 => Just(GuardPlan::Absent),
        1 => Just(GuardPlan::Exists),
        1 => (0u64..20).prop_map(GuardPlan::At),
    ];
    let op = prop_oneof![3 => (0u8..6).prop_map(OpPlan::Put), 1 => Just(OpPlan::Del)];
    prop_oneof![
        16 => (vec((0..KEYS, guard), 0..3), vec((0..KEYS, op), 0..5))
            .prop_map(|(guards, ops)| Step::Commit { guards, ops }),
        3 => (0usize..40).prop_map(Step::Repeat),
        1 => (0u64..12).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn key(index: usize) -> Key {
    match index {
        0..4 => Record::new(1 + index as u8 / 2, 1 + index as u8 % 2, "", "", "").key(),
        4 | 5 => Key::name(zone(1), &name(["a.test", "b.test"][index - 4])),
        6 | 7 => Key::zone(zone(index as u8 - 5)),
        8 => Key::settings(zone(1)),
        9 | 10 => Key::tunnel(account(1), tunnel(index as u8)),
        _ => Key::meta("m"),
    }
}

fn op(index: usize, plan: OpPlan) -> Op {
    let OpPlan::Put(choice) = plan else { return Op::Del { key: key(index) } };
    match index {
        0..4 => {
            let owner = ["a.test", "b.test"][usize::from(choice % 2)];
            let mut record = Record::new(1 + index as u8 / 2, 1 + index as u8 % 2, owner, "TXT", &choice.to_string());
            record.tags = (0..choice % 3).map(|number| format!("t{number}:{choice}")).collect();
            record.comment = (choice % 2 == 0).then(|| "a comment".to_owned());
            record.put()
        }
        6 | 7 => zone_op(index as u8 - 5, &format!("{choice}.test"), 1 + choice % 2, "active"),
        9 | 10 => tunnel_op(index as u8, &choice.to_string(), 1, u64::from(choice), (choice > 3).then_some(9)),
        _ => put(key(index), &choice.to_string()),
    }
}

/// What the store should be.
#[derive(Default)]
struct Model {
    state: BTreeMap<Key, (Rev, Value)>,
    head: Rev,
    /// The oldest change that is left in the log.
    oldest: u64,
    log: Vec<(Rev, Meta, Vec<Op>)>,
    landed: HashMap<[u8; 16], Rev>,
    /// By zone, and not forgotten with the log.
    changed: BTreeMap<ZoneId, Rev>,
}

impl Model {
    fn commit(&mut self, set: &ChangeSet) -> Result<Rev, Guard> {
        if let Some(rev) = self.landed.get(&set.meta.request_id) {
            return Ok(*rev);
        }
        if let Some(broken) = set.guards.iter().find(|guard| !self.holds(guard)) {
            return Err(broken.clone());
        }
        self.head = self.head.next();
        for op in &set.ops {
            self.changed.extend(op.key().zone_id().map(|zone| (zone, self.head)));
            match op {
                Op::Put { key, value } => drop(self.state.insert(key.clone(), (self.head, value.clone()))),
                Op::Del { key } => drop(self.state.remove(key)),
            }
        }
        self.log.push((self.head, set.meta.clone(), set.ops.clone()));
        self.landed.insert(set.meta.request_id, self.head);
        Ok(self.head)
    }

    fn holds(&self, guard: &Guard) -> bool {
        let found = self.state.get(guard.key()).map(|(rev, _)| *rev);
        match guard {
            Guard::Absent(_) => found.is_none(),
            Guard::Exists(_) => found.is_some(),
            Guard::At(_, rev) => found == Some(*rev),
        }
    }

    fn guard(&self, key: Key, plan: GuardPlan) -> Guard {
        match (plan, self.state.get(&key)) {
            (GuardPlan::Absent, _) | (GuardPlan::Fitting, None) => Guard::Absent(key),
            (GuardPlan::Fitting, Some((rev, _))) => Guard::At(key, *rev),
            (GuardPlan::Exists, _) => Guard::Exists(key),
            (GuardPlan::At(rev), _) => Guard::At(key, Rev(rev)),
        }
    }

    fn compact(&mut self, changes_max: u64) {
        let oldest = self.head.0.saturating_sub(changes_max.max(1)) + 1;
        self.oldest = self.oldest.max(oldest.min(self.head.0));
        let gone = |(rev, meta, _): &(Rev, Meta, Vec<Op>)| (rev.0 < self.oldest).then_some(meta.request_id);
        // What is no more in the log is no more known.
        for request in self.log.iter().filter_map(gone) {
            self.landed.remove(&request);
        }
        self.log.retain(|(rev, ..)| rev.0 >= self.oldest);
    }

    fn entries(&self, wanted: impl Fn(&Key) -> bool) -> Vec<Entry> {
        let entry =
            |(key, (rev, value)): (&Key, &(Rev, Value))| Entry { key: key.clone(), rev: *rev, value: value.clone() };
        self.state.iter().filter(|(key, _)| wanted(key)).map(entry).collect()
    }

    fn check(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.head(), self.head);
        assert_eq!(everything(snapshot), self.entries(|_| true));
        for index in 0..KEYS {
            let expect = self.entries(|found| *found == key(index)).pop();
            assert_eq!(snapshot.get(&key(index)).unwrap(), expect);
        }
        self.check_listings(snapshot);
        assert_eq!(snapshot.wrong_parts().unwrap(), []);
        for after in 0..=self.head.0 {
            let expect = self.log.iter().filter(|(rev, ..)| rev.0 > after).cloned();
            match snapshot.tail(Rev(after), usize::MAX) {
                Ok(tail) => assert!(tail.into_iter().map(|change| (change.rev, change.meta, change.ops)).eq(expect)),
                Err(TailError::Compacted { oldest }) => assert!(after + 1 < self.oldest && oldest.0 == self.oldest),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Listings hold what is in force, no more and no less.
    fn check_listings(&self, snapshot: &Snapshot) {
        let mut records = Vec::new();
        for stretch in snapshot.stretches(NonZeroU32::new(4).unwrap()).unwrap() {
            let note = &mut |record: RecordText<'_>| records.push((record.key.to_owned(), record.json.to_owned()));
            assert_eq!(snapshot.for_each_record(stretch, note).unwrap(), []);
        }
        records.sort();
        let expect = self.entries(|key| key.kind() == Kind::Record).into_iter();
        assert!(records.into_iter().eq(expect.map(|entry| (entry.key.to_string(), entry.value.json.to_string()))));
        for number in 1..=3 {
            assert_eq!(snapshot.zone_changed(zone(number)).unwrap(), self.changed.get(&zone(number)).copied());
        }
        for number in 1..=2 {
            let mut page = snapshot.records(&RecordQuery::all(zone(number))).unwrap();
            page.items.sort_by(|one, other| one.key.cmp(&other.key));
            let expect = self.entries(|key| (1..=2).any(|id| *key == Key::record(zone(number), record_id(id))));
            assert_eq!(page.total, expect.len() as u64);
            assert_eq!(page.items, expect);
            for owner in ["a.test", "b.test"] {
                let text = format!("\"name\":\"{owner}\"");
                let expect: Vec<_> = expect.iter().filter(|entry| entry.value.json.contains(&text)).cloned().collect();
                assert_eq!(snapshot.records_at(zone(number), &name(owner)).unwrap(), expect);
            }
        }
        let mut zones = snapshot.zones(&ZoneQuery::default()).unwrap().items;
        zones.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(zones, self.entries(|key| key.kind() == Kind::Zone));
        let mut tunnels = snapshot.tunnels(&TunnelQuery::all(account(1))).unwrap().items;
        tunnels.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(tunnels, self.entries(|key| key.kind() == Kind::Tunnel));
    }
}

/// A second store that follows the first by its tail, and takes over the whole state when it fell behind the log.
fn follow(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let (copy, original) = (open(&dir), store.read().unwrap());
    let Ok(tail) = original.tail(Rev::ZERO, usize::MAX) else { return };
    for change in tail {
        let rev = copy.commit(ChangeSet { guards: vec![], ops: change.ops, meta: change.meta }).unwrap();
        assert_eq!(rev, change.rev);
    }
    assert_eq!(hashes(&copy.read().unwrap()), hashes(&original));
    assert_eq!(everything(&copy.read().unwrap()), everything(&original));
}

fn run(steps: &[Step]) {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let mut store = open(&dir);
    let mut model = Model { oldest: 1, ..Model::default() };
    let mut asked: Vec<ChangeSet> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Commit { guards, ops } => {
                let mut request_id = [0; 16];
                request_id[..8].copy_from_slice(&(number as u64).to_be_bytes());
                asked.push(ChangeSet {
                    guards: guards.iter().map(|(index, plan)| model.guard(key(*index), *plan)).collect(),
                    ops: ops.iter().map(|(index, plan)| op(*index, *plan)).collect(),
                    meta: Meta {
                        at: at(number as u64),
                        actor: format!("actor {number}"),
                        interface: "test".to_owned(),
                        client: None,
                        request_id,
                    },
                });
                commit(&store, &mut model, &asked[asked.len() - 1]);
            }
            Step::Repeat(index) => {
                if let Some(set) = asked.get(*index) {
                    commit(&store, &mut model, set);
                }
            }
            Step::Compact(changes_max) => {
                store
                    .compact(Retention { changes_max: *changes_max, changes_min: 0, since: at(0), bytes_max: u64::MAX })
                    .unwrap();
                model.compact(*changes_max);
            }
            Step::Reopen => {
                drop(store);
                store = open(&dir);
                assert_eq!(*store.watch().borrow(), model.head);
            }
        }
    }
    model.check(&store.read().unwrap());
    follow(&store);
    drop(store);
    model.check(&open(&dir).read().unwrap());
}

fn commit(store: &Store, model: &mut Model, set: &ChangeSet) {
    match (store.commit(set.clone()), model.commit(set)) {
        (Ok(rev), Ok(expect)) => assert_eq!(rev, expect),
        (Err(CommitError::Conflict { guard }), Err(expect)) => assert_eq!(guard, expect),
        (found, expect) => panic!("{found:?} where the model says {expect:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_its_model(steps in vec(step(), 0..40)) {
        run(&steps);
    }
}
