//! Certificates of the public authority: who we are to it, what is asked of it, and what is shown of that. Nobody answers
//! here, so that nothing is issued: that is for `tests/e2e` with a real authority.

use std::time::SystemTime;

use bartizan_certs::AcmeCertificate;
use bartizan_lab::acme::{Authority, Manner};
use bartizan_names::Timestamp;
use bartizan_store::Kind;
use serde_json::{Value, json};

use crate::edge::Edge;

const ACCOUNT: &str = "/bartizan/acme";

/// An authority where nobody listens.
fn account(edge: &Edge, roots: Option<&str>) -> String {
    json!({
        "directory": "http://127.0.0.1:1/dir", "email": "a@example.com", "terms_of_service_agreed": true,
        "roots": roots.map(|_| edge_ca(edge)),
    })
    .to_string()
}

fn edge_ca(edge: &Edge) -> String {
    std::fs::read_to_string(edge.directory.path().join("ca.pem")).unwrap()
}

fn wishes(edge: &Edge) -> Vec<AcmeCertificate> {
    let entries = edge.store.read().unwrap().list_kind(Kind::AcmeCertificate, 1_000).unwrap();
    entries.iter().map(|entry| AcmeCertificate::from_entry(entry).unwrap()).collect()
}

fn names(edge: &Edge) -> Vec<String> {
    let mut names: Vec<String> = wishes(edge).iter().map(|wish| wish.names.join(" ")).collect();
    names.sort();
    names
}

#[test]
fn an_account_is_set_shown_and_removed() {
    let edge = Edge::new();
    assert_eq!(edge.get(ACCOUNT).verdict(), "404 1161");
    assert_eq!(edge.call("DELETE", ACCOUNT, "").verdict(), "404 1161");
    for (body, verdict) in [
        (json!({}), "400 1162 /terms_of_service_agreed"),
        (json!({"terms_of_service_agreed": false}), "400 1162 /terms_of_service_agreed"),
        (json!({"terms_of_service_agreed": true, "email": "a"}), "400 1162 /email"),
        (json!({"terms_of_service_agreed": true, "directory": "http://acme.example/"}), "400 1162 /directory"),
        (json!({"terms_of_service_agreed": true, "roots": "text"}), "400 1162 /roots"),
    ] {
        assert_eq!(edge.call("PUT", ACCOUNT, &body.to_string()).verdict(), verdict, "{body}");
    }
    let set = edge.call("PUT", ACCOUNT, &account(&edge, None)).result();
    assert_eq!((&set["directory"], &set["is_registered"]), (&json!("http://127.0.0.1:1/dir"), &json!(false)));
    assert_eq!(edge.get(ACCOUNT).result()["email"], "a@example.com");
    // Who has agreed need not again.
    let again = json!({"directory": "http://127.0.0.1:1/dir"}).to_string();
    assert_eq!(edge.call("PUT", ACCOUNT, &again).result()["email"], Value::Null);
    assert_eq!(edge.call("DELETE", ACCOUNT, "").verdict(), "200");
    assert_eq!(edge.get(ACCOUNT).verdict(), "404 1161");
}

#[test]
fn zones_and_deeper_names_are_asked_for_as_far_as_the_world_knows_them() {
    let edge = Edge::new();
    let before = edge.new_zone("before.com");
    let record = r#"{"type":"A","name":"a.b","content":"192.0.2.1","proxied":true}"#;
    assert_eq!(edge.post(&format!("/zones/{before}/dns_records"), record).verdict(), "200");
    assert_eq!(names(&edge), [""; 0]);
    assert_eq!(edge.call("PUT", ACCOUNT, &account(&edge, None)).verdict(), "200");
    // In the background: what was there before.
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 2);
    assert_eq!(
        names(&edge),
        ["a.b.before.com", "before.com *.before.com"],
        "bartizan.localhost is no name of the world"
    );
    let after = edge.new_zone("after.org");
    for (name, proxied) in [("www", true), ("a.b", true), ("c.d", false), ("a.b", true)] {
        let body = json!({"type": "AAAA", "name": name, "content": "2001:db8::1", "proxied": proxied}).to_string();
        edge.post(&format!("/zones/{after}/dns_records"), &body);
    }
    assert_eq!(names(&edge), ["a.b.after.org", "a.b.before.com", "after.org *.after.org", "before.com *.before.com"]);
    edge.new_zone("other.test");
    assert_eq!(wishes(&edge).len(), 4);
    // They go with their zone.
    assert_eq!(edge.call("DELETE", &format!("/zones/{after}"), "").verdict(), "200");
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 2);
}

#[test]
fn a_private_authority_issues_for_private_names() {
    let edge = Edge::new();
    assert_eq!(edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).verdict(), "200");
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 1);
    assert_eq!(names(&edge), ["bartizan.localhost *.bartizan.localhost"]);
    // Nobody listens: that is told, and when it is tried again.
    edge.settle_until(|store| {
        let entries = store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap();
        entries.iter().any(|entry| entry.value.json.contains("cannot be reached"))
    });
    let pack = edge.get(&format!("/zones/{}/ssl/certificate_packs", edge.zone())).result()[0].clone();
    for (field, expect) in [
        ("type", json!("universal")),
        ("state", json!("failing")),
        ("stage", json!("resting")),
        ("status", json!("pending_validation")),
        ("validation_method", json!("txt")),
        ("certificate_authority", json!("127.0.0.1:1")),
        ("certificates", json!([])),
        ("zone_name", json!("bartizan.localhost")),
    ] {
        assert_eq!(pack[field], expect, "{field}");
    }
    assert!(pack["failures"].as_u64() > Some(0) && pack["next_try_on"].is_string(), "{pack}");
    let one = format!("/zones/{}/ssl/certificate_packs/{}", edge.zone(), pack["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result()["hosts"], pack["hosts"]);
    let all = edge.get("/bartizan/certificates?state=failing").result();
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(edge.get("/bartizan/certificates?state=active").result(), json!([]));
    let behind = format!("/bartizan/certificates?after={}/{}", edge.zone(), pack["id"].as_str().unwrap());
    assert_eq!(edge.get(&behind).result(), json!([]));
    assert_eq!(edge.get("/bartizan/certificates?after=x").verdict(), "400 6008");
    assert_eq!(edge.call("PATCH", &one, "").result()["state"], "pending", "tried again at once");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "400 1163");
    let verification = edge.get(&format!("/zones/{}/ssl/verification", edge.zone())).result();
    assert_eq!(
        (&verification[1]["hostname"], &verification[1]["verification_status"]),
        (&json!("*.bartizan.localhost"), &json!(false))
    );
}

/// What the authority said of the names holds for whoever asks, and the way over the setting is none around it.
#[test]
fn what_is_to_rest_is_not_asked_for_again() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    edge.settle_until(|store| {
        let entries = store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap();
        entries.iter().any(|entry| entry.value.json.contains("cannot be reached"))
    });
    let until = Timestamp::from_unix_micros(Timestamp::from(SystemTime::now()).unix_micros() + 3_600_000_000);
    let wish = wishes(&edge).remove(0);
    let rests = AcmeCertificate {
        rests_until: Some(until),
        next_on: Some(until),
        last_error: Some("too many for bartizan.localhost".to_owned()),
        ..wish
    };
    crate::edge::commit(&edge.store, vec![rests.to_op()]);
    let one = format!("/zones/{}/ssl/certificate_packs/{}", edge.zone(), rests.id);
    let verification = format!("/zones/{}/ssl/verification/{}", edge.zone(), rests.id);
    for path in [&one, &verification] {
        let refused = edge.call("PATCH", path, "{}");
        assert_eq!(refused.verdict(), "429 1167", "{path}");
        assert!(refused.text.contains(&format!("not before {until}: too many for bartizan")), "{}", refused.text);
        let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3_500..=3_600).contains(&after), "{after}");
    }
    let settings = format!("/zones/{}/ssl/universal/settings", edge.zone());
    edge.call("PATCH", &settings, r#"{"enabled":false}"#).result();
    edge.call("PATCH", &settings, r#"{"enabled":true}"#).result();
    assert_eq!((wishes(&edge)[0].next_on, wishes(&edge)[0].rests_until), (Some(until), Some(until)));
}

#[test]
fn a_zone_can_do_without() {
    let edge = Edge::new();
    let settings = format!("/zones/{}/ssl/universal/settings", edge.zone());
    let off = json!({"enabled": false, "certificate_authority": "none"});
    assert_eq!(edge.get(&settings).result(), off);
    let refused = edge.call("PATCH", &settings, r#"{"enabled":true}"#);
    assert_eq!(refused.verdict(), "400 1163");
    assert!(refused.text.contains("bartizan cert account set"), "{}", refused.text);
    assert_eq!(edge.call("PATCH", &settings, "{}").verdict(), "400 1007 /enabled");
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    let record = r#"{"type":"A","name":"a.b","content":"192.0.2.1","proxied":true}"#;
    assert_eq!(edge.post(&edge.records(), record).verdict(), "200");
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 2);
    assert_eq!(edge.get(&settings).result()["enabled"], true);
    assert_eq!(edge.call("PATCH", &settings, r#"{"enabled":false}"#).result()["enabled"], false);
    assert_eq!(names(&edge), ["bartizan.localhost *.bartizan.localhost"], "as a note that none is wanted");
    let record = r#"{"type":"A","name":"c.d","content":"192.0.2.1","proxied":true}"#;
    assert_eq!(edge.post(&edge.records(), record).verdict(), "200");
    assert_eq!(wishes(&edge).len(), 1);
    let pack = edge.get(&format!("/zones/{}/ssl/certificate_packs", edge.zone())).result()[0].clone();
    assert_eq!(
        (&pack["state"], &pack["status"], &pack["next_try_on"]),
        (&json!("off"), &json!("deleted"), &Value::Null)
    );
    let one = format!("/zones/{}/ssl/certificate_packs/{}", edge.zone(), pack["id"].as_str().unwrap());
    assert_eq!(edge.call("PATCH", &one, "").verdict(), "400 1163");
    assert_eq!(edge.call("PATCH", &settings, r#"{"enabled":true}"#).result()["enabled"], true);
    assert_eq!(
        names(&edge),
        ["a.b.bartizan.localhost", "bartizan.localhost *.bartizan.localhost", "c.d.bartizan.localhost"]
    );
}

#[test]
fn names_are_asked_for_and_given_up() {
    let edge = Edge::new();
    let order = format!("/zones/{}/ssl/certificate_packs/order", edge.zone());
    let wanted = |hosts: Value, method: Value| json!({"hosts": hosts, "validation_method": method}).to_string();
    assert_eq!(edge.post(&order, &wanted(json!(["a.bartizan.localhost"]), json!("txt"))).verdict(), "400 1163");
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    for (hosts, method, verdict) in [
        (json!([]), json!("txt"), "400 1163 /hosts"),
        (json!(["www.elsewhere.example"]), json!("txt"), "400 1163 /hosts"),
        (json!(["_a.bartizan.localhost"]), json!("txt"), "400 1163 /hosts"),
        (json!(["a b"]), json!("txt"), "400 1163 /hosts"),
        (json!(["*.bartizan.localhost"]), json!("http"), "400 1163 /validation_method"),
        (json!(["a.bartizan.localhost"]), json!("email"), "400 1163 /validation_method"),
        (json!(vec!["a.bartizan.localhost"; 101]), json!("txt"), "400 1163 /hosts"),
    ] {
        let body = wanted(hosts, method);
        assert_eq!(edge.post(&order, &body).verdict(), verdict, "{body}");
    }
    let hosts = json!(["A.b.bartizan.localhost", "bartizan.localhost", "a.b.bartizan.localhost"]);
    let pack = edge.post(&order, &wanted(hosts, json!("http"))).result();
    assert_eq!(pack["hosts"], json!(["a.b.bartizan.localhost", "bartizan.localhost"]));
    assert_eq!((&pack["type"], &pack["validation_method"]), (&json!("advanced"), &json!("http")));
    let quota = edge.get(&format!("/zones/{}/ssl/certificate_packs/quota", edge.zone())).result();
    assert_eq!(quota, json!({"advanced": {"allocated": 100, "used": 1}}));
    let id = pack["id"].as_str().unwrap();
    let verification = format!("/zones/{}/ssl/verification/{id}", edge.zone());
    let changed = edge.call("PATCH", &verification, r#"{"validation_method":"txt"}"#).result();
    assert_eq!(changed["validation_method"], "txt");
    let one = format!("/zones/{}/ssl/certificate_packs/{id}", edge.zone());
    assert_eq!(edge.call("DELETE", &one, "").result(), json!({"id": id}));
    assert_eq!(edge.get(&one).verdict(), "404 1003");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "404 1003");
}

/// Who may only see a zone sees how its certificates are, and asks for none.
#[test]
fn certificates_have_permissions_of_their_own() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 1);
    let token = |permission: bartizan_api::Permission| {
        let policy = json!({
            "effect": "allow", "permission_groups": [{"id": permission.id()}],
            "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"},
        });
        let body = json!({"name": "certs", "policies": [policy]}).to_string();
        format!("Bearer {}", edge.post("/user/tokens", &body).result()["value"].as_str().unwrap())
    };
    let (reads, writes) = (token(bartizan_api::Permission::SslRead), token(bartizan_api::Permission::SslWrite));
    let other = token(bartizan_api::Permission::DnsWrite);
    let call = |token: &str, method: &str, path: &str, body: &str| {
        edge.send_as(&[("authorization", token)], method, &format!("/client/v4{path}"), body).status.as_u16()
    };
    let packs = format!("/zones/{}/ssl/certificate_packs", edge.zone());
    let settings = format!("/zones/{}/ssl/universal/settings", edge.zone());
    let customs = format!("/zones/{}/custom_certificates", edge.zone());
    for path in [&packs, &settings, &customs] {
        assert_eq!(
            (call(&reads, "GET", path, ""), call(&writes, "GET", path, ""), call(&other, "GET", path, "")),
            (200, 200, 403)
        );
    }
    assert_eq!(
        (call(&reads, "PATCH", &settings, r#"{"enabled":false}"#), call(&other, "POST", &customs, "{}")),
        (403, 403)
    );
    assert_eq!(
        (call(&writes, "PATCH", &settings, r#"{"enabled":false}"#), call(&writes, "POST", &customs, "{}")),
        (200, 400)
    );
    let seen = |token: &str| {
        let answer = edge.send_as(&[("authorization", token)], "GET", "/client/v4/bartizan/certificates", "");
        answer.result().as_array().unwrap().len()
    };
    assert_eq!((seen(&reads), seen(&other)), (1, 0));
    assert_eq!(call(&writes, "PUT", ACCOUNT, "{}"), 403);
}

/// Whoever may ask for certificates of a zone asks for none of a zone in it.
#[test]
fn names_of_another_zone_are_for_that_zone_to_ask_for() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    let (parent, child) = (edge.new_zone("parent.test"), edge.new_zone("shop.parent.test"));
    let order = |zone: &str, host: &str, method: &str| {
        let body = json!({"hosts": [host], "validation_method": method}).to_string();
        edge.post(&format!("/zones/{zone}/ssl/certificate_packs/order"), &body).verdict()
    };
    for (host, method, verdict) in [
        ("shop.parent.test", "http", "400 1163 /hosts"),
        ("www.shop.parent.test", "txt", "400 1163 /hosts"),
        ("*.shop.parent.test", "txt", "400 1163 /hosts"),
        ("a.b.shop.parent.test", "http", "400 1163 /hosts"),
        ("shops.parent.test", "http", "200"),
        ("www.parent.test", "txt", "200"),
    ] {
        assert_eq!(order(&parent, host, method), verdict, "{host}");
    }
    assert_eq!(order(&child, "www.shop.parent.test", "http"), "200");
}

#[test]
fn what_nothing_needs_any_more_can_be_given_up_and_comes_back_with_what_does() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    let host = "a.b.bartizan.localhost";
    let body = json!({"type": "A", "name": host, "content": "192.0.2.1", "proxied": true}).to_string();
    let record = edge.post(&edge.records(), &body).result();
    let id = || wishes(&edge).into_iter().find(|wish| wish.names == [host]).map(|wish| wish.id);
    let one = format!("/zones/{}/ssl/certificate_packs/{}", edge.zone(), id().unwrap());
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "400 1163");
    let record = format!("{}/{}", edge.records(), record["id"].as_str().unwrap());
    // Nothing was issued: the wish goes with what needed it.
    assert_eq!(edge.call("DELETE", &record, "").verdict(), "200");
    assert_eq!((id(), edge.call("DELETE", &one, "").verdict().as_str()), (None, "404 1003"));
    let record = edge.post(&edge.records(), &body).result();
    assert!(id().is_some(), "our own certificate for it was there all the time");
    let record = format!("{}/{}", edge.records(), record["id"].as_str().unwrap());
    assert_eq!(edge.call("PATCH", &record, r#"{"proxied":false}"#).verdict(), "200");
    assert_eq!(id(), None);
    assert_eq!(edge.call("PATCH", &record, r#"{"proxied":true}"#).verdict(), "200");
    // What was issued is there if the name comes back, and can be given up.
    let wish = wishes(&edge).into_iter().find(|wish| wish.names == [host]).unwrap();
    crate::edge::commit(&edge.store, vec![issued(&edge, wish).to_op()]);
    assert_eq!(edge.call("DELETE", &record, "").verdict(), "200");
    assert!(id().is_some());
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!(id(), None);
}

/// A wish that was fulfilled, as far as that is looked at here.
fn issued(edge: &Edge, wish: AcmeCertificate) -> AcmeCertificate {
    let at = Timestamp::from_unix_micros(Timestamp::from(SystemTime::now()).unix_micros() + 86_400_000_000);
    let held = json!({
        "names": wish.names, "chain_pem": edge_ca(edge), "sealed_key": "", "not_before": wish.created_on, "not_after": at,
        "issuer": "x", "signature": "x", "issued_on": wish.created_on,
    });
    let held = Some(serde_json::from_value(held).unwrap());
    AcmeCertificate { held, renew_on: Some(at), next_on: Some(at), ..wish }
}

/// The same of what an application needed.
#[test]
fn a_wish_goes_with_its_application() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    let body = json!({
        "dns": {"type": "ADDRESS", "name": "mqtt.iot.bartizan.localhost"}, "protocol": "tcp/8883", "tls": "flexible",
        "origin_direct": ["tcp://192.0.2.1:1883"],
    });
    let apps = format!("/zones/{}/spectrum/apps", edge.zone());
    let app = edge.post(&apps, &body.to_string()).result();
    let is_wanted = || names(&edge).contains(&"mqtt.iot.bartizan.localhost".to_owned());
    assert!(is_wanted());
    assert_eq!(edge.call("DELETE", &format!("{apps}/{}", app["id"].as_str().unwrap()), "").verdict(), "200");
    assert!(!is_wanted());
}

/// Whoever sees few zones gets their pages, however many certificates of others there are before and between.
#[test]
fn pages_of_who_sees_few_of_many() {
    let edge = Edge::new();
    let now = Timestamp::from(SystemTime::now());
    let strangers = (1_u32..=25).flat_map(|zone| (0..100).map(move |host| (zone, host)));
    let wish = |(zone, host): (u32, u32)| {
        // In front of all others, and behind them.
        let number = if zone % 2 == 0 { u128::from(zone) } else { u128::MAX - u128::from(zone) };
        let zone = bartizan_names::ZoneId::from_bytes(number.to_be_bytes());
        let name = bartizan_names::Name::parse(&format!("a.x{host}.strange.test")).unwrap();
        AcmeCertificate::for_host(zone, &name, now).to_op()
    };
    crate::edge::commit(&edge.store, strangers.map(wish).collect());
    let zone: bartizan_names::ZoneId = edge.zone().parse().unwrap();
    let ours: Vec<AcmeCertificate> = (0..5)
        .map(|host| {
            let name = bartizan_names::Name::parse(&format!("a.x{host}.bartizan.localhost")).unwrap();
            AcmeCertificate::for_host(zone, &name, now)
        })
        .collect();
    crate::edge::commit(&edge.store, ours.iter().map(AcmeCertificate::to_op).collect());
    let policy = json!({
        "effect": "allow", "permission_groups": [{"id": bartizan_api::Permission::SslRead.id()}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"},
    });
    let token = edge.post("/user/tokens", &json!({"name": "t", "policies": [policy]}).to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/client/v4/bartizan/certificates?limit=2{after}");
        let piece = edge.send_as(&[("authorization", bearer.as_str())], "GET", &path, "").result();
        let Some(last) = piece.as_array().unwrap().last() else { break };
        after = format!("&after={}/{}", last["zone_id"].as_str().unwrap(), last["id"].as_str().unwrap());
        seen.extend(piece.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
    }
    let mut expect: Vec<String> = ours.iter().map(|wish| wish.id.to_string()).collect();
    expect.sort();
    assert_eq!(seen, expect);
}

/// A proof that could not be taken away is tried again before anybody starts anew.
#[test]
fn a_proof_that_cannot_be_taken_away_goes_later() {
    let (mut edge, given) = Edge::without_router();
    let zone = edge.zone();
    let key = bartizan_store::Key::zone(zone.parse().unwrap());
    // As another edge has it.
    let other = Edge::new();
    let body = r#"{"type":"TXT","name":"_acme-challenge","content":"\"x\"","ttl":60}"#;
    let record_id: bartizan_names::RecordId =
        other.post(&other.records(), body).result()["id"].as_str().unwrap().parse().unwrap();
    let record = bartizan_store::Key::record(other.zone().parse().unwrap(), record_id);
    let record = other.store.read().unwrap().get(&record).unwrap().unwrap().value.json.replace(&other.zone(), &zone);
    let token = json!({
        "zone_id": zone, "host": "bartizan.localhost", "method": "txt", "answer": "x", "record_id": record_id,
        "created_on": Timestamp::from(SystemTime::now()),
    });
    let good = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let token_key = bartizan_store::Key::acme_token("t");
    let mut damaged: Value = serde_json::from_str(&good).unwrap();
    damaged["name_servers"] = json!(7);
    let ops = vec![
        crate::edge::put(bartizan_store::Key::record(zone.parse().unwrap(), record_id), &record),
        crate::edge::put(token_key.clone(), &token.to_string()),
        // What the listing needs can be read, and not all that is served of it.
        crate::edge::put(key.clone(), &damaged.to_string()),
    ];
    crate::edge::commit(&edge.store, ops);
    edge.router = bartizan_api::router(given);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let is_there = || edge.store.read().unwrap().get(&token_key).unwrap().is_some();
    assert!(is_there());
    crate::edge::commit(&edge.store, vec![crate::edge::put(key, &good)]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while is_there() {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn what_people_decide_is_in_the_audit_and_told_by_a_dry_run() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    edge.settle_until(|store| store.read().unwrap().list_kind(Kind::AcmeCertificate, 9).unwrap().len() == 1);
    let packs = format!("/zones/{}/ssl/certificate_packs", edge.zone());
    let settings = format!("/zones/{}/ssl/universal/settings", edge.zone());
    let hosts = json!({"hosts": ["b.bartizan.localhost"]}).to_string();
    // Tried.
    let tried = edge.post(&format!("{packs}/order?dry_run=true"), &hosts).json();
    assert!(
        tried["result_info"].to_string().contains("acme_certificate") || tried.to_string().contains("\"add\""),
        "{tried}"
    );
    edge.call("PATCH", &settings, r#"{"enabled":false}"#).result();
    let tried = edge.call("PATCH", &format!("{settings}?dry_run=true"), r#"{"enabled":true}"#);
    assert_eq!(tried.result()["enabled"], true, "{}", tried.text);
    assert_eq!(edge.get(&settings).result()["enabled"], false, "and nothing was done");
    // Done.
    let pack = edge.post(&format!("{packs}/order"), &hosts).result();
    edge.call("DELETE", &format!("{packs}/{}", pack["id"].as_str().unwrap()), "").result();
    let logs = edge.get(&format!("/accounts/{}/audit_logs?per_page=100", edge.account())).result();
    let of_packs: Vec<String> = logs
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry.to_string().contains("acme_certificate"))
        .map(|entry| entry["action"]["type"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(of_packs, ["delete", "add", "change"], "{logs}");
    assert!(!logs.to_string().contains("sealed"), "{logs}");
}

/// However many ask at once.
#[test]
fn there_are_no_more_of_them_than_there_may_be() {
    let edge = Edge::new();
    edge.call("PUT", ACCOUNT, &account(&edge, Some("ours"))).result();
    let order = format!("/zones/{}/ssl/certificate_packs/order", edge.zone());
    let made: usize = std::thread::scope(|scope| {
        let clients = (0..8).map(|client| {
            let (edge, order) = (&edge, &order);
            scope.spawn(move || {
                let ask = |number: u32| {
                    let hosts = json!({"hosts": [format!("a{client}-{number}.bartizan.localhost")]}).to_string();
                    edge.post(order, &hosts).status == 200
                };
                (0..15).filter(|number| ask(*number)).count()
            })
        });
        clients.collect::<Vec<_>>().into_iter().map(|client| client.join().unwrap()).sum()
    });
    let quota = edge.get(&format!("/zones/{}/ssl/certificate_packs/quota", edge.zone())).result();
    assert_eq!((made, &quota["advanced"]["used"]), (100, &json!(100)));
}

/// A zone that is made while an order is under way is for its owner to show things of.
#[test]
fn nothing_is_shown_of_a_name_that_has_become_another_zones() {
    let edge = Edge::new();
    let parent = edge.new_zone("parent.test");
    let manner =
        Manner { nonces: None, name: "shop.parent.test".to_owned(), token: "DGyRejmCefe7v4NfDGDKfA".to_owned() };
    let authority = Authority::waiting_at(manner, "/authorization");
    let body = json!({"directory": authority.directory(), "terms_of_service_agreed": true, "roots": edge_ca(&edge)});
    assert_eq!(edge.call("PUT", ACCOUNT, &body.to_string()).verdict(), "200");
    let order = json!({"hosts": ["shop.parent.test"], "validation_method": "http"}).to_string();
    let order = edge.post(&format!("/zones/{parent}/ssl/certificate_packs/order"), &order).result();
    let id: bartizan_names::CertificateId = order["id"].as_str().unwrap().parse().unwrap();
    // It asks about what was ordered, and about all else that this is not.
    let told = || wishes(&edge).into_iter().find(|wish| wish.id == id).unwrap().last_error;
    authority.is_asked("/authorization");
    edge.new_zone("shop.parent.test");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        authority.go_on();
        if let Some(told) = told() {
            assert!(told.contains("lies in the zone shop.parent.test of this edge"), "{told}");
            break;
        }
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(edge.store.read().unwrap().list_kind(Kind::AcmeToken, 9).unwrap().len(), 0);
}
