//! Clients that are known by a certificate: authorities, hosts, and certificates that the edge issues.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use bartizan_observed::What;
use bartizan_store::{Key, Kind, Scope, Store};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, CertificateRevocationListParams, CustomExtension,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use serde_json::{Value, json};

use crate::edge::{Edge, commit};

pub(crate) const HOST: &str = "iot.bartizan.localhost";

/// An authority of clients.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Wind Sensors Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// One that says less of itself than what it does.
    fn of_which(says: impl FnOnce(&mut CertificateParams)) -> Authority {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "Wind Sensors Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut said = params.clone();
        says(&mut said);
        Authority { pem: said.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn crl(&self, days_ago: u64, serials: &[u8]) -> String {
        self.list(24 * days_ago, SystemTime::now() + Duration::from_secs(60), serials).pem().unwrap()
    }

    fn list(&self, hours_ago: u64, until: SystemTime, serials: &[u8]) -> CertificateRevocationList {
        self.list_of(SystemTime::now() - Duration::from_secs(hours_ago * 3_600), until, serials)
    }

    fn list_of(&self, issued: SystemTime, until: SystemTime, serials: &[u8]) -> CertificateRevocationList {
        let issued = issued.into();
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: vec![*serial].into(),
            revocation_time: issued,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: issued,
            next_update: until.into(),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap()
    }

    pub(crate) fn body(&self, hosts: &[&str]) -> String {
        json!({"name": "sensors", "certificate": self.pem, "associated_hostnames": hosts}).to_string()
    }
}

/// What makes one, with its certificate in this field.
pub(crate) fn authority(field: &str) -> String {
    json!({"name": "sensors", field: Authority::new().pem, "ca": true}).to_string()
}

/// A device's request, with this change.
fn csr(change: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["seven.devices.test".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sensor 7");
    params.distinguished_name.push(DnType::OrganizationName, "Wind & Sons");
    change(&mut params);
    params.serialize_request(&key).unwrap().pem().unwrap()
}

/// What has a certificate issued.
pub(crate) fn request() -> String {
    json!({"csr": csr(|_| {}), "validity_days": 365}).to_string()
}

pub(crate) fn roots(edge: &Edge) -> String {
    format!("/zones/{}/access/certificates", edge.zone())
}

pub(crate) fn hosts(edge: &Edge) -> String {
    format!("/bartizan/zones/{}/client_hosts", edge.zone())
}

pub(crate) fn host(edge: &Edge, name: &str) -> Value {
    edge.get(&format!("{}/{name}", hosts(edge))).result()
}

#[test]
fn an_authority_and_the_hosts_that_believe_it() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let before = edge.revision();
    let tried = edge.post(&format!("{}?dry_run=true", roots(&edge)), &ours.body(&[HOST]));
    assert_eq!(tried.json()["dry_run"]["changes"].as_array().unwrap().len(), 2, "{}", tried.text);
    assert_eq!(edge.revision(), before);
    let made =
        edge.post(&roots(&edge), &ours.body(&["IOT.bartizan.localhost.", "*.sensors.bartizan.localhost"])).result();
    assert_eq!(made["name"], "sensors");
    assert_eq!(made["associated_hostnames"], json!(["*.sensors.bartizan.localhost", HOST]));
    assert_eq!(
        (made["fingerprint"].as_str().unwrap().len(), &made["bartizan"]["issuer"]),
        (64, &json!("Wind Sensors Root"))
    );
    let id = made["id"].as_str().unwrap();
    let one = format!("{}/{id}", roots(&edge));
    assert_eq!(edge.get(&one).result(), made);
    assert_eq!(edge.get(&roots(&edge)).result(), json!([made]));
    let known = host(&edge, HOST);
    assert_eq!((&known["mode"], &known["authorities"]), (&json!("report"), &json!([id])));

    // What is said of a host stays when its authorities change, and the other way round.
    let policy = json!({
        "mode": "enforce",
        "refusal": {"content_type": "application/json", "body": "{\"error\":\"who?\"}"},
        "headers": [{"name": "X-Device", "value": "common_name"}],
        "client_certificate_forwarding": true,
    });
    let path = format!("{}/{HOST}", hosts(&edge));
    let put = edge.call("PUT", &path, &policy.to_string()).result();
    for field in ["mode", "refusal", "headers", "client_certificate_forwarding"] {
        assert_eq!(put[field], policy[field], "{field}");
    }
    assert_eq!(put["authorities"], json!([id]));
    let changed =
        edge.call("PUT", &one, r#"{"name":"others","associated_hostnames":["b.bartizan.localhost"]}"#).result();
    assert_eq!(
        (&changed["name"], &changed["associated_hostnames"]),
        (&json!("others"), &json!(["b.bartizan.localhost"]))
    );
    let known = host(&edge, HOST);
    assert_eq!((&known["mode"], &known["authorities"]), (&json!("enforce"), &json!([])));
    assert_eq!(host(&edge, "b.bartizan.localhost")["authorities"], json!([id]));
    // One that nobody said anything of goes with its last authority.
    assert_eq!(edge.get(&format!("{}/*.sensors.bartizan.localhost", hosts(&edge))).verdict(), "404 1164");
    let patched = edge.call("PATCH", &path, r#"{"mode":"report","refusal":null}"#).result();
    assert_eq!(
        (&patched["mode"], &patched["refusal"], &patched["headers"]),
        (&json!("report"), &Value::Null, &policy["headers"])
    );
    assert_eq!(edge.call("DELETE", &one, "").result(), json!({"id": id}));
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "404 1003");
    assert_eq!(edge.get(&hosts(&edge)).result().as_array().unwrap().len(), 1);
    assert_eq!(edge.call("DELETE", &path, "").verdict(), "200");
    assert_eq!(edge.call("PATCH", &path, r#"{"mode":"report"}"#).verdict(), "404 1164");
    let audit = edge.get("/user/audit_logs").text;
    assert!(audit.contains("client_root") && audit.contains("client_host"), "{audit}");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let no_authority = Authority::with(|params| params.is_ca = IsCa::ExplicitNoCa);
    let over = Authority::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let id = edge.post(&roots(&edge), &ours.body(&[])).result()["id"].clone();
    let one = format!("{}/{}", roots(&edge), id.as_str().unwrap());
    let before = edge.revision();
    let body = |certificate: &str, more: Value| {
        let mut body = json!({"name": "sensors", "certificate": certificate});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let host_body = |headers: Value| json!({"headers": headers}).to_string();
    let path = format!("{}/{HOST}", hosts(&edge));
    let rows: Vec<(&str, String, String, &str)> = vec![
        ("POST", roots(&edge), "{}".to_owned(), "400 1160 /certificate"),
        ("POST", roots(&edge), body("no pem", json!({})), "400 1160 /certificate"),
        ("POST", roots(&edge), body(&no_authority.pem, json!({})), "400 1160 /certificate"),
        ("POST", roots(&edge), body(&over.pem, json!({})), "400 1160 /certificate"),
        ("POST", roots(&edge), body(&ours.pem, json!({"name": ""})), "400 1160 /name"),
        (
            "POST",
            roots(&edge),
            body(&ours.pem, json!({"associated_hostnames": [HOST, "iot.elsewhere.example"]})),
            "400 1165 /associated_hostnames/1",
        ),
        ("POST", roots(&edge), body(&ours.pem, json!({"crl": "x"})), "400 1160 /crl"),
        ("POST", roots(&edge), body(&ours.pem, json!({"crl": Authority::new().crl(1, &[7])})), "400 1160 /crl"),
        ("PUT", one.clone(), body(&Authority::new().pem, json!({})), "400 1160 /certificate"),
        ("PUT", format!("{}/iot.elsewhere.example", hosts(&edge)), "{}".to_owned(), "400 1165 /hostname"),
        ("PUT", path.clone(), r#"{"mode":"on"}"#.to_owned(), "400 1165 /mode"),
        (
            "PUT",
            path.clone(),
            r#"{"refusal":{"content_type":"text/plain"}}"#.to_owned(),
            "400 1165 /refusal/content_type",
        ),
        (
            "PUT",
            path.clone(),
            r#"{"refusal":{"content_type":"application/json","body":"{"}}"#.to_owned(),
            "400 1165 /refusal/body",
        ),
        ("PUT", path.clone(), host_body(json!([{"name": "Host", "value": "ski"}])), "400 1165 /headers"),
        ("PUT", path.clone(), host_body(json!([{"name": "X-A", "value": "colour"}])), "400 1165 /headers"),
        (
            "PUT",
            format!("/zones/{}/certificate_authorities/hostname_associations", edge.zone()),
            json!({"hostnames": [HOST], "mtls_certificate_id": "00000000-0000-4000-8000-000000000000"}).to_string(),
            "404 1003 /mtls_certificate_id",
        ),
        (
            "PUT",
            format!("{}/settings", roots(&edge)),
            json!({"settings": [{"hostname": HOST, "china_network": false, "client_certificate_forwarding": true}]})
                .to_string(),
            "404 1164 /settings/0/hostname",
        ),
    ];
    for (method, path, body, expect) in rows {
        assert_eq!(edge.call(method, &path, &body).verdict(), expect, "{method} {path} {body}");
    }
    assert_eq!(edge.revision(), before);
}

#[test]
fn authorities_of_an_account_are_for_all_its_zones() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let other = edge.new_zone("other.example");
    let (account, zone) = (edge.account(), edge.zone());
    let mtls = format!("/accounts/{account}/mtls_certificates");
    let body = json!({"name": "fleet", "certificates": ours.pem, "ca": true}).to_string();
    let made = edge.post(&mtls, &body).result();
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["ca"], &made["issuer"]), (&json!(true), &json!("Wind Sensors Root")));
    assert_eq!(edge.post(&mtls, &json!({"certificates": ours.pem, "ca": false}).to_string()).verdict(), "400 1160 /ca");
    assert_eq!(edge.post(&mtls, r#"{"ca":true}"#).verdict(), "400 1160 /certificates");
    let associations = |zone: &str| format!("/zones/{zone}/certificate_authorities/hostname_associations");
    for (zone, host) in [(&zone, HOST), (&other, "iot.other.example")] {
        let body = json!({"hostnames": [host], "mtls_certificate_id": id}).to_string();
        assert_eq!(edge.call("PUT", &associations(zone), &body).result(), json!({"hostnames": [host]}));
        let asked = format!("{}?mtls_certificate_id={id}", associations(zone));
        assert_eq!(edge.get(&asked).result(), json!({"hostnames": [host]}));
        assert_eq!(edge.get(&associations(zone)).result(), json!({"hostnames": []}));
    }
    let used = edge.get(&format!("{mtls}/{id}/associations")).result();
    assert_eq!(used.as_array().unwrap().len(), 2, "{used}");
    assert_eq!(edge.call("DELETE", &format!("{mtls}/{id}"), "").verdict(), "400 1166");
    // The same object by its other path, where hosts of several zones are named at once.
    let access = format!("/accounts/{account}/access/certificates/{id}");
    let body = json!({"associated_hostnames": ["b.other.example", HOST]}).to_string();
    let changed = edge.call("PUT", &access, &body).result();
    assert_eq!(changed["associated_hostnames"], json!(["b.other.example", HOST]));
    assert_eq!(
        edge.get(&format!("{}?mtls_certificate_id={id}", associations(&other))).result()["hostnames"],
        json!(["b.other.example"])
    );
    assert_eq!(host(&edge, HOST)["authorities"], json!([id]));
    let settings = format!("/zones/{zone}/access/certificates/settings");
    let forward =
        json!({"settings": [{"hostname": HOST, "china_network": false, "client_certificate_forwarding": true}]});
    assert_eq!(edge.call("PUT", &settings, &forward.to_string()).result(), forward["settings"]);
    assert_eq!(edge.get(&settings).result(), forward["settings"]);
    assert_eq!(edge.call("PUT", &access, r#"{"associated_hostnames":[]}"#).verdict(), "200");
    assert_eq!(edge.call("DELETE", &format!("{mtls}/{id}"), "").verdict(), "200");
    assert_eq!(edge.get(&mtls).result(), json!([]));
}

/// Whoever may change an account's authority, and no zone, changes it everywhere or not at all.
#[test]
fn rights_over_an_authority_without_rights_over_its_hosts() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let roots = format!("/accounts/{}/access/certificates", edge.account());
    let made = edge.post(&roots, &ours.body(&[HOST])).result();
    let one = format!("{roots}/{}", made["id"].as_str().unwrap());
    let policy = json!({
        "effect": "allow", "permission_groups": [{"name": "Access: Mutual TLS Certificates Write"}],
        "resources": {format!("com.cloudflare.api.account.{}", edge.account()): "*"},
    });
    let token = edge.post("/user/tokens", &json!({"name": "t", "policies": [policy]}).to_string()).result();
    let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
    let call = |method: &str, body: Value| {
        let path = format!("/client/v4{one}");
        edge.send_as(&[("authorization", bearer.as_str())], method, &path, &body.to_string())
    };
    let before = host(&edge, HOST);
    // Publishing looks at what lies in a zone.
    assert_eq!(call("PUT", json!({"crl": ours.crl(1, &[7])})).verdict(), "200");
    assert_ne!(host(&edge, HOST)["modified_on"], before["modified_on"]);
    let revision = edge.revision();
    for hosts in [json!([]), json!(["b.bartizan.localhost"])] {
        let refused = call("PUT", json!({"associated_hostnames": hosts}));
        assert!([400, 403].contains(&refused.status.as_u16()), "{}", refused.text);
    }
    assert_eq!((call("PUT", json!({"associated_hostnames": []})).status.as_u16(), edge.revision()), (403, revision));
    assert_eq!(call("DELETE", json!({})).verdict(), "200");
    assert_eq!(edge.get(&format!("{}/{HOST}", hosts(&edge))).verdict(), "404 1164");
}

/// Nobody opens a host, or shuts out its clients, by what they leave out.
#[test]
fn what_is_left_out_opens_nothing() {
    let edge = Edge::new();
    let path = format!("{}/{HOST}", hosts(&edge));
    let associations = format!("/zones/{}/certificate_authorities/hostname_associations", edge.zone());
    edge.call("PUT", &associations, &json!({"hostnames": [HOST]}).to_string()).result();
    edge.call("PUT", &path, r#"{"mode":"enforce","headers":[{"name":"X-A","value":"ski"}]}"#).result();
    for method in ["PUT", "PATCH"] {
        assert_eq!(edge.call(method, &path, r#"{"mode":null}"#).verdict(), "400 1165 /mode");
    }
    let put = edge.call("PUT", &path, r#"{"headers":[]}"#).result();
    assert_eq!((&put["mode"], &put["headers"], &put["managed"]), (&json!("enforce"), &json!([]), &json!(true)));
    for body in ["{}", r#"{"hostnames":null}"#] {
        assert_eq!(edge.call("PUT", &associations, body).verdict(), "400 1165 /hostnames");
    }
    assert_eq!(host(&edge, HOST), put);
    assert_eq!(edge.call("PUT", &associations, r#"{"hostnames":[]}"#).verdict(), "200");
    assert_eq!(host(&edge, HOST)["managed"], false);
}

/// A host is the innermost zone's: what is said of it in the zone around that would hold for nobody, and is refused.
#[test]
fn hosts_of_a_zone_in_another_one() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let (parent, child) = (edge.new_zone("parent.example"), edge.new_zone("shop.parent.example"));
    let account = edge.account();
    let made = edge.post(&format!("/accounts/{account}/access/certificates"), &ours.body(&[])).result();
    let id = made["id"].as_str().unwrap();
    let associations = |zone: &str| format!("/zones/{zone}/certificate_authorities/hostname_associations");
    let path = |zone: &str, host: &str| format!("/bartizan/zones/{zone}/client_hosts/{host}");
    for host in ["shop.parent.example", "iot.shop.parent.example", "*.shop.parent.example"] {
        let listed = json!({"hostnames": ["a.parent.example", host], "mtls_certificate_id": id}).to_string();
        let own = json!({"hostnames": [host]}).to_string();
        let roots = format!("/zones/{parent}/access/certificates");
        for (method, path, body, at) in [
            ("PUT", path(&parent, host), "{}".to_owned(), "/hostname"),
            ("PUT", associations(&parent), listed, "/hostnames"),
            ("PUT", associations(&parent), own, "/hostnames"),
            ("POST", roots, ours.body(&[host]), "/associated_hostnames"),
        ] {
            assert_eq!(edge.call(method, &path, &body).verdict(), format!("400 1165 {at}"), "{method} {path}");
        }
        assert_eq!(edge.call("PUT", &path(&child, host), r#"{"mode":"enforce"}"#).verdict(), "200", "{host}");
    }
    // Who lies in the zone around says nothing of those that believe an authority of both.
    let (inner, outer) = ("iot.shop.parent.example", "iot.parent.example");
    for (zone, host) in [(&child, inner), (&parent, outer)] {
        let body = json!({"hostnames": [host], "mtls_certificate_id": id}).to_string();
        assert_eq!(edge.call("PUT", &associations(zone), &body).verdict(), "200", "{host}");
    }
    let one = format!("/accounts/{account}/access/certificates/{id}");
    let mut believers = vec![inner, outer];
    believers.sort_unstable();
    assert_eq!(edge.get(&one).result()["associated_hostnames"], json!(believers));
    let none = json!({"hostnames": [], "mtls_certificate_id": id}).to_string();
    assert_eq!(edge.call("PUT", &associations(&parent), &none).verdict(), "200");
    assert_eq!(edge.get(&one).result()["associated_hostnames"], json!([inner]));
    let mtls = format!("/accounts/{account}/mtls_certificates/{id}");
    assert_eq!(edge.call("DELETE", &mtls, "").verdict(), "400 1166");
    // Hosts that went with their zone hold nothing up.
    assert_eq!(edge.call("DELETE", &format!("/zones/{child}"), "").verdict(), "200");
    edge.settle();
    assert_eq!(edge.call("DELETE", &mtls, "").verdict(), "200");
}

/// Nobody says whom the hosts of others believe, or sees it.
#[test]
fn tenants_do_not_meet() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let made = edge.post("/accounts", r#"{"name":"tenant"}"#).result();
    let tenant = made["id"].as_str().unwrap();
    let theirs =
        edge.post("/zones", &json!({"name": "tenant.example", "account": {"id": tenant}}).to_string()).result();
    let groups =
        ["SSL and Certificates Write", "Access: Mutual TLS Certificates Write"].map(|name| json!({"name": name}));
    let resources = json!({
        format!("com.cloudflare.api.account.{tenant}"): "*",
        format!("com.cloudflare.api.account.zone.{}", theirs["id"].as_str().unwrap()): "*",
    });
    let token =
        json!({"name": "t", "policies": [{"effect": "allow", "permission_groups": groups, "resources": resources}]});
    let token = edge.post("/user/tokens", &token.to_string()).result()["value"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let call = |method: &str, path: &str, body: &str| {
        edge.send_as(&[("authorization", bearer.as_str())], method, &format!("/client/v4{path}"), body)
    };
    let id = edge.post(&roots(&edge), &ours.body(&[HOST])).result()["id"].as_str().unwrap().to_owned();
    let host = format!("{}/{HOST}", hosts(&edge));
    let of_tenant = format!("/accounts/{tenant}/access/certificates");
    for (method, path, body) in [
        ("GET", roots(&edge), String::new()),
        ("GET", format!("{}/{id}", roots(&edge)), String::new()),
        ("GET", host.clone(), String::new()),
        ("PUT", host.clone(), r#"{"mode":"off"}"#.to_owned()),
        ("DELETE", host.clone(), String::new()),
        ("DELETE", format!("{}/{id}", roots(&edge)), String::new()),
        ("POST", format!("/zones/{}/client_certificates", edge.zone()), request()),
        ("GET", format!("/zones/{}/client_certificates", edge.zone()), String::new()),
    ] {
        assert_eq!(call(method, &path, &body).verdict(), "404 1001", "{method} {path}");
    }
    let others = format!("/accounts/{}/access/certificates", edge.account());
    assert_eq!(call("GET", &others, "").verdict(), "403 9109");
    // Nor by an authority of their own that a host of ours is to believe.
    assert_eq!(call("POST", &of_tenant, &ours.body(&[HOST])).verdict(), "400 1165 /associated_hostnames/0");
    assert_eq!(call("POST", &of_tenant, &ours.body(&["iot.tenant.example"])).verdict(), "200");
    let associations =
        format!("/zones/{}/certificate_authorities/hostname_associations", theirs["id"].as_str().unwrap());
    let body = json!({"hostnames": ["iot.tenant.example"], "mtls_certificate_id": id}).to_string();
    assert_eq!(call("PUT", &associations, &body).verdict(), "404 1003 /mtls_certificate_id");
}

#[test]
fn lists_of_revoked_certificates() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let made = edge.post(&roots(&edge), &ours.body(&[HOST])).result();
    assert_eq!(made["bartizan"]["crl"], Value::Null);
    let one = format!("{}/{}", roots(&edge), made["id"].as_str().unwrap());
    let put = |crl: Value| edge.call("PUT", &one, &json!({"crl": crl}).to_string());
    let shown = put(json!(ours.crl(2, &[7, 8]))).result();
    assert_eq!((&shown["bartizan"]["crl"]["count"], &shown["associated_hostnames"]), (&json!(2), &json!([HOST])));
    assert_eq!(put(json!(ours.crl(1, &[7, 8, 9]))).result()["bartizan"]["crl"]["count"], 3);
    // Who was revoked since does not come back by an old list.
    assert_eq!(put(json!(ours.crl(3, &[]))).verdict(), "400 1160 /crl");
    assert_eq!(put(json!(Authority::new().crl(0, &[]))).verdict(), "400 1160 /crl");
    // Whoever obeyed a list that its key may not sign would believe none of its certificates any more.
    let mute = Authority::of_which(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let other = edge.post(&roots(&edge), &mute.body(&[])).result();
    let other = format!("{}/{}", roots(&edge), other["id"].as_str().unwrap());
    assert_eq!(edge.call("PUT", &other, &json!({"crl": mute.crl(1, &[7])}).to_string()).verdict(), "400 1160 /crl");
    assert_eq!(put(Value::Null).result()["bartizan"]["crl"], Value::Null);
}

/// An authority of several certificates has a list by each of their keys.
#[test]
fn each_key_has_its_list() {
    let (edge, one, other) = (Edge::new(), Authority::new(), Authority::new());
    let body = json!({"name": "two", "certificate": format!("{}{}", one.pem, other.pem)}).to_string();
    let made = edge.post(&roots(&edge), &body).result();
    let path = format!("{}/{}", roots(&edge), made["id"].as_str().unwrap());
    let put = |crl: String| edge.call("PUT", &path, &json!({"crl": crl}).to_string());
    let count = |crl: String| put(crl).result()["bartizan"]["crl"]["count"].as_u64().unwrap();
    assert_eq!(count(one.crl(3, &[7])), 1);
    assert_eq!(count(other.crl(2, &[7, 8])), 3, "who was revoked by the one stays so");
    assert_eq!(count(one.crl(2, &[7, 9])), 4);
    assert_eq!(put(one.crl(3, &[])).verdict(), "400 1160 /crl");
    assert_eq!(count(other.crl(1, &[]) + &one.crl(1, &[7])), 1, "both at once");
    assert_eq!(put(one.crl(1, &[]) + &one.crl(0, &[])).verdict(), "400 1160 /crl");
    assert_eq!(put(one.crl(1, &[]) + &Authority::new().crl(1, &[])).verdict(), "400 1160 /crl");
    // One of a day to come would keep all others out.
    let far = SystemTime::now() + Duration::from_secs(90 * 86_400);
    let ahead = one.list_of(SystemTime::now() + Duration::from_secs(60 * 86_400), far, &[]).pem().unwrap();
    assert_eq!(put(ahead).verdict(), "400 1160 /crl");
}

/// Where authorities put their lists: each path has one answer, and what is asked for is told.
struct Place {
    address: SocketAddr,
    asked: mpsc::Receiver<String>,
}

impl Place {
    fn start(answers: Vec<(&'static str, Vec<u8>)>) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (tell, asked)) = (listener.local_addr().unwrap(), mpsc::channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut lines =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                lines.by_ref().for_each(|line| head += &(line + "\n"));
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = answers.iter().find(|(known, _)| *known == path).map_or(&b""[..], |(_, answer)| answer);
                // Nobody may be there any more.
                let _ = stream.write_all(answer);
                if tell.send(head).is_err() {
                    return;
                }
            }
        });
        Place { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn lists_are_fetched_from_where_an_authority_puts_them() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let soon = SystemTime::now() + Duration::from_secs(86_400);
    let good = |body: &[u8]| answer("200 OK", "", body);
    let place = Place::start(vec![
        ("/first.crl", good(ours.list(72, soon, &[7]).der())),
        ("/again.crl", good(ours.list(60, soon, &[7]).der())),
        ("/newer.crl", good(ours.list(48, soon, &[7, 8]).pem().unwrap().as_bytes())),
        ("/moved.crl", answer("301 Moved Permanently", "Location: /newest.crl\r\n", b"")),
        ("/newest.crl", good(ours.list(24, soon, &[7, 8, 9]).der())),
        ("/foreign.crl", good(Authority::new().list(0, soon, &[]).der())),
        ("/page", good(b"<h1>secret</h1>")),
        ("/none", answer("404 Not Found", "", b"")),
        ("/round", answer("302 Found", "Location: /round\r\n", b"")),
        ("/inside", answer("302 Found", "Location: http://169.254.169.254/latest/\r\n", b"")),
        ("/endless", good(&vec![b'x'; (1 << 20) + 1])),
        ("/ended.crl", good(ours.list(1, SystemTime::now(), &[7, 8, 9, 10]).der())),
    ]);
    let mut body: Value = serde_json::from_str(&ours.body(&[HOST])).unwrap();
    body["crl_url"] = place.url("/first.crl").into();
    let made = edge.post(&roots(&edge), &body.to_string()).result();
    let one = format!("{}/{}", roots(&edge), made["id"].as_str().unwrap());
    let shown = || edge.get(&one).result()["bartizan"].clone();
    let is_over = |store: &Store| {
        let entries = store.read().unwrap().list_kind(Kind::ClientCrl, 9).unwrap();
        entries.iter().all(|entry| !entry.value.json.contains(r#""fetched_on":null,"failures":0"#))
    };
    edge.settle_until(is_over);
    let first = shown();
    assert_eq!((&first["crl"]["count"], &first["crl_source"]["state"]), (&json!(1), &json!("ok")), "{first}");
    assert!(first["crl_source"]["next_try_on"].is_string());
    let asked = place.asked.recv().unwrap();
    assert!(asked.starts_with("GET /first.crl HTTP/1.1\n") && asked.contains("user-agent: bartizan/"), "{asked}");
    // One who fetches is in no audit, nor are those that have a list before the eyes of all.
    let from = |url: String| {
        assert_eq!(edge.call("PUT", &one, &json!({"crl_url": url}).to_string()).verdict(), "200");
        edge.settle_until(is_over);
        let shown = shown();
        let error = shown["crl_source"]["last_error"].as_str().unwrap_or_default().to_owned();
        (shown["crl"]["count"].as_u64().unwrap(), error)
    };
    // A newer one that revokes nobody else is no change of the authority.
    assert_eq!(from(place.url("/again.crl")), (1, String::new()));
    let again = shown();
    assert_eq!((&again["crl"], &again["crl_source"]["state"]), (&first["crl"], &json!("ok")), "{again}");
    for (url, count, error) in [
        (place.url("/newer.crl"), 2, ""),
        (place.url("/moved.crl"), 3, ""),
        // What is here stays, whatever is there.
        (place.url("/first.crl"), 3, "that is here is newer"),
        (place.url("/foreign.crl"), 3, "none of the certificates of this authority has signed it"),
        (place.url("/page"), 3, "no list of this authority"),
        (place.url("/none"), 3, "127.0.0.1 answered 404 Not Found"),
        (place.url("/round"), 3, "more than 3 times"),
        (place.url("/endless"), 3, "longer than 1 MB"),
        // Nor is anybody dialled in whose place nobody else may be.
        (place.url("/inside"), 3, "it is a cloud's metadata service"),
        ("http://127.0.0.1:8080/".to_owned(), 3, "it is this edge itself"),
        ("http://[::ffff:169.254.169.254]/".to_owned(), 3, "169.254"),
        // It is newer, and of yesterday all the same.
        (place.url("/ended.crl"), 4, "a newer one was to come by"),
    ] {
        let (seen, told) = from(url.clone());
        assert_eq!(seen, count, "{url}: {told}");
        assert!(
            told.contains(error) && told.is_empty() == error.is_empty() && !told.contains("secret"),
            "{url}: {told}"
        );
    }
    let failing = shown()["crl_source"].clone();
    assert_eq!((&failing["state"], &failing["failing_since"]), (&json!("failing"), &failing["failing_since"]));
    for url in ["ldap://crl.example/", "http://user:word@crl.example/", "x"] {
        let put = edge.call("PUT", &one, &json!({"crl_url": url}).to_string());
        assert_eq!(put.verdict(), "400 1160 /crl_url", "{url}");
    }
    let fetches = |edge: &Edge| edge.store.read().unwrap().list_kind(Kind::ClientCrl, 9).unwrap().len();
    assert_eq!(fetches(&edge), 1);
    assert_eq!(edge.call("PUT", &one, r#"{"crl_url":null}"#).result()["bartizan"]["crl_source"], Value::Null);
    assert_eq!((fetches(&edge), &shown()["crl"]["count"]), (0, &json!(4)), "the last good one stays");
    from(place.url("/newest.crl"));
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "200");
    assert_eq!(fetches(&edge), 0);
}

/// A list of an account's authority is in force in all zones that believe it, whoever may change these.
#[test]
fn a_list_of_an_account_reaches_the_zones_that_believe_it() {
    let (edge, ours) = (Edge::new(), Authority::new());
    edge.new_zone("other.example");
    let roots = format!("/accounts/{}/access/certificates", edge.account());
    let made = edge.post(&roots, &ours.body(&[HOST, "iot.other.example"])).result();
    let before = edge.revision();
    let soon = SystemTime::now() + Duration::from_secs(86_400);
    let place = Place::start(vec![("/", answer("200 OK", "", ours.list(1, soon, &[7]).der()))]);
    let body = json!({"crl_url": place.url("/")}).to_string();
    edge.call("PUT", &format!("{roots}/{}", made["id"].as_str().unwrap()), &body).result();
    edge.settle_until(|store| {
        let changes = store.read().unwrap().tail(bartizan_store::Rev(before), 9).unwrap();
        let kinds = |change: &bartizan_store::Change| {
            change.ops.iter().map(|op| op.key().kind()).filter(|kind| *kind == Kind::ClientHost).count()
        };
        changes.iter().any(|change| kinds(change) == 2)
    });
}

/// After a day people are told, and not any more when it is over.
#[test]
fn a_list_that_cannot_be_had_for_long_is_a_problem() {
    let (edge, ours) = (Edge::new(), Authority::new());
    let id = edge.post(&roots(&edge), &ours.body(&[HOST])).result()["id"].as_str().unwrap().parse().unwrap();
    let key = Key::client_crl(Scope::Zone(edge.zone().parse().unwrap()), id);
    let at = |seconds: i64| {
        let now = bartizan_names::Timestamp::from(SystemTime::now()).unix_micros();
        bartizan_names::Timestamp::from_unix_micros(now.wrapping_add_signed(seconds * 1_000_000))
    };
    let put = |failing: i64| {
        let state = bartizan_v4::client_auth::StoredCrlFetch {
            url: "http://127.0.0.1:9/".to_owned(),
            next_on: at(3_600),
            fetched_on: None,
            failures: 20,
            failing_since: Some(at(-failing)),
            last_error: Some("no".to_owned()),
        };
        commit(&edge.store, vec![crate::edge::put(key.clone(), &serde_json::to_string(&state).unwrap())]);
    };
    let told = || {
        let all = edge.observed.problems.all(std::time::Instant::now());
        all.into_iter().filter(|problem| problem.what == What::Crls).count()
    };
    let until = |count: usize| {
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while told() != count {
            assert!(std::time::Instant::now() < end, "{count}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    put(90_000);
    until(1);
    put(80_000);
    until(0);
}

#[test]
fn certificates_are_issued_revoked_and_reactivated() {
    let edge = Edge::new();
    let path = format!("/zones/{}/client_certificates", edge.zone());
    let made = edge.post(&path, &request()).result();
    for (field, expect) in [
        ("status", json!("active")),
        ("common_name", json!("sensor 7")),
        ("organization", json!("Wind & Sons")),
        ("validity_days", json!(365)),
        ("signature", json!("ECDSAWithSHA256")),
    ] {
        assert_eq!(made[field], expect, "{field}");
    }
    assert_eq!(made["certificate_authority"]["name"], "Managed CA for bartizan.localhost");
    let issued = made["certificate"].as_str().unwrap();
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), made);
    // What a device asks to be is not what it becomes.
    let greedy = csr(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let second = edge.post(&path, &json!({"csr": greedy, "validity_days": "30"}).to_string()).result();
    let der = |pem: &str| x509(pem);
    assert!(!der(second["certificate"].as_str().unwrap()).is_ca && !der(issued).is_ca);
    assert!(der(issued).is_for_clients && !der(issued).is_for_servers);
    assert_eq!(second["certificate_authority"], made["certificate_authority"]);
    assert_ne!(second["serial_number"], made["serial_number"]);

    let revoked = edge.call("DELETE", &one, "").result();
    assert_eq!((&revoked["status"], &revoked["id"]), (&json!("revoked"), &made["id"]));
    assert_eq!(edge.call("DELETE", &one, "").result(), revoked, "a second time");
    let ids = |query: &str| -> Vec<Value> {
        let list = edge.get(&format!("{path}?{query}")).result();
        list.as_array().unwrap().iter().map(|one| one["id"].clone()).collect()
    };
    assert_eq!(ids("status=revoked"), std::slice::from_ref(&made["id"]));
    assert_eq!(ids("status=active"), std::slice::from_ref(&second["id"]));
    assert_eq!(ids("status=all").len(), 2);
    assert_eq!(ids("status=pending_revocation").len(), 0);
    // By whom they are for: both are for the same.
    for (query, count) in [
        ("common_name=sensor%207", 2),
        ("common_name=sensor%207&status=active", 1),
        ("common_name=sensor", 0),
        ("common_name=Sensor%207", 0),
    ] {
        assert_eq!(ids(query).len(), count, "{query}");
    }
    let page = edge.get(&format!("{path}?per_page=5&common_name=sensor%207&status=revoked")).json();
    assert_eq!(page["result_info"]["total_count"], 1);
    let totals = || {
        ["all", "active", "revoked", "pending_revocation"].map(|status| {
            let list = edge.get(&format!("{path}?per_page=5&status={status}")).json();
            list["result_info"]["total_count"].as_u64().unwrap()
        })
    };
    assert_eq!(totals(), [2, 1, 1, 0]);
    assert_eq!(edge.call("PATCH", &one, "").result()["status"], "active");
    assert_eq!((ids("status=revoked").len(), totals()), (0, [2, 2, 0, 0]));

    let unsigned = CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
    for (body, expect) in [
        (json!({"validity_days": 30}), "400 1160 /csr"),
        (json!({"csr": "x", "validity_days": 30}), "400 1160 /csr"),
        (json!({"csr": csr(|params| params.custom_extensions = vec![unsigned]), "validity_days": 30}), "400 1160 /csr"),
        (json!({"csr": csr(|_| {})}), "400 1160 /validity_days"),
        (json!({"csr": csr(|_| {}), "validity_days": 0}), "400 1160 /validity_days"),
        (json!({"csr": csr(|_| {}), "validity_days": 36_500}), "400 1160 /validity_days"),
    ] {
        assert_eq!(edge.post(&path, &body.to_string()).verdict(), expect, "{body}");
    }
    // The authority's key is shown to nobody.
    let audit = edge.get("/user/audit_logs").text;
    assert!(audit.contains("client_authority") && !audit.contains("sealed_key"), "{audit}");
    // Which hosts believe it.
    let associations = format!("/zones/{}/certificate_authorities/hostname_associations", edge.zone());
    let body = json!({"hostnames": [HOST]}).to_string();
    assert_eq!(edge.call("PUT", &associations, &body).result()["hostnames"], json!([HOST]));
    assert_eq!(host(&edge, HOST)["managed"], true);
}

struct Read {
    is_ca: bool,
    is_for_clients: bool,
    is_for_servers: bool,
}

fn x509(pem: &str) -> Read {
    use x509_parser::prelude::{FromDer, X509Certificate, parse_x509_pem};
    let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&block.contents).unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    Read { is_ca: certificate.is_ca(), is_for_clients: usage.client_auth, is_for_servers: usage.server_auth }
}
