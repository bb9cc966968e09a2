//! Clients that are known by a certificate: a device's MQTT, say, which no page can tell why it is refused.

use std::io::{Read, Write};
use std::sync::Arc;

use bartizan_names::{AppTls, ClientMode, ClientPolicy, Name, ProxyProtocol, ZoneId, ZoneName};
use bartizan_routes::App;
use bartizan_tls::{ClientAuth, ClientHosts, ClientTrust, HostsEdit, TlsPolicy, revoked_id};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::edge::{Edge, Setup, address_of, app, dial, direct, eventually};
use super::origin::Origin;

const ZONE: ZoneId = ZoneId::from_bytes([9; 16]);

type Shows = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
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
        params.distinguished_name.push(DnType::CommonName, "sensor-7");
        params.serial_number = Some(vec![0x40, 7].into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Some((vec![der], PrivateKeyDer::try_from(key.serialize_der()).unwrap()))
    }

    fn trust(&self) -> Arc<ClientTrust> {
        Arc::new(ClientTrust::new(&[], Some((ZONE, &self.pem))).unwrap())
    }
}

fn ask(edit: &mut HostsEdit, host: &str, mode: ClientMode, trust: &Arc<ClientTrust>) {
    let apex = ZoneName::new(Name::parse(host).unwrap()).unwrap();
    let policy = ClientPolicy { mode, refusal: None, told: Box::default(), forwards: false };
    edit.put_zone(&apex, ZONE, TlsPolicy::default());
    let auth = ClientAuth { policy, trust: Arc::clone(trust) };
    edit.put_clients(&apex, &Arc::new(ClientHosts::new([(host.to_owned(), auth)])));
}

type Stream = StreamOwned<ClientConnection, std::net::TcpStream>;

fn connect(edge: &Edge, app: &App, shows: &Shows) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(edge.ca.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match shows {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(app.name.to_string()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), dial(address_of(app)))
}

/// Says a word, and hears it back; none if the connection does not last.
fn echoed(stream: &mut Stream) -> Option<String> {
    stream.write_all(b"hello").ok()?;
    let mut back = [0; 5];
    stream.read_exact(&mut back).ok()?;
    Some(String::from_utf8_lossy(&back).into_owned())
}

#[test]
fn only_those_who_are_known_reach_the_origin() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let origin = Origin::echo("");
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    // Two on one port, of which the handshake names one.
    let two = App { tls: AppTls::Flexible, ..app("two.test", direct(&[origin.address])) };
    let other = App {
        ports: two.ports.clone(),
        addresses: two.addresses.clone(),
        ..app("other.test", direct(&[origin.address]))
    };
    let other = App { tls: AppTls::Flexible, ..other };
    let edge = Edge::start(&Setup::new(&[&one, &two, &other]));
    let trust = ours.trust();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let mut reached = 0;
    for mode in [ClientMode::Enforce, ClientMode::Report] {
        edge.publish_clients(|edit| ["one.test", "two.test"].iter().for_each(|host| ask(edit, host, mode, &trust)));
        for (what, shows, known) in [
            ("none", None, false),
            ("valid", ours.issue(|_| {}), true),
            ("expired", ours.issue(expired), false),
            ("foreign", theirs.issue(|_| {}), false),
        ] {
            for app in [&one, &two] {
                let goes_on = known || mode == ClientMode::Report;
                let filtered = edge.app(app).filtered;
                let heard = echoed(&mut connect(&edge, app, &shows));
                assert_eq!(heard.as_deref(), goes_on.then_some("hello"), "{what} {mode:?} {}", app.name);
                reached += usize::from(goes_on);
                assert_eq!(origin.accepted(), reached, "{what} {mode:?}");
                assert_eq!(edge.app(app).filtered - filtered, u64::from(!goes_on), "{what} {mode:?}");
            }
        }
    }
    // A neighbour that does not ask.
    assert_eq!(echoed(&mut connect(&edge, &other, &None)).as_deref(), Some("hello"));
}

#[test]
fn a_revoked_certificate_ends_its_connections() {
    let ours = Authority::new();
    let origin = Origin::echo("");
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&one]));
    let trust = ours.trust();
    edge.publish_clients(|edit| ask(edit, "one.test", ClientMode::Enforce, &trust));
    let (mut bad, mut good) = (
        connect(&edge, &one, &ours.issue(|_| {})),
        connect(&edge, &one, &ours.issue(|params| params.serial_number = Some(vec![0x40, 8].into()))),
    );
    assert!(echoed(&mut bad).is_some() && echoed(&mut good).is_some());
    edge.publish_clients(|edit| edit.revoke(revoked_id(ZONE, &[0x40, 7])));
    eventually("ended", || echoed(&mut bad).is_none());
    assert!(echoed(&mut good).is_some());
    assert_eq!(echoed(&mut connect(&edge, &one, &ours.issue(|_| {}))), None);
}

/// Who came when nobody was asked is somebody without a certificate from then on.
#[test]
fn who_came_before_it_was_asked_for_one_does_not_stay() {
    let ours = Authority::new();
    let origin = Origin::echo("");
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let plain = app("plain.test", direct(&[origin.address]));
    let edge = Edge::start(&Setup::new(&[&one, &plain]));
    let (mut open, mut through) = (connect(&edge, &one, &None), dial(address_of(&plain)));
    assert!(echoed(&mut open).is_some());
    let mut talks = || {
        through.write_all(b"hello").unwrap();
        through.read_exact(&mut [0; 5]).unwrap();
    };
    talks();
    let trust = ours.trust();
    edge.publish_clients(|edit| ask(edit, "one.test", ClientMode::Report, &trust));
    assert!(echoed(&mut open).is_some());
    edge.publish_clients(|edit| {
        ["one.test", "plain.test"].iter().for_each(|host| ask(edit, host, ClientMode::Enforce, &trust));
    });
    eventually("ended", || echoed(&mut open).is_none());
    // Its origin ends TLS, if anybody does.
    talks();
}

#[test]
fn a_certificate_that_runs_out_ends_its_connections() {
    let ours = Authority::new();
    let origin = Origin::echo("");
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&one]));
    edge.publish_clients(|edit| ask(edit, "one.test", ClientMode::Enforce, &ours.trust()));
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let mut ending = connect(&edge, &one, &ours.issue(|params| params.not_after = end.into()));
    let mut lasting = connect(&edge, &one, &ours.issue(|_| {}));
    assert!(echoed(&mut ending).is_some() && echoed(&mut lasting).is_some());
    eventually("ended", || echoed(&mut ending).is_none());
    assert!(std::time::SystemTime::now() >= end);
    assert!(echoed(&mut lasting).is_some());
}

#[test]
fn an_origin_is_told_by_the_proxy_header() {
    let ours = Authority::new();
    let (send, heard) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let origin = Origin::start(move |mut stream| {
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
        stream.read_exact(&mut rest).unwrap();
        // Behind the addresses.
        send.lock().unwrap().send(rest[12..].to_vec()).unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
    });
    let setup =
        App { tls: AppTls::Flexible, proxy_protocol: ProxyProtocol::V2, ..app("one.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&setup]));
    let trust = ours.trust();
    assert!(echoed(&mut connect(&edge, &setup, &ours.issue(|_| {}))).is_some());
    assert_eq!(heard.recv().unwrap(), b"", "nobody asks");
    edge.publish_clients(|edit| ask(edit, "one.test", ClientMode::Report, &trust));
    let name = b"\x22\x00\x08sensor-7";
    for (what, shows, expect) in [
        ("none", None, [&b"\x20\x00\x05\x01\0\0\0\x01"[..], b""]),
        ("valid", ours.issue(|_| {}), [b"\x20\x00\x10\x07\0\0\0\0", name]),
        ("foreign", Authority::new().issue(|_| {}), [b"\x20\x00\x05\x07\0\0\0\x14", b""]),
    ] {
        assert!(echoed(&mut connect(&edge, &setup, &shows)).is_some(), "{what}");
        assert_eq!(heard.recv().unwrap(), expect.concat(), "{what}");
    }
}
