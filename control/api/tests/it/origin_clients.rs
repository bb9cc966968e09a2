//! Certificates by which the edge is known to origins.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};

use crate::edge::Edge;

fn path(edge: &Edge) -> String {
    format!("/zones/{}/origin_tls_client_auth", edge.zone())
}

fn certificate(usages: &[ExtendedKeyUsagePurpose]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.extended_key_usages = usages.to_vec();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A body that is good.
pub(crate) fn brought() -> String {
    let (certificate, private_key) = certificate(&[ExtendedKeyUsagePurpose::ClientAuth]);
    json!({"certificate": certificate, "private_key": private_key}).to_string()
}

#[test]
fn brought_shown_and_taken_out() {
    let edge = Edge::new();
    let path = path(&edge);
    for path in [path.clone(), format!("{path}/hostnames/certificates")] {
        assert_eq!(edge.get(&path).result(), json!([]));
        let made = edge.call("POST", &path, &brought());
        assert!(!made.text.contains("PRIVATE KEY") && !made.text.contains("sealed"), "{}", made.text);
        let made = made.result();
        assert_eq!(made["status"], "active", "{made}");
        for member in ["id", "certificate", "expires_on", "issuer", "serial_number", "signature", "uploaded_on"] {
            assert!(made[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {made}");
        }
        let id = made["id"].as_str().unwrap();
        assert_eq!(edge.get(&path).result(), json!([made]));
        assert_eq!(edge.get(&format!("{path}/{id}")).result(), made);
        assert_eq!(edge.call("DELETE", &format!("{path}/{id}"), "").verdict(), "200");
        assert_eq!(edge.call("DELETE", &format!("{path}/{id}"), "").verdict(), "404 1003");
    }
    let (for_servers, its_key) = certificate(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let (other, _) = certificate(&[]);
    let before = edge.revision();
    for (what, certificate, key, expect) in [
        ("nothing", "", "", "/certificate"),
        ("no key", other.as_str(), "", "/private_key"),
        ("another key", &other, &its_key, "/private_key"),
        ("for servers alone", &for_servers, &its_key, "/certificate"),
    ] {
        let body = json!({"certificate": certificate, "private_key": key}).to_string();
        assert_eq!(edge.call("POST", &path, &body).verdict(), format!("400 1160 {expect}"), "{what}");
    }
    assert_eq!(edge.revision(), before, "nothing has changed");
}

/// Two words for one thing.
#[test]
fn whether_it_is_shown() {
    let edge = Edge::new();
    let (own, setting) =
        (format!("{}/settings", path(&edge)), format!("/zones/{}/settings/tls_client_auth", edge.zone()));
    let both = || (edge.get(&own).result()["enabled"].clone(), edge.get(&setting).result()["value"].clone());
    assert_eq!(both(), (json!(false), json!("off")));
    assert_eq!(edge.call("PUT", &own, r#"{"enabled":true}"#).result(), json!({"enabled": true}));
    assert_eq!(both(), (json!(true), json!("on")));
    assert_eq!(edge.call("PATCH", &setting, r#"{"value":"off"}"#).verdict(), "200");
    assert_eq!(both(), (json!(false), json!("off")));
    assert!(edge.call("PUT", &own, "{}").verdict().starts_with("400"));
}

#[test]
fn hosts_with_one_of_their_own() {
    let edge = Edge::new();
    let path = path(&edge);
    let hosts = format!("{path}/hostnames");
    let made = edge.call("POST", &format!("{hosts}/certificates"), &brought()).result();
    let of_zone = edge.call("POST", &path, &brought()).result();
    let host = "api.bartizan.localhost";
    let put = |host: &str, id: &Value, enabled: Value| {
        let body = json!({"config": [{"hostname": host, "cert_id": id, "enabled": enabled}]});
        edge.call("PUT", &hosts, &body.to_string())
    };
    assert_eq!(edge.get(&format!("{hosts}/{host}")).verdict(), "404 1003");
    let shown = put(host, &made["id"], json!(true)).result();
    assert_eq!((&shown[0]["cert_id"], &shown[0]["enabled"]), (&made["id"], &json!(true)));
    let one = edge.get(&format!("{hosts}/{host}")).result();
    assert_eq!((&one["certificate"], &one["cert_status"]), (&made["certificate"], &json!("active")));
    assert_eq!(put(host, &Value::Null, json!(false)).result()[0]["enabled"], json!(false), "it keeps its own");
    for (what, host, id, expect) in [
        ("one of the zone", host, &of_zone["id"], "404 1003 /config/0/cert_id"),
        ("no id", "new.bartizan.localhost", &json!(null), "404 1003 /config/0/cert_id"),
        ("another zone", "www.example.com", &made["id"], "400 1165 /config/0/hostname"),
        ("a wildcard", "*.bartizan.localhost", &made["id"], "400 1160 /config/0/hostname"),
    ] {
        assert_eq!(put(host, id, json!(true)).verdict(), expect, "{what}");
    }
    let id = made["id"].as_str().unwrap();
    assert_eq!(edge.call("DELETE", &format!("{hosts}/certificates/{id}"), "").verdict(), "200");
    assert_eq!(edge.get(&format!("{hosts}/{host}")).result()["cert_status"], "deleted");
    assert_eq!(put(host, &Value::Null, Value::Null).result(), json!([]));
    assert_eq!(edge.get(&format!("{hosts}/{host}")).verdict(), "404 1003");
}
