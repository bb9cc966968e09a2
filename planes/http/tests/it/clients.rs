//! Clients that are known by a certificate: who is let in, and what the origin is told of whom.

use std::io::{Read, Write};
use std::sync::Arc;

use bartizan_exchange::UpstreamError;
use bartizan_names::{
    ClientField, ClientMode, ClientPolicy, ClientRefusal, Name, RefusalForm, ToldField, ZoneId, ZoneName, ZoneSettings,
};
use bartizan_plane_http::Limits;
use bartizan_tls::{ClientAuth, ClientHosts, ClientTrust, HostsEdit, revoked_id};
use bartizan_wire::http2::hpack::{Decoder, List};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

use super::edge::{Edge, field, origin_at, plain, read_answer, read_head, status};
use super::frames::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, block, frame, request};
use super::http3;
use super::origin::{Origin, ok};
use super::protocols::run;
use super::tls::{HTTP1, HTTP2, Visitor, config_with};
use super::websocket::{ASK, echo};

const ZONE: ZoneId = ZoneId::from_bytes([9; 16]);

type Shows = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

/// Who issues certificates to clients.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Shows {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "sensor 7\r\nX-Role: admin");
        params.subject_alt_names = vec![SanType::DnsName("seven.devices.test".try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = Some(vec![0x40, 7].into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Some((vec![der], PrivateKeyDer::try_from(key.serialize_der()).unwrap()))
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn issue_as_pem(&self, change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }

    fn trust(&self) -> Arc<ClientTrust> {
        Arc::new(ClientTrust::new(&[], Some((ZONE, &self.pem))).unwrap())
    }
}

fn policy(mode: ClientMode) -> ClientPolicy {
    ClientPolicy { mode, refusal: None, told: Box::default(), forwards: false }
}

fn told(fields: &[(&str, ClientField)]) -> Box<[ToldField]> {
    fields.iter().map(|(name, value)| ToldField { name: (*name).into(), value: *value }).collect()
}

/// Each host is a zone of its own in these tests.
fn ask(edit: &mut HostsEdit, host: &str, policy: ClientPolicy, trust: &Arc<ClientTrust>) {
    let apex = ZoneName::new(Name::parse(host).unwrap()).unwrap();
    let auth = ClientAuth { policy, trust: Arc::clone(trust) };
    edit.put_clients(&apex, &Arc::new(ClientHosts::new([(host.to_owned(), auth)])));
}

/// Lets a host ask its clients for certificates of an authority that nobody has any of.
pub(crate) fn publish_mode(edge: &Edge, host: &str, mode: ClientMode) {
    publish_authority(edge, host, mode, &Authority::new());
}

/// The same, of this one.
pub(crate) fn publish_authority(edge: &Edge, host: &str, mode: ClientMode, authority: &Authority) {
    edge.publish_clients(|edit| ask(edit, host, policy(mode), &authority.trust()));
}

fn revoke(edge: &Edge) {
    edge.publish_clients(|edit| edit.revoke(revoked_id(ZONE, &[0x40, 7])));
}

/// Status, and what the origin was told of the certificate.
fn outcome(origin: &Origin, status: &str) -> String {
    let told = origin.take_seen().pop().map(|seen| {
        let field = |name| field(&seen.head, name).unwrap_or("-").to_owned();
        format!(" {} {}", field("bartizan-cert-status"), field("bartizan-cert-reason"))
    });
    format!("{status}{}", told.unwrap_or_default())
}

#[test]
fn who_is_let_in_and_who_is_reported() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let origin = Origin::start(|_| ok("hello"));
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), plain())];
    let edge = Edge::start(&sites);
    let trust = ours.trust();
    edge.publish_clients(|edit| {
        ask(edit, "a.test", policy(ClientMode::Enforce), &trust);
        ask(edit, "b.test", policy(ClientMode::Report), &trust);
    });
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    for (what, shows, enforced, reported) in [
        ("none", None, "403", "200 none -"),
        ("valid", ours.issue(|_| {}), "200 valid -", "200 valid -"),
        ("expired", ours.issue(expired), "403", "200 invalid expired"),
        ("foreign", theirs.issue(|_| {}), "403", "200 invalid untrusted"),
    ] {
        let shows = || shows.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
        for version in [&TLS12, &TLS13] {
            let config = config_with(&edge, HTTP1, version, shows());
            // The second time the session is taken up again.
            for time in ["first", "second"] {
                for (host, expect) in [("a.test", enforced), ("b.test", reported)] {
                    let answer = Visitor::dial(&edge, &config, host).get(host).unwrap();
                    assert_eq!(outcome(&origin, &answer), expect, "{what} {host} {version:?} {time}");
                }
            }
        }
        let config = config_with(&edge, HTTP2, &TLS13, shows());
        for (host, expect) in [("a.test", enforced), ("b.test", reported)] {
            let mut visitor = Visitor::dial(&edge, &config, host);
            let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&request("GET", host, &[])));
            visitor.ask(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &get].concat()).unwrap();
            visitor.read_streams(&[1]);
            let seen = outcome(&origin, "");
            assert_eq!(seen, expect.trim_start_matches(char::is_numeric), "{what} {host} HTTP/2");
        }
    }
    assert!(edge.counters().visitors.handshakes_resumed > 0);
    // Without TLS there is no certificate.
    assert_eq!(outcome(&origin, status(&edge.get("a.test", "/", ""))), "403");
    assert_eq!(outcome(&origin, status(&edge.get("b.test", "/", ""))), "200 none -");
}

/// Over QUIC it is the same question and the same judge: at a whole handshake, with a session that is taken up again, on a
/// connection that is open when a certificate is revoked, and for a host that asks something else.
#[test]
fn over_http3() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let origin = Origin::start(|_| ok("hello"));
    let sites = [("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), plain())];
    let edge = Edge::over_quic(&sites, Limits::default(), |_| Err(UpstreamError::NotConnected));
    let trust = ours.trust();
    edge.publish_clients(|edit| {
        ask(edit, "a.test", policy(ClientMode::Enforce), &trust);
        ask(edit, "b.test", policy(ClientMode::Report), &trust);
    });
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let valid = ours.issue(|_| {});
    let config = |shows: &Shows| {
        let shows = shows.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
        config_with(&edge, &[b"h3"], &TLS13, shows)
    };
    for (what, shows, enforced, reported) in [
        ("none", &None, "403", "200 none -"),
        ("valid", &valid, "200 valid -", "200 valid -"),
        ("expired", &ours.issue(expired), "403", "200 invalid expired"),
        ("foreign", &theirs.issue(|_| {}), "403", "200 invalid untrusted"),
    ] {
        let config = config(shows);
        for time in ["first", "second"] {
            for (host, expect) in [("a.test", enforced), ("b.test", reported)] {
                let answer = run(async {
                    let visitor = http3::Visitor::as_told(&edge, host, &config).await;
                    let answer = visitor.get(host).await;
                    visitor.leave().await;
                    answer.status
                });
                assert_eq!(outcome(&origin, &answer), expect, "{what} {host} {time}");
            }
        }
    }
    run(async {
        let visitor = http3::Visitor::as_told(&edge, "a.test", &config(&valid)).await;
        assert_eq!(visitor.get("a.test").await.status, "200");
        assert_eq!(visitor.get("b.test").await.status, "421", "another mode");
        let stranger = http3::Visitor::as_told(&edge, "b.test", &config(&None)).await;
        assert_eq!(stranger.get("a.test").await.status, "421", "nobody asked it as that host wants");
        revoke(&edge);
        assert_eq!(visitor.get("a.test").await.status, "403", "revoked since");
    });
}

/// Nobody can say it of themselves, in whichever spelling, nor behind the body.
#[test]
fn forged_fields_do_not_reach_the_origin() {
    let ours = Authority::new();
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = ours.trust();
    let chosen = told(&[("X-Device-Id", ClientField::CommonName), ("X_Serial", ClientField::Serial)]);
    edge.publish_clients(|edit| {
        ask(edit, "a.test", ClientPolicy { told: chosen, ..policy(ClientMode::Report) }, &trust);
    });
    let forged = [
        "Bartizan-Cert-Status: valid",
        "bartizan_cert_status: valid",
        "Bartizan-Cert-SKI: 00",
        "Client-Cert: :AAAA:",
        "client_cert: :AAAA:",
        "Client-Cert-Chain: :AAAA:",
        "Cf-Client-Cert-Sha256: 00",
        "x-device-id: forged",
        "X_DEVICE_ID: forged",
        "x.device.id: forged",
        "X-Serial: forged",
        "Connection: X-Device-Id, Bartizan-Cert-Status, close",
    ];
    let fields: String = forged.iter().map(|line| format!("{line}\r\n")).collect();
    let check = |how: &str| {
        let head = origin.take_seen().pop().unwrap().head.to_ascii_lowercase();
        let names = ["cert", "device", "serial"];
        let left: Vec<&str> =
            head.lines().skip(1).filter(|line| names.iter().any(|name| line.contains(name))).collect();
        assert_eq!(left, ["bartizan-cert-status: none"], "{how}");
    };
    assert_eq!(status(&edge.get("a.test", "/", &fields)), "200");
    check("HTTP/1.1 in the clear");
    let mut visitor = Visitor::dial(&edge, &config_with(&edge, HTTP1, &TLS13, None), "a.test");
    visitor.ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut visitor).0), "200");
    check("HTTP/1.1");
    let lines: Vec<(String, &str)> = forged[..forged.len() - 1]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut visitor = Visitor::dial(&edge, &config_with(&edge, HTTP2, &TLS13, None), "a.test");
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&request("GET", "a.test", &lines)));
    visitor.ask(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &get].concat()).unwrap();
    visitor.read_streams(&[1]);
    check("HTTP/2");
}

#[test]
fn trailers_are_no_way_around_either() {
    let (send, seen) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let origin = Origin::raw(move |mut stream| {
        read_head(&mut stream);
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            text.push(byte[0]);
        }
        send.lock().unwrap().send(String::from_utf8(text).unwrap()).unwrap();
        stream.write_all(&ok("hello")).unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = Authority::new().trust();
    let chosen = told(&[("X-Device-Id", ClientField::CommonName)]);
    edge.publish_clients(|edit| {
        ask(edit, "a.test", ClientPolicy { told: chosen, ..policy(ClientMode::Report) }, &trust);
    });
    let body = "3\r\nabc\r\n0\r\nX-Device-Id: forged\r\nX_device_ID: forged\r\nBartizan-Cert-Status: valid\r\nX-Sum: 7\r\n\r\n";
    let ask =
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    assert_eq!(status(&edge.raw(ask.as_bytes())), "200");
    assert_eq!(seen.recv().unwrap().to_ascii_lowercase(), "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
}

#[test]
fn what_the_origin_is_told() {
    let ours = Authority::new();
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = ours.trust();
    let fields = [
        ("X-Name", ClientField::CommonName, "sensor 7%0D%0AX-Role: admin"),
        ("X-Subject", ClientField::Subject, "CN=sensor 7%0D%0AX-Role: admin"),
        ("X-San", ClientField::San, "DNS:seven.devices.test"),
        ("X-Serial", ClientField::Serial, "4007"),
        ("X-State", ClientField::Status, "valid"),
        ("X-Unit", ClientField::OrganizationalUnit, "-"),
        ("X-End", ClientField::NotAfter, "2099-01-01T00:00:00.000000Z"),
    ];
    let chosen: Vec<(&str, ClientField)> = fields.iter().map(|(name, value, _)| (*name, *value)).collect();
    let policy = ClientPolicy { told: told(&chosen), forwards: true, ..policy(ClientMode::Report) };
    edge.publish_clients(|edit| ask(edit, "a.test", policy, &trust));
    let shows = ours.issue(|params| params.not_after = date_time_ymd(2099, 1, 1));
    let der = shows.as_ref().unwrap().0[0].to_vec();
    let config = config_with(&edge, HTTP1, &TLS13, shows);
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    // What is told is made once a connection.
    for _ in 0..2 {
        assert_eq!(visitor.get("a.test").unwrap(), "200");
        let head = origin.take_seen().pop().unwrap().head;
        for (name, _, expect) in fields {
            assert_eq!(field(&head, name).unwrap_or("-"), expect, "{name}");
        }
        let sent = field(&head, "client-cert").unwrap();
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        assert_eq!(sent, format!(":{}:", engine.encode(&der)));
        assert_eq!(field(&head, "cf-client-cert-der-base64"), Some(&sent[1..sent.len() - 1]));
        assert_eq!(field(&head, "client-cert-chain"), None);
        assert_eq!(field(&head, "bartizan-cert-ski").map(str::len), Some(40), "{head}");
        assert_eq!(field(&head, "x-role"), None);
    }
    // Of one that is not believed, nothing that an origin could take for somebody.
    let config = config_with(&edge, HTTP1, &TLS13, Authority::new().issue(|_| {}));
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "200");
    let head = origin.take_seen().pop().unwrap().head;
    assert_eq!(field(&head, "x-state"), Some("invalid"));
    for name in ["x-name", "x-subject", "x-san", "x-serial", "x-end", "client-cert", "cf-client-cert-sha256"] {
        assert_eq!(field(&head, name), None, "{name}");
    }
}

#[test]
fn words_of_the_owner() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = Authority::new().trust();
    for (form, body, kind) in [
        (RefusalForm::Json, r#"{"error":"who are you?"}"#, "application/json"),
        (RefusalForm::Html, "<h1>Who are you?", "text/html; charset=utf-8"),
    ] {
        let refusal = Some(ClientRefusal { form, body: body.into() });
        edge.publish_clients(|edit| {
            ask(edit, "a.test", ClientPolicy { refusal, ..policy(ClientMode::Enforce) }, &trust);
        });
        for shows in [None, Authority::new().issue(|_| {})] {
            let mut visitor = Visitor::dial(&edge, &config_with(&edge, HTTP1, &TLS13, shows), "a.test");
            visitor.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
            let (head, answered) = read_answer(&mut visitor);
            assert_eq!((status(&head), field(&head, "content-type")), ("403", Some(kind)), "{head}");
            assert_eq!((answered, field(&head, "cache-control")), (body.as_bytes().to_vec(), Some("no-store")));
        }
    }
    assert_eq!(origin.connections(), 0);
}

/// Of the answers on the first four streams of a client.
fn statuses(visitor: &mut Visitor) -> [String; 4] {
    let (mut decoder, mut found) = (Decoder::new(4_096), [const { String::new() }; 4]);
    while found.iter().any(String::is_empty) {
        let mut head = [0; 9];
        visitor.read_exact(&mut head).unwrap();
        let [a, b, c, kind, _, of @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        visitor.read_exact(&mut payload).unwrap();
        if kind == HEADERS {
            let read = decoder.decode(&payload, usize::MAX, |name, value| {
                if name == b":status" {
                    found[u32::from_be_bytes(of) as usize / 2] = String::from_utf8(value.to_vec()).unwrap();
                }
            });
            assert!(matches!(read, Ok(List::Whole)));
        }
    }
    found
}

/// A connection is for hosts that ask the same of their clients, and believe the same.
#[test]
fn one_name_in_the_handshake_and_another_in_the_request() {
    let (ours, others) = (Authority::new(), Authority::new());
    let origin = Origin::start(|_| ok("hello"));
    let hosts = ["a.test", "b.test", "up.test", "down.test"];
    let sites = hosts.map(|host| (host, origin_at(origin.address), plain()));
    let edge = Edge::start(&sites);
    let (trust, other) = (ours.trust(), others.trust());
    edge.publish_clients(|edit| {
        ask(edit, "a.test", policy(ClientMode::Enforce), &trust);
        ask(edit, "b.test", policy(ClientMode::Enforce), &trust);
        ask(edit, "up.test", policy(ClientMode::Enforce), &other);
    });
    let config = config_with(&edge, HTTP1, &TLS13, ours.issue(|_| {}));
    for (name, host, expect) in [
        ("a.test", "a.test", "200"),
        ("a.test", "b.test", "200"),
        ("a.test", "up.test", "421"),
        ("a.test", "down.test", "421"),
        ("down.test", "a.test", "421"),
        ("down.test", "down.test", "200"),
        ("up.test", "up.test", "403"),
    ] {
        let mut visitor = Visitor::dial(&edge, &config, name);
        assert_eq!(visitor.get(host).unwrap(), expect, "{name} {host}");
    }
    // HTTP/2, where browsers ask for several hosts on one connection: each stream is judged by its own.
    let config2 = config_with(&edge, HTTP2, &TLS13, ours.issue(|_| {}));
    for (name, expect) in [
        ("a.test", ["200", "200", "421", "421"]),
        ("down.test", ["421", "421", "421", "200"]),
        ("up.test", ["421", "421", "403", "421"]),
    ] {
        let mut visitor = Visitor::dial(&edge, &config2, name);
        let gets = (1..)
            .step_by(2)
            .zip(hosts)
            .map(|(stream, host)| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&request("GET", host, &[]))));
        let asked: Vec<u8> = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].into_iter().chain(gets).flatten().collect();
        visitor.ask(&asked).unwrap();
        assert_eq!(statuses(&mut visitor), expect, "{name}");
    }
    // One that was open before its host asked.
    let mut visitor = Visitor::dial(&edge, &config, "down.test");
    assert_eq!(visitor.get("down.test").unwrap(), "200");
    edge.publish_clients(|edit| ask(edit, "down.test", policy(ClientMode::Enforce), &trust));
    assert_eq!(visitor.get("down.test").unwrap(), "421");
}

/// What changes is in force on connections that are open, for sessions, and for what comes ahead of the handshake's end.
#[test]
fn revoked_while_it_is_connected() {
    let ours = Authority::new();
    let origin = Origin::start(|_| ok("hello"));
    let early = ZoneSettings { early_data: true, ..plain() };
    let edge = Edge::start(&[("a.test", origin_at(origin.address), early)]);
    let trust = ours.trust();
    edge.publish_clients(|edit| ask(edit, "a.test", policy(ClientMode::Enforce), &trust));
    let config = config_with(&edge, HTTP1, &TLS13, ours.issue(|_| {}));
    let mut open = Visitor::dial(&edge, &config, "a.test");
    assert_eq!(open.get("a.test").unwrap(), "200");
    let ask_early = |config: &Arc<ClientConfig>| {
        let mut visitor = Visitor::dial(&edge, config, "a.test");
        visitor.send_early(b"GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = status(&read_answer(&mut visitor).0).to_owned();
        assert!(visitor.tls.is_early_data_accepted());
        answer
    };
    assert_eq!(ask_early(&config), "200");
    origin.take_seen();
    revoke(&edge);
    assert_eq!(open.get("a.test").unwrap(), "403");
    assert_eq!(Visitor::dial(&edge, &config, "a.test").get("a.test").unwrap(), "403");
    assert_eq!(ask_early(&config), "403");
    assert_eq!(origin.take_seen().len(), 0);
    edge.publish_clients(|edit| edit.reactivate(&revoked_id(ZONE, &[0x40, 7])));
    assert_eq!(open.get("a.test").unwrap(), "200");
    let others = Authority::new().trust();
    edge.publish_clients(|edit| ask(edit, "a.test", policy(ClientMode::Enforce), &others));
    assert_eq!(open.get("a.test").unwrap(), "403");
}

#[test]
fn a_websocket_ends_with_its_certificate() {
    let ours = Authority::new();
    let origin = echo("");
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = ours.trust();
    edge.publish_clients(|edit| ask(edit, "a.test", policy(ClientMode::Enforce), &trust));
    let config = config_with(&edge, HTTP1, &TLS13, ours.issue(|_| {}));
    let mut visitor = Visitor::dial(&edge, &config, "a.test");
    visitor.ask(ASK.as_bytes()).unwrap();
    assert_eq!(status(&read_head(&mut visitor)), "101");
    // Something else of clients changes.
    edge.publish_clients(|edit| edit.revoke(revoked_id(ZONE, &[1])));
    visitor.ask(b"ping").unwrap();
    let mut back = [0; 4];
    visitor.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
    revoke(&edge);
    has_ended(&mut visitor, "it was revoked");
}

/// What is open is judged by the host that it is for, whatever host the connection was made for and whether that asked.
#[test]
fn a_websocket_ends_when_its_host_lets_nobody_in_any_more() {
    type Change = fn(&mut HostsEdit, &Arc<ClientTrust>, &Arc<ClientTrust>);
    let enforce = || policy(ClientMode::Enforce);
    let ours = Authority::new();
    let origin = echo("");
    let sites = ["a.test", "b.test", "up.test"].map(|host| (host, origin_at(origin.address), plain()));
    let edge = Edge::start(&sites);
    let (trust, others) = (ours.trust(), Authority::new().trust());
    let cases: [(&str, &str, Option<&str>, &[Change]); 4] = [
        (
            "the host believes others",
            "b.test",
            Some("a.test"),
            &[|edit, _, others| {
                ask(edit, "b.test", policy(ClientMode::Enforce), others);
            }],
        ),
        (
            "the connection's host asks no more, and then it is revoked",
            "b.test",
            Some("a.test"),
            &[
                |edit, _, _| edit.put_clients(&ZoneName::new(Name::parse("a.test").unwrap()).unwrap(), &Arc::default()),
                |edit, _, _| edit.revoke(revoked_id(ZONE, &[0x40, 7])),
            ],
        ),
        (
            "the host begins to ask",
            "up.test",
            Some("up.test"),
            &[|edit, trust, _| {
                ask(edit, "up.test", policy(ClientMode::Enforce), trust);
            }],
        ),
        (
            "it does, and came without TLS",
            "up.test",
            None,
            &[|edit, trust, _| {
                ask(edit, "up.test", policy(ClientMode::Enforce), trust);
            }],
        ),
    ];
    for (what, host, through, changes) in cases {
        edge.publish_clients(|edit| {
            ask(edit, "a.test", enforce(), &trust);
            ask(edit, "b.test", enforce(), &trust);
            edit.put_clients(&ZoneName::new(Name::parse("up.test").unwrap()).unwrap(), &Arc::default());
            edit.reactivate(&revoked_id(ZONE, &[0x40, 7]));
        });
        let change = || changes.iter().for_each(|change| edge.publish_clients(|edit| change(edit, &trust, &others)));
        match through {
            Some(name) => {
                let shows = if name == "up.test" { None } else { ours.issue(|_| {}) };
                let mut visitor = Visitor::dial(&edge, &config_with(&edge, HTTP1, &TLS13, shows), name);
                visitor.ask(ASK.replace("a.test", host).as_bytes()).unwrap();
                echoes(&mut visitor, |visitor| visitor.ask(b"ping").unwrap());
                change();
                has_ended(&mut visitor, what);
            }
            None => {
                let mut visitor = edge.dial();
                visitor.write_all(ASK.replace("a.test", host).as_bytes()).unwrap();
                echoes(&mut visitor, |visitor| visitor.write_all(b"ping").unwrap());
                change();
                has_ended(&mut visitor, what);
            }
        }
    }
}

fn echoes<S: Read>(stream: &mut S, ping: impl FnOnce(&mut S)) {
    assert_eq!(status(&read_head(stream)), "101");
    ping(stream);
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

fn has_ended(stream: &mut impl Read, what: &str) {
    match stream.read(&mut [0; 4]) {
        Ok(0) => {}
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {}
        other => panic!("{what}: {other:?}"),
    }
}

/// Nothing is asked and nothing changes but the time.
#[test]
fn a_websocket_ends_when_its_certificate_runs_out() {
    let ours = Authority::new();
    let origin = echo("");
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    edge.publish_clients(|edit| ask(edit, "a.test", policy(ClientMode::Enforce), &ours.trust()));
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let shows = ours.issue(|params| params.not_after = end.into());
    let mut visitor = Visitor::dial(&edge, &config_with(&edge, HTTP1, &TLS13, shows), "a.test");
    visitor.ask(ASK.as_bytes()).unwrap();
    assert_eq!(status(&read_head(&mut visitor)), "101");
    has_ended(&mut visitor, "its certificate ran out");
    assert!(std::time::SystemTime::now() >= end);
}

/// Whoever is not let in costs the origin nothing.
#[test]
fn a_thousand_strangers_make_no_connection_to_the_origin() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trust = Authority::new().trust();
    edge.publish_clients(|edit| ask(edit, "a.test", policy(ClientMode::Enforce), &trust));
    let shows = Authority::new().issue(|_| {});
    let config = config_with(&edge, HTTP1, &TLS13, shows);
    for _ in 0..100 {
        let mut visitor = Visitor::dial(&edge, &config, "a.test");
        for _ in 0..10 {
            assert_eq!(visitor.get("a.test").unwrap(), "403");
        }
    }
    assert_eq!(origin.connections(), 0);
    let ended = edge.counters().requests;
    assert_eq!(ended.status_4xx, 1_000);
}
