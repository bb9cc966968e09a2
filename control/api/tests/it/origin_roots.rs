//! Authorities of a zone's own, for the certificates of its origins.

use std::time::{Duration, Instant, SystemTime};

use bartizan_observed::What;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::clients_known::authority;
use crate::edge::Edge;

fn path(edge: &Edge) -> String {
    format!("/zones/{}/acm/custom_trust_store", edge.zone())
}

#[test]
fn brought_shown_and_taken_out() {
    let edge = Edge::new();
    let path = path(&edge);
    assert_eq!(edge.get(&path).result(), json!([]));
    let made = edge.call("POST", &path, &authority("certificate")).result();
    assert_eq!(made["status"], "active", "{made}");
    for member in ["id", "certificate", "expires_on", "issuer", "signature", "updated_at", "uploaded_on"] {
        assert!(made[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {made}");
    }
    let id = made["id"].as_str().unwrap();
    assert_eq!(edge.get(&path).result(), json!([made]));
    assert_eq!(edge.get(&format!("{path}/{id}")).result(), made);
    let text = made["certificate"].as_str().unwrap();
    let cut = json!({"certificate": &text[..text.len() / 2]}).to_string();
    let large = json!({"certificate": text.repeat(40)}).to_string();
    let (leaf, _): (String, Value) = {
        let brought: Value = serde_json::from_str(&crate::custom_certificates::brought()).unwrap();
        let chain = brought["certificate"].as_str().unwrap().to_owned();
        (chain.split_inclusive("-----END CERTIFICATE-----").next().unwrap().to_owned(), brought)
    };
    let leaf = json!({ "certificate": leaf }).to_string();
    let before = edge.revision();
    for (what, body) in [
        ("nothing", "{}"),
        ("no PEM", r#"{"certificate":"x"}"#),
        ("half", &cut),
        ("too much", &large),
        ("no authority", &leaf),
    ] {
        assert_eq!(edge.call("POST", &path, body).verdict(), "400 1160 /certificate", "{what}");
    }
    assert_eq!(edge.revision(), before, "nothing has changed");
    assert_eq!(edge.call("DELETE", &format!("{path}/{id}"), "").verdict(), "200");
    assert_eq!(edge.call("DELETE", &format!("{path}/{id}"), "").verdict(), "404 1003");
    assert_eq!(edge.get(&path).result(), json!([]));
}

/// An authority of this name.
fn called(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn body(pem: &str) -> String {
    json!({ "certificate": pem }).to_string()
}

/// As many as are looked at for each new connection.
#[test]
fn there_may_be_some() {
    let edge = Edge::new();
    let path = path(&edge);
    for number in 0..20 {
        edge.call("POST", &path, &body(&called(&format!("authority {}", number / 2)))).result();
    }
    let refused = edge.call("POST", &path, &body(&called("another")));
    assert!(refused.verdict().starts_with("400 1160") && refused.text.contains("20 of them"), "{}", refused.text);
}

/// Each that is called what a certificate names as its issuer is a signature to be checked with each new connection.
#[test]
fn few_of_one_name() {
    let edge = Edge::new();
    let path = path(&edge);
    let made: Vec<Value> = (0..4).map(|_| edge.call("POST", &path, &body(&called("one"))).result()).collect();
    let refused = edge.call("POST", &path, &body(&called("one")));
    assert_eq!(refused.verdict(), "400 1160 /certificate", "{}", refused.text);
    assert!(refused.text.contains("4 of this name"), "{}", refused.text);
    edge.call("POST", &path, &body(&called("other"))).result();
    let several = body(&[called("a"), called("b")].concat());
    assert_eq!(edge.call("POST", &path, &several).verdict(), "400 1160 /certificate");
    edge.call("DELETE", &format!("{path}/{}", made[0]["id"].as_str().unwrap()), "").result();
    edge.call("POST", &path, &body(&called("one"))).result();
}

/// Before one runs out people are told, and not any more when it is gone.
#[test]
fn one_that_runs_out_soon_is_a_problem() {
    let edge = Edge::new();
    let path = path(&edge);
    let told = || {
        let all = edge.observed.problems.all(std::time::Instant::now());
        all.into_iter().find(|problem| problem.what == What::OriginTls)
    };
    let until = |is_told: bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while told().is_some() != is_told {
            assert!(Instant::now() < end, "{is_told}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    edge.call("POST", &path, &body(&called("for long"))).result();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "soon");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = (SystemTime::now() + Duration::from_secs(10 * 86_400)).into();
    let soon = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let made = edge.call("POST", &path, &body(&soon)).result();
    until(true);
    let problem = told().unwrap();
    assert_eq!(problem.count, 1);
    assert!(problem.reason.contains("`bartizan origin-ca list "), "{problem}");
    edge.call("DELETE", &format!("{path}/{}", made["id"].as_str().unwrap()), "");
    until(false);
}
