//! What the firewall makes of an address.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bartizan_api::router;
use bartizan_names::RuleId;
use bartizan_observed::{FirewallAnswer, FirewallQuery, FirewallQuestion, Verdict};
use serde_json::{Value, json};

use crate::edge::{EMAIL, Edge};

const TEST: &str = "/bartizan/firewall/test";

/// An edge whose firewall gives the answer that a test puts there, and keeps what it was asked.
struct Asked {
    edge: Edge,
    firewall: Arc<Firewall>,
}

struct Firewall {
    answer: Mutex<FirewallAnswer>,
    question: Mutex<Option<FirewallQuestion>>,
}

impl FirewallQuery for Firewall {
    fn ask(&self, question: FirewallQuestion) -> FirewallAnswer {
        *self.question.lock().unwrap() = Some(question);
        self.answer.lock().unwrap().clone()
    }
}

impl Asked {
    fn new() -> Asked {
        let (mut edge, mut given) = Edge::without_router();
        let nothing = FirewallAnswer { verdict: Verdict::Allow, rules: Vec::new(), country: None, asn: None };
        let firewall = Arc::new(Firewall { answer: Mutex::new(nothing), question: Mutex::new(None) });
        given.observed.firewall = Arc::clone(&firewall) as Arc<dyn FirewallQuery>;
        edge.router = router(given);
        Asked { edge, firewall }
    }

    fn rule(&self, below: &str, mode: &str) -> Value {
        let body = json!({"mode": mode, "configuration": {"target": "ip", "value": "192.0.2.1"}});
        self.edge.post(&format!("{below}/firewall/access_rules/rules"), &body.to_string()).result()
    }

    fn app(&self, name: &str, ip_firewall: bool) {
        let body = json!({
            "protocol": "tcp/22", "dns": {"name": name}, "origin_direct": ["tcp://192.0.2.1:22"],
            "ip_firewall": ip_firewall,
        });
        self.edge.post(&format!("/zones/{}/spectrum/apps", self.edge.zone()), &body.to_string()).result();
    }
}

fn id(rule: &Value) -> RuleId {
    rule["id"].as_str().unwrap().parse().unwrap()
}

#[test]
fn the_deciding_rule_is_named() {
    let asked = Asked::new();
    asked.app("ssh", true);
    asked.app("open", false);
    let zone = asked.rule(&format!("/zones/{}", asked.edge.zone()), "block");
    let account = asked.rule(&format!("/accounts/{}", asked.edge.account()), "challenge");
    let user = asked.rule("/user", "whitelist");
    // One of them went meanwhile.
    let rules = |first: &Value, second: &Value| vec![id(first), RuleId::from_bytes([0; 16]), id(second)];
    let ssh = "&app=ssh.bartizan.localhost";
    for (verdict, rules, app, said, reason) in [
        (Verdict::Block, rules(&zone, &account), ssh, "block", "blocked by the zone rule for ip 192.0.2.1"),
        (Verdict::Allow, rules(&user, &zone), ssh, "allow", "allowed by the user rule for ip 192.0.2.1"),
        (Verdict::Challenge, rules(&account, &zone), ssh, "challenge", "refused by the account rule for ip 192.0.2.1"),
        (
            Verdict::Challenge,
            rules(&account, &user),
            "",
            "challenge",
            "challenged by the account rule for ip 192.0.2.1",
        ),
        (Verdict::Allow, Vec::new(), ssh, "allow", "no rule matches"),
        (
            Verdict::Block,
            rules(&zone, &user),
            "&app=open.bartizan.localhost",
            "allow",
            "access rules are not in force here",
        ),
    ] {
        let shown: Vec<RuleId> = rules.iter().filter(|id| **id != RuleId::from_bytes([0; 16])).copied().collect();
        *asked.firewall.answer.lock().unwrap() =
            FirewallAnswer { verdict, rules, country: "DE".parse().ok(), asn: "AS64496".parse().ok() };
        let result = asked.edge.get(&format!("{TEST}?address=::ffff:192.0.2.1{app}")).result();
        assert_eq!(result["verdict"], said, "{reason}");
        assert!(result["reason"].as_str().unwrap().starts_with(reason), "{result}");
        assert_eq!(result["rules"].as_array().unwrap().iter().map(id).collect::<Vec<_>>(), shown, "{reason}");
        assert_eq!((&result["country"], &result["asn"]), (&json!("DE"), &json!("AS64496")));
        let question = asked.firewall.question.lock().unwrap().take().unwrap();
        let expect: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((question.address, question.zone.is_some()), (expect, !app.is_empty()));
    }
    assert_eq!(user["scope"]["email"], EMAIL);
}

#[test]
fn what_cannot_be_asked() {
    let asked = Asked::new();
    let result = asked.edge.get(&format!("{TEST}?address=2001:db8::1")).result();
    assert_eq!(
        result,
        json!({"verdict": "allow", "reason": "no rule matches", "rules": [], "country": null, "asn": null})
    );
    for (query, expect) in [
        ("", "400 6008"),
        ("?address=x", "400 6008"),
        ("?address=192.0.2.0/24", "400 6008"),
        ("?address=192.0.2.1&app=a..b", "400 6008"),
        ("?address=192.0.2.1&app=none.bartizan.localhost", "404 11006"),
        ("?address=192.0.2.1&app=elsewhere.example", "404 11006"),
        ("?address=192.0.2.1&app=", "200"),
    ] {
        assert_eq!(asked.edge.get(&format!("{TEST}{query}")).verdict(), expect, "{query}");
    }
}
