//! Load balancers and their pools: what steps put in force, and that a new start agrees.

use bartizan_authority::{Steer, Steered};
use bartizan_names::{AccountId, LoadBalancerId, MonitorId, PoolId};
use bartizan_publish::Bundle;
use bartizan_steering::Asked;
use bartizan_store::{Key, Op};
use serde_json::{Value, json};

use crate::answers::steered;
use crate::lab::{ACCOUNT, AT, Lab, ZONE, add, put, zone};

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
