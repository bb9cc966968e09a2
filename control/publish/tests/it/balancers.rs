//! Load balancers and their pools: what steps put in force, and that a new start agrees.

use std::sync::Arc;

use bartizan_authority::{Services, Steer, Steered};
use bartizan_names::{AccountId, LoadBalancerId, MonitorId, Name, PoolId, RecordType};
use bartizan_publish::Bundle;
use bartizan_steering::Asked;
use bartizan_store::{Key, Op};
use bartizan_wire::dns::{Edns, Record};
use serde_json::{Value, json};

use crate::answers::{ask_with, leads_here, steered};
use crate::keys::{dnssec, put_keys};
use crate::lab::{ACCOUNT, AT, Lab, ZONE, add, put, zone};

/// The end of an NSEC record of a name with these types alone: window 0, six octets, and a bit for each (RFC 4034 §4.1.2).
const SRV_RRSIG_NSEC: [u8; 8] = [0, 6, 0, 0, 0, 0, 0x40, 0x03];

fn pool_id(number: u8) -> PoolId {
    PoolId::from_bytes([number; 16])
}

fn pool(account: AccountId, number: u8, fields: Value) -> Op {
    let mut document = json!({
        "id": pool_id(number), "name": format!("pool-{number}"), "description": "", "enabled": true, "minimum_origins": 1,
        "check_regions": null, "notification_email": "", "load_shedding": {}, "origin_steering": {"policy": "random"},
        "origins": [{"name": "a", "address": format!("192.0.2.{number}"), "enabled": true, "weight": 1.0}],
        "created_on": AT, "modified_on": AT,
    });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    put(Key::pool(account, pool_id(number)), &document)
}

fn balancer(label: &str, pools: &[u8], fields: Value) -> Op {
    let id = LoadBalancerId::from_bytes([label.as_bytes()[0]; 16]);
    let pools: Vec<PoolId> = pools.iter().map(|number| pool_id(*number)).collect();
    let mut document = json!({
        "id": id, "name": format!("{label}.example.com"), "description": "", "enabled": true, "ttl": 30,
        "fallback_pool": pools.last(), "default_pools": pools, "region_pools": {}, "country_pools": {}, "pop_pools": {},
        "proxied": true, "steering_policy": "", "session_affinity": "none", "session_affinity_ttl": 82800,
        "session_affinity_attributes": {}, "random_steering": {}, "created_on": AT, "modified_on": AT,
    });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    put(Key::load_balancer(ZONE, id), &document)
}

/// Where a name leads: the server that is chosen first, if it is proxied; else what DNS tells.
fn leads(bundle: &Bundle, label: &str) -> String {
    let host = format!("{label}.example.com");
    let asked = Asked::by([198, 51, 100, 1].into(), None, 0);
    if let Some(found) = bundle.routes.value.find(&bundle.zones.value, &host)
        && let bartizan_routes::Target::Balancer(id) = found.route.target
    {
        let chosen = bundle.balancers.value.get(id).and_then(|balancer| balancer.choose(&asked));
        return chosen.map_or("nowhere".to_owned(), |chosen| format!("{:?}", chosen.node().target));
    }
    steered(bundle, &host, Some(&Steering { bundle, asked }))
}

struct Steering<'b> {
    bundle: &'b Bundle,
    asked: Asked,
}

impl std::fmt::Debug for Steering<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what is in force")
    }
}

impl Steer for Steering<'_> {
    fn addresses(&self, apex: &[u8], name: &[u8]) -> Option<Steered> {
        let balancer = self.bundle.balancers.value.named(apex, name)?;
        Some(balancer.addresses(&self.asked, |addresses, _| Steered::new(addresses, balancer.ttl)))
    }

    fn services(&self, apex: &[u8], name: &[u8]) -> Option<Services> {
        let balancer = self.bundle.balancers.value.named(apex, name)?;
        Some(balancer.services(&self.asked, |servers, _| Services::new(servers, balancer.ttl)))
    }
}

#[test]
fn each_step_is_what_a_start_would_be() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "web A 203.0.113.9")].concat());
    let mut follower = lab.publisher();
    let (other, at) = (AccountId::from_bytes([9; 16]), |number: u8| format!("Host([Address(192.0.2.{number})])"));
    let del = |op: &Op| Op::Del { key: op.key().clone() };
    let (web, dns) = (balancer("web", &[1, 2], json!({})), balancer("dns", &[1, 2], json!({"proxied": false})));
    for (what, ops, expect_web, expect_dns) in [
        ("records alone", vec![], "203.0.113.9".to_owned(), "NXDOMAIN".to_owned()),
        ("without pools", vec![web.clone(), dns.clone()], "nowhere".to_owned(), "NOERROR".to_owned()),
        ("the second pool", vec![pool(ACCOUNT, 2, json!({}))], at(2), "192.0.2.2".to_owned()),
        ("the first pool", vec![pool(ACCOUNT, 1, json!({}))], at(1), "192.0.2.1".to_owned()),
        ("a pool off", vec![pool(ACCOUNT, 1, json!({"enabled": false}))], at(2), "192.0.2.2".to_owned()),
        (
            "another account's",
            vec![del(&pool(ACCOUNT, 2, json!({}))), pool(other, 2, json!({}))],
            "nowhere".to_owned(),
            "NOERROR".to_owned(),
        ),
        (
            "back",
            vec![del(&pool(other, 2, json!({}))), pool(ACCOUNT, 1, json!({})), pool(ACCOUNT, 2, json!({}))],
            at(1),
            "192.0.2.1".to_owned(),
        ),
        (
            "off",
            vec![balancer("web", &[1], json!({"enabled": false}))],
            "203.0.113.9".to_owned(),
            "192.0.2.1".to_owned(),
        ),
        ("gone", vec![del(&dns), web.clone()], at(1), "NXDOMAIN".to_owned()),
        ("both gone", vec![del(&web)], "203.0.113.9".to_owned(), "NXDOMAIN".to_owned()),
    ] {
        if !ops.is_empty() {
            lab.commit(ops);
            follower.follow().unwrap().expect("something was committed");
        }
        let fresh = lab.publisher();
        for bundle in [follower.bundle(), fresh.bundle()] {
            assert_eq!(
                (leads(bundle, "web"), leads(bundle, "dns")),
                (expect_web.clone(), expect_dns.clone()),
                "{what}"
            );
        }
        assert_eq!(follower.problems().count(), 0, "{what}");
    }
}

/// What was seen of servers stays with them, whatever else of their pool changes, and what is asked of them is in force at once.
#[test]
fn checks_follow_pools_and_monitors() {
    let mut lab = Lab::new();
    let monitor = MonitorId::from_bytes([5; 16]);
    let monitored = |interval: u32| {
        let document = json!({
            "id": monitor, "description": "", "type": "tcp", "method": "", "path": "", "header": {}, "port": 80, "timeout": 1,
            "retries": 0, "interval": interval, "consecutive_down": 0, "consecutive_up": 0, "expected_body": "",
            "expected_codes": "", "follow_redirects": false, "allow_insecure": false, "created_on": AT, "modified_on": AT,
        });
        put(Key::monitor(ACCOUNT, monitor), &document)
    };
    lab.commit(vec![zone(false), monitored(60), pool(ACCOUNT, 1, json!({"monitor": monitor}))]);
    let mut follower = lab.publisher();
    let interval = |bundle: &Bundle| {
        let check = bundle.checks.value.get(&pool_id(1)).unwrap();
        check.monitor.as_ref().map(|monitor| monitor.interval.as_secs())
    };
    assert_eq!(interval(follower.bundle()), Some(60));
    follower.bundle().checks.value.get(&pool_id(1)).unwrap().pool.marks.mark(0, true);
    lab.commit(vec![monitored(30), pool(ACCOUNT, 1, json!({"monitor": monitor, "description": "new"}))]);
    let bundle = follower.follow().unwrap().unwrap();
    assert_eq!(interval(bundle), Some(30));
    assert_eq!(bundle.checks.value.get(&pool_id(1)).unwrap().pool.marks.down(), 1);
    lab.commit(vec![Op::Del { key: Key::monitor(ACCOUNT, monitor) }]);
    assert_eq!(interval(follower.follow().unwrap().unwrap()), None);
}

/// What no server has now is denied no longer than what they have is kept, and a family whose servers are all down is told.
#[test]
fn what_is_not_there_now_is_soon_asked_again() {
    let mut lab = Lab::new();
    let both = json!([{"name": "a", "address": "192.0.2.1", "enabled": true, "weight": 1.0}, {"name": "b", "address": "2001:db8::1", "enabled": true, "weight": 1.0}]);
    let balancers =
        [balancer("both", &[1], json!({"proxied": false})), balancer("one", &[2], json!({"proxied": false}))];
    let pools = [pool(ACCOUNT, 1, json!({"origins": both})), pool(ACCOUNT, 2, json!({}))];
    lab.commit([vec![zone(false)], balancers.into(), pools.into()].concat());
    let publisher = lab.publisher();
    let bundle = publisher.bundle();
    bundle.checks.value.get(&pool_id(1)).unwrap().pool.marks.mark(0, true);
    assert_eq!(leads(bundle, "both"), "192.0.2.1 2001:db8::1");
    let steering = Steering { bundle, asked: Asked::by([198, 51, 100, 1].into(), None, 0) };
    for (name, rtype, ttl) in
        [("one", RecordType::AAAA, 30), ("one", RecordType::TXT, 30), ("none", RecordType::AAAA, 3_600)]
    {
        let denied = ask_with(bundle, &format!("{name}.example.com"), rtype, Some(&steering), None);
        assert_eq!((denied.answers.len(), denied.authority[0].ttl), (0, ttl), "{name} {rtype}");
    }
}

/// The servers of a service are told by name and port, with the addresses that are known here, and are signed; what the name has
/// beside them is denied with them.
#[test]
fn a_service_is_told_by_names_and_ports() {
    let mut lab = Lab::new();
    let (keys, _) = dnssec(&lab, ZONE, "on");
    let origin = |name: &str, address: &str, port: Option<u16>, weight: f64| json!({"name": name, "address": address, "port": port, "enabled": true, "weight": weight});
    let origins = json!([
        origin("one", "one.example.com", Some(8_080), 1.0),
        origin("two.example.com", "192.0.2.2", Some(8_081), 0.5),
        origin("nameless", "192.0.2.3", Some(80), 1.0),
        origin("three.example.com", "192.0.2.4", None, 1.0),
    ]);
    let name = "_http._tcp.www.example.com";
    let service = balancer("_http._tcp.www", &[1], json!({"proxied": false, "ttl": 20}));
    let first = [vec![zone(false)], add(1, "one A 192.0.2.1"), add(2, "_http._tcp.www A 192.0.2.9")].concat();
    lab.commit([first, put_keys(&keys), vec![service.clone(), pool(ACCOUNT, 1, json!({"origins": origins}))]].concat());
    let mut follower = lab.publisher();
    let told = |bundle: &Bundle, rtype| {
        let steering = Steering { bundle, asked: Asked::by([198, 51, 100, 1].into(), None, 0) };
        let edns = Edns { dnssec_ok: true, ..Edns::of_size(1_232) };
        ask_with(bundle, name, rtype, Some(&steering), Some(edns))
    };
    let services = |bundle: &Bundle| {
        let told = told(bundle, RecordType::SRV);
        let data = told.answers.iter().filter(|record| record.rtype == RecordType::SRV);
        let text = |record: &Record| {
            let number = |at: usize| u16::from_be_bytes([record.rdata[at], record.rdata[at + 1]]);
            let target = Name::from_wire(&record.rdata[6..]).unwrap().to_string();
            format!("{} {} {} {} {}", record.ttl, number(0), number(2), number(4), target.trim_end_matches('.'))
        };
        let mut all: Vec<_> = data.map(text).collect();
        all.sort_unstable();
        all
    };
    let fresh = lab.publisher();
    for bundle in [follower.bundle(), fresh.bundle()] {
        assert_eq!(services(bundle), ["20 0 10000 8080 one.example.com", "20 0 5000 8081 two.example.com"]);
        let answer = told(bundle, RecordType::SRV);
        let is_signature =
            |record: &&Record| record.rtype == RecordType::RRSIG && record.rdata[..2] == 33_u16.to_be_bytes();
        assert_eq!(answer.answers.iter().filter(is_signature).count(), 1);
        let address = answer.additional.iter().find(|record| record.rtype == RecordType::A).unwrap();
        assert_eq!(address.rdata, [192, 0, 2, 1]);
        for rtype in [RecordType::A, RecordType::TXT] {
            let denied = told(bundle, rtype);
            let nsec = denied.authority.iter().find(|record| record.rtype == RecordType::NSEC).unwrap();
            assert!(denied.answers.is_empty() && nsec.ttl == 20, "{rtype} {}", nsec.ttl);
            assert!(nsec.rdata.ends_with(&SRV_RRSIG_NSEC), "{rtype} {:?}", nsec.rdata);
        }
    }
    let marks = Arc::clone(&follower.bundle().checks.value.get(&pool_id(1)).unwrap().pool.marks);
    marks.mark(0, true);
    assert_eq!(services(follower.bundle()).len(), 1);
    // Its own records are told again without it.
    lab.commit(vec![Op::Del { key: service.key().clone() }]);
    let bundle = follower.follow().unwrap().unwrap();
    assert!(services(bundle).is_empty());
    assert_eq!(told(bundle, RecordType::A).answers[0].rdata, [192, 0, 2, 9]);
}

/// After a start whoever asks for a load balancer that cannot be read is not led to the records that it hid; from then on, if it is
/// mended or deleted, to what is there.
#[test]
fn what_cannot_be_read_hides_what_it_hid() {
    let mut lab = Lab::new();
    let of = |host: &str| {
        let name = Name::parse(host).unwrap();
        let hash = bartizan_seal::sha256(format!("load-balancer/{ZONE}/{name}").as_bytes());
        LoadBalancerId::from_bytes(*hash.first_chunk().unwrap())
    };
    let keys = ["web.example.com", "dns.example.com"].map(|host| Key::load_balancer(ZONE, of(host)));
    let whole = |at: usize| {
        let label = ["web", "dns"][at];
        match balancer(label, &[1], json!({"id": of(&format!("{label}.example.com")), "proxied": at == 0})) {
            Op::Put { value, .. } => Op::Put { key: keys[at].clone(), value },
            del => del,
        }
    };
    let damaged = || keys.clone().map(|key| put(key, &json!("damaged"))).to_vec();
    let records = ["web A 203.0.113.9 proxied", "dns A 203.0.113.10", "plain A 203.0.113.11"];
    let records = (1..).zip(records).flat_map(|(number, words)| add(number, words)).collect();
    lab.commit([vec![zone(false), pool(ACCOUNT, 1, json!({}))], records].concat());
    let is_held = |bundle: &Bundle| bundle.routes.value.find(&bundle.zones.value, "web.example.com").is_none();
    let all = |bundle: &Bundle| ["web", "dns", "plain"].map(|label| leads(bundle, label));
    for mends in [true, false] {
        lab.commit(damaged());
        let mut follower = lab.publisher();
        assert_eq!(all(follower.bundle()), ["SERVFAIL", "SERVFAIL", "203.0.113.11"]);
        assert!(is_held(follower.bundle()));
        assert_eq!(follower.problems().count(), 2);
        // Whatever becomes of the records.
        lab.commit([add(1, "web A 203.0.113.12 proxied"), add(2, "dns A 203.0.113.10")].concat());
        if let Some(bundle) = follower.follow().unwrap() {
            assert_eq!(all(bundle)[..2], ["SERVFAIL", "SERVFAIL"]);
            assert!(is_held(bundle));
        }
        let ops = (0..2).map(|at| if mends { whole(at) } else { Op::Del { key: keys[at].clone() } });
        lab.commit(ops.collect());
        follower.follow().unwrap().expect("something was committed");
        let fresh = lab.publisher();
        for bundle in [follower.bundle(), fresh.bundle()] {
            let [web, dns, _] = all(bundle);
            assert!(!is_held(bundle), "{mends}");
            if mends {
                assert_eq!([web, dns], ["Host([Address(192.0.2.1)])", "192.0.2.1"]);
            } else {
                assert!(leads_here(bundle, "web.example.com"));
                assert_eq!(dns, "203.0.113.10");
            }
        }
        assert_eq!(follower.problems().count(), 0);
    }
}

/// The same where it hid nothing: as long as its document says so much as its name, nobody is told that there is no such name.
#[test]
fn what_cannot_be_read_is_no_name_that_is_not_there() {
    let mut lab = Lab::new();
    let hash = bartizan_seal::sha256(format!("load-balancer/{ZONE}/lb.example.com").as_bytes());
    let id = LoadBalancerId::from_bytes(*hash.first_chunk().unwrap());
    let key = Key::load_balancer(ZONE, id);
    let damaged = put(key.clone(), &json!({"name": "lb.example.com", "ttl": "soon"}));
    lab.commit(vec![zone(false), pool(ACCOUNT, 1, json!({})), damaged]);
    let absent = leads(lab.publisher().bundle(), "nobody");
    for mends in [true, false] {
        lab.commit(vec![put(key.clone(), &json!({"name": "lb.example.com", "ttl": "soon", "again": mends}))]);
        let mut follower = lab.publisher();
        assert_eq!(leads(follower.bundle(), "lb"), "SERVFAIL");
        let whole = match balancer("lb", &[1], json!({"id": id, "proxied": false})) {
            Op::Put { value, .. } => Op::Put { key: key.clone(), value },
            del => del,
        };
        lab.commit(vec![if mends { whole } else { Op::Del { key: key.clone() } }]);
        follower.follow().unwrap().expect("something was committed");
        for bundle in [follower.bundle(), lab.publisher().bundle()] {
            assert_eq!(leads(bundle, "lb"), if mends { "192.0.2.1".to_owned() } else { absent.clone() }, "{mends}");
        }
    }
}

/// After a start nobody looks at servers whose monitor cannot be read, and that is known.
#[test]
fn a_monitor_that_cannot_be_read() {
    let mut lab = Lab::new();
    let monitor = MonitorId::from_bytes([5; 16]);
    let key = Key::monitor(ACCOUNT, monitor);
    let pools = vec![pool(ACCOUNT, 1, json!({"monitor": monitor})), pool(ACCOUNT, 2, json!({}))];
    lab.commit([vec![zone(false), put(key.clone(), &json!("damaged"))], pools].concat());
    let mut publisher = lab.publisher();
    let is_unread = |bundle: &Bundle| [1, 2].map(|number| bundle.checks.value.get(&pool_id(number)).unwrap().is_unread);
    assert_eq!(is_unread(publisher.bundle()), [true, false]);
    lab.commit(vec![Op::Del { key }]);
    assert_eq!(is_unread(publisher.follow().unwrap().unwrap()), [false, false]);
}
