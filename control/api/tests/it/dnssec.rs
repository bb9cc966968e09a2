//! DNSSEC of zones: the switch, what the parent has, and keys that are exchanged.

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use bartizan_api::router;
use bartizan_lab::{Manner, NameServer, registry};
use bartizan_names::{Timestamp, ZoneId};
use bartizan_observed::What;
use bartizan_store::{Key, Kind, Retention};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::edge::{Answer, Edge, commit, dnssec, put};

/// Days are seconds, and minutes are seconds.
const QUICK: u32 = 86_400;
const BRISK: u32 = 60;

/// An edge whose resolver says of `test` what a test wants. No server of the parent can be reached, so the resolver is
/// believed.
fn edge(pace: u32) -> (Edge, NameServer) {
    let resolver = NameServer::start(&parent(""));
    let (mut edge, mut given) = Edge::without_router();
    given.dnssec = dnssec(&edge.store, &given.seal, &edge.observed.problems, resolver.address, pace);
    edge.router = router(given);
    (edge, resolver)
}

fn parent(ds: &str) -> String {
    format!("test 60 NS ns.test\n ns.test 60 A 127.0.0.255\n {ds}")
}

/// The line for a parent of a line for a registrar.
fn at_parent(ds: &Value) -> String {
    let words: Vec<&str> = ds.as_str().unwrap().split(' ').collect();
    let [name, _, "IN", "DS", data @ ..] = &words[..] else { panic!("{ds}") };
    format!("{} 300 DS {}", name.trim_end_matches('.'), data.join(" "))
}

struct Signed<'e> {
    edge: &'e Edge,
    dialect: String,
    own: String,
}

impl<'e> Signed<'e> {
    fn new(edge: &'e Edge, zone: &str) -> Signed<'e> {
        let (dialect, own) = (format!("/zones/{zone}/dnssec"), format!("/bartizan/zones/{zone}/dnssec"));
        Signed { edge, dialect, own }
    }

    fn status(&self) -> String {
        self.edge.get(&self.dialect).result()["status"].as_str().unwrap().to_owned()
    }

    fn details(&self) -> Value {
        self.edge.get(&self.own).result()
    }

    /// What it is after the parent was asked.
    fn checked(&self) -> String {
        self.edge.post(&format!("{}/check", self.own), "").result()["status"].as_str().unwrap().to_owned()
    }

    /// The line for whoever serves the zone of its first key.
    fn dnskey(&self) -> String {
        let line = self.details()["keys"][0]["dnskey"].as_str().unwrap().to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let [name, _, "IN", "DNSKEY", flags, "3", algorithm, key] = words[..] else { panic!("{line}") };
        let flags = flags.parse::<u16>().unwrap().to_be_bytes();
        let rdata = [&flags[..], &[3, algorithm.parse().unwrap()], &BASE64.decode(key).unwrap()].concat();
        format!("{} 60 DNSKEY \\# {} {}", name.trim_end_matches('.'), rdata.len(), hex::encode(rdata))
    }

    /// Waits until the keeper has looked at it once more, and has found this to be wrong with the registry.
    fn until_refused(&self, why: &str) {
        // The first one may have begun before what the test did last.
        for _ in 0..2 {
            let last = self.details()["registry"]["sent_on"].clone();
            self.until(why, |signed| {
                let registry = &signed.details()["registry"];
                registry["sent_on"] != last && registry["failure"].as_str().is_some_and(|told| told.contains(why))
            });
        }
    }

    /// The keys as `role stage`, in order.
    fn keys(&self) -> Vec<String> {
        let text = |key: &Value| format!("{} {}", key["role"].as_str().unwrap(), key["stage"].as_str().unwrap());
        self.details()["keys"].as_array().unwrap().iter().map(text).collect()
    }

    /// Waits until it is so: each step of the keeper is a revision.
    fn until(&self, what: &str, is_so: impl Fn(&Signed<'_>) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < end, "not {what}: {}", self.details());
            let mut head = self.edge.store.watch();
            head.borrow_and_update();
            let _ = self
                .edge
                .runtime
                .block_on(async { tokio::time::timeout(Duration::from_millis(200), head.changed()).await });
        }
    }
}

#[test]
fn one_switch_signs_a_zone() {
    let (edge, _) = edge(1);
    let zone = edge.new_zone("one.test");
    let signed = Signed::new(&edge, &zone);
    let off = edge.get(&signed.dialect).result();
    assert_eq!((&off["status"], &off["ds"], &off["algorithm"]), (&json!("disabled"), &Value::Null, &Value::Null));
    let on = edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#);
    let told = on.json()["messages"][0]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("registrar"), "{told}");
    let on = on.result();
    for (field, expect) in [
        ("status", json!("pending")),
        ("flags", json!(257)),
        ("algorithm", json!("13")),
        ("key_type", json!("ECDSAP256SHA256")),
        ("digest_type", json!("2")),
        ("digest_algorithm", json!("SHA256")),
        ("dnssec_multi_signer", json!(false)),
        ("dnssec_presigned", json!(false)),
        ("dnssec_use_nsec3", json!(false)),
    ] {
        assert_eq!(on[field], expect, "{field}");
    }
    let (tag, digest) = (on["key_tag"].as_u64().unwrap(), on["digest"].as_str().unwrap());
    assert_eq!(on["ds"], json!(format!("one.test. 3600 IN DS {tag} 13 2 {digest}")));
    assert_eq!(digest.len(), 64);
    assert!(on["public_key"].as_str().unwrap().len() == 88 && on["modified_on"].is_string());
    // The keys of the object in their order.
    let text = edge.get(&signed.dialect).text;
    let places: Vec<_> =
        ["\"status\"", "\"flags\"", "\"algorithm\"", "\"ds\"", "\"modified_on\""].map(|key| text.find(key)).into();
    assert!(places.is_sorted() && places[0].is_some(), "{text}");

    // Once more it is nothing new.
    signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
    let revision = edge.revision();
    assert_eq!(edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["key_tag"], json!(tag));
    assert_eq!(edge.revision(), revision);
    assert_eq!(signed.keys(), ["csk active"]);
    let details = signed.details();
    assert_eq!(details["ds"].as_array().unwrap().len(), 2);
    assert_eq!((&details["denial"], &details["zsk_days"]), (&json!("compact"), &json!(90)));

    // No private key is told, nor in the audit.
    let id: ZoneId = zone.parse().unwrap();
    let kept = edge.store.read().unwrap().get(&Key::dnssec(id)).unwrap().unwrap().value.json;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let sealed = kept["sealed_keys"].as_object().unwrap().values().next().unwrap().as_str().unwrap();
    let audit = edge.get(&format!("/accounts/{}/audit_logs?zone.name=one.test", edge.account())).text;
    assert!(audit.contains("dnssec") && audit.contains("public_key"), "{audit}");
    assert!(!audit.contains(sealed) && !audit.contains("sealed"), "{audit}");
    let named = edge.get(&format!("/accounts/{}/audit_logs?resource.name=one.test", edge.account())).result();
    let kinds: Vec<_> = named.as_array().unwrap().iter().map(|entry| entry["resource"]["type"].clone()).collect();
    assert_eq!(kinds, ["dnssec", "zone"], "{named}");
    for text in [edge.get(&signed.own).text, edge.get(&signed.dialect).text] {
        assert!(!text.contains(sealed), "{text}");
    }
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let (edge, _) = edge(1);
    let zone = edge.new_zone("refused.test");
    let signed = Signed::new(&edge, &zone);
    for (path, method, body, expect) in [
        (&signed.dialect, "PATCH", r#"{"dnssec_multi_signer":true}"#, "400 1150 /dnssec_multi_signer"),
        (&signed.dialect, "PATCH", r#"{"dnssec_presigned":true}"#, "400 1150 /dnssec_presigned"),
        (&signed.dialect, "PATCH", r#"{"dnssec_use_nsec3":true}"#, "400 1150 /dnssec_use_nsec3"),
        (&signed.dialect, "PATCH", r#"{"status":"on"}"#, "400 1150 /status"),
        (&signed.dialect, "PATCH", "{}", "400 1151 /status"),
        (&signed.own, "PATCH", r#"{"denial":"compact"}"#, "400 1151 /status"),
        (&signed.own, "PATCH", r#"{"status":"active","algorithm":8}"#, "400 1150 /algorithm"),
        (&signed.own, "PATCH", r#"{"status":"active","keys":"three"}"#, "400 1150 /keys"),
        (&signed.own, "PATCH", r#"{"status":"active","denial":"nsec3"}"#, "400 1150 /denial"),
        (&signed.own, "PATCH", r#"{"status":"active","algorithm":-243}"#, "400 1150 /algorithm"),
        (&signed.own, "PATCH", r#"{"status":"active","ksk_days":4000}"#, "400 1150 /ksk_days"),
        (&signed.own, "PATCH", r#"{"status":"active","zsk_days":"-1"}"#, "400 1150 /zsk_days"),
        (&format!("{}/roll", signed.own), "POST", "", "400 1151"),
        (&format!("{}/check", signed.own), "POST", "", "400 1151"),
        (&signed.dialect, "DELETE", "", "200"),
        (&signed.dialect, "PATCH", r#"{"status":"disabled"}"#, "200"),
    ] {
        assert_eq!(edge.call(method, path, body).verdict(), expect, "{method} {path} {body}");
    }
    assert_eq!(signed.status(), "disabled");
    // Numbers come in every form.
    let body =
        r#"{"status":"active","algorithm":15.0,"keys":"split","denial":"shotgun","zsk_days":"30","ksk_days":365.0}"#;
    let details = edge.call("PATCH", &signed.own, body).result();
    assert_eq!(
        (&details["denial"], &details["zsk_days"], &details["ksk_days"]),
        (&json!("shotgun"), &json!(30), &json!(365))
    );
    assert_eq!(signed.keys(), ["ksk active", "zsk active"]);
    let dialect = edge.get(&signed.dialect).result();
    assert_eq!((&dialect["key_type"], &dialect["algorithm"]), (&json!("ED25519"), &json!("15")));
    for (body, expect) in [
        (r#"{"algorithm":13}"#, "400 1150 /algorithm"),
        (r#"{"keys":"csk"}"#, "400 1150 /keys"),
        (r#"{"algorithm":15,"keys":"split","denial":"black-lies"}"#, "200"),
    ] {
        assert_eq!(edge.call("PATCH", &signed.own, body).verdict(), expect, "{body}");
    }
    for (body, expect) in [
        ("", "400 1154 /key"),
        (r#"{"key":"csk"}"#, "400 1154 /key"),
        (r#"{"key":"x"}"#, "400 1154 /key"),
        (r#"{"key":"zsk"}"#, "200"),
        (r#"{"key":"zsk"}"#, "400 1154"),
        (r#"{"key":"ksk"}"#, "200"),
    ] {
        assert_eq!(edge.post(&format!("{}/roll", signed.own), body).verdict(), expect, "{body}");
    }
    assert_eq!(signed.keys(), ["ksk active", "zsk active", "zsk incoming", "ksk incoming"]);
}

#[test]
fn the_parent_decides_when_a_zone_may_go_unsigned() {
    let (edge, resolver) = edge(QUICK);
    let zone = edge.new_zone("life.test");
    let signed = Signed::new(&edge, &zone);
    let ds = edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["ds"].clone();
    assert_eq!(signed.checked(), "pending");
    resolver.has(&parent(&at_parent(&ds)));
    // Nobody has to ask for it.
    signed.until("active", |signed| signed.status() == "active");
    let details = signed.details();
    assert_eq!((&details["parent"]["agrees"], &details["next"]), (&json!(true), &json!("nothing is to be done")));
    assert!(at_parent(&ds).ends_with(details["parent"]["ds"][0].as_str().unwrap()));

    let refused = edge.call("DELETE", &signed.dialect, "");
    assert_eq!(refused.verdict(), "400 1152");
    assert!(refused.text.contains("force"), "{}", refused.text);
    assert_eq!(signed.status(), "active");
    let ending = edge.call("PATCH", &signed.dialect, r#"{"status":"disabled"}"#);
    assert!(ending.json()["messages"][0]["message"].as_str().unwrap().contains("registrar remove"), "{}", ending.text);
    assert_eq!(ending.result()["status"], "pending-disabled");
    assert_eq!(signed.checked(), "pending-disabled");
    // Somebody changes their mind.
    assert_eq!(edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["status"], "active");
    edge.call("PATCH", &signed.dialect, r#"{"status":"disabled"}"#).result();
    assert_eq!(edge.post(&format!("{}/roll", signed.own), "").verdict(), "400 1154");
    resolver.has(&parent(""));
    signed.until("disabled", |signed| signed.status() == "disabled");
    let id: ZoneId = zone.parse().unwrap();
    assert!(edge.store.read().unwrap().get(&Key::dnssec(id)).unwrap().is_none());
    // One that never had a DS record is off at once.
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    assert_eq!(edge.call("DELETE", &signed.dialect, "").result(), json!(""));
    assert_eq!(signed.status(), "disabled");
}

/// Else its name could be served by others, whom nobody finds who validates.
#[test]
fn a_signed_zone_stays_while_its_parent_has_a_ds_record() {
    let (edge, resolver) = edge(QUICK);
    let delete = |zone: &str, query: &str| edge.call("DELETE", &format!("/zones/{zone}{query}"), "");
    let zone = edge.new_zone("kept.test");
    let (made, signed) = (edge.revision(), Signed::new(&edge, &zone));
    let ds = edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["ds"].clone();
    resolver.has(&parent(&at_parent(&ds)));
    let refused = delete(&zone, "");
    assert_eq!(refused.verdict(), "400 1152");
    assert!(refused.text.contains("DS") && refused.text.contains("with force"), "{}", refused.text);
    let undo = json!({"revision": made, "force": true}).to_string();
    let refused = edge.post("/bartizan/undo", &undo);
    assert_eq!(refused.verdict(), "400 10424");
    assert!(refused.text.contains("delete the zone instead"), "{}", refused.text);
    resolver.becomes(Manner::Fails);
    assert_eq!(delete(&zone, "?force=false").verdict(), "400 1153");
    assert_eq!(edge.get(&format!("/zones/{zone}")).verdict(), "200");
    resolver.becomes(Manner::Answers);
    resolver.has(&parent(""));
    assert_eq!(delete(&zone, "").verdict(), "200");

    let zone = edge.new_zone("forced.test");
    edge.call("PATCH", &Signed::new(&edge, &zone).dialect, r#"{"status":"active"}"#).result();
    let plain = edge.new_zone("plain.test");
    resolver.becomes(Manner::Fails);
    assert_eq!(delete(&zone, "?force=true").verdict(), "200");
    assert_eq!(delete(&plain, "").verdict(), "200", "nobody is asked of a zone that is not signed");
}

#[test]
fn nobody_knows_what_a_silent_parent_has() {
    let (edge, resolver) = edge(BRISK);
    let zone = edge.new_zone("silent.test");
    let signed = Signed::new(&edge, &zone);
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
    // That it had no DS record says nothing of now.
    resolver.has(&parent("silent.test 300 DS 5 13 2 AABB"));
    resolver.becomes(Manner::Fails);
    assert_eq!(edge.call("DELETE", &signed.dialect, "").verdict(), "400 1153");
    let ending = edge.call("PATCH", &signed.dialect, r#"{"status":"disabled"}"#);
    assert_eq!(ending.result()["status"], "pending-disabled");
    assert!(
        ending.json()["messages"][0]["message"].as_str().unwrap().contains("no resolver answers"),
        "{}",
        ending.text
    );
    signed.checked();
    assert!(signed.details()["parent"]["failure"].as_str().unwrap().contains("no resolver answers"));
    // Once more it is nothing new, and the parent is as silent.
    assert_eq!(edge.call("PATCH", &signed.dialect, r#"{"status":"disabled"}"#).result()["status"], "pending-disabled");
    assert_eq!(edge.call("DELETE", &format!("{}?force=true", signed.dialect), "").result(), json!(""));
    assert_eq!(signed.status(), "disabled");

    let zone = edge.new_zone("again.test");
    let signed = Signed::new(&edge, &zone);
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    edge.call("PATCH", &signed.dialect, r#"{"status":"disabled"}"#).result();
    assert_eq!(signed.status(), "pending-disabled");
    resolver.becomes(Manner::Answers);
    assert_eq!(signed.checked_or_off(), "disabled", "there was never a DS record");
}

/// The domain is cut off for whoever validates: the loudest thing that there is.
#[test]
fn a_ds_record_of_no_key_is_a_problem_of_the_edge() {
    let (edge, resolver) = edge(BRISK);
    let zone = edge.new_zone("wrong.test");
    let signed = Signed::new(&edge, &zone);
    let ds = edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["ds"].clone();
    let told = || {
        let all = edge.observed.problems.all(Instant::now());
        all.iter().any(|problem| problem.what == What::Dnssec("wrong.test".to_owned()))
    };
    // Copied with a mistake.
    let right = at_parent(&ds);
    let wrong = format!("{}00", &right[..right.len() - 2]);
    let wrong = if wrong == right { format!("{}11", &right[..right.len() - 2]) } else { wrong };
    resolver.has(&parent(&wrong));
    assert_eq!(signed.checked(), "error");
    signed.edge.runtime.block_on(async { tokio::task::yield_now().await });
    signed.until("told", |_| told());
    assert!(signed.details()["next"].as_str().unwrap().contains("leads to no key"), "{}", signed.details());
    // Beside the right one it does no harm.
    resolver.has(&parent(&format!("{wrong}\n{right}")));
    assert_eq!(signed.checked(), "active");
    signed.until("over", |_| !told());

    // By force, although the parent has it still.
    let forced = edge.call("PATCH", &signed.dialect, r#"{"status":"disabled","force":true}"#).result();
    assert_eq!((&forced["status"], &forced["ds"]), (&json!("error"), &Value::Null));
    signed.until("told", |_| told());
    resolver.has(&parent(""));
    assert_eq!(signed.checked_or_off(), "disabled");
    signed.until("over", |_| !told());
    let id: ZoneId = zone.parse().unwrap();
    assert!(edge.store.read().unwrap().get(&Key::dnssec(id)).unwrap().is_none());
}

impl Signed<'_> {
    /// As [`Signed::checked`]; what is left of it may go with the answer.
    fn checked_or_off(&self) -> String {
        self.edge.post(&format!("{}/check", self.own), "");
        self.status()
    }
}

#[test]
fn keys_are_exchanged_as_far_as_the_parent_does_its_part() {
    let (edge, resolver) = edge(QUICK);
    let zone = edge.new_zone("roll.test");
    let signed = Signed::new(&edge, &zone);
    let old = edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result()["ds"].clone();
    resolver.has(&parent(&at_parent(&old)));
    signed.until("active", |signed| signed.status() == "active");
    let begun = edge.post(&format!("{}/roll", signed.own), "").result();
    assert_eq!(begun["keys"].as_array().unwrap().len(), 2);
    // Not before resolvers can know the new key.
    signed.until("taken over", |signed| signed.keys() == ["csk outgoing", "csk active"]);
    let new = edge.get(&signed.dialect).result()["ds"].clone();
    assert_ne!(new, old);
    assert_eq!(signed.status(), "active", "the old DS record leads to a key that is there");
    assert!(signed.details()["next"].as_str().unwrap().contains("in the place of the old one"));
    assert_eq!(signed.details()["next_on"], Value::Null, "it is the parent's turn");
    resolver.has(&parent(&at_parent(&new)));
    signed.until("done", |signed| signed.keys() == ["csk active"]);
    assert_eq!(edge.get(&signed.dialect).result()["ds"], new);
    assert_eq!(signed.status(), "active");

    // And by age, where nobody has to help.
    edge.call("DELETE", &format!("{}?force=true", signed.dialect), "").result();
    resolver.has(&parent(""));
    signed.until("off", |signed| signed.checked_or_off() == "disabled");
    edge.call("PATCH", &signed.own, r#"{"status":"active","keys":"split","zsk_days":1}"#).result();
    let first = signed.details()["keys"][1]["key_tag"].clone();
    signed.until("exchanged", |signed| {
        let details = signed.details();
        details["keys"].as_array().unwrap().iter().all(|key| key["key_tag"] != first)
    });
}

/// Each look asks servers that the zone's owner names, so they keep a distance: one call waits for it, and others are told to.
#[test]
fn calls_that_ask_the_parent_are_bounded() {
    let (edge, _resolver) = edge(1);
    let zone = edge.new_zone("busy.test");
    let signed = Signed::new(&edge, &zone);
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    let check = format!("{}/check", signed.own);
    let calls = [("GET", &signed.own), ("POST", &check), ("POST", &check), ("POST", &check)];
    let checks = calls.map(|(method, path)| edge.answer_of(method, path));
    let mut verdicts: Vec<String> =
        edge.runtime.block_on(futures_util::future::join_all(checks)).iter().map(Answer::verdict).collect();
    verdicts.sort();
    assert_eq!(
        (verdicts[0].as_str(), verdicts[1].as_str(), verdicts[3].as_str()),
        ("200", "200", "429 1157"),
        "{verdicts:?}"
    );
}

/// Of a zone that is there all but the keys, which nobody keeps.
#[test]
fn what_is_undone() {
    let (edge, _resolver) = edge(1);
    let zone = edge.new_zone("undo.test");
    let signed = Signed::new(&edge, &zone);
    let undo = |revision: u64, force: bool| {
        edge.post("/bartizan/undo", &json!({"revision": revision, "force": force}).to_string())
    };
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
    edge.call("PATCH", &signed.own, r#"{"denial":"shotgun"}"#).result();
    let changed = edge.revision();
    undo(changed, false).result();
    assert_eq!(signed.details()["denial"], "compact");
    // One that was switched on ends, unless the parent relies on it.
    let details = edge.call("DELETE", &signed.dialect, "");
    assert_eq!(details.verdict(), "200");
    let deleted = edge.revision();
    let refused = undo(deleted, false);
    assert_eq!(refused.verdict(), "400 10423");
    assert!(refused.text.contains("kept nowhere"), "{}", refused.text);
}

/// What its parent's DS records lead to comes back with a zone; where it is gone, somebody must want that.
#[test]
fn a_signed_zone_that_was_deleted_comes_back_signed() {
    let (edge, _resolver) = edge(1);
    let zone = edge.new_zone("back.test");
    let (signed, key) = (Signed::new(&edge, &zone), Key::dnssec(zone.parse().unwrap()));
    let kept = || edge.store.read().unwrap().get(&key).unwrap().map(|entry| entry.value.json.to_string());
    let sealed = |kept: &str| serde_json::from_str::<Value>(kept).unwrap()["sealed_keys"].clone();
    let delete = || {
        let gone = edge.revision() + 1;
        // Each look at the parent would be five seconds behind the last one.
        edge.call("DELETE", &format!("/zones/{zone}?force=true"), "").result();
        edge.settle();
        assert_eq!(kept(), None);
        gone
    };
    let undo = |revision: u64, words: Value| {
        let mut body = words;
        body["revision"] = json!(revision);
        edge.post("/bartizan/undo", &body.to_string())
    };
    let forget = || {
        let keep = Retention { changes_max: 1, changes_min: 0, since: Timestamp::from_unix_micros(0), bytes_max: 0 };
        edge.store.compact(keep).unwrap();
    };
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
    // However long ago that was.
    forget();
    let (before, secrets) = (edge.get(&signed.dialect).result(), sealed(&kept().unwrap()));
    assert!(secrets.as_object().is_some_and(|secrets| !secrets.is_empty()), "{secrets}");
    for words in [json!({}), json!({"force": true})] {
        let gone = delete();
        let asked = undo(gone, json!({"dry_run": true, "force": words["force"] == true}));
        assert!(asked.json()["messages"].as_array().unwrap().is_empty(), "{}", asked.text);
        assert!(asked.text.contains("public_key") && !asked.text.contains("sealed"), "{}", asked.text);
        undo(gone, words).result();
        let after = edge.get(&signed.dialect).result();
        for member in ["status", "ds", "public_key", "key_tag"] {
            assert_eq!(after[member], before[member], "{member}");
        }
        assert_eq!(sealed(&kept().unwrap()), secrets);
        signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
    }

    let gone = delete();
    forget();
    let refused = undo(gone, json!({}));
    assert_eq!(refused.verdict(), "400 10423", "{}", refused.text);
    assert!(refused.text.contains("zone back.test was signed") && refused.text.contains("--force"), "{}", refused.text);
    for dry_run in [true, false] {
        let told = undo(gone, json!({"force": true, "dry_run": dry_run}));
        assert_eq!(told.verdict(), "200", "{}", told.text);
        let message = &told.json()["messages"][0]["message"];
        let expect = "zone back.test comes back without signatures; while the parent has DS records nobody finds it";
        assert_eq!(message, expect);
    }
    assert_eq!(signed.status(), "disabled");
}

/// Nobody asks the parent for an undo: the zone stays signed until the keeper has.
#[test]
fn an_undone_switch_waits_for_the_parent() {
    let (edge, resolver) = edge(1);
    for (name, ds, expect) in [
        ("back.test", "", "disabled"),
        // It came after the parent was asked last.
        ("late.test", "late.test 300 DS 5 13 2 AABB", "error"),
    ] {
        let zone = edge.new_zone(name);
        edge.settle();
        let signed = Signed::new(&edge, &zone);
        let on = edge.revision() + 1;
        edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
        signed.until("asked", |signed| signed.details()["parent"]["since"].is_string());
        resolver.has(&parent(ds));
        resolver.becomes(Manner::Fails);
        // What the keeper noted is no change of somebody's.
        assert_eq!(edge.post("/bartizan/undo", &json!({"revision": on}).to_string()).verdict(), "200", "{name}");
        assert_eq!(signed.status(), "pending-disabled", "{name}");
        resolver.becomes(Manner::Answers);
        assert_eq!(signed.checked_or_off(), expect, "{name}");
        let undone = edge.post("/bartizan/undo", &json!({"revision": on}).to_string());
        assert_eq!(undone.verdict(), "400 10424", "{name}: {}", undone.text);
    }
}

/// As after the loss of the seal's key: the DS record would lead to signatures that nobody can make.
#[test]
fn a_private_key_that_does_not_open() {
    let (edge, _resolver) = edge(BRISK);
    edge.ready.send_replace(true);
    let readyz = || edge.send_as(&[], "GET", "/readyz", "").text;
    let zone = edge.new_zone("closed.test");
    let signed = Signed::new(&edge, &zone);
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    assert_eq!(signed.status(), "pending");
    let id: ZoneId = zone.parse().unwrap();
    let right = edge.store.read().unwrap().get(&Key::dnssec(id)).unwrap().unwrap().value.json.to_string();
    let mut kept: Value = serde_json::from_str(&right).unwrap();
    for sealed in kept["sealed_keys"].as_object_mut().unwrap().values_mut() {
        let text = sealed.as_str().unwrap();
        let other = if text.starts_with('A') { "B" } else { "A" };
        *sealed = json!(format!("{other}{}", &text[1..]));
    }
    for (json, status, next) in
        [(kept.to_string(), "error", "a private key does not open"), (right, "pending", "give the DS record")]
    {
        commit(&edge.store, vec![put(Key::dnssec(id), &json)]);
        let details = signed.details();
        assert_eq!((signed.status().as_str(), &details["status"]), (status, &json!(status)));
        assert!(details["next"].as_str().unwrap().starts_with(next), "{details}");
        let listed = edge.get(&format!("/bartizan/dnssec?status={status}")).result();
        assert_eq!(listed[0]["zone_name"], json!("closed.test"), "{listed}");
        // The keeper meets it when it looks at the zone, or at a start.
        signed.checked();
        let expect = if status == "error" { "degraded\ndnssec: 1\n" } else { "ready\n" };
        signed.until(expect, |_| readyz() == expect);
    }
}

/// What cannot be read is not taken for a zone without signatures.
#[test]
fn keys_that_cannot_be_read() {
    let (edge, _resolver) = edge(1);
    let zone = edge.new_zone("damaged.test");
    let signed = Signed::new(&edge, &zone);
    edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
    let id: ZoneId = zone.parse().unwrap();
    for json in ["{}", r#"{"state":"later"}"#] {
        commit(&edge.store, vec![put(Key::dnssec(id), json)]);
        for (method, path, body, expect) in [
            ("GET", &signed.dialect, "", "500 10501"),
            ("GET", &signed.own, "", "500 10501"),
            ("PATCH", &signed.dialect, r#"{"status":"active"}"#, "500 10501"),
            ("PATCH", &signed.dialect, r#"{"status":"disabled"}"#, "500 10501"),
            ("DELETE", &signed.dialect, "", "500 10501"),
        ] {
            assert_eq!(edge.call(method, path, body).verdict(), expect, "{method} {path} {body}");
        }
    }
    assert_eq!(edge.call("DELETE", &format!("{}?force=true", signed.dialect), "").verdict(), "200");
    assert_eq!(signed.status(), "disabled");
    assert!(edge.store.read().unwrap().list_kind(Kind::Dnssec, 9).unwrap().is_empty());
}

/// A call of a registry replaces what others have put there, by the edge's password: whoever makes a zone of their domain's name
/// does not get that far.
#[test]
fn a_registry_keeps_what_is_of_others() {
    const OTHERS: &str = "not this zone's";
    let (edge, resolver) = edge(QUICK);
    let (url, calls) = registry::start(vec![registry::answer("200 OK", None); 3]);
    let way = json!({"way": "dsu", "url": url, "userid": "REG-1", "password": "hush-hush"});
    edge.call("PUT", "/bartizan/registries/test", &way.to_string()).result();
    let next_call = || calls.recv_timeout(Duration::from_secs(60)).unwrap();
    let switch = |signed: &Signed<'_>, status: &str| {
        edge.call("PATCH", &signed.dialect, &json!({"status": status}).to_string()).result()
    };

    // Delegated elsewhere, and signed there.
    let zone = edge.new_zone("victim.test");
    let victim = Signed::new(&edge, &zone);
    let foreign = |name: &str| format!("{name} 300 DS 5 13 2 AABB");
    resolver.has(&parent(&foreign("victim.test")));
    switch(&victim, "active");
    victim.until_refused(OTHERS);
    switch(&victim, "disabled");
    victim.until_refused(OTHERS);
    // It is signed here as well (RFC 8901 §2.1): what the others have stays.
    switch(&victim, "active");
    let both = format!("{}\n{}", foreign("victim.test"), victim.dnskey());
    resolver.has(&parent(&both));
    victim.until_refused(OTHERS);
    assert_eq!(calls.try_recv(), Err(TryRecvError::Empty));
    edge.call("DELETE", &format!("{}?force=true", victim.dialect), "").result();

    let zone = edge.new_zone("own.test");
    let own = Signed::new(&edge, &zone);
    let ds = switch(&own, "active")["ds"].clone();
    own.until_refused("not shown the key");
    resolver.has(&parent(&own.dnskey()));
    let call = next_call();
    assert!(
        call.contains(&format!("domain=own.test&keytag1={}&", at_parent(&ds).split(' ').nth(3).unwrap())),
        "{call}"
    );
    let there = format!("{}\n{}", own.dnskey(), at_parent(&ds));
    resolver.has(&parent(&format!("{there}\n{}", foreign("own.test"))));
    own.until_refused(OTHERS);
    resolver.has(&parent(&there));
    own.until("well", |own| own.details()["registry"]["failure"].is_null());
    assert_eq!(own.status(), "active");
    // It moves away, or its servers are not asked.
    resolver.has(&parent(&at_parent(&ds)));
    switch(&own, "disabled");
    own.until_refused("not shown the key");
    assert_eq!(calls.try_recv(), Err(TryRecvError::Empty));
    resolver.has(&parent(&there));
    let call = next_call();
    assert!(call.contains("domain=own.test&keytag1=DELETE_DS&"), "{call}");
}

/// How DS records get into a parent: whoever sets it tells a password, which nobody is told again.
#[test]
fn ways_to_parents() {
    let (edge, _resolver) = edge(1);
    let path = "/bartizan/registries/dk";
    let dsu = json!({"way": "dsu", "url": "https://dsu.example.net/1.0", "userid": "REG-1", "password": "hush-hush"});
    let with = |member: &str, value: Value| {
        let mut body = dsu.clone();
        body[member] = value;
        body.to_string()
    };
    for (method, path, body, expect) in [
        ("GET", path, String::new(), "404 1155"),
        ("DELETE", path, String::new(), "404 1155"),
        ("PUT", path, with("way", json!("epp")), "400 1156 /way"),
        ("PUT", path, with("url", Value::Null), "400 1156 /url"),
        ("PUT", path, with("url", json!("http://dsu.example.net/1.0")), "400 1156 /url"),
        ("PUT", path, with("userid", json!("")), "400 1156 /userid"),
        ("PUT", path, with("password", Value::Null), "400 1156 /password"),
        ("PUT", "/bartizan/registries/a..b", dsu.to_string(), "400 1156"),
        ("PUT", path, dsu.to_string(), "200"),
        ("GET", path, String::new(), "200"),
        // The password stays where it was given for.
        ("PUT", path, with("password", Value::Null), "200"),
        (
            "PUT",
            path,
            with("url", json!("https://other.example.net/1.0")).replace("hush-hush", ""),
            "400 1156 /password",
        ),
        ("PUT", "/bartizan/registries/co.uk", json!({"way": "cds"}).to_string(), "200"),
    ] {
        assert_eq!(edge.call(method, path, &body).verdict(), expect, "{method} {path} {body}");
    }
    let list = edge.get("/bartizan/registries");
    assert_eq!(list.result().as_array().unwrap().len(), 2);
    assert!(!list.text.contains("hush") && !list.text.contains("sealed"), "{}", list.text);
    for (name, expect) in [
        ("one.dk", json!({"name": "dk", "way": "dsu", "sent_on": null, "failure": null})),
        ("two.co.uk", json!({"name": "co.uk", "way": "cds", "sent_on": null, "failure": null})),
        ("three.uk", json!({"name": null, "way": "manual", "sent_on": null, "failure": null})),
    ] {
        let zone = edge.new_zone(name);
        let signed = Signed::new(&edge, &zone);
        edge.call("PATCH", &signed.dialect, r#"{"status":"active"}"#).result();
        assert_eq!(signed.details()["registry"], expect, "{name}");
    }
    // A key that the registry would refuse at every call is not made; where nobody is called, any is.
    for (name, expect) in [("four.dk", "400 1150 /algorithm"), ("four.uk", "200")] {
        let signed = Signed::new(&edge, &edge.new_zone(name));
        let body = r#"{"status":"active","algorithm":15}"#;
        assert_eq!(edge.call("PATCH", &signed.own, body).verdict(), expect, "{name}");
        assert_eq!(edge.call("PATCH", &signed.own, r#"{"status":"disabled","force":true}"#).verdict(), "200");
    }
    let names = |query: &str| -> Vec<String> {
        let list = edge.get(&format!("/bartizan/dnssec{query}")).result();
        list.as_array().unwrap().iter().map(|one| one["zone_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").len(), 3);
    assert_eq!(names("?status=active"), [""; 0]);
    let first = edge.get("/bartizan/dnssec?status=pending&limit=1").result();
    let rest = names(&format!("?after={}", first[0]["zone_id"].as_str().unwrap()));
    assert!(rest.len() == 2 && !rest.contains(&first[0]["zone_name"].as_str().unwrap().to_owned()), "{rest:?}");
    assert_eq!(edge.get("/bartizan/dnssec?after=x").verdict(), "400 6008");
    assert_eq!(edge.call("DELETE", path, "").result(), json!({"id": "dk"}));
}
