//! Clients with certificates: the handshake ends well whatever they show, and what they showed is judged for each request.

use std::sync::Arc;

use bartizan_names::{ClientMode, ClientPolicy, ClientStatus, Name, Span, Timestamp, Unbelieved, ZoneId, ZoneName};
use bartizan_tls::{
    Acceptor, Client, ClientAuth, ClientConfig, ClientHosts, ClientRoot, ClientTrust, Hosts, TlsPolicy, connect,
    revoked_id,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, PKCS_RSA_SHA256, date_time_ymd,
};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Ca, PIPE_BYTES};

/// 2025-06-01, in seconds of Unix.
const NOW: Span = Span::at(Timestamp::from_unix_micros(1_748_736_000_000_000));

const ZONE: ZoneId = ZoneId::from_bytes([7; 16]);

/// What a client has to show.
#[derive(Clone, Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// An authority of clients, valid from 2020 to 2030.
pub(super) struct Authority {
    pub(super) pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
    params
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        Authority::made(name, |params, key| params.self_signed(key).unwrap())
    }

    /// One below another.
    fn below(&self, name: &str) -> Authority {
        Authority::made(name, |params, key| params.signed_by(key, &self.issuer).unwrap())
    }

    fn made(name: &str, sign: impl FnOnce(&CertificateParams, &KeyPair) -> rcgen::Certificate) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = sign(&params, &key);
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Authority { pem, der, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        self.issue_for(KeyPair::generate().unwrap(), change)
    }

    fn issue_for(
        &self,
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, KeyPair) {
        let mut params = params("a client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    fn trust(&self) -> ClientTrust {
        ClientTrust::new(&[Arc::new(ClientRoot::read(&self.pem, "").unwrap())], None).unwrap()
    }
}

fn shows(chain: &[&CertificateDer<'static>], key: &KeyPair) -> Shows {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = chain.iter().map(|one| (*one).clone()).collect();
    Shows(Some(Arc::new(CertifiedKey::new(chain, any_supported_type(&key).unwrap()))))
}

fn config(ca: &Ca, shows: Shows, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = ca.pem.as_bytes();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    Arc::new(builder.with_client_cert_resolver(Arc::new(shows)))
}

fn auth(trust: Arc<ClientTrust>) -> ClientAuth {
    let policy = ClientPolicy { mode: ClientMode::Enforce, refusal: None, told: Box::default(), forwards: false };
    ClientAuth { policy, trust }
}

fn zone(text: &str) -> ZoneName {
    ZoneName::new(Name::parse(text).unwrap()).unwrap()
}

/// The zone `test`, of which these hosts ask their clients.
fn asking(hosts: &Hosts, trusts: &[(&str, &Arc<ClientTrust>)]) -> Hosts {
    let mut edit = hosts.edit();
    edit.put_zone(&zone("test"), ZONE, TlsPolicy::default());
    let hosts = trusts.iter().map(|(name, trust)| ((*name).to_owned(), auth(Arc::clone(trust))));
    edit.put_clients(&zone("test"), &Arc::new(ClientHosts::new(hosts)));
    edit.finish()
}

/// A handshake and a word each way: who the client is to the server, and whether a session was taken up again.
async fn meet(
    acceptor: &Acceptor,
    hosts: &Hosts,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(Option<Client>, bool), String> {
    let (near, far) = duplex(PIPE_BYTES);
    let server = async {
        let mut stream = acceptor.accept(far, hosts).await.map_err(|error| format!("{error:?}"))?;
        let seen = (stream.client(), stream.resumed());
        stream.write_all(b"pong").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(seen)
    };
    let client = async {
        let mut stream = connect(client, name, near).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(answer)
    };
    let (server, client) = tokio::join!(server, client);
    let seen = server?;
    assert_eq!(client?, b"pong");
    Ok(seen)
}

#[tokio::test]
async fn whatever_a_client_shows_the_handshake_ends_well() {
    use ClientStatus::{Invalid, Valid};
    let (ca, ours, theirs) = (Ca::new(), Authority::new("ours"), Authority::new("theirs"));
    let middle = ours.below("middle");
    let trust = Arc::new(ours.trust());
    let hosts = asking(&ca.hosts(&[&["a.test"]]), &[("a.test", &trust)]);
    let acceptor = Acceptor::new(&[]);
    let one = |(der, key): (CertificateDer<'static>, KeyPair)| shows(&[&der], &key);
    let (below, below_key) = middle.issue(|_| {});
    let (expired, early) = (date_time_ymd(2024, 1, 1), date_time_ymd(2026, 1, 1));
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], vec![5, 0]);
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let der = params("myself").self_signed(&key).unwrap().der().clone();
        shows(&[&der], &key)
    };
    for (what, shows, expect) in [
        ("nothing", Shows(None), ClientStatus::None),
        ("P-256", one(ours.issue(|_| {})), Valid),
        ("Ed25519", one(ours.issue_for(KeyPair::generate_for(&PKCS_ED25519).unwrap(), |_| {})), Valid),
        ("RSA", one(ours.issue_for(KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), |_| {})), Valid),
        ("no usage", one(ours.issue(|params| params.extended_key_usages.clear())), Valid),
        ("through another", shows(&[&below, &middle.der], &below_key), Valid),
        ("through another, with the root", shows(&[&below, &middle.der, &ours.der], &below_key), Valid),
        ("without the other", shows(&[&below], &below_key), Invalid(Unbelieved::Untrusted)),
        ("expired", one(ours.issue(|params| params.not_after = expired)), Invalid(Unbelieved::Expired)),
        ("early", one(ours.issue(|params| params.not_before = early)), Invalid(Unbelieved::NotYetValid)),
        ("foreign", one(theirs.issue(|_| {})), Invalid(Unbelieved::Untrusted)),
        ("self-signed", self_signed, Invalid(Unbelieved::Untrusted)),
        (
            "for servers",
            one(ours.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
            Invalid(Unbelieved::WrongUsage),
        ),
        (
            "a critical extension",
            one(ours.issue(|params| {
                let mut unknown = unknown.clone();
                unknown.set_criticality(true);
                params.custom_extensions = vec![unknown];
            })),
            Invalid(Unbelieved::Unreadable),
        ),
    ] {
        for tls in [&version::TLS13, &version::TLS12] {
            let seen = meet(&acceptor, &hosts, &config(&ca, shows.clone(), tls), "a.test").await;
            let (client, resumed) = seen.unwrap_or_else(|error| panic!("{what} {tls:?}: {error}"));
            let client = client.expect("it was asked");
            assert_eq!((client.standing(&hosts, &trust, NOW), resumed), (expect, false), "{what} {tls:?}");
            assert_eq!(client.certificate().is_some(), expect != ClientStatus::None, "{what} {tls:?}");
            assert_eq!(client.host(), "a.test");
        }
    }
}

/// Who has seen the certificate of another cannot show it (RFC 8446 §4.4.3).
#[tokio::test]
async fn a_certificate_without_its_key_ends_the_handshake() {
    let (ca, ours) = (Ca::new(), Authority::new("ours"));
    let trust = Arc::new(ours.trust());
    let hosts = asking(&ca.hosts(&[&["a.test"]]), &[("a.test", &trust)]);
    let (der, _) = ours.issue(|_| {});
    let stolen = shows(&[&der], &KeyPair::generate().unwrap());
    for tls in [&version::TLS13, &version::TLS12] {
        let seen = meet(&Acceptor::new(&[]), &hosts, &config(&ca, stolen.clone(), tls), "a.test").await;
        assert!(seen.as_ref().is_err_and(|error| error.contains("BadSignature")), "{seen:?}");
    }
}

/// Hosts that do not ask are not told, whatever a client has.
#[tokio::test]
async fn only_some_hosts_ask() {
    let (ca, ours) = (Ca::new(), Authority::new("ours"));
    let trust = Arc::new(ours.trust());
    let names = &["a.test", "b.test", "x.wild.test", "y.x.wild.test", "other.example"];
    let hosts = asking(&ca.hosts(&[names]), &[("A.test", &trust), ("*.wild.test", &trust)]);
    let (der, key) = ours.issue(|_| {});
    let client = config(&ca, shows(&[&der], &key), &version::TLS13);
    for (name, asks) in
        [("a.test", true), ("b.test", false), ("x.wild.test", true), ("y.x.wild.test", false), ("other.example", false)]
    {
        let (seen, _) = meet(&Acceptor::new(&[]), &hosts, &client, name).await.unwrap();
        assert_eq!((seen.is_some(), hosts.asks_client(name)), (asks, asks), "{name}");
    }
    let mut edit = hosts.edit();
    edit.remove_zone(&zone("test"));
    assert!(!edit.finish().asks_client("a.test"));
    assert!(hosts.asks_client("A.TEST"));
}

/// What a session brings along is judged by what is believed now.
#[tokio::test]
async fn a_session_is_no_way_around() {
    use ClientStatus::{Invalid, Valid};
    let (ca, ours, others) = (Ca::new(), Authority::new("ours"), Authority::new("others"));
    let trust = Arc::new(ours.trust());
    let plain = ca.hosts(&[&["a.test"]]);
    let hosts = asking(&plain, &[("a.test", &trust)]);
    let (der, key) = ours.issue(|_| {});
    for tls in [&version::TLS13, &version::TLS12] {
        let acceptor = Acceptor::new(&[]);
        let client = config(&ca, shows(&[&der], &key), tls);
        // Before the host asked: that session says nothing of the client.
        let (seen, resumed) = meet(&acceptor, &plain, &client, "a.test").await.unwrap();
        assert!(seen.is_none() && !resumed);
        let (seen, resumed) = meet(&acceptor, &hosts, &client, "a.test").await.unwrap();
        assert_eq!((seen.unwrap().standing(&hosts, &trust, NOW), resumed), (Valid, false), "{tls:?}");
        let (seen, resumed) = meet(&acceptor, &hosts, &client, "a.test").await.unwrap();
        let seen = seen.unwrap();
        assert_eq!((seen.standing(&hosts, &trust, NOW), resumed), (Valid, true), "{tls:?}");
        // The same client, when time goes on and when the host believes others.
        let years = |years: i64| {
            let micros = NOW.latest.unix_micros().saturating_add_signed(years * 365 * 86_400_000_000);
            Timestamp::from_unix_micros(micros)
        };
        assert_eq!(seen.standing(&hosts, &trust, Span::at(years(5))), Invalid(Unbelieved::Expired));
        assert_eq!(seen.standing(&hosts, &trust, NOW), Valid);
        // And when nobody knows the time: it is to be valid at both.
        for (from, until, expect) in [
            (0, 5, Invalid(Unbelieved::Expired)),
            (0, 0, Valid),
            (-6, 0, Invalid(Unbelieved::NotYetValid)),
            (0, 0, Valid),
            (-6, 5, Invalid(Unbelieved::Expired)),
        ] {
            let span = Span { earliest: years(from), latest: years(until) };
            assert_eq!(seen.standing(&hosts, &trust, span), expect, "{from} {until}");
        }
        let changed = Arc::new(others.trust());
        assert_eq!(seen.standing(&hosts, &changed, NOW), Invalid(Unbelieved::Untrusted));
        let hosts = asking(&plain, &[("a.test", &changed)]);
        let (seen, resumed) = meet(&acceptor, &hosts, &client, "a.test").await.unwrap();
        let standing = seen.unwrap().standing(&hosts, &changed, NOW);
        assert_eq!((standing, resumed), (Invalid(Unbelieved::Untrusted), true), "{tls:?}");
    }
}

/// What the zone's own authority has revoked is so at once; what another has, by its list.
#[tokio::test]
async fn revoked_certificates() {
    use ClientStatus::{Invalid, Valid};
    let (ca, own) = (Ca::new(), Authority::new("own"));
    let trust = Arc::new(ClientTrust::new(&[], Some((ZONE, &own.pem))).unwrap());
    let hosts = asking(&ca.hosts(&[&["a.test"]]), &[("a.test", &trust)]);
    let serial = [0x40, 2, 3, 4];
    let (der, key) = own.issue(|params| params.serial_number = Some(serial.to_vec().into()));
    let client = config(&ca, shows(&[&der], &key), &version::TLS13);
    let (client, _) = meet(&Acceptor::new(&[]), &hosts, &client, "a.test").await.unwrap();
    let client = client.unwrap();
    assert_eq!(client.standing(&hosts, &trust, NOW), Valid);
    for (zone, serial, expect) in [
        (ZoneId::from_bytes([8; 16]), &serial[..], Valid),
        (ZONE, &serial[..3], Valid),
        (ZONE, &serial[..], Invalid(Unbelieved::Revoked)),
    ] {
        let mut edit = hosts.edit();
        edit.revoke(revoked_id(zone, serial));
        let after = edit.finish();
        assert!(!after.knows_the_same(&hosts));
        assert_eq!(client.standing(&after, &trust, NOW), expect, "{zone} {serial:?}");
        let mut edit = after.edit();
        edit.reactivate(&revoked_id(zone, serial));
        assert_eq!(client.standing(&edit.finish(), &trust, NOW), Valid);
    }
    // Zeros in front are no other number.
    assert_eq!(revoked_id(ZONE, &[0, 0, 1]), revoked_id(ZONE, &[1]));

    // It has run out, and is the last that there is.
    let foreign = Authority::new("foreign");
    let listed = trust_of(&[&own], &[list(&own, &serial)]);
    assert_eq!(client.standing(&hosts, &listed, NOW), Invalid(Unbelieved::Revoked));
    // Of another authority it says nothing.
    let listed = trust_of(&[&own], &[list(&foreign, &serial)]);
    assert_eq!(client.standing(&hosts, &listed, NOW), Valid);
}

/// The client that shows these, after a handshake at a host that asks.
async fn shown(chain: &[&CertificateDer<'static>], key: &KeyPair) -> (Client, Hosts) {
    let ca = Ca::new();
    let hosts = asking(&ca.hosts(&[&["a.test"]]), &[("a.test", &Arc::new(ClientTrust::nobody()))]);
    let client = config(&ca, shows(chain, key), &version::TLS13);
    let (client, _) = meet(&Acceptor::new(&[]), &hosts, &client, "a.test").await.unwrap();
    (client.unwrap(), hosts)
}

/// A list of one certificate that this authority has revoked.
fn list(authority: &Authority, serial: &[u8]) -> String {
    let now = date_time_ymd(2025, 1, 1);
    let list = rcgen::CertificateRevocationListParams {
        this_update: now,
        next_update: date_time_ymd(2025, 2, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: serial.to_vec().into(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

fn trust_of(authorities: &[&Authority], crls: &[String]) -> Arc<ClientTrust> {
    let read = |authority: &&Authority| Arc::new(ClientRoot::read(&authority.pem, &crls.concat()).unwrap());
    let roots: Vec<_> = authorities.iter().map(read).collect();
    Arc::new(ClientTrust::new(&roots, None).unwrap())
}

/// Whoever makes up certificates that all bear one name sends nobody round in circles: with a search that follows names these
/// take minutes.
#[tokio::test]
async fn a_maze_of_certificates_holds_nobody_up() {
    let maze: Vec<Authority> = (0..9).map(|_| Authority::new("loop")).collect();
    let (leaf, key) = maze[0].issue(|_| {});
    let chain: Vec<_> = std::iter::once(&leaf).chain(maze.iter().map(|one| &one.der)).collect();
    let (client, hosts) = shown(&chain, &key).await;
    let begin = std::time::Instant::now();
    for _ in 0..500 {
        // Another authority each time, so that nothing is remembered.
        let trust = Arc::new(Authority::new("loop").trust());
        assert_eq!(client.standing(&hosts, &trust, NOW), ClientStatus::Invalid(Unbelieved::Untrusted));
    }
    assert!(begin.elapsed() < std::time::Duration::from_secs(30), "{:?}", begin.elapsed());
    // Who is one of them is found all the same.
    let (one, other) = (Arc::new(maze[0].trust()), trust_of(&[&maze[8], &maze[0], &maze[4]], &[]));
    assert_eq!(client.standing(&hosts, &one, NOW), ClientStatus::Valid);
    assert_eq!(client.standing(&hosts, &other, NOW), ClientStatus::Valid);
}

/// An authority below another of the same host is an end of no path: it is revoked, and runs out, like any certificate.
#[tokio::test]
async fn an_authority_between_is_judged_too() {
    use ClientStatus::{Invalid, Valid};
    let root = Authority::new("root");
    let serial = [0x41, 2, 3];
    let between = Authority::made("between", |params, key| {
        let mut params = params.clone();
        params.serial_number = Some(serial.to_vec().into());
        params.not_after = date_time_ymd(2027, 1, 1);
        params.signed_by(key, &root.issuer).unwrap()
    });
    let (leaf, key) = between.issue(|_| {});
    let after_its_end = Span::at(Timestamp::from_unix_micros(NOW.latest.unix_micros() + 3 * 365 * 86_400_000_000));
    for chain in [&[&leaf][..], &[&leaf, &between.der]] {
        let (client, hosts) = shown(chain, &key).await;
        let both = trust_of(&[&root, &between], &[]);
        assert_eq!(client.standing(&hosts, &both, NOW), Valid);
        assert_eq!(client.standing(&hosts, &both, after_its_end), Invalid(Unbelieved::Expired));
        assert_eq!(client.standing(&hosts, &both, NOW), Valid);
        let listed = trust_of(&[&root, &between], &[list(&root, &serial)]);
        assert_eq!(client.standing(&hosts, &listed, NOW), Invalid(Unbelieved::Revoked));
        // Whoever believes it alone has no list of who is above it.
        assert_eq!(client.standing(&hosts, &trust_of(&[&between], &[]), NOW), Valid);
    }
}

/// An authority that got a new key keeps its name: the lists of the old and of the new one are told apart.
#[tokio::test]
async fn two_authorities_of_one_name() {
    use ClientStatus::{Invalid, Valid};
    let (old, new) = (Authority::new("roll"), Authority::new("roll"));
    let numbered = |serial: u8| move |params: &mut CertificateParams| params.serial_number = Some(vec![serial].into());
    for (authority, other) in [(&old, &new), (&new, &old)] {
        let (good, good_key) = authority.issue(numbered(1));
        let (bad, bad_key) = authority.issue(numbered(2));
        let (good, hosts) = shown(&[&good], &good_key).await;
        let (bad, _) = shown(&[&bad], &bad_key).await;
        let (own, of_other) = (list(authority, &[2]), list(other, &[1]));
        for (lists, expect) in [
            (vec![], Valid),
            (vec![of_other.clone()], Valid),
            (vec![own.clone()], Invalid(Unbelieved::Revoked)),
            (vec![own.clone(), of_other.clone()], Invalid(Unbelieved::Revoked)),
            (vec![of_other, own], Invalid(Unbelieved::Revoked)),
        ] {
            let trust = trust_of(&[&old, &new], &lists);
            assert_eq!(good.standing(&hosts, &trust, NOW), Valid, "{} lists", lists.len());
            assert_eq!(bad.standing(&hosts, &trust, NOW), expect, "{} lists", lists.len());
        }
    }
}
