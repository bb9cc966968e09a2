//! Certificates that owners of zones bring.

use std::time::{Duration, SystemTime};

use bartizan_certs::{Ca, Upload};
use bartizan_names::Timestamp;
use bartizan_seal::Key as SealKey;
use bartizan_store::Kind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::edge::Edge;

const DAY: u64 = 86_400;

/// An authority that is not the edge's.
struct Authority {
    _folder: tempfile::TempDir,
    ca: Ca,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let seal = SealKey::load_or_create(&folder.path().join("seal.key")).unwrap();
        // Long ago, so that what it issues may be over.
        let ca = Ca::load_or_create(folder.path(), &seal, earlier(400)).unwrap();
        Authority { _folder: folder, ca }
    }

    /// A certificate and its key as PEM, issued so many days ago for so many.
    fn issue(&self, names: &[&str], ago: u64, days: u64) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = self.ca.issue(&names, earlier(ago), Duration::from_secs(days * DAY)).unwrap();
        let key = BASE64.encode(&issued.key_pkcs8_der);
        (issued.chain_pem, format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"))
    }
}

fn earlier(days: u64) -> Timestamp {
    (SystemTime::now() - Duration::from_secs(days * DAY)).into()
}

fn body(certificate: &str, key: &str) -> String {
    json!({"certificate": certificate, "private_key": key}).to_string()
}

/// What brings one for the first zone.
pub(crate) fn brought() -> String {
    let (certificate, key) = Authority::new().issue(&NAMES, 1, 90);
    body(&certificate, &key)
}

fn path(edge: &Edge) -> String {
    format!("/zones/{}/custom_certificates", edge.zone())
}

const NAMES: [&str; 3] = ["bartizan.localhost", "*.bartizan.localhost", "www.elsewhere.example"];

#[test]
fn a_certificate_is_brought_shown_exchanged_and_deleted() {
    let (edge, authority) = (Edge::new(), Authority::new());
    let (certificate, key) = authority.issue(&NAMES, 1, 90);
    let before = edge.revision();
    let tried = edge.post(&format!("{}?dry_run=true", path(&edge)), &body(&certificate, &key));
    let change = &tried.json()["dry_run"]["changes"][0];
    assert_eq!(change["resource"]["type"], "custom_certificate", "{}", tried.text);
    assert!(change["newValueJson"]["hosts"].is_array() && !tried.text.contains("sealed"), "{}", tried.text);
    assert_eq!(edge.revision(), before);
    let made = edge.post(&path(&edge), &body(&certificate, &key));
    let shown = made.result();
    assert_eq!(shown["hosts"], json!(["bartizan.localhost", "*.bartizan.localhost"]), "what lies in the zone");
    for (field, expect) in [
        ("status", json!("active")),
        ("bundle_method", json!("ubiquitous")),
        ("type", json!("legacy_custom")),
        ("priority", json!(0)),
        ("signature", json!("ECDSAWithSHA256")),
        ("zone_id", json!(edge.zone())),
    ] {
        assert_eq!(shown[field], expect, "{field}");
    }
    assert!(shown["issuer"].as_str().unwrap().starts_with("Bartizan local CA "), "{shown}");
    let one = format!("{}/{}", path(&edge), shown["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), shown);
    assert_eq!(edge.get(&path(&edge)).result(), json!([shown]));

    // The key is shown to nobody: not in the reply, not in the store, not in the history.
    let secret = BASE64.decode(key.lines().nth(1).unwrap()).unwrap();
    let half = hex::encode(&secret[36..68]);
    let kept = edge.store.read().unwrap().list_kind(Kind::CustomCertificate, 9).unwrap().remove(0);
    let audit = edge.get("/user/audit_logs").text;
    for text in [&made.text, &*kept.value.json, &audit] {
        assert!(!text.contains("PRIVATE") && !text.contains(key.lines().nth(1).unwrap()) && !text.contains(&half));
    }
    assert!(audit.contains("custom_certificate") && !audit.contains("sealed_key"), "{audit}");
    let upload = Upload::from_entry(&kept).unwrap();
    let seal = SealKey::load_or_create(&edge.directory.path().join("seal.key")).unwrap();
    assert_eq!(upload.key(&seal).unwrap(), secret);

    // A newer one for another key, and one for the key that is there.
    let (newer, newer_key) = authority.issue(&NAMES[..1], 0, 60);
    assert_eq!(edge.call("PATCH", &one, &json!({"certificate": newer}).to_string()).verdict(), "400 1160 /private_key");
    assert_eq!(edge.call("PATCH", &one, &json!({"private_key": key}).to_string()).verdict(), "400 1160 /certificate");
    assert_eq!(edge.get(&one).result(), shown, "nothing is changed");
    let changed = edge.call("PATCH", &one, &body(&newer, &newer_key)).result();
    assert_eq!((&changed["hosts"], &changed["id"]), (&json!(["bartizan.localhost"]), &shown["id"]));
    assert_eq!(changed["uploaded_on"], shown["uploaded_on"]);
    let again = edge.call("PATCH", &one, &json!({"certificate": newer, "bundle_method": "force"}).to_string()).result();
    assert_eq!(again["bundle_method"], "force");
    assert_eq!(edge.call("DELETE", &one, "").result(), json!({"id": shown["id"]}));
    assert_eq!(edge.get(&one).verdict(), "404 1003");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "404 1003");
}

#[test]
fn what_cannot_be_served_is_refused_and_changes_nothing() {
    let (edge, authority) = (Edge::new(), Authority::new());
    let (good, key) = authority.issue(&NAMES, 1, 90);
    let (ended, ended_key) = authority.issue(&NAMES, 100, 90);
    let (elsewhere, elsewhere_key) = authority.issue(&["www.elsewhere.example"], 1, 90);
    let (other, _) = authority.issue(&NAMES, 1, 90);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let with = |field: &str, value: Value| {
        let mut body = json!({"certificate": good, "private_key": key});
        body[field] = value;
        body.to_string()
    };
    let before = edge.revision();
    for (body, verdict, reason) in [
        ("{}".to_owned(), "400 1160 /certificate", "there is none in the text"),
        (with("private_key", Value::Null), "400 1160 /private_key", "there is none in the text"),
        (with("certificate", json!("text")), "400 1160 /certificate", "there is none in the text"),
        (body(&good, encrypted), "400 1160 /private_key", "it is encrypted"),
        (body(&other, &key), "400 1160 /private_key", "it belongs to none of the certificates"),
        (body(&ended, &ended_key), "400 1160 /certificate", "it ran out on "),
        (body(&elsewhere, &elsewhere_key), "400 1160 /certificate", "none of its names lies in the zone"),
        (with("bundle_method", json!("best")), "400 1160 /bundle_method", "one of ubiquitous, optimal, force"),
        (with("type", json!("other")), "400 1160 /type", "one of legacy_custom, sni_custom"),
        (with("certificate", json!(7)), "400 9207 /certificate", ""),
    ] {
        let answer = edge.post(&path(&edge), &body);
        let expect = if reason.is_empty() { answer.verdict() } else { verdict.to_owned() };
        assert_eq!(answer.verdict(), expect, "{}", answer.text);
        assert!(answer.status == 400 && answer.text.contains(reason), "{}", answer.text);
    }
    assert_eq!(edge.revision(), before);
    let nowhere = format!("/zones/{}/custom_certificates", "0".repeat(32));
    assert_eq!(edge.post(&nowhere, &body(&good, &key)).verdict(), "404 1001");
}

#[test]
fn priorities_say_which_is_used() {
    let (edge, authority) = (Edge::new(), Authority::new());
    let ids: Vec<String> = (0..3)
        .map(|number| {
            let (certificate, key) = authority.issue(&NAMES, 1, 90 + number);
            edge.post(&path(&edge), &body(&certificate, &key)).result()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let order = |list: Value| -> Vec<usize> {
        let all = list.as_array().unwrap().clone();
        all.iter().map(|one| ids.iter().position(|id| one["id"] == **id).unwrap()).collect()
    };
    assert_eq!(order(edge.get(&path(&edge)).result()), [2, 1, 0], "the one that lasts longest first");
    let prioritize = format!("{}/prioritize", path(&edge));
    let wanted = |of: &[(usize, i64)]| {
        let items: Vec<Value> = of.iter().map(|(at, priority)| json!({"id": ids[*at], "priority": priority})).collect();
        json!({"certificates": items}).to_string()
    };
    assert_eq!(order(edge.call("PUT", &prioritize, &wanted(&[(0, 5), (1, 9)])).result()), [1, 0, 2]);
    assert_eq!(order(edge.get(&path(&edge)).result()), [1, 0, 2]);
    for (body, verdict) in [
        (wanted(&[(0, -1)]), "400 1160 /certificates/0/priority"),
        (wanted(&[(0, 1), (1, 1_001)]), "400 1160 /certificates/1/priority"),
        (json!({"certificates": [{"id": "x", "priority": 1}]}).to_string(), "404 1003 /certificates/0/id"),
        (json!({"certificates": [{"id": ids[0]}]}).to_string(), "400 1160 /certificates/0/priority"),
    ] {
        assert_eq!(edge.call("PUT", &prioritize, &body).verdict(), verdict, "{body}");
    }
    assert_eq!(order(edge.get(&path(&edge)).result()), [1, 0, 2], "all of it or nothing");
    assert_eq!(edge.get(&format!("{}?per_page=1&page=2", path(&edge))).result()[0]["id"], *ids[0]);
    assert_eq!(edge.get(&format!("{}?status=expired", path(&edge))).result(), json!([]));
    assert_eq!(edge.get(&format!("{}?status=active", path(&edge))).result().as_array().unwrap().len(), 3);
}

#[test]
fn a_zone_has_no_more_of_them_than_the_limit() {
    let (edge, authority) = (Edge::new(), Authority::new());
    let (certificate, key) = authority.issue(&NAMES, 1, 90);
    for _ in 0..100 {
        assert_eq!(edge.post(&path(&edge), &body(&certificate, &key)).verdict(), "200");
    }
    let refused = edge.post(&path(&edge), &body(&certificate, &key));
    assert_eq!(refused.verdict(), "400 1160");
    assert!(refused.text.contains("the zone has 100 of them"), "{}", refused.text);
}
