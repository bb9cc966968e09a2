//! What cannot be read keeps what it was before, is told, and holds up nobody else.

use std::sync::Arc;

use bartizan_names::{AccountId, AppId, CertificateId, RecordId, RuleId, Ssl, Timestamp, TunnelId, ZoneId};
use bartizan_publish::{Changes, Publisher};
use bartizan_routes::Target;
use bartizan_store::{Filter, Index, Key, Op, Scope, State};
use serde_json::json;

use crate::answers::{Questions, Serials, addresses, route};
use crate::lab::{
    ACCOUNT, AT, Issuer, Lab, ZONE, add, app_document, name, put, record_at, record_document, remove, rule_document,
    settings_document, tunnel_config_document, tunnel_document, zone, zone_called, zone_document,
};

const POP: &str = "203.0.113.1 2001:db8::1";
const OTHER: ZoneId = ZoneId::from_bytes([9; 16]);

/// Keys and reasons of all problems.
fn told(publisher: &Publisher) -> Vec<String> {
    publisher
        .problems()
        .observed(Timestamp::from_unix_micros(1), Changes::Taken)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What was read while the file was damaged may be less than there is: after it was mended all is read again, though
/// nobody changed anything.
#[test]
fn a_mended_store_is_read_again() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1")].concat());
    let mut follower = lab.publisher();
    assert!(follower.follow().unwrap().is_none());
    let before = follower.bundle().zones.number;
    lab.store.mend().unwrap();
    let bundle = follower.follow().unwrap().unwrap();
    assert!(bundle.zones.number > before, "{}", bundle.zones.number);
    assert_eq!(addresses(bundle, "www.example.com"), "192.0.2.1");
    assert!(follower.follow().unwrap().is_none());
}

/// A state that is given to the store is in force though it has fewer revisions than the one before, and so is what comes
/// behind it: no plane passes over a generation that is not newer than its own.
#[test]
fn a_state_that_is_given_is_in_force() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1")].concat());
    (1..9).for_each(|number| lab.commit(add(2, &format!("api A 192.0.2.{number}"))));
    let mut follower = lab.publisher();
    let mut other = lab.beside();
    other.commit([vec![zone(false)], add(1, "www A 192.0.2.2")].concat());
    let given = other.store.read().unwrap();
    let mut entries = Vec::new();
    given.for_each(&Filter::Everything, &mut |entry| entries.push(Ok(entry))).unwrap();
    let (epoch, head) = (given.epoch().unwrap(), given.head());
    let zones = vec![(ZONE, head)];
    lab.store.install(State { epoch, head, zones, hashes: vec![], entries: Box::new(entries.into_iter()) }).unwrap();
    let mut last = follower.bundle().zones.number;
    for (then, expect) in
        [(None, "192.0.2.2"), (Some("www A 192.0.2.3"), "192.0.2.3"), (Some("www A 192.0.2.4"), "192.0.2.4")]
    {
        if let Some(record) = then {
            lab.commit(add(1, record));
        }
        let bundle = follower.follow().unwrap().unwrap();
        assert_eq!(addresses(bundle, "www.example.com"), expect);
        assert_eq!(addresses(bundle, "api.example.com"), "NXDOMAIN");
        assert!(bundle.zones.number > last, "{expect}");
        last = bundle.zones.number;
        assert_eq!((follower.applied(), follower.bundle().number), (follower.head(), follower.head().0));
    }
    assert!(follower.follow().unwrap().is_none());
}

/// A row that the disk lost, in a zone that changes meanwhile: other zones go on, and after the repair all is as a new
/// start would make it.
#[test]
fn an_unreadable_row_holds_up_nobody() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied"), add(2, "api A 192.0.2.2")].concat());
    lab.commit(vec![zone_called(OTHER, "example.org", &[], false)]);
    let mut follower = lab.publisher();
    let www = Key::record(ZONE, RecordId::from_bytes([1; 16]));
    lab.damage(&www);
    // The name is touched, and what it was stays; the setting of its zone and the other zone's end are in force.
    lab.commit(vec![
        put(Key::name(ZONE, &name("www.example.com")), &json!({"records": 1})),
        put(Key::settings(ZONE), &settings_document(&[("always_use_https", json!("on"))])),
    ]);
    lab.commit(vec![Op::Del { key: Key::zone(OTHER) }]);
    let bundle = follower.follow().unwrap().unwrap().clone();
    assert_eq!(addresses(&bundle, "www.example.com"), POP);
    assert!(route(&bundle, "www.example.com").unwrap().site.policy.settings.always_use_https);
    assert_eq!(addresses(&bundle, "example.org"), "REFUSED");
    assert_eq!((told(&follower).len(), follower.problems().count()), (1, 1), "{:?}", told(&follower));
    assert!(told(&follower)[0].starts_with(www.as_str()), "{:?}", told(&follower));
    assert_eq!(follower.applied(), follower.head());
    // A pause counts also for what cannot be read.
    lab.commit(vec![zone(true)]);
    let bundle = follower.follow().unwrap().unwrap().clone();
    assert_eq!(addresses(&bundle, "www.example.com"), "192.0.2.1");
    assert!(route(&bundle, "www.example.com").is_none());
    // A new start cannot know what it was, serves the rest, and says so too.
    let fresh = lab.publisher();
    assert_eq!(addresses(fresh.bundle(), "api.example.com"), "192.0.2.2");
    assert_eq!(told(&fresh).len(), 1);
    // The repair; and then a zone in the place of this one, which has none of its names.
    lab.commit(vec![zone(false), put(www, &record_document(1, "www A 192.0.2.9"))]);
    lab.commit(vec![put(Key::name(ZONE, &name("www.example.com")), &json!({"records": 1}))]);
    let bundle = follower.follow().unwrap().unwrap();
    assert_eq!(addresses(bundle, "www.example.com"), "192.0.2.9");
    assert!(route(bundle, "www.example.com").is_none());
    assert_eq!(told(&follower), Vec::<String>::new());
    lab.commit(vec![Op::Del { key: Key::zone(ZONE) }]);
    lab.commit(vec![zone_called(OTHER, "example.com", &[], false)]);
    let bundle = follower.follow().unwrap().unwrap();
    assert_eq!(addresses(bundle, "www.example.com"), "NXDOMAIN");
}

/// A start on a file that lost a page of objects serves what it can read, also of the zones behind the damage.
#[test]
fn a_lost_page_takes_no_other_with_it() {
    let mut lab = Lab::new();
    let mut ops = vec![zone(false), zone_called(OTHER, "example.org", &[], false)];
    for number in 0..200_u8 {
        ops.extend(add(number, &format!("n{number} A 192.0.2.{number}")));
    }
    lab.commit(ops);
    lab.commit(vec![
        put(
            Key::record(OTHER, RecordId::from_bytes([1; 16])),
            &record_at(OTHER, "example.org", 1, "www.example.org", "A 192.0.2.1"),
        ),
        put(Key::name(OTHER, &name("www.example.org")), &json!({"records": 1})),
    ]);
    lab.lose_pages("\"content\":\"192.0.2.77\"");
    let fresh = lab.publisher();
    assert!(!fresh.problems().is_empty());
    let bundle = fresh.bundle();
    assert_eq!(addresses(bundle, "n77.example.com"), "NXDOMAIN");
    assert_eq!(addresses(bundle, "www.example.org"), "192.0.2.1");
    assert_eq!(addresses(bundle, "n1.example.com"), "192.0.2.1");
}

/// A log that cannot be read holds up nothing: what it says is in the state too.
#[test]
fn a_damaged_log_is_not_needed() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1")].concat());
    let mut follower = lab.publisher();
    lab.commit([add(1, "www A 192.0.2.2"), vec![zone_called(OTHER, "example.org", &[], false)]].concat());
    lab.flip_newest_change();
    let bundle = follower.follow().unwrap().unwrap();
    assert_eq!(addresses(bundle, "www.example.com"), "192.0.2.2");
    assert_eq!(addresses(bundle, "example.org"), "NOERROR");
    assert_eq!(follower.applied(), follower.head());
    // And it goes on from there.
    lab.commit(vec![Op::Del { key: Key::zone(OTHER) }]);
    let bundle = follower.follow().unwrap().unwrap();
    assert_eq!(addresses(bundle, "example.org"), "REFUSED");
}

/// Each setting on its own: unknown ones are passed over, and one that cannot be read keeps its value.
#[test]
fn settings_never_fall_back_to_a_weaker_default() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied")].concat());
    let mut follower = lab.publisher();
    let https = ("always_use_https", json!("on"));
    for (items, follows, starts, problems) in [
        (vec![https.clone(), ("ssl", json!("full"))], (true, Ssl::Full), (true, Ssl::Full), 0),
        (vec![https.clone(), ("rocket_loader", json!(1))], (true, Ssl::Flexible), (true, Ssl::Flexible), 1),
        (vec![https.clone(), ("ssl", json!("full"))], (true, Ssl::Full), (true, Ssl::Full), 0),
        (vec![("ssl", json!("quantum")), ("always_use_https", json!([]))], (true, Ssl::Full), (true, Ssl::Strict), 1),
        (vec![], (false, Ssl::Flexible), (false, Ssl::Flexible), 0),
    ] {
        lab.commit(vec![put(Key::settings(ZONE), &settings_document(&items))]);
        follower.follow().unwrap().unwrap();
        let fresh = lab.publisher();
        for (publisher, expect) in [(&follower, follows), (&fresh, starts)] {
            let settings = &route(publisher.bundle(), "www.example.com").unwrap().site.policy.settings;
            assert_eq!((settings.always_use_https, settings.ssl), expect, "{items:?}");
            assert_eq!(publisher.problems().count(), problems, "{items:?}: {:?}", told(publisher));
        }
    }
    // Nothing of them can be read.
    lab.commit(vec![put(Key::settings(ZONE), &settings_document(&[https]))]);
    follower.follow().unwrap().unwrap();
    lab.damage(&Key::settings(ZONE));
    lab.commit(vec![zone(false)]);
    follower.follow().unwrap().unwrap();
    for publisher in [&follower, &lab.publisher()] {
        assert!(route(publisher.bundle(), "www.example.com").unwrap().site.policy.settings.always_use_https);
        assert_eq!(publisher.problems().count(), 1);
    }
}

/// Documents that this version cannot make anything of, and what is in force meanwhile.
#[test]
fn other_objects_keep_what_they_were() {
    let mut lab = Lab::new();
    let (tunnel, rule, app) = (TunnelId::from_bytes([4; 16]), RuleId::from_bytes([5; 16]), AppId::from_bytes([6; 16]));
    let (account, user) = (Scope::Account(ACCOUNT), "192.0.2.66");
    let rule_key = Key::access_rule(account, rule);
    lab.commit(vec![
        zone(false),
        put(Key::tunnel(ACCOUNT, tunnel), &tunnel_document(tunnel, 1)),
        put(Key::tunnel_config(ACCOUNT, tunnel), &tunnel_config_document(tunnel, 1)),
        put(rule_key.clone(), &rule_document(rule, account, "challenge", user)),
        put(Key::app(ZONE, app), &app_document(ZONE, app, "app.example.com", 1, "full")),
    ]);
    let mut follower = lab.publisher();
    let mut config = tunnel_config_document(tunnel, 2);
    config["config"] = json!("none");
    let mut zone = zone_document(ZONE, "example.com", &[], true);
    zone["name_servers"] = json!(["..."]);
    lab.commit(vec![
        put(Key::zone(ZONE), &zone),
        put(Key::tunnel(ACCOUNT, tunnel), &tunnel_document(tunnel, 2)),
        put(Key::tunnel_config(ACCOUNT, tunnel), &config),
        put(rule_key.clone(), &rule_document(rule, account, "tar_pit", user)),
        put(Key::app(ZONE, app), &app_document(ZONE, app, "app.example.com", 1, "quantum")),
    ]);
    follower.follow().unwrap().unwrap();
    let fresh = lab.publisher();
    let source = bartizan_firewall::Source { address: user.parse().unwrap(), country: None, asn: None };
    for (publisher, version, verdict, tls) in [
        (&follower, Some(1), bartizan_firewall::Verdict::Challenge(rule), Some(bartizan_names::AppTls::Full)),
        // A rule in a mode that nobody knows here keeps out; nothing is served of a zone that cannot be read.
        (&fresh, None, bartizan_firewall::Verdict::Block(rule), None),
    ] {
        let bundle = publisher.bundle();
        let found = bundle.tunnels.value.get(&tunnel).expect("it can be read itself");
        assert_eq!(found.secret_sha256, [2; 32]);
        assert_eq!(found.configuration.as_ref().map(|configuration| configuration.version), version);
        assert_eq!(bundle.firewall.value.decide_everywhere(&source), verdict);
        assert_eq!(bundle.apps.value.get(app).map(|app| app.tls), tls);
    }
    assert_eq!(follower.problems().count(), 4, "{:?}", told(&follower));
}

/// Whom a rule may be there to keep out does not come in, be the rule what it may; and nobody else is kept out.
#[test]
fn a_start_lets_in_nobody_whom_a_rule_may_keep_out() {
    use bartizan_firewall::{Source, Verdict};
    let rule = RuleId::from_bytes([5; 16]);
    let (account, of_zone) = (Scope::Account(ACCOUNT), Scope::Zone(ZONE));
    let written = |scope: Scope, mode: &str| rule_document(rule, scope, mode, "192.0.2.66");
    let without = |mut document: serde_json::Value, pointer: &str, instead: serde_json::Value| {
        *document.pointer_mut(pointer).unwrap() = instead;
        document
    };
    let (blocked, held, let_in) = (Verdict::Block(rule), Verdict::Unknown(rule), Verdict::Allow(None));
    const KIND: &str = "/configuration/target";
    const VALUE: &str = "/configuration/value";
    // The verdicts are those of the rule's source, of another one, and of another one in another zone.
    for (scope, document, expect) in [
        (account, without(written(account, "block"), "/mode", json!("tar_pit")), [blocked, let_in, let_in]),
        (account, without(written(account, "block"), "/created_on", json!("never")), [blocked, let_in, let_in]),
        (account, without(written(account, "block"), KIND, json!("quantum")), [held, held, held]),
        (of_zone, without(written(of_zone, "challenge"), KIND, json!("quantum")), [held, held, let_in]),
        (of_zone, without(written(of_zone, "tar_pit"), VALUE, json!("somebody")), [held, held, let_in]),
        (of_zone, without(written(of_zone, "whitelist"), VALUE, json!("somebody")), [let_in, let_in, let_in]),
    ] {
        let mut lab = Lab::new();
        let key = Key::access_rule(scope, rule);
        lab.commit(vec![zone(false), put(key.clone(), &document)]);
        let mut started = lab.publisher();
        let verdicts = |publisher: &Publisher| {
            [("192.0.2.66", ZONE), ("192.0.2.67", ZONE), ("192.0.2.67", OTHER)].map(|(address, zone)| {
                let source = Source { address: address.parse().unwrap(), country: None, asn: None };
                publisher.bundle().firewall.value.decide(zone, &source)
            })
        };
        assert_eq!(verdicts(&started), expect, "{document}");
        assert_eq!(told(&started).len(), 1, "{document}");
        // Nothing of it can be read.
        lab.damage(&key);
        let lost = if scope == account { [held, held, held] } else { [held, held, let_in] };
        assert_eq!(verdicts(&lab.publisher()), lost, "{document}");
        lab.commit(vec![put(key.clone(), &written(scope, "block"))]);
        started.follow().unwrap().unwrap();
        assert_eq!((verdicts(&started), told(&started).len()), ([blocked, let_in, let_in], 0), "{document}");
        lab.commit(vec![Op::Del { key }]);
        started.follow().unwrap().unwrap();
        assert_eq!(verdicts(&started), [let_in, let_in, let_in], "{document}");
    }
}

/// An authority of origins that cannot be read is trusted by none, and keeps nothing else in force: not what was deleted since.
#[test]
fn authorities_of_origins() {
    let key = |number: u8| Key::origin_root(ZONE, CertificateId::from_bytes([number; 16]));
    let document = |number: u8| {
        json!({
            "id": CertificateId::from_bytes([number; 16]), "certificate": format!("authority {number}\n"), "issuer": "A",
            "signature": "B", "expires_on": AT, "uploaded_on": AT, "updated_at": AT,
        })
    };
    let trusted = |publisher: &Publisher| {
        let found = route(publisher.bundle(), "www.example.com").unwrap();
        let own = found.site.policy.origin_roots.as_ref().map(|roots| &roots.certificates);
        let in_force = publisher.bundle().hosts.value.to_origins(ZONE).and_then(|own| own.roots());
        let is_one = match (own, in_force) {
            (Some(own), Some(in_force)) => Arc::ptr_eq(own, &in_force.certificates),
            (own, in_force) => own.is_none() && in_force.is_none(),
        };
        assert!(is_one, "the text is held once");
        own.map_or_else(String::new, |own| own.to_string())
    };
    let mut lab = Lab::new();
    let roots = (1..=3).map(|number| put(key(number), &document(number))).collect();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied"), roots].concat());
    let mut follower = lab.publisher();
    assert_eq!(trusted(&follower), "authority 1\nauthority 2\nauthority 3\n");
    lab.damage(&key(1));
    for (deleted, expect) in [(2, "authority 3\n"), (3, "")] {
        lab.commit(vec![Op::Del { key: key(deleted) }]);
        follower.follow().unwrap().unwrap();
        assert_eq!((trusted(&follower).as_str(), trusted(&lab.publisher()).as_str()), (expect, expect));
        assert_eq!(told(&follower).len(), 1, "{:?}", told(&follower));
    }
    lab.commit(vec![put(key(1), &document(1))]);
    follower.follow().unwrap().unwrap();
    assert_eq!((trusted(&follower).as_str(), told(&follower).len()), ("authority 1\n", 0));
}

/// The rules of an account other than the edge's own are for its zones, whichever comes first; so is what stands in for one
/// that cannot be read.
#[test]
fn rules_of_accounts_are_for_their_zones() {
    use bartizan_firewall::{Source, Verdict};
    let (tenant, rule) = (AccountId::from_bytes([8; 16]), RuleId::from_bytes([5; 16]));
    let scope = Scope::Account(tenant);
    let key = Key::access_rule(scope, rule);
    let (blocked, held, let_in) = (Verdict::Block(rule), Verdict::Unknown(rule), Verdict::Allow(None));
    let theirs = |servers: &[&str]| {
        let mut document = zone_document(OTHER, "tenant.test", servers, false);
        document["account"]["id"] = json!(tenant);
        put(Key::zone(OTHER), &document)
    };
    let verdicts = |publisher: &Publisher| {
        [OTHER, ZONE].map(|zone| {
            let source = Source { address: "192.0.2.66".parse().unwrap(), country: None, asn: None };
            publisher.bundle().firewall.value.decide(zone, &source)
        })
    };
    let mut lab = Lab::new();
    let document = rule_document(rule, scope, "block", "192.0.2.66");
    lab.commit(vec![zone(false), put(key.clone(), &document)]);
    let mut follower = lab.publisher();
    assert_eq!(verdicts(&follower), [let_in, let_in]);
    for (ops, expect) in [
        (vec![theirs(&[])], [blocked, let_in]),
        (vec![theirs(&["ns1.tenant.test"])], [blocked, let_in]),
        (vec![Op::Del { key: key.clone() }], [let_in, let_in]),
        (vec![put(key.clone(), &document)], [blocked, let_in]),
        (vec![Op::Del { key: Key::zone(OTHER) }], [let_in, let_in]),
        (vec![theirs(&[])], [blocked, let_in]),
    ] {
        lab.commit(ops);
        follower.follow().unwrap().unwrap();
        assert_eq!((verdicts(&follower), verdicts(&lab.publisher())), (expect, expect));
    }
    lab.damage(&key);
    assert_eq!(verdicts(&lab.publisher()), [held, let_in]);
    lab.lose_and_tell(&key);
    assert_eq!(verdicts(&lab.publisher()), [held, let_in]);
}

/// Whatever a record says, a name leads to no tunnel of another account, whichever of both comes first.
#[test]
fn no_name_leads_to_a_tunnel_of_another_account() {
    let (tenant, tunnel) = (AccountId::from_bytes([8; 16]), TunnelId::from_bytes([4; 16]));
    let nobodys = Target::Tunnel(TunnelId::from_bytes([0; 16]));
    let leads =
        |publisher: &Publisher| route(publisher.bundle(), "www.example.com").map(|found| found.route.target.clone());
    let theirs = put(Key::tunnel(tenant, tunnel), &tunnel_document(tunnel, 1));
    let own = put(Key::tunnel(ACCOUNT, tunnel), &tunnel_document(tunnel, 1));
    let gone = Op::Del { key: Key::tunnel(tenant, tunnel) };
    let record = || add(1, "www CNAME 04040404-0404-0404-0404-040404040404.cfargotunnel.com proxied");
    let mut lab = Lab::new();
    lab.commit(vec![zone(false)]);
    let mut follower = lab.publisher();
    for (ops, expect) in [
        (record(), Some(Target::Tunnel(tunnel))),
        (vec![theirs.clone()], Some(nobodys.clone())),
        (vec![gone.clone()], Some(Target::Tunnel(tunnel))),
        (vec![theirs.clone()], Some(nobodys.clone())),
        (remove(1, "www.example.com"), None),
        (record(), Some(nobodys)),
        (vec![gone, own], Some(Target::Tunnel(tunnel))),
    ] {
        lab.commit(ops);
        follower.follow().unwrap().unwrap();
        assert_eq!((leads(&follower), leads(&lab.publisher())), (expect.clone(), expect));
    }
}

/// A rule that damage took keeps out whom it may have been for, at a start and later; one that was in force stays so.
#[test]
fn a_lost_rule_and_lost_settings_open_nothing() {
    use bartizan_firewall::{Source, Verdict};
    let rule = RuleId::from_bytes([5; 16]);
    let (blocked, held, let_in) = (Verdict::Block(rule), Verdict::Unknown(rule), Verdict::Allow(None));
    for (scope, expect) in [(Scope::Account(ACCOUNT), [held, held]), (Scope::Zone(ZONE), [held, let_in])] {
        let mut lab = Lab::new();
        let key = Key::access_rule(scope, rule);
        let document = rule_document(rule, scope, "block", "192.0.2.66");
        let settings = json!({"items": [{"id": "always_use_https", "value": "on", "modified_on": null}]});
        lab.commit(vec![zone(false), put(Key::settings(ZONE), &settings), put(key.clone(), &document)]);
        lab.commit(add(1, "www A 192.0.2.1 proxied"));
        let verdicts = |publisher: &Publisher| {
            [("192.0.2.66", ZONE), ("192.0.2.67", OTHER)].map(|(address, zone)| {
                let source = Source { address: address.parse().unwrap(), country: None, asn: None };
                publisher.bundle().firewall.value.decide(zone, &source)
            })
        };
        let mut running = lab.publisher();
        lab.lose_and_tell(&key);
        let mut started = lab.publisher();
        assert_eq!(verdicts(&started), expect, "{scope}");
        assert!(told(&started)[0].starts_with(key.as_str()), "{:?}", told(&started));
        // Nothing that is written beside it ends it.
        lab.commit(vec![zone(true)]);
        lab.commit(vec![zone(false)]);
        for publisher in [&mut running, &mut started] {
            publisher.follow().unwrap().unwrap();
        }
        assert_eq!((verdicts(&running), verdicts(&started)), ([blocked, let_in], expect), "{scope}");
        // It is written anew, and deleted.
        lab.commit(vec![put(key.clone(), &document)]);
        started.follow().unwrap().unwrap();
        assert_eq!((verdicts(&started), told(&started).len()), ([blocked, let_in], 0), "{scope}");
        lab.commit(vec![Op::Del { key }]);
        started.follow().unwrap().unwrap();
        assert_eq!((verdicts(&started), told(&started).len()), ([let_in, let_in], 0), "{scope}");
        lab.lose_and_tell(&Key::settings(ZONE));
        lab.commit(vec![zone(true)]);
        lab.commit(vec![zone(false)]);
        running.follow().unwrap().unwrap();
        for publisher in [&running, &lab.publisher()] {
            let found = route(publisher.bundle(), "www.example.com").unwrap();
            assert!(found.site.policy.settings.always_use_https, "{scope}");
            assert_eq!(told(publisher).len(), 1, "{scope}");
        }
    }
}

/// However much else is lost with them, and whatever the names of that are.
#[test]
fn settings_that_are_lost_with_many_others_open_nothing() {
    let mut lab = Lab::new();
    // The records fill pages of their own.
    let records = |numbers: std::ops::Range<u8>, address: &str| -> Vec<Op> {
        numbers.flat_map(|number| add(number, &format!("n{number} A {address}"))).collect()
    };
    lab.commit([vec![zone(false)], add(200, "www A 192.0.2.1 proxied"), records(0..30, "192.0.2.2")].concat());
    let https = settings_document(&[("always_use_https", json!("on")), ("of old", json!("192.0.2.77"))]);
    lab.commit([records(30..170, "192.0.2.77"), vec![put(Key::settings(ZONE), &https)]].concat());
    lab.commit(records(170..200, "192.0.2.2"));
    lab.lose_pages("192.0.2.77");
    assert!(lab.store.condition().borrow().lost.count > 101);
    let fresh = lab.publisher();
    let found = route(fresh.bundle(), "www.example.com").unwrap();
    assert!(found.site.policy.settings.always_use_https);
    let key = Key::settings(ZONE);
    assert!(told(&fresh).iter().any(|told| told.starts_with(key.as_str())), "{:?}", told(&fresh));
}

/// More rules are lost than the file names: then any may be, and settings too.
#[test]
fn of_what_is_lost_and_not_named_all_is_held() {
    use bartizan_firewall::{Source, Verdict};
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied")].concat());
    let rule = |number: u32| {
        let mut id = [7; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Key::access_rule(Scope::Zone(OTHER), RuleId::from_bytes(id))
    };
    let holds = |count: u32| {
        lab.tell_lost((0..count).map(rule).collect::<Vec<_>>().into_iter());
        let fresh = lab.publisher();
        let source = Source { address: "192.0.2.66".parse().unwrap(), country: None, asn: None };
        let verdict = fresh.bundle().firewall.value.decide(ZONE, &source);
        let https = route(fresh.bundle(), "www.example.com").unwrap().site.policy.settings.always_use_https;
        (matches!(verdict, Verdict::Unknown(_)), https)
    };
    assert_eq!(holds(101), (false, false));
    assert_eq!(holds(100_001), (true, true));
}

/// A zone that cannot be read at a start gives its names to nobody: not to a zone around it.
#[test]
fn a_start_gives_the_names_of_a_zone_to_no_other() {
    let inner = ZoneId::from_bytes([8; 16]);
    let key = Key::zone(inner);
    let taken = Key::unique(Scope::Edge, Index::ZoneName, "in.example.com");
    let sound = zone_document(inner, "in.example.com", &[], false);
    let mut without_servers = sound.clone();
    without_servers["name_servers"] = json!(["..."]);
    type Spoil<'s> = &'s dyn Fn(&mut Lab);
    let spoils: [(&str, Spoil<'_>); 3] = [
        ("its document tells its name", &|lab| lab.commit(vec![put(key.clone(), &without_servers)])),
        ("the key of its name does", &|lab| lab.damage(&key)),
        ("that is all there is of it", &|lab| lab.lose(&key)),
    ];
    for (what, spoil) in spoils {
        let mut lab = Lab::new();
        lab.commit([vec![zone(false)], add(1, "* A 192.0.2.1 proxied")].concat());
        lab.commit(vec![
            put(key.clone(), &sound),
            put(taken.clone(), &json!({ "by": inner })),
            put(
                Key::record(inner, RecordId::from_bytes([1; 16])),
                &record_at(inner, "in.example.com", 1, "www.in.example.com", "A 192.0.2.3 proxied"),
            ),
            put(Key::name(inner, &name("www.in.example.com")), &json!({"records": 1})),
        ]);
        spoil(&mut lab);
        let mut started = lab.publisher();
        let target =
            |publisher: &Publisher, host: &str| route(publisher.bundle(), host).map(|found| found.route.target.clone());
        for name in ["in.example.com", "www.in.example.com", "a.b.in.example.com"] {
            assert_eq!(addresses(started.bundle(), name), "SERVFAIL", "{name}: {what}");
            assert_eq!(target(&started, name), Some(Target::Unknown), "{name}: {what}");
        }
        assert_eq!(addresses(started.bundle(), "www.example.com"), POP);
        assert_eq!(told(&started).len(), 1, "{:?}", told(&started));
        assert!(told(&started)[0].starts_with(key.as_str()), "{:?}", told(&started));
        // The repair.
        lab.commit(vec![put(key.clone(), &sound)]);
        started.follow().unwrap().unwrap();
        assert_eq!(addresses(started.bundle(), "a.b.in.example.com"), "NXDOMAIN");
        assert_eq!(addresses(started.bundle(), "www.in.example.com"), POP);
        assert!(matches!(target(&started, "www.in.example.com"), Some(Target::Origin(_))));
        assert_eq!(told(&started), Vec::<String>::new());
        // Or the end of it.
        spoil(&mut lab);
        let mut started = lab.publisher();
        assert_eq!(addresses(started.bundle(), "www.in.example.com"), "SERVFAIL");
        lab.commit(vec![Op::Del { key: key.clone() }, Op::Del { key: taken.clone() }]);
        started.follow().unwrap().unwrap();
        assert_eq!(addresses(started.bundle(), "www.in.example.com"), POP);
        let led = target(&started, "www.in.example.com");
        assert!(matches!(led, Some(Target::Origin(_))), "{led:?}");
        assert_eq!(told(&started), Vec::<String>::new());
    }
}

/// The state is read anew when the log is damaged or too short; what was in force and cannot be read stays so.
#[test]
fn what_was_in_force_outlives_the_log() {
    let mut lab = Lab::new();
    let issuer = Issuer::new(&lab);
    let (tunnel, rule, app) = (TunnelId::from_bytes([4; 16]), RuleId::from_bytes([5; 16]), AppId::from_bytes([6; 16]));
    let (certificate, certificate_document) = issuer.issue(ZONE, "example.com");
    let www = Key::record(ZONE, RecordId::from_bytes([1; 16]));
    let rule_key = Key::access_rule(Scope::Account(ACCOUNT), rule);
    let keys = [
        Key::zone(ZONE),
        Key::settings(ZONE),
        Key::tunnel(ACCOUNT, tunnel),
        rule_key.clone(),
        Key::app(ZONE, app),
        certificate.clone(),
        www.clone(),
        Key::pop(crate::lab::POP),
    ];
    lab.commit([vec![zone(false)], add(1, "www A 192.0.2.1 proxied"), add(2, "old A 192.0.2.2")].concat());
    lab.commit(vec![
        put(Key::settings(ZONE), &settings_document(&[("always_use_https", json!("on"))])),
        put(Key::tunnel(ACCOUNT, tunnel), &tunnel_document(tunnel, 1)),
        put(rule_key, &rule_document(rule, Scope::Account(ACCOUNT), "challenge", "192.0.2.66")),
        put(Key::app(ZONE, app), &app_document(ZONE, app, "app.example.com", 1, "full")),
        put(certificate, &certificate_document),
    ]);
    let mut follower = lab.publisher();
    let questions = Questions {
        names: ["example.com", "www.example.com", "app.example.com"].map(str::to_owned).to_vec(),
        zones: vec![ZONE],
        sources: vec!["192.0.2.66".parse().unwrap()],
        dialled: vec!["127.77.0.1:22".parse().unwrap()],
        tunnels: vec![tunnel],
    };
    let before = questions.ask(follower.bundle(), Serials::Hidden);
    for key in &keys {
        lab.damage(key);
    }
    lab.commit(remove(2, "old.example.com"));
    lab.flip_newest_change();
    follower.follow().unwrap().expect("something was committed");
    let after = questions.ask(follower.bundle(), Serials::Hidden);
    for (question, answer) in &before {
        assert_eq!(&after[question], answer, "{question}");
    }
    assert_eq!(addresses(follower.bundle(), "old.example.com"), "NXDOMAIN");
    assert_eq!(told(&follower).len(), keys.len(), "{:?}", told(&follower));
}

/// A key that does not belong to its certificate is seen before a visitor sees it: the old certificate stays, or none.
#[test]
fn a_certificate_needs_its_key() {
    let mut lab = Lab::new();
    let issuer = Issuer::new(&lab);
    let (key, document) = issuer.issue(ZONE, "example.com");
    lab.commit(vec![zone(false), put(key.clone(), &document)]);
    let mut follower = lab.publisher();
    let leaf = |publisher: &Publisher| publisher.bundle().hosts.value.find("example.com").unwrap().leaf().to_vec();
    let before = leaf(&follower);
    let mut other = document.clone();
    other["chain_pem"] = issuer.issue(ZONE, "example.com").1["chain_pem"].clone();
    for (document, problems) in [(&other, 1), (&document, 0)] {
        lab.commit(vec![put(key.clone(), document)]);
        follower.follow().unwrap().expect("something was committed");
        assert_eq!((leaf(&follower), follower.problems().count()), (before.clone(), problems), "{:?}", told(&follower));
        let started = lab.publisher();
        let found = started.bundle().hosts.value.find("example.com").map(|key| key.leaf().to_vec());
        let expect = (problems == 0).then(|| before.clone());
        assert_eq!((found, started.problems().count()), (expect, problems), "{:?}", told(&started));
    }
}
