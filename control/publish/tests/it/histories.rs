//! Long histories with accidents: following them answers as a new start on what could be read of them, and no accident
//! makes a start more open than it would be without.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_names::{AppId, RecordId, RuleId, TunnelId, ZoneId};
use bartizan_publish::Publisher;
use bartizan_store::{Index, Key, Kind, Op, Scope};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::answers::{Questions, Serials};
use crate::lab::{
    ACCOUNT, Issuer, Lab, POP, USER, app_document, name, pop_document, put, record_at, rule_document,
    settings_document, tunnel_config_document, tunnel_document, zone_document,
};
use crate::open;

/// Apexes, some inside others.
const APEXES: [&str; 4] = ["example.com", "sub.example.com", "a.sub.example.com", "example.net"];

/// Owners below an apex; some lie in an inner zone if there is one.
const OWNERS: [&str; 8] = ["", "www.", "*.", "sub.", "www.sub.", "x.a.sub.", "ns1.", "app."];

/// The servers of a zone, of which some lie in zones of ours.
const SERVERS: [&[&str]; 3] = [&["ns1.example.com", "ns2.example.org"], &["ns1.sub.example.com"], &[]];

const RECORDS: [&str; 7] = [
    "A 192.0.2.1",
    "A 192.0.2.2 proxied",
    "AAAA 2001:db8::2",
    "CNAME www.example.com",
    "CNAME 04040404-0404-0404-0404-040404040404.cfargotunnel.com proxied",
    "TXT hello",
    "NS ns3.example.com",
];

/// Addresses and pools of the PoP.
const POPS: [(&str, &str); 3] = [
    ("203.0.113.1 2001:db8::1", "127.77.0.0/24"),
    ("203.0.113.2", "127.77.0.128/25 2001:db8:77::/48"),
    ("203.0.113.1 2001:db8::1", ""),
];

const MODES: [&str; 4] = ["block", "whitelist", "challenge", "managed_challenge"];

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    PutZone {
        apex: usize,
        paused: bool,
        servers: usize,
    },
    /// The zone itself; what else there is of it stays behind.
    DeleteZone {
        apex: usize,
    },
    /// What deleted zones left behind.
    Sweep,
    PutSettings {
        apex: usize,
        items: usize,
    },
    PutRecord {
        apex: usize,
        owner: usize,
        number: u8,
        words: usize,
    },
    DeleteRecord {
        apex: usize,
        owner: usize,
        number: u8,
    },
    PutApp {
        apex: usize,
        number: u8,
        owner: usize,
    },
    DeleteApp {
        apex: usize,
        number: u8,
    },
    PutPop {
        which: usize,
    },
    PutTunnel {
        number: u8,
        secret: u8,
    },
    PutTunnelConfig {
        number: u8,
        version: i32,
    },
    DeleteTunnel {
        number: u8,
    },
    PutRule {
        number: u8,
        scope: usize,
        mode: usize,
    },
    DeleteRule {
        number: u8,
        scope: usize,
    },
    PutCertificate {
        apex: usize,
    },
    DeleteCertificate {
        apex: usize,
    },
    /// Replaces an object by one that this version cannot read.
    Spoil {
        which: usize,
    },
    /// The disk loses an object's row.
    Damage {
        which: usize,
    },
    /// Writes an object again as it was when it could be read last.
    Repair {
        which: usize,
    },
    Follow,
    /// The newest change of the log is damaged while it is followed.
    FollowDamagedLog,
}

fn step() -> impl Strategy<Value = Step> {
    let apex = 0..APEXES.len();
    let owner = 0..OWNERS.len();
    let number = 0..3_u8;
    prop_oneof![
        4 => (apex.clone(), prop::bool::weighted(0.3), 0..SERVERS.len())
            .prop_map(|(apex, paused, servers)| Step::PutZone { apex, paused, servers }),
        2 => apex.clone().prop_map(|apex| Step::DeleteZone { apex }),
        1 => Just(Step::Sweep),
        2 => (apex.clone(), 0..4_usize).prop_map(|(apex, items)| Step::PutSettings { apex, items }),
        12 => (apex.clone(), owner.clone(), number.clone(), 0..RECORDS.len())
            .prop_map(|(apex, owner, number, words)| Step::PutRecord { apex, owner, number, words }),
        4 => (apex.clone(), owner.clone(), number.clone())
            .prop_map(|(apex, owner, number)| Step::DeleteRecord { apex, owner, number }),
        3 => (apex.clone(), number.clone(), owner)
            .prop_map(|(apex, number, owner)| Step::PutApp { apex, number, owner }),
        1 => (apex.clone(), number.clone()).prop_map(|(apex, number)| Step::DeleteApp { apex, number }),
        3 => (0..POPS.len()).prop_map(|which| Step::PutPop { which }),
        2 => (number.clone(), 0..3_u8).prop_map(|(number, secret)| Step::PutTunnel { number, secret }),
        2 => (number.clone(), 0..3_i32).prop_map(|(number, version)| Step::PutTunnelConfig { number, version }),
        1 => number.clone().prop_map(|number| Step::DeleteTunnel { number }),
        3 => (number.clone(), 0..4_usize, 0..MODES.len())
            .prop_map(|(number, scope, mode)| Step::PutRule { number, scope, mode }),
        1 => (number, 0..4_usize).prop_map(|(number, scope)| Step::DeleteRule { number, scope }),
        2 => apex.clone().prop_map(|apex| Step::PutCertificate { apex }),
        1 => apex.prop_map(|apex| Step::DeleteCertificate { apex }),
        3 => any::<usize>().prop_map(|which| Step::Spoil { which }),
        2 => any::<usize>().prop_map(|which| Step::Damage { which }),
        4 => any::<usize>().prop_map(|which| Step::Repair { which }),
        5 => Just(Step::Follow),
        1 => Just(Step::FollowDamagedLog),
    ]
}

/// An object of the store, as the history knows it.
#[derive(Clone, Debug)]
struct Object {
    /// As it was written last.
    document: Json,
    /// As it was when it could be read last.
    sound: Option<Json>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// Another document than this version reads.
    Spoilt,
    Damaged,
}

/// Whether anything is known of an object's zone from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    New,
    /// As new, and all of it is read at once.
    Loaded,
    Known,
}

/// A history under way: the store, who follows it, and what should be in force.
struct History {
    lab: Lab,
    issuer: Issuer,
    follower: Publisher,
    objects: BTreeMap<Key, Object>,
    /// What could be read of each object when it was looked at last.
    in_force: BTreeMap<Key, Json>,
    touched: BTreeSet<Key>,
    /// Zone ids in use, by apex.
    zones: BTreeMap<&'static str, ZoneId>,
    zone_count: u8,
    certificates: BTreeMap<ZoneId, Key>,
}

impl History {
    fn new() -> History {
        let lab = Lab::new();
        let follower = lab.publisher();
        let issuer = Issuer::new(&lab);
        let mut history = History {
            lab,
            issuer,
            follower,
            objects: BTreeMap::new(),
            in_force: BTreeMap::new(),
            touched: BTreeSet::new(),
            zones: BTreeMap::new(),
            zone_count: 0,
            certificates: BTreeMap::new(),
        };
        history.take(&Step::PutPop { which: 0 });
        history.follow();
        history
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::PutZone { apex, paused, servers } => self.put_zone(APEXES[*apex], *paused, SERVERS[*servers]),
            Step::DeleteZone { apex } => {
                if let Some(zone) = self.zones.remove(APEXES[*apex]) {
                    self.write(vec![(Key::zone(zone), None), (name_key(APEXES[*apex]), None)]);
                }
            }
            Step::Sweep => {
                let alive: BTreeSet<ZoneId> = self.zones.values().copied().collect();
                let left = self.objects.keys().filter(|key| key.zone_id().is_some_and(|zone| !alive.contains(&zone)));
                let left: Vec<_> = left.cloned().map(|key| (key, None)).collect();
                self.write(left);
            }
            Step::PutSettings { apex, items } => {
                if let Some(zone) = self.zones.get(APEXES[*apex]) {
                    let all = [("always_use_https", json!("on")), ("ssl", json!("full")), ("http2", json!("off"))];
                    self.write(vec![(Key::settings(*zone), Some(settings_document(&all[..*items])))]);
                }
            }
            Step::PutRecord { apex, owner, number, words } => {
                let apex = APEXES[*apex];
                if let Some(zone) = self.zones.get(apex).copied() {
                    let number = record_number(*owner, *number);
                    let owner = format!("{}{apex}", OWNERS[*owner]);
                    self.write(vec![
                        (record_key(zone, number), Some(record_at(zone, apex, number, &owner, RECORDS[*words]))),
                        (Key::name(zone, &name(&owner)), Some(json!({"records": 1}))),
                    ]);
                }
            }
            Step::DeleteRecord { apex, owner, number } => {
                let apex = APEXES[*apex];
                if let Some(zone) = self.zones.get(apex).copied() {
                    let key = record_key(zone, record_number(*owner, *number));
                    let owner = format!("{}{apex}", OWNERS[*owner]);
                    if self.objects.contains_key(&key) {
                        // The name is told even if it has other records.
                        self.write(vec![(key, None), (Key::name(zone, &name(&owner)), Some(json!({"records": 1})))]);
                    }
                }
            }
            Step::PutApp { apex, number, owner } => {
                let apex = APEXES[*apex];
                if let Some(zone) = self.zones.get(apex).copied() {
                    let (id, slot) = app_id(zone, *number);
                    let document = app_document(zone, id, &format!("{}{apex}", OWNERS[*owner]), slot, "off");
                    self.write(vec![(Key::app(zone, id), Some(document))]);
                }
            }
            Step::DeleteApp { apex, number } => {
                if let Some(zone) = self.zones.get(APEXES[*apex]).copied() {
                    self.write(vec![(Key::app(zone, app_id(zone, *number).0), None)]);
                }
            }
            Step::PutPop { which } => {
                let (addresses, pools) = POPS[*which];
                self.write(vec![(Key::pop(POP), Some(pop_document(addresses, pools)))]);
            }
            Step::PutTunnel { number, secret } => {
                let id = tunnel_id(*number);
                self.write(vec![(Key::tunnel(ACCOUNT, id), Some(tunnel_document(id, *secret)))]);
            }
            Step::PutTunnelConfig { number, version } => {
                let id = tunnel_id(*number);
                self.write(vec![(Key::tunnel_config(ACCOUNT, id), Some(tunnel_config_document(id, *version)))]);
            }
            Step::DeleteTunnel { number } => {
                let id = tunnel_id(*number);
                self.write(vec![(Key::tunnel(ACCOUNT, id), None), (Key::tunnel_config(ACCOUNT, id), None)]);
            }
            Step::PutRule { number, scope, mode } => {
                let scope = self.scope(*scope);
                let (id, address) = rule_id(scope, *number);
                let document = rule_document(id, scope, MODES[*mode], &address);
                self.write(vec![(Key::access_rule(scope, id), Some(document))]);
            }
            Step::DeleteRule { number, scope } => {
                let scope = self.scope(*scope);
                self.write(vec![(Key::access_rule(scope, rule_id(scope, *number).0), None)]);
            }
            Step::PutCertificate { apex } => {
                if let Some(zone) = self.zones.get(APEXES[*apex]).copied() {
                    let (key, document) = self.issuer.issue(zone, APEXES[*apex]);
                    self.certificates.insert(zone, key.clone());
                    self.write(vec![(key, Some(document))]);
                }
            }
            Step::DeleteCertificate { apex } => {
                let zone = self.zones.get(APEXES[*apex]);
                if let Some(key) = zone.and_then(|zone| self.certificates.remove(zone)) {
                    self.write(vec![(key, None)]);
                }
            }
            Step::Spoil { which } => self.spoil(*which),
            Step::Damage { which } => {
                if let Some(key) = self.choose(*which, |state| state == State::Sound) {
                    self.lab.damage(&key);
                    self.object(&key).state = State::Damaged;
                }
            }
            Step::Repair { which } => self.repair(*which),
            Step::Follow => self.follow(),
            Step::FollowDamagedLog => self.follow_damaged_log(),
        }
    }

    /// A new zone has a new id, also in the place of one that was deleted.
    fn put_zone(&mut self, apex: &'static str, paused: bool, servers: &[&str]) {
        let zone = *self.zones.entry(apex).or_insert_with(|| {
            self.zone_count += 1;
            zone_id(self.zone_count)
        });
        let document = zone_document(zone, apex, servers, paused);
        self.write(vec![(Key::zone(zone), Some(document)), (name_key(apex), Some(json!({ "by": zone })))]);
    }

    /// Whose rules: a user's, an account's, or those of one of two zones.
    fn scope(&self, number: usize) -> Scope {
        match (number, self.zones.values().next(), self.zones.values().next_back()) {
            (0, ..) => Scope::User(USER),
            (2, Some(zone), _) | (3, _, Some(zone)) => Scope::Zone(*zone),
            _ => Scope::Account(ACCOUNT),
        }
    }

    fn write(&mut self, writes: Vec<(Key, Option<Json>)>) {
        let mut ops = Vec::new();
        for (key, document) in writes {
            match document {
                Some(document) => {
                    ops.push(put(key.clone(), &document));
                    let object = Object { sound: Some(document.clone()), document, state: State::Sound };
                    self.objects.insert(key.clone(), object);
                }
                None if self.objects.remove(&key).is_some() => ops.push(Op::Del { key: key.clone() }),
                None => continue,
            }
            self.touched.insert(key);
        }
        if !ops.is_empty() {
            self.lab.commit(ops);
        }
    }

    fn spoil(&mut self, which: usize) {
        let Some(key) = self.choose(which, |state| state == State::Sound) else { return };
        let Some(document) = spoilt(key.kind(), self.object(&key).document.clone(), which) else { return };
        let mut ops = self.touch_name(&key);
        ops.push(put(key.clone(), &document));
        self.lab.commit(ops);
        let object = self.object(&key);
        (object.document, object.state) = (document, State::Spoilt);
        self.touched.insert(key);
    }

    fn repair(&mut self, which: usize) {
        let Some(key) = self.choose(which, |state| state != State::Sound) else { return };
        let Some(document) = self.object(&key).sound.clone() else { return };
        let mut writes = vec![(key.clone(), Some(document))];
        writes.extend(self.name_of(&key).map(|name| (name, Some(json!({"records": 1})))));
        self.write(writes);
    }

    fn choose(&self, which: usize, wanted: impl Fn(State) -> bool) -> Option<Key> {
        let is_left_alone = |key: &Key| matches!(key.kind(), Kind::Name | Kind::Unique);
        let keys = self.objects.iter().filter(|(key, object)| !is_left_alone(key) && wanted(object.state));
        let keys: Vec<&Key> = keys.map(|(key, _)| key).collect();
        (!keys.is_empty()).then(|| keys[which % keys.len()].clone())
    }

    fn object(&mut self, key: &Key) -> &mut Object {
        self.objects.get_mut(key).expect("it was chosen among them")
    }

    /// The unit that a record's change touches beside it.
    fn name_of(&self, record: &Key) -> Option<Key> {
        let document = &self.objects.get(record).filter(|_| record.kind() == Kind::Record)?.document;
        Some(Key::name(record.zone_id()?, &name(document["name"].as_str()?)))
    }

    fn touch_name(&mut self, record: &Key) -> Vec<Op> {
        let Some(key) = self.name_of(record) else { return Vec::new() };
        self.touched.insert(key.clone());
        vec![put(key, &json!({"records": 1}))]
    }

    /// Follows, and compares what is in force with a new start on what could be read.
    fn follow(&mut self) {
        while self.follower.follow().unwrap().is_some() {}
        self.settle(Zone::New);
        let questions = self.questions();
        let mut shadow = self.lab.beside();
        shadow.commit(vec![Op::Del { key: Key::pop(POP) }]);
        shadow.commit(self.in_force.iter().map(|(key, document)| put(key.clone(), document)).collect());
        let expect = questions.ask(shadow.publisher().bundle(), Serials::Hidden);
        let found = questions.ask(self.follower.bundle(), Serials::Hidden);
        for (question, answer) in &expect {
            assert_eq!(&found[question], answer, "{question}");
        }
        if self.objects.values().all(|object| object.state == State::Sound) {
            let expect = questions.ask(self.lab.publisher().bundle(), Serials::Told);
            assert_eq!(questions.ask(self.follower.bundle(), Serials::Told), expect);
            assert!(self.follower.problems().is_empty());
        } else {
            let mut without = self.lab.beside();
            let sound = |(key, object): (&Key, &Object)| Some(put(key.clone(), object.sound.as_ref()?));
            without.commit(self.objects.iter().filter_map(sound).collect());
            let zones = self.zones.iter().map(|(apex, zone)| (*apex, *zone)).collect();
            open::check(self.lab.publisher().bundle(), without.publisher().bundle(), &questions, &zones);
        }
    }

    /// The state is in force then, and what of it cannot be read is as it was.
    fn follow_damaged_log(&mut self) {
        if self.follower.applied() < self.follower.head() {
            self.lab.flip_newest_change();
            self.follower.follow().unwrap().expect("something was committed");
            self.lab.flip_newest_change();
            self.touched.extend(self.objects.keys().chain(self.in_force.keys()).cloned());
            self.settle(Zone::Loaded);
        }
        self.follow();
    }

    /// What is in force after a step: of units that were touched what can be read of them.
    fn settle(&mut self, new: Zone) {
        let touched = std::mem::take(&mut self.touched);
        for key in touched.iter().filter(|key| matches!(key.kind(), Kind::Zone)) {
            self.settle_zone(key, new);
        }
        for key in &touched {
            if key.kind() != Kind::Zone && self.is_served(key) {
                self.settle_unit(key, Zone::Known);
            }
        }
    }

    fn settle_zone(&mut self, key: &Key, new: Zone) {
        let was_served = self.serves(key);
        match self.objects.get(key) {
            Some(object) if object.state == State::Sound => {
                self.in_force.insert(key.clone(), object.document.clone());
            }
            Some(_) if was_served => {}
            Some(object) => {
                self.in_force.insert(key.clone(), unread_zone(object.document.clone()));
            }
            None => drop(self.in_force.remove(key)),
        }
        let zone = key.scope();
        match (was_served, self.serves(key)) {
            // Nothing is known of a zone that was not served: all of it is looked at.
            (false, true) => {
                let all: Vec<Key> =
                    self.objects.keys().filter(|it| it.scope() == zone && *it != key).cloned().collect();
                all.iter().for_each(|key| self.settle_unit(key, new));
            }
            (true, false) => self.in_force.retain(|it, _| it.scope() != zone || stays_without_zone(it.kind())),
            _ => {}
        }
    }

    /// Whether an object is looked at: of zones that are not served only rules and certificates are.
    fn is_served(&self, key: &Key) -> bool {
        let zone = key.zone_id().filter(|_| !stays_without_zone(key.kind()));
        zone.is_none_or(|zone| self.serves(&Key::zone(zone)))
    }

    /// Whether a zone is in force, and not held only.
    fn serves(&self, zone: &Key) -> bool {
        self.in_force.get(zone).is_some_and(|document| *document != unread_zone(document.clone()))
    }

    fn settle_unit(&mut self, key: &Key, zone: Zone) {
        let unit: Vec<Key> = match key.kind() {
            Kind::Record | Kind::Unique => return, // told by its name, and by its zone
            Kind::Name => self.records_of(key),
            Kind::Tunnel | Kind::TunnelConfig => {
                let id = key.id_as().unwrap();
                return self.settle_tunnel(&Key::tunnel(ACCOUNT, id), &Key::tunnel_config(ACCOUNT, id));
            }
            _ => vec![key.clone()],
        };
        let is_sound = |key: &Key| self.objects.get(key).is_none_or(|object| object.state == State::Sound);
        if unit.iter().all(is_sound) {
            self.adopt(&unit);
            if key.kind() == Kind::Name {
                self.in_force.insert(key.clone(), json!({"records": 1}));
            }
        } else if key.kind() == Kind::Settings && zone != Zone::Known {
            self.in_force.insert(key.clone(), strict_settings());
        } else if key.kind() == Kind::AccessRule && self.in_force.get(key).is_none_or(says_not_whom) {
            match stand_in(&self.objects[key]) {
                Some(document) => drop(self.in_force.insert(key.clone(), document)),
                None => drop(self.in_force.remove(key)),
            }
        } else if key.kind() == Kind::Name && zone == Zone::Loaded {
            // What is left of a name of which nothing was known.
            let left: Vec<Key> = unit.into_iter().filter(is_sound).collect();
            self.adopt(&left);
        }
    }

    /// A configuration means nothing without its tunnel.
    fn settle_tunnel(&mut self, tunnel: &Key, config: &Key) {
        let state = |key: &Key| self.objects.get(key).map(|object| object.state);
        match (state(tunnel), state(config)) {
            (None, _) => {
                self.in_force.remove(tunnel);
                self.in_force.remove(config);
            }
            (Some(State::Sound), None | Some(State::Sound)) => self.adopt(&[tunnel.clone(), config.clone()]),
            (Some(State::Sound), Some(_)) => self.adopt(std::slice::from_ref(tunnel)),
            (Some(_), _) => {}
        }
    }

    fn adopt(&mut self, keys: &[Key]) {
        for key in keys {
            match self.objects.get(key) {
                Some(object) => drop(self.in_force.insert(key.clone(), object.document.clone())),
                None => drop(self.in_force.remove(key)),
            }
        }
    }

    /// All records that the name has, or had.
    fn records_of(&self, unit: &Key) -> Vec<Key> {
        let documents = self.objects.iter().map(|(key, object)| (key, &object.document)).chain(&self.in_force);
        let mine = documents.filter(|(key, document)| {
            key.kind() == Kind::Record && key.scope() == unit.scope() && document["name"] == json!(unit.id())
        });
        mine.map(|(key, _)| key.clone()).collect::<BTreeSet<Key>>().into_iter().collect()
    }

    fn questions(&self) -> Questions {
        let others = ["other.", "y.www.", "a.sub."];
        let names =
            APEXES.iter().flat_map(|apex| OWNERS.iter().chain(&others).map(move |owner| format!("{owner}{apex}")));
        let ids = (0..=self.zone_count).map(zone_id);
        Questions {
            names: names.collect(),
            zones: ids.clone().collect(),
            sources: (0..3)
                .flat_map(|number| self.all_scopes().map(move |scope| rule_id(scope, number).1))
                .map(|address| address.parse().unwrap())
                .collect(),
            dialled: ids
                .flat_map(|zone| (0..3).map(move |number| app_id(zone, number).1))
                .flat_map(|slot| [slot, slot + 128].map(|last| format!("127.77.0.{}:22", last % 256).parse().unwrap()))
                .collect(),
            tunnels: (0..3).map(tunnel_id).collect(),
        }
    }

    fn all_scopes(&self) -> impl Iterator<Item = Scope> + use<> {
        let zones = (0..=self.zone_count).map(|number| Scope::Zone(zone_id(number)));
        [Scope::User(USER), Scope::Account(ACCOUNT)].into_iter().chain(zones)
    }
}

/// What stands in for settings of which nothing is known.
fn strict_settings() -> Json {
    settings_document(&[("always_use_https", json!("on")), ("ssl", json!("strict"))])
}

/// What stands in for a rule that cannot be read and was never in force; none for one that only lets in.
fn stand_in(rule: &Object) -> Option<Json> {
    let mut document = rule.document.clone();
    if rule.state == State::Damaged || !MODES.contains(&document["mode"].as_str().unwrap_or_default()) {
        document["mode"] = json!("block");
    }
    if rule.state == State::Damaged {
        document["configuration"]["target"] = json!("quantum");
    }
    (!says_not_whom(&document) || document["mode"] != json!("whitelist")).then_some(document)
}

/// Whether a rule does not say whom it is for. What stands in for it is given up for anything that says more.
fn says_not_whom(rule: &Json) -> bool {
    rule["configuration"]["target"] == json!("quantum")
}

/// A zone that cannot be read, but for its name.
fn unread_zone(mut zone: Json) -> Json {
    zone["name_servers"] = json!(["..."]);
    zone
}

/// What says that a name is a zone's.
fn name_key(apex: &str) -> Key {
    Key::unique(Scope::Edge, Index::ZoneName, apex)
}

/// Certificates and rules of a zone harm nobody while it is not served; they go when they are deleted.
fn stays_without_zone(kind: Kind) -> bool {
    matches!(kind, Kind::AccessRule | Kind::Certificate)
}

/// The document with something in it that this version does not know, where its listing can still be made.
fn spoilt(kind: Kind, mut document: Json, which: usize) -> Option<Json> {
    match kind {
        Kind::Zone => document = unread_zone(document),
        Kind::Settings => document = json!("none"),
        Kind::Record => document["type"] = json!("QUANTUM"),
        Kind::Pop => document["addresses"] = json!([]),
        Kind::App => document["tls"] = json!("quantum"),
        Kind::Tunnel => document["secret_sha256"] = json!("quantum"),
        Kind::TunnelConfig => document["config"] = json!("none"),
        Kind::AccessRule if which.is_multiple_of(2) => document["mode"] = json!("tar_pit"),
        Kind::AccessRule => document["configuration"]["target"] = json!("quantum"),
        Kind::Certificate => document["sealed_key"] = json!("!"),
        _ => return None,
    }
    Some(document)
}

fn zone_id(number: u8) -> ZoneId {
    ZoneId::from_bytes([number; 16])
}

fn tunnel_id(number: u8) -> TunnelId {
    TunnelId::from_bytes([4 + number; 16])
}

/// Each owner has numbers of its own: a record that came to another one would leave its name without a word, which the API
/// never does.
fn record_number(owner: usize, number: u8) -> u8 {
    owner as u8 * 3 + number
}

fn record_key(zone: ZoneId, number: u8) -> Key {
    Key::record(zone, RecordId::from_bytes([number; 16]))
}

/// The id of an application and its slot.
fn app_id(zone: ZoneId, number: u8) -> (AppId, u32) {
    let slot = u32::from(zone.as_bytes()[0]) * 3 + u32::from(number);
    let mut id = [number; 16];
    id[..8].copy_from_slice(&zone.as_bytes()[..8]);
    (AppId::from_bytes(id), slot.min(250) + 1)
}

/// The id of a rule and the address that it is for.
fn rule_id(scope: Scope, number: u8) -> (RuleId, String) {
    let whose = match scope {
        Scope::Zone(zone) => zone.as_bytes()[0],
        Scope::User(_) => 254,
        _ => 255,
    };
    // Two scopes share an address, so that levels meet.
    (RuleId::from_bytes([whose.wrapping_mul(3).wrapping_add(number); 16]), format!("192.0.2.{number}"))
}

/// Takes every step, and looks once more at the end.
fn run(steps: &[Step]) {
    let mut history = History::new();
    steps.iter().for_each(|step| history.take(step));
    history.follow();
}

/// Histories that once ended otherwise.
#[test]
fn histories_that_failed() {
    use Step::*;
    for steps in [
        // One zone names a server that lies in another, and both come in one step.
        vec![PutZone { apex: 2, paused: false, servers: 1 }, PutZone { apex: 0, paused: false, servers: 2 }],
        // An application comes to a name of which a record cannot be read.
        vec![
            PutZone { apex: 1, paused: false, servers: 0 },
            PutRecord { apex: 1, owner: 7, number: 0, words: 5 },
            Follow,
            Spoil { which: 0 },
            PutApp { apex: 1, number: 1, owner: 7 },
            Follow,
            PutApp { apex: 1, number: 2, owner: 7 },
            DeleteApp { apex: 1, number: 1 },
        ],
        // A zone goes, and one that cannot be read comes under its name.
        vec![
            PutZone { apex: 0, paused: false, servers: 0 },
            PutZone { apex: 2, paused: false, servers: 0 },
            Follow,
            PutZone { apex: 0, paused: false, servers: 0 },
            DeleteZone { apex: 2 },
            PutZone { apex: 2, paused: false, servers: 0 },
            Spoil { which: 472_541_412_014_116_712 },
        ],
        // A zone whose settings were never written gets some that cannot be read.
        vec![
            PutZone { apex: 2, paused: false, servers: 0 },
            PutRecord { apex: 2, owner: 0, number: 0, words: 1 },
            Follow,
            PutSettings { apex: 2, items: 0 },
            Spoil { which: 1 },
        ],
        // A rule that never said whom it is for says so later, in a mode that nobody knows.
        vec![
            PutZone { apex: 0, paused: false, servers: 0 },
            PutZone { apex: 2, paused: false, servers: 0 },
            PutRule { number: 0, scope: 3, mode: 0 },
            PutTunnel { number: 0, secret: 0 },
            Spoil { which: 7_129_897_303_508_840_577 },
            Follow,
            Spoil { which: 1_049_687_023_115_376_438 },
            Repair { which: 11_081_682_290_026_995_324 },
            Spoil { which: 5_754_423_442_077_923_674 },
        ],
    ] {
        run(&steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn following_answers_as_a_new_start_would(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
