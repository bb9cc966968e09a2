//! The acceptor against our own client, over memory. Other TLS stacks meet it in the end-to-end tests.

mod changes;
mod clients;
mod early_data;
mod policies;
mod rounds;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_names::{CertificateId, Timestamp};
use bartizan_tls::{
    AcceptError, Acceptor, Certificate, CertifiedKey, ClientConfig, HELLO_BYTES_MAX, Hosts, Now, Roots, TlsError,
    client_config, client_config_by, connect, quic_server_config,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};

/// Larger than any flight of a handshake.
const PIPE_BYTES: usize = 64 * 1024;

/// A certificate authority, made anew for each test.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, names: &[&str]) -> CertifiedKey {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        CertifiedKey::from_pem(&certificate.pem(), &key.serialize_der()).unwrap()
    }

    fn hosts(&self, sets: &[&[&str]]) -> Hosts {
        let certificate = |(number, names): (u8, &&[&str])| Certificate {
            id: CertificateId::from_bytes([number; 16]),
            zone: None,
            preference: 0,
            not_after: Timestamp::from_unix_micros(0),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            key: self.issue(names),
        };
        (0..).zip(sets).map(certificate).collect()
    }

    fn client(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        client_config(&Roots::Pem(self.pem.clone()), alpn).unwrap()
    }
}

/// One handshake and one word each way. Says what the server saw, or both errors.
async fn talk(acceptor: &Acceptor, hosts: &Hosts, client: &Arc<ClientConfig>, name: &str) -> String {
    let (near, far) = duplex(PIPE_BYTES);
    let server = async {
        let mut stream = acceptor.accept(far, hosts).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(b"pong").await?;
        stream.shutdown().await?;
        let alpn = stream.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        Ok::<_, AcceptError>(format!(
            "{} {} {}",
            stream.sni().unwrap_or("-"),
            alpn.unwrap_or("-".into()),
            stream.resumed()
        ))
    };
    let client = async {
        let mut stream = connect(client, name, near).await?;
        stream.write_all(b"ping").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        assert_eq!(answer, b"pong");
        Ok::<_, std::io::Error>(())
    };
    match tokio::join!(server, client) {
        (Ok(seen), Ok(())) => seen,
        (server, client) => format!("server: {:?}; client: {:?}", server.err(), client.err()),
    }
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let ca = Ca::new();
    let hosts =
        ca.hosts(&[&["example.com", "*.example.com"], &["deep.sub.example.com"], &["*.wild.test"], &["192.0.2.1"]]);
    let mut with_default = hosts.clone();
    with_default.set_default("no.such.name");
    with_default.set_default("192.0.2.1");
    let acceptor = Acceptor::new(&[b"h2", b"http/1.1"]);
    let client = ca.client(&[b"http/1.1"]);
    for (hosts, name, expect) in [
        (&hosts, "example.com", "example.com http/1.1 false"),
        (&hosts, "EXAMPLE.com", "example.com http/1.1 true"), // the same name, so the same session
        (&hosts, "www.example.com", "www.example.com http/1.1 false"),
        (&hosts, "deep.sub.example.com", "deep.sub.example.com http/1.1 false"),
        (&hosts, "a.wild.test", "a.wild.test http/1.1 false"),
        // A wildcard stands for one label, not for none and not for two.
        (&hosts, "sub.sub.example.com", "UnknownName"),
        (&hosts, "wild.test", "UnknownName"),
        (&hosts, "other.test", "UnknownName"),
        (&with_default, "other.test", "UnknownName"),
        (&hosts, "192.0.2.1", "NoName"),
        (&with_default, "192.0.2.1", "- http/1.1 false"),
    ] {
        let seen = talk(&acceptor, hosts, &client, name).await;
        if expect.contains(' ') {
            assert_eq!(seen, expect, "{name}");
        } else {
            assert!(seen.contains(expect) && seen.contains("AlertReceived(UnrecognisedName)"), "{name}: {seen}");
        }
    }
}

/// Who has another time than the system's judges by that.
#[tokio::test]
async fn a_client_judges_by_the_time_that_it_is_given() {
    let ca = Ca::new();
    let hosts = ca.hosts(&[&["a.test"]]);
    let roots = Roots::Pem(ca.pem.clone());
    for (year, expect) in [(2026, "a.test - false"), (1970, "NotValidYet"), (2026, "a.test - false"), (4200, "Expired")]
    {
        let now: Now = Arc::new(move || format!("{year}-06-01T00:00:00Z").parse().unwrap());
        let seen = talk(&Acceptor::new(&[]), &hosts, &client_config_by(&now, &roots, &[]).unwrap(), "a.test").await;
        assert!(seen.contains(expect), "{year}: {seen}");
    }
}

#[tokio::test]
async fn protocols_are_agreed_on() {
    let ca = Ca::new();
    let hosts = ca.hosts(&[&["a.test"]]);
    let acceptor = Acceptor::new(&[b"h2", b"http/1.1"]);
    for (offer, expect) in [
        (&[&b"h2"[..], b"http/1.1"][..], "a.test h2 false"),
        (&[b"http/1.1", b"h2"], "a.test h2 false"),
        (&[b"http/1.1"], "a.test http/1.1 false"),
        (&[], "a.test - false"),
    ] {
        assert_eq!(talk(&acceptor, &hosts, &ca.client(offer), "a.test").await, expect);
    }
    let refused = talk(&acceptor, &hosts, &ca.client(&[b"gopher"]), "a.test").await;
    assert!(refused.contains("none of our protocols"), "{refused}");
}

#[tokio::test]
async fn roots_decide_whom_a_client_believes() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let hosts = ours.hosts(&[&["a.test"]]);
    let acceptor = Acceptor::new(&[]);
    for (roots, believed) in [
        (Roots::Pem(ours.pem.clone()), true),
        (Roots::SystemAnd(ours.pem.clone()), true),
        (Roots::Unverified, true),
        (Roots::Pem(theirs.pem.clone()), false),
        (Roots::SystemAnd(theirs.pem.clone()), false),
    ] {
        let seen = talk(&acceptor, &hosts, &client_config(&roots, &[]).unwrap(), "a.test").await;
        assert_eq!(seen == "a.test - false", believed, "{seen}");
    }
}

#[tokio::test]
async fn sessions_outlive_a_renewed_certificate() {
    let ca = Ca::new();
    let acceptor = Acceptor::new(&[]);
    let client = ca.client(&[]);
    for expect in ["a.test - false", "a.test - true", "a.test - true"] {
        let hosts = ca.hosts(&[&["a.test"]]);
        assert_eq!(talk(&acceptor.clone(), &hosts, &client, "a.test").await, expect);
    }
}

/// Many handshakes that are ready at once are in nobody's way: what came for others goes on between them.
#[test]
fn handshakes_take_turns() {
    const MANY: usize = 30;
    let ca = Ca::new();
    let (hosts, client) = (ca.hosts(&[&["a.test"]]), ca.client(&[]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answered = Rc::new(Cell::new(0));
    LocalSet::new().block_on(&runtime, async {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = tokio::net::UnixStream::from_std(near).unwrap();
        let seen = Rc::clone(&answered);
        let other = spawn_local(async move {
            near.read_u8().await.unwrap();
            seen.get()
        });
        let acceptor = Acceptor::new(&[]);
        let mut tasks = Vec::new();
        for _ in 0..MANY {
            let (near, far) = duplex(PIPE_BYTES);
            let (client, answered) = (Arc::clone(&client), Rc::clone(&answered));
            tasks.push(spawn_local(async move {
                let mut stream = connect(&client, "a.test", near).await.unwrap();
                answered.set(answered.get() + 1);
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }));
            let (acceptor, hosts) = (acceptor.clone(), hosts.clone());
            tasks.push(spawn_local(async move {
                let mut stream = acceptor.accept(far, &hosts).await.unwrap();
                stream.shutdown().await.unwrap();
            }));
        }
        // All of them wait then, as the other does.
        tokio::task::yield_now().await;
        std::io::Write::write_all(&mut far, b"x").unwrap();
        let before = other.await.unwrap();
        assert!(before < MANY / 2, "after {before} handshakes");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(answered.get(), MANY);
    });
}

/// Sends raw bytes to an acceptor; gives its verdict and what it wrote back.
async fn send_raw(bytes: Vec<u8>) -> (Result<(), AcceptError>, Vec<u8>) {
    let (mut near, far): (DuplexStream, DuplexStream) = duplex(2 * PIPE_BYTES);
    near.write_all(&bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let verdict = Acceptor::new(&[]).accept(far, &Hosts::default()).await.map(drop);
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    (verdict, answer)
}

#[tokio::test]
async fn bytes_that_are_no_hello() {
    // A handshake message that claims 65,000 bytes, in records of 10,000: never whole within the limit.
    let mut endless = vec![22, 3, 1, 0x27, 0x14, 1, 0, 0xfd, 0xe8];
    endless.resize(5 + 0x2714, 0);
    endless.extend([22, 3, 1, 0x27, 0x10]);
    endless.resize(2 * HELLO_BYTES_MAX, 0);
    for (bytes, verdict, alert) in [
        (b"".to_vec(), "UnexpectedEof", None),
        (b"\x16\x03\x01\x02".to_vec(), "UnexpectedEof", None),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), "InvalidMessage", Some(22)),
        (b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), "Handshake", None),
        (vec![0xff; 100], "InvalidMessage", Some(22)),
        (endless, "HelloTooLong", None),
    ] {
        let (seen, answer) = send_raw(bytes.clone()).await;
        let seen = format!("{seen:?}");
        assert!(seen.contains(verdict), "{:?}: {seen}", &bytes[..bytes.len().min(9)]);
        if alert.is_some() {
            assert_eq!(answer.first(), Some(&21), "{seen} {answer:?}");
        }
    }
}

/// Who speaks nothing newer is told so (RFC 5246 §E.1). One of TLS 1.2 may leave out the same extension, and is told that.
#[tokio::test]
async fn old_clients_are_told_what_is_wrong() {
    for (version, alert) in [([3, 1], 70), ([3, 2], 70), ([3, 3], 40)] {
        // One suite (ECDHE_RSA with AES-128-CBC), no compression, and no extension but the curve.
        let mut hello = vec![22, 3, 1, 0, 55, 1, 0, 0, 51];
        hello.extend(version);
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 10, 0, 4, 0, 2, 0, 23]);
        let (seen, answer) = send_raw(hello).await;
        assert!(matches!(seen, Err(AcceptError::Handshake(_))), "{seen:?}");
        assert_eq!(answer[answer.len() - 2..], [2, alert], "{version:?}: {seen:?}");
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let ca = Ca::new();
    let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().signed_by(&one, &ca.issuer).unwrap();
    for (pem, key, expect) in [
        (certificate.pem(), one.serialize_der(), "ok"),
        (certificate.pem(), other.serialize_der(), "Refused(InconsistentKeys(KeyMismatch))"),
        (String::new(), one.serialize_der(), "NoCertificate"),
        (certificate.pem(), b"no key".to_vec(), "KeyForm"),
        ("-----BEGIN CERTIFICATE-----\n".to_owned(), one.serialize_der(), "Pem("),
    ] {
        let made = match CertifiedKey::from_pem(&pem, &key) {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert!(made.starts_with(expect), "{made} {expect}");
    }
    let der = certificate.der().to_vec();
    let key = CertifiedKey::from_der(vec![der.clone()], one.serialize_der()).unwrap();
    assert_eq!(key.leaf(), der);
    assert!(matches!(CertifiedKey::from_der(vec![der], b"no key".to_vec()), Err(TlsError::KeyForm)));
    assert_eq!(quic_server_config(&key, &[b"x"]).unwrap().alpn_protocols, [b"x"]);
}
