//! Clients that are known by certificates: what is undone is as it was, and lets in nobody who was kept out since.

use bartizan_names::Timestamp;
use bartizan_store::{Kind, Retention};
use serde_json::{Value, json};

use crate::clients_known::{Authority, HOST, host, hosts, request, roots};
use crate::edge::{Answer, Edge};

fn undo(edge: &Edge, revision: u64) -> Answer {
    edge.post("/bartizan/undo", &json!({"revision": revision}).to_string())
}

fn undo_last(edge: &Edge) -> Answer {
    undo(edge, edge.revision())
}

fn revocations(edge: &Edge) -> usize {
    edge.store.read().unwrap().list_kind(Kind::ClientRevocation, 9).unwrap().len()
}

#[test]
fn authorities_and_hosts_come_and_go_together() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let path = format!("{}/{HOST}", hosts(&edge));
    let made = edge.post(&roots(&edge), &ours.body(&[HOST])).result();
    let one = format!("{}/{}", roots(&edge), made["id"].as_str().unwrap());
    let added = edge.revision();
    undo(&edge, added).result();
    assert_eq!((edge.get(&one).verdict().as_str(), edge.get(&path).verdict().as_str()), ("404 1003", "404 1164"));
    undo_last(&edge).result();
    let stays = |edge: &Edge| {
        assert_eq!(edge.get(&one).result()["associated_hostnames"], json!([HOST]));
        assert_eq!(host(edge, HOST)["authorities"], json!([made["id"]]));
    };
    stays(&edge);
    // What a host wants.
    edge.call("PUT", &path, r#"{"mode":"enforce","headers":[{"name":"X-Device","value":"ski"}]}"#).result();
    edge.call("PATCH", &path, r#"{"mode":"off","headers":[]}"#).result();
    undo_last(&edge).result();
    assert_eq!(
        (&host(&edge, HOST)["mode"], &host(&edge, HOST)["headers"][0]["value"]),
        (&json!("enforce"), &json!("ski"))
    );
    edge.call("DELETE", &path, "").result();
    assert_eq!(edge.get(&one).result()["associated_hostnames"], json!([]));
    undo_last(&edge).result();
    stays(&edge);
    edge.call("DELETE", &one, "").result();
    assert_eq!(host(&edge, HOST)["authorities"], json!([]));
    let deleted = edge.revision();
    undo_last(&edge).result();
    stays(&edge);
    assert_eq!(host(&edge, HOST)["mode"], "enforce");
    // Somebody has changed it since.
    assert_eq!(undo(&edge, deleted).verdict(), "400 10424");
    // Who only reads undoes nothing.
    let zone = format!("com.cloudflare.api.account.zone.{}", edge.zone());
    let policy = json!({"effect": "allow", "permission_groups": [{"name": "SSL and Certificates Read"}], "resources": {zone: "*"}});
    let token = edge.post("/user/tokens", &json!({"name": "t", "policies": [policy]}).to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    edge.call("PATCH", &path, r#"{"mode":"report"}"#).result();
    let body = json!({"revision": edge.revision()}).to_string();
    let refused = edge.send_as(&[("authorization", bearer.as_str())], "POST", "/client/v4/bartizan/undo", &body);
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.text);
}

/// Its client has the certificate.
#[test]
fn certificates_that_are_not_wanted_are_revoked() {
    let edge = Edge::new();
    let path = format!("/zones/{}/client_certificates", edge.zone());
    let made = edge.post(&path, &request()).result();
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    let status = || edge.get(&one).result()["status"].as_str().unwrap().to_owned();
    for expect in [("revoked", 1), ("active", 0), ("revoked", 1)] {
        undo_last(&edge).result();
        assert_eq!((status().as_str(), revocations(&edge)), expect);
    }
    edge.call("PATCH", &one, "").result();
    assert_eq!((status().as_str(), revocations(&edge)), ("active", 0));
    edge.call("DELETE", &one, "").result();
    undo_last(&edge).result();
    assert_eq!((status().as_str(), revocations(&edge)), ("active", 0));
    // The authority stays: it has issued others.
    assert_eq!(edge.post(&path, &request()).result()["certificate_authority"], made["certificate_authority"]);
}

#[test]
fn lists_never_become_older_ones() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let made = edge.post(&roots(&edge), &ours.body(&[HOST])).result();
    let one = format!("{}/{}", roots(&edge), made["id"].as_str().unwrap());
    let put = |crl: String| edge.call("PUT", &one, &json!({"crl": crl}).to_string()).result();
    let count = || edge.get(&one).result()["bartizan"]["crl"]["count"].clone();
    put(ours.crl(2, &[7]));
    put(ours.crl(1, &[7, 8]));
    undo_last(&edge).result();
    assert_eq!(count(), 2);
    edge.call("DELETE", &one, "").result();
    let deleted = edge.revision();
    undo(&edge, deleted).result();
    assert_eq!(count(), 2, "the log of changes has it");
    edge.call("DELETE", &one, "").result();
    let deleted = edge.revision();
    // And after some days it has not.
    let keep = Retention { changes_max: 1, changes_min: 0, since: Timestamp::from_unix_micros(0), bytes_max: 0 };
    edge.store.compact(keep).unwrap();
    let refused = undo(&edge, deleted);
    assert_eq!(refused.verdict(), "400 10423", "{}", refused.text);
    assert!(refused.text.contains("kept nowhere any more: with --force"), "{}", refused.text);
    edge.post("/bartizan/undo", &json!({"revision": deleted, "force": true}).to_string()).result();
    assert_eq!(count(), Value::Null);
    // No list is in the audit, which tells that there was one.
    let audit = edge.get("/user/audit_logs?per_page=1000").text;
    assert!(audit.contains("crl_issued_on") && !audit.contains("X509 CRL"), "{audit}");
}

#[test]
fn a_zone_comes_back_with_all_that_is_known_of_its_clients() {
    let (edge, ours, fleet) = (Edge::new(), Authority::new(), Authority::new());
    let zone = edge.new_zone("back.example");
    let of = |path: &str| format!("/zones/{zone}{path}");
    let account = format!("/accounts/{}/access/certificates", edge.account());
    edge.post(&of("/access/certificates"), &ours.body(&["iot.back.example"])).result();
    let shared = edge.post(&account, &fleet.body(&["iot.back.example", HOST])).result();
    let own = json!({"hostnames": ["iot.back.example"]}).to_string();
    edge.call("PUT", &of("/certificate_authorities/hostname_associations"), &own).result();
    let [bad, good] = [0, 1].map(|_| edge.post(&of("/client_certificates"), &request()).result());
    edge.call("DELETE", &of(&format!("/client_certificates/{}", bad["id"].as_str().unwrap())), "").result();
    let path = format!("/bartizan/zones/{zone}/client_hosts/iot.back.example");
    let before = edge.get(&path).result();
    edge.call("DELETE", &of(""), "").result();
    let deleted = edge.revision();
    edge.settle();
    assert_eq!(revocations(&edge), 0);
    undo(&edge, deleted).result();
    let after = edge.get(&path).result();
    for field in ["mode", "authorities", "managed"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(after["authorities"].as_array().unwrap().len(), 2);
    let one = edge.get(&format!("{account}/{}", shared["id"].as_str().unwrap())).result();
    assert_eq!(one["associated_hostnames"], json!(["iot.back.example", HOST]));
    let list = edge.get(&of("/client_certificates?status=active")).json();
    assert_eq!((&list["result_info"]["total_count"], &list["result"][0]["id"]), (&json!(1), &good["id"]));
    assert_eq!(revocations(&edge), 1, "who was revoked stays so");
    // It issues as before.
    assert_eq!(
        edge.post(&of("/client_certificates"), &request()).result()["certificate_authority"],
        good["certificate_authority"]
    );
}

/// What was made in a zone does not go by an undo of the zone alone.
#[test]
fn a_zone_that_has_clients_is_not_taken_back() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let zone = edge.new_zone("young.example");
    let made = edge.revision();
    edge.post(&format!("/zones/{zone}/access/certificates"), &ours.body(&[])).result();
    assert_eq!(undo(&edge, made).verdict(), "400 10424");
}
