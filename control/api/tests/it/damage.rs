//! Documents that are stored and cannot be read: each is told of, can be deleted, and takes no other with it.

use std::time::Instant;

use bartizan_names::{AccountId, Timestamp, TokenId, UserId, ZoneId};
use bartizan_observed::{Lease, Problem, ProblemKind, Reporter, What};
use bartizan_publish::{Publisher, Review};
use bartizan_store::{Index, Key, Kind, Op, Prefix, Scope, Value as Stored};
use http::StatusCode;
use serde_json::{Value, json};

use crate::edge::{EMAIL, Edge, KEY, certs, commit, put};
use bartizan_api::router;

/// Changes a document behind the API's back.
pub(crate) fn spoil(edge: &Edge, key: &Key, how: impl Fn(&mut Value)) {
    let entry = edge.store.read().unwrap().get(key).unwrap().unwrap_or_else(|| panic!("there is no {key}"));
    let mut document = serde_json::from_str(&entry.value.json).unwrap();
    how(&mut document);
    commit(&edge.store, vec![put(key.clone(), &document.to_string())]);
}

/// Writes into the file what a mend would that lost this object.
fn tell_lost(edge: &Edge, key: &Key) {
    let file = rusqlite::Connection::open(edge.directory.path().join("store.sqlite")).unwrap();
    file.execute("INSERT INTO about VALUES ('lost', ?)", [format!("1\n{key}")]).unwrap();
}

/// As a newer version might write it.
fn in_another_format(key: Key) -> Op {
    Op::Put { key, value: Stored { format: 9, json: "{}".into() } }
}

/// Keys of all objects of which people are told that they cannot be read, or not be put in force.
fn told(edge: &Edge) -> Vec<String> {
    let pop = edge.get("/bartizan/pops").result()[0]["id"].as_str().unwrap().parse().unwrap();
    let (_, seal) = certs(edge.directory.path());
    let mut publisher = Publisher::load(edge.store.clone(), edge.published(seal, pop)).unwrap();
    while publisher.review() == Review::More {}
    let now = Timestamp::from_unix_micros(1);
    let lists = [publisher.problems(), publisher.unreadable()];
    lists
        .into_iter()
        .flat_map(|list| list.observed(now, bartizan_publish::Changes::Taken))
        .map(|problem| problem.title())
        .collect()
}

/// Objects of one kind.
struct Resource {
    path: String,
    /// What two of them are made of.
    bodies: [String; 2],
    key: fn(Scope, &str) -> Key,
    scope: Scope,
    /// Makes a document that the store lists and the API cannot use.
    spoiling: fn(&mut Value),
}

fn without(field: &'static str) -> impl Fn(&mut Value) {
    move |document| drop(document.as_object_mut().unwrap().remove(field).unwrap())
}

fn ids(list: &Value) -> Vec<String> {
    list["result"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn app(name: &str, edge_ips: Value) -> String {
    json!({"protocol": "tcp/22", "dns": {"name": name}, "origin_direct": ["tcp://192.0.2.1:22"], "edge_ips": edge_ips})
        .to_string()
}

/// In every list, by itself, and when it is deleted.
#[test]
fn a_document_that_cannot_be_read_takes_no_other_with_it() {
    let edge = Edge::new();
    let (zone, account): (ZoneId, AccountId) = (edge.zone().parse().unwrap(), edge.account().parse().unwrap());
    let user: UserId = edge.get("/user").result()["id"].as_str().unwrap().parse().unwrap();
    let rule = |value: &str| json!({"mode": "block", "configuration": {"target": "ip", "value": value}}).to_string();
    let dynamic = || json!({"type": "dynamic"});
    let record = |content: &str| json!({"type": "A", "name": "a", "content": content}).to_string();
    let rules = "firewall/access_rules/rules";
    let of = |path: String, bodies: [String; 2], key, scope, spoiling| Resource { path, bodies, key, scope, spoiling };
    let rows: [Resource; 8] = [
        of(
            "/zones".to_owned(),
            ["a", "b"].map(|name| format!(r#"{{"name":"{name}.example"}}"#)),
            |_, id| Key::zone(id.parse().unwrap()),
            Scope::Edge,
            |document| without("plan")(document),
        ),
        of(
            edge.records(),
            ["192.0.2.1", "192.0.2.2"].map(record),
            |scope, id| Key::new(scope, Kind::Record, id),
            Scope::Zone(zone),
            |document| without("meta")(document),
        ),
        of(
            format!("/accounts/{account}/cfd_tunnel"),
            ["a", "b"].map(|name| format!(r#"{{"name":"{name}"}}"#)),
            |scope, id| Key::new(scope, Kind::Tunnel, id),
            Scope::Account(account),
            |document| without("config_src")(document),
        ),
        of(
            format!("/zones/{zone}/{rules}"),
            ["192.0.2.1", "192.0.2.2"].map(rule),
            |scope, id| Key::access_rule(scope, id.parse().unwrap()),
            Scope::Zone(zone),
            |document| without("created_on")(document),
        ),
        of(
            format!("/accounts/{account}/{rules}"),
            ["192.0.2.1", "192.0.2.2"].map(rule),
            |scope, id| Key::access_rule(scope, id.parse().unwrap()),
            Scope::Account(account),
            |document| without("created_on")(document),
        ),
        of(
            format!("/user/{rules}"),
            ["192.0.2.1", "192.0.2.2"].map(rule),
            |scope, id| Key::access_rule(scope, id.parse().unwrap()),
            Scope::User(user),
            |document| without("created_on")(document),
        ),
        of(
            format!("/zones/{zone}/spectrum/apps"),
            ["one", "two"].map(|name| app(&format!("{name}.bartizan.localhost"), dynamic())),
            |scope, id| Key::new(scope, Kind::App, id),
            Scope::Zone(zone),
            |document| without("dns")(document),
        ),
        // It can be read, and says nothing that could be served.
        of(
            format!("/zones/{zone}/spectrum/apps"),
            ["three", "four"].map(|name| app(&format!("{name}.bartizan.localhost"), dynamic())),
            |scope, id| Key::new(scope, Kind::App, id),
            Scope::Zone(zone),
            |document| document["protocol"] = json!("tcp/0"),
        ),
    ];
    for Resource { path, bodies, key, scope, spoiling } in rows {
        let [good, bad] = bodies.map(|body| edge.post(&path, &body).result()["id"].as_str().unwrap().to_owned());
        let before = edge.get(&path).json();
        let key = key(scope, &bad);
        spoil(&edge, &key, spoiling);

        assert_eq!(told(&edge), [key.as_str()]);
        let list = edge.get(&path).json();
        let left: Vec<String> = ids(&before).into_iter().filter(|id| *id != bad).collect();
        assert_eq!(ids(&list), left, "{path}");
        assert!(left.contains(&good), "{path}");
        assert_eq!(list["result_info"]["total_count"], before["result_info"]["total_count"], "{path}");
        // The stock client reads no messages of tunnels.
        let message = if path.ends_with("cfd_tunnel") { Value::Null } else { json!(10_501) };
        assert_eq!(list["messages"][0]["code"], message, "{path}");

        let one = format!("{path}/{bad}");
        let answer = edge.get(&one);
        assert_eq!(answer.verdict(), "500 10501", "{one}");
        assert_eq!(answer.headers["x-should-retry"], "false");
        assert!(answer.text.contains(&bad), "the fault names it: {}", answer.text);
        assert_eq!(edge.get(&format!("{path}/{good}")).status, StatusCode::OK, "{path}");

        assert_eq!(edge.call("DELETE", &one, "").verdict(), "200", "{one}");
        assert_eq!(edge.get(&one).status, StatusCode::NOT_FOUND, "{one}");
        let list = edge.get(&path).json();
        assert_eq!((ids(&list), &list["messages"]), (left, &json!([])), "{path}");
        assert_eq!(told(&edge), [""; 0], "{path}");
        edge.call("DELETE", &format!("{path}/{good}"), "").result();
    }
}

/// Its name is counted right, whatever else is damaged there, and free for others in the end.
#[test]
fn records_that_cannot_be_read_leave_their_name() {
    let edge = Edge::new();
    let zone: ZoneId = edge.zone().parse().unwrap();
    let name = Key::name(zone, &"a.bartizan.localhost".parse().unwrap());
    let count = || edge.store.read().unwrap().get(&name).unwrap().map(|entry| entry.value.json.to_string());
    let make = |content: &str| {
        let body = json!({"type": "A", "name": "a", "content": content});
        edge.post(&edge.records(), &body.to_string()).result()["id"].as_str().unwrap().to_owned()
    };
    let [good, first, second] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(make);
    for id in [&first, &second] {
        spoil(&edge, &Key::record(zone, id.parse().unwrap()), without("meta"));
    }
    // What may stand beside them is not known.
    let other = r#"{"type":"A","name":"a","content":"192.0.2.4"}"#;
    assert_eq!(edge.post(&edge.records(), other).verdict(), "500 10501");
    let delete = |id: &str| edge.call("DELETE", &format!("{}/{id}", edge.records()), "").result();
    delete(&first);
    assert_eq!(count().as_deref(), Some(r#"{"records":2}"#));
    delete(&second);
    assert_eq!(count().as_deref(), Some(r#"{"records":1}"#));
    edge.post(&edge.records(), other).result();
    delete(&good);
    assert_eq!(count().as_deref(), Some(r#"{"records":1}"#));
}

/// What they held is found by the sweep, and their names may lead elsewhere at once.
#[test]
fn applications_that_cannot_be_read_leave_their_addresses() {
    let edge = Edge::new();
    let zone: ZoneId = edge.zone().parse().unwrap();
    let apps = format!("/zones/{zone}/spectrum/apps");
    let held = |index: Index| edge.store.read().unwrap().count(&Prefix::unique(Scope::Edge, index)).unwrap();
    for (name, edge_ips) in
        [("dynamic", json!({"type": "dynamic"})), ("static", json!({"type": "static", "ips": ["127.77.0.200"]}))]
    {
        let body = app(&format!("{name}.bartizan.localhost"), edge_ips);
        let id = edge.post(&apps, &body).result()["id"].as_str().unwrap().to_owned();
        commit(&edge.store, vec![put(Key::app(zone, id.parse().unwrap()), "{}")]);
        assert_eq!(edge.get(&format!("{apps}/{id}")).verdict(), "500 10501");
        assert_eq!(held(Index::AppSlot) + held(Index::AppAddress), 1, "{name}");
        edge.call("DELETE", &format!("{apps}/{id}"), "").result();
        edge.settle_until(|_| held(Index::AppSlot) + held(Index::AppAddress) == 0);
        let record = json!({"type": "A", "name": name, "content": "192.0.2.1"}).to_string();
        assert_eq!(edge.post(&edge.records(), &record).verdict(), "200", "{name}");
    }
}

/// Of whatever kind it has objects, readable or not.
#[test]
fn a_zone_that_cannot_be_read_goes_with_all_that_is_in_it() {
    let edge = Edge::new();
    let zone = edge.new_zone("bad.example");
    let id: ZoneId = zone.parse().unwrap();
    let record = r#"{"type":"A","name":"a.deep","content":"192.0.2.1","proxied":true}"#;
    edge.post(&format!("/zones/{zone}/dns_records"), record).result();
    let made = edge.post(&format!("/zones/{zone}/spectrum/apps"), &app("tcp.bad.example", json!({"type": "dynamic"})));
    let made = made.result()["id"].as_str().unwrap().parse().unwrap();
    commit(&edge.store, vec![put(Key::app(id, made), "{}"), in_another_format(Key::settings(id))]);
    spoil(&edge, &Key::zone(id), without("meta"));
    assert_eq!(edge.get(&format!("/zones/{zone}/dns_records")).verdict(), "500 10501");
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    edge.settle();
    assert_eq!(edge.store.read().unwrap().count(&Prefix::scope(Scope::Zone(id))).unwrap(), 0);
    edge.new_zone("bad.example");
}

/// A zone that is lost but for its name keeps what is in it, and is deleted by its id: then its name is free, and all of it
/// gone.
#[test]
fn a_zone_that_is_lost_waits_for_a_person() {
    let (mut edge, given) = Edge::without_router();
    let (id, orphan) = (ZoneId::from_bytes([7; 16]), ZoneId::from_bytes([8; 16]));
    let zone = id.to_string();
    let name = Key::unique(Scope::Edge, Index::ZoneName, "lost.example");
    let settings = |zone| put(Key::settings(zone), r#"{"items":[]}"#);
    commit(&edge.store, vec![put(name, &json!({"by": id}).to_string()), settings(id), settings(orphan)]);
    let inside = |edge: &Edge| edge.store.read().unwrap().count(&Prefix::scope(Scope::Zone(id))).unwrap();
    edge.router = router(given);
    edge.settle_until(|store| store.read().unwrap().rev(&Key::settings(orphan)).unwrap().is_none());
    assert_eq!(inside(&edge), 1, "what is in a zone that is lost");
    assert_eq!(edge.post("/zones", r#"{"name":"lost.example"}"#).verdict(), "400 1061 /name");
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    edge.settle();
    assert_eq!(inside(&edge), 0);
    edge.new_zone("lost.example");
    assert_eq!(edge.call("DELETE", &format!("/zones/{zone}"), "").verdict(), "404 1001", "a second time");
}

/// A zone that never was is unknown by one look at its key, however many names there are: all of them are looked at only
/// for a zone of which something is left, or which is told to be lost.
#[test]
fn the_names_of_all_zones_are_looked_at_for_a_lost_one_only() {
    let edge = Edge::new();
    let id = ZoneId::from_bytes([7; 16]);
    let name = Key::unique(Scope::Edge, Index::ZoneName, "lost.example");
    commit(&edge.store, vec![put(name.clone(), &json!({"by": id}).to_string())]);
    let delete = || edge.call("DELETE", &format!("/zones/{id}"), "").verdict();
    assert_eq!(delete(), "404 1001", "nothing says that this name's zone is lost");
    let lost = |what: What| Problem {
        what,
        count: 1,
        reason: "the zone is lost, and only its name is there".to_owned(),
        since: Timestamp::from_unix_micros(1),
        remedy: "",
    };
    let tell = |what| edge.observed.problems.report(Reporter::Publisher, vec![lost(what)], Lease::Held, Instant::now());
    for what in [What::Unit(Key::zone(id).to_string()), What::Others(ProblemKind::Unit)] {
        tell(what);
        assert_eq!(delete(), "200");
        edge.settle();
        assert_eq!(edge.store.read().unwrap().rev(&name).unwrap(), None);
        assert_eq!(delete(), "404 1001", "a second time");
        commit(&edge.store, vec![put(name.clone(), &json!({"by": id}).to_string())]);
    }
    tell(What::Unit(Key::zone(ZoneId::from_bytes([8; 16])).to_string()));
    assert_eq!(delete(), "404 1001", "another one is lost");
}

/// Settings that damage took are shown as they hold, and a change of one leaves the others so: nothing else says what was
/// there.
#[test]
fn settings_that_are_lost_are_the_strictest() {
    let edge = Edge::new();
    let zone = edge.new_zone("lost.example");
    let path = format!("/zones/{zone}/settings");
    let key = Key::settings(zone.parse().unwrap());
    let shown =
        || ["always_use_https", "ssl", "http2"].map(|id| edge.get(&format!("{path}/{id}")).result()["value"].clone());
    edge.call("PATCH", &format!("{path}/ssl"), r#"{"value":"full"}"#).result();
    commit(&edge.store, vec![Op::Del { key: key.clone() }]);
    tell_lost(&edge, &key);
    assert_eq!(shown(), ["on", "strict", "on"]);
    edge.call("PATCH", &format!("{path}/http2"), r#"{"value":"off"}"#).result();
    assert_eq!(shown(), ["on", "strict", "off"]);
    edge.call("PATCH", &path, r#"{"items":[{"id":"ssl","value":"full"}]}"#).result();
    assert_eq!(shown(), ["on", "full", "off"]);
    // Of a zone whose settings were never there, nothing is lost.
    let other = edge.new_zone("other.example");
    assert_eq!(edge.get(&format!("/zones/{other}/settings/ssl")).result()["value"], "flexible");
}

/// Also where damage took the name with the zone: the file says what is lost, and then nothing counts as an orphan.
#[test]
fn nothing_is_an_orphan_while_objects_are_lost() {
    let (mut edge, given) = Edge::without_router();
    let (lost, begun) = (ZoneId::from_bytes([8; 16]), ZoneId::from_bytes([9; 16]));
    commit(&edge.store, vec![put(Key::settings(lost), r#"{"items":[]}"#), put(Key::deletion(begun), "{}")]);
    tell_lost(&edge, &Key::zone(lost));
    edge.router = router(given);
    edge.settle();
    assert!(edge.store.read().unwrap().rev(&Key::settings(lost)).unwrap().is_some());
}

/// However little its document tells: its name, whose it is, or nothing.
#[test]
fn a_zone_that_does_not_tell_its_name_gives_it_back() {
    let edge = Edge::new();
    let mine = edge.account();
    for (name, account) in [("-", &*mine), ("bartizan.localhost", &*mine), ("bad.example", "nobody"), ("-", "nobody")] {
        let zone = edge.new_zone("bad.example");
        let document = json!({"name": name, "account": {"id": account}, "status": "active"});
        commit(&edge.store, vec![put(Key::zone(zone.parse().unwrap()), &document.to_string())]);
        edge.call("DELETE", &format!("/zones/{zone}"), "").result();
        edge.settle();
        assert_eq!(edge.get(&format!("/zones/{}", edge.zone())).verdict(), "200");
        let taken = edge.post("/zones", r#"{"name":"bartizan.localhost"}"#);
        assert_eq!(taken.verdict(), "400 1061 /name", "another zone's name stays taken after {document}");
    }
    edge.new_zone("bad.example");
}

#[test]
fn everybody_else_logs_in_beside_a_token_that_cannot_be_read() {
    let edge = Edge::new();
    let (token, user, account) =
        (TokenId::from_bytes([0; 16]), UserId::from_bytes([0; 16]), AccountId::from_bytes([0; 16]));
    commit(
        &edge.store,
        vec![put(Key::token(Scope::Edge, token), "{}"), put(Key::user(user), "{}"), put(Key::account(account), "7")],
    );
    let newer = [1; 16];
    let newer = [
        Key::token(Scope::Edge, TokenId::from_bytes(newer)),
        Key::user(UserId::from_bytes(newer)),
        Key::account(AccountId::from_bytes(newer)),
    ];
    commit(&edge.store, newer.iter().cloned().map(in_another_format).collect());
    let mut bad = vec![Key::token(Scope::Edge, token), Key::user(user), Key::account(account)];
    bad.extend(newer);
    bad.sort();
    assert_eq!(told(&edge), bad.iter().map(Key::to_string).collect::<Vec<_>>());
    for path in ["/user", "/user/tokens/verify", "/accounts", "/memberships", "/zones"] {
        assert_eq!(edge.get(path).verdict(), "200", "{path}");
    }
    let key = [("x-auth-email", EMAIL), ("x-auth-key", KEY)];
    assert_eq!(edge.send_as(&key, "GET", "/client/v4/user", "").verdict(), "200");
}
