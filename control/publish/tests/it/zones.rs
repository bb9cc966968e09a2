//! Zones, their settings and their pause.

use bartizan_names::{OldestTls, RuleId, ZoneId, ZoneSettings};
use bartizan_publish::Bundle;
use bartizan_store::{Key, Op, Scope};
use bartizan_tls::{CertifiedKey, TlsPolicy};
use serde_json::json;

use crate::answers::route;
use crate::lab::{
    Issuer, Lab, ZONE, add, put, remove, rule_document, settings_document, zone, zone_called, zone_document,
};

const OTHER: ZoneId = ZoneId::from_bytes([9; 16]);

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

/// What a handshake asks for is that of the innermost zone of a name, whether there are records or a certificate for it.
#[test]
fn policies_of_tls_follow_zones() {
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let mut follower = lab.publisher();
    let default = ZoneSettings::default();
    let (without_http2, new_only) = (
        ZoneSettings { http2: false, ..default.clone() },
        ZoneSettings { min_tls_version: OldestTls::Tls13, ..default.clone() },
    );
    for (ops, outer, deep) in [
        (
            vec![put(Key::settings(ZONE), &settings_document(&[("http2", json!("off"))]))],
            &without_http2,
            &without_http2,
        ),
        (vec![zone_called(OTHER, "in.example.com", &["ns1.example.net"], false)], &without_http2, &default),
        (
            vec![put(Key::settings(OTHER), &settings_document(&[("min_tls_version", json!("1.3"))]))],
            &without_http2,
            &new_only,
        ),
        (vec![Op::Del { key: Key::settings(ZONE) }], &default, &new_only),
        // Its name goes on to the same settings; what lay in it is in the outer one.
        (vec![zone_called(OTHER, "other.example", &["ns1.example.net"], false)], &default, &default),
    ] {
        lab.commit(ops);
        follower.follow().unwrap().unwrap();
        for bundle in [follower.bundle(), lab.publisher().bundle()] {
            for (name, settings) in [("example.com", outer), ("a.example.com", outer), ("a.in.example.com", deep)] {
                assert_eq!(bundle.hosts.value.policy(name), TlsPolicy::of(settings), "{name} at {}", bundle.number);
            }
        }
    }
    assert_eq!(follower.bundle().hosts.value.policy("x.other.example"), TlsPolicy::of(&new_only));
}

/// Who owns a zone may have a certificate for names below it that are another zone's here. Those who ask for them are shown
/// what that zone brought, or what the edge has itself: whoever was there first, and whatever becomes of either.
#[test]
fn what_a_zone_brought_is_for_its_names_alone() {
    const AGAIN: ZoneId = ZoneId::from_bytes([10; 16]);
    let mut lab = Lab::new();
    let issuer = Issuer::new(&lab);
    let names = ["example.com", "*.example.com", "in.example.com", "*.in.example.com", "a.in.example.com"];
    let (put_of_outer, of_outer) = issuer.bring(ZONE, "example.com", &names);
    let (put_of_inner, of_inner) = issuer.bring(OTHER, "in.example.com", &names);
    let inner = |id| zone_called(id, "in.example.com", &["ns1.example.net"], false);
    let of_edge = |id, apex| {
        let (key, document) = issuer.issue(id, apex);
        put(key, &document)
    };
    let mut follower = lab.publisher();
    // What visitors are shown at example.com, in.example.com and a.in.example.com.
    for (what, ops, expect) in [
        ("alone", vec![zone(false), of_edge(ZONE, "example.com"), put_of_outer.clone()], "outer outer outer"),
        ("a zone in it", vec![inner(OTHER), of_edge(OTHER, "in.example.com")], "outer edge edge"),
        ("that brings its own", vec![put_of_inner], "outer inner inner"),
        ("brought once more", vec![put_of_outer], "outer inner inner"),
        // What it brought is deleted later.
        ("deleted", vec![Op::Del { key: Key::zone(OTHER) }], "outer outer outer"),
        ("made anew", vec![inner(AGAIN)], "outer edge edge"),
        ("the outer one deleted", vec![Op::Del { key: Key::zone(ZONE) }], "edge edge edge"),
    ] {
        lab.commit(ops);
        follower.follow().unwrap().unwrap();
        for bundle in [follower.bundle(), lab.publisher().bundle()] {
            let shown = ["example.com", "in.example.com", "a.in.example.com"].map(|name| {
                let leaf = bundle.hosts.value.find(name).map(CertifiedKey::leaf);
                match leaf {
                    Some(leaf) if leaf == of_outer.leaf() => "outer",
                    Some(leaf) if leaf == of_inner.leaf() => "inner",
                    Some(_) => "edge",
                    None => "none",
                }
            });
            assert_eq!(shown.join(" "), expect, "{what}");
        }
    }
    // Of which nothing but the name is left: whoever it belongs to, it is not the zone around it.
    let mut spoilt = zone_document(AGAIN, "in.example.com", &["ns1.example.net"], false);
    spoilt["name_servers"] = json!(7);
    lab.commit(vec![zone(false), put(Key::zone(AGAIN), &spoilt)]);
    let started = lab.publisher();
    let leaf = started.bundle().hosts.value.find("in.example.com").map(CertifiedKey::leaf);
    assert!(leaf.is_some_and(|leaf| leaf != of_outer.leaf() && leaf != of_inner.leaf()));
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
        (vec![put(key, &certificate)], "hosts"),
        (vec![put(Key::access_rule(scope, rule), &rule_document(rule, scope, "block", "192.0.2.1"))], "firewall"),
        (add(1, "txt TXT \"a\""), "zones"),
        (add(2, "www A 192.0.2.1 proxied"), "zones routes"),
        (vec![put(Key::settings(ZONE), &settings_document(&[("ssl", json!("full"))]))], "zones routes"),
        (vec![put(Key::settings(ZONE), &settings_document(&[("tls_1_3", json!("off"))]))], "zones routes hosts"),
        (vec![zone_called(OTHER, "in.example.com", &["ns1.example.net"], false)], "zones routes hosts"),
    ] {
        lab.commit(ops);
        let bundle = follower.follow().unwrap().unwrap();
        let Bundle { number, zones, routes, apps, firewall, hosts, tunnels, .. } = bundle;
        let numbers = [zones.number, routes.number, apps.number, firewall.number, hosts.number, tunnels.number];
        let names = ["zones", "routes", "apps", "firewall", "hosts", "tunnels"];
        let new: Vec<_> = names.iter().zip(numbers).filter(|(_, at)| at == number).map(|(name, _)| *name).collect();
        assert_eq!(new.join(" "), parts);
    }
}
