//! Zones, their settings and their pause.

use bartizan_names::RuleId;
use bartizan_publish::Bundle;
use bartizan_store::{Key, Op, Scope};
use serde_json::json;

use crate::answers::route;
use crate::lab::{Issuer, Lab, ZONE, add, put, remove, rule_document, settings_document, zone};

/// After each step the followed bundle is what a new start would build.
#[test]
fn following_and_loading_agree() {
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let mut follower = lab.publisher();
    for (ops, hosts) in [
        (add(1, "www A 192.0.2.1 proxied"), vec!["www.example.com"]),
        (add(2, "deep.er.www AAAA 2001:db8::1"), vec!["www.example.com"]),
        (add(3, "*.wild CNAME www.example.com proxied"), vec!["www.example.com", "a.wild.example.com"]),
        (add(1, "www A 192.0.2.1"), vec!["a.wild.example.com"]),
        (vec![zone(true)], vec![]),
        (vec![zone(false)], vec!["a.wild.example.com"]),
        (remove(3, "*.wild.example.com"), vec![]),
        (remove(2, "deep.er.www.example.com"), vec![]),
        (vec![Op::Del { key: Key::zone(ZONE) }], vec![]),
    ] {
        lab.commit(ops);
        let followed = follower.follow().unwrap().expect("something was committed").clone();
        assert!(follower.follow().unwrap().is_none());
        let fresh = lab.publisher();
        let fresh = fresh.bundle();
        assert_eq!(followed.number, fresh.number);
        assert_eq!(followed.zones.value.zone_count(), fresh.zones.value.zone_count(), "revision {}", followed.number);
        assert_eq!(followed.zones.value.name_count(), fresh.zones.value.name_count(), "revision {}", followed.number);
        for bundle in [&followed, fresh] {
            for host in ["www.example.com", "deep.er.www.example.com", "a.wild.example.com"] {
                let found = route(bundle, host).is_some();
                assert_eq!(found, hosts.contains(&host), "{host} at revision {}", followed.number);
            }
        }
    }
}

#[test]
fn settings_reach_every_host() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "a A 192.0.2.1 proxied"), add(2, "b A 192.0.2.1 proxied")].concat());
    let mut follower = lab.publisher();
    lab.commit(vec![put(Key::settings(ZONE), &settings_document(&[("always_use_https", json!("on"))]))]);
    let bundle = follower.follow().unwrap().unwrap();
    for host in ["a.example.com", "b.example.com"] {
        assert!(route(bundle, host).unwrap().site.policy.settings.always_use_https, "{host}");
    }
}

/// Who uses only other parts is not told: a renewed certificate is no news to DNS, and a TXT record none to the firewall.
#[test]
fn a_change_is_a_new_generation_of_its_own_parts() {
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let (key, certificate) = Issuer::new(&lab).issue(ZONE, "example.com");
    let (rule, scope) = (RuleId::from_bytes([1; 16]), Scope::Zone(ZONE));
    let mut follower = lab.publisher();
    for (ops, parts) in [
        (vec![put(key, &certificate)], "certificates"),
        (vec![put(Key::access_rule(scope, rule), &rule_document(rule, scope, "block", "192.0.2.1"))], "firewall"),
        (add(1, "txt TXT \"a\""), "zones"),
        (add(2, "www A 192.0.2.1 proxied"), "zones routes"),
        (vec![put(Key::settings(ZONE), &settings_document(&[("ssl", json!("full"))]))], "zones routes"),
    ] {
        lab.commit(ops);
        let bundle = follower.follow().unwrap().unwrap();
        let Bundle { number, zones, routes, apps, firewall, certificates, tunnels, .. } = bundle;
        let numbers = [zones.number, routes.number, apps.number, firewall.number, certificates.number, tunnels.number];
        let names = ["zones", "routes", "apps", "firewall", "certificates", "tunnels"];
        let new: Vec<_> = names.iter().zip(numbers).filter(|(_, at)| at == number).map(|(name, _)| *name).collect();
        assert_eq!(new.join(" "), parts);
    }
}
