//! What the policy of a name's zone makes of a handshake.

use std::sync::Arc;

use bartizan_names::{Cipher, Ciphers, OldestTls, Tls13, ZoneId, ZoneSettings};
use bartizan_tls::{Acceptor, ClientConfig, Hosts, TlsPolicy, connect};
use rustls::version::{TLS12, TLS13};
use tokio::io::duplex;

use super::rounds::{Client, ZONE, client, run, serve, zone};
use super::{Ca, PIPE_BYTES};

fn under(hosts: &Hosts, apex: &str, settings: &ZoneSettings) -> Hosts {
    let mut edit = hosts.edit();
    edit.put_zone(&zone(apex), ZONE, TlsPolicy::of(settings));
    edit.finish()
}

/// What they agree on, or what the client is told.
async fn meet(acceptor: &Acceptor, hosts: &Hosts, config: &Arc<ClientConfig>, name: &str) -> String {
    let (mut client, far) = Client::dial(config, name);
    let seen = serve(acceptor, far, hosts);
    match client.ask("x\n").await {
        Ok(()) => {
            let version = client.tls.protocol_version().unwrap();
            client.wait().await.unwrap();
            drop(client);
            let seen = seen.await.unwrap().unwrap();
            format!("{version:?} {}", seen.rsplit(' ').next().unwrap())
        }
        Err(error) => {
            assert!(seen.await.unwrap().is_err());
            format!("{error:?}")
        }
    }
}

#[test]
fn versions_and_suites() {
    const RSA: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    const ECDSA: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let ca = Ca::new();
    let hosts = ca.hosts(&[&["a.test", "b.test"]]);
    let (old, new, both) =
        (client(&ca, &[&TLS12], None), client(&ca, &[&TLS13], None), client(&ca, &[&TLS12, &TLS13], None));
    let (rsa, ecdsa) = (client(&ca, &[&TLS12], Some(RSA)), client(&ca, &[&TLS12], Some(ECDSA)));
    let default = ZoneSettings::default;
    let oldest = |min_tls_version| ZoneSettings { min_tls_version, ..default() };
    let tls_1_3 = |tls_1_3| ZoneSettings { tls_1_3, ..default() };
    let ciphers = |cipher| ZoneSettings { ciphers: Ciphers::from_iter([cipher]), ..default() };
    run(async {
        for (settings, client, expect) in [
            (default(), &old, "TLSv1_2 full"),
            (default(), &new, "TLSv1_3 full"),
            (default(), &both, "TLSv1_3 full"),
            (default(), &ecdsa, "TLSv1_2 full"),
            (default(), &rsa, "HandshakeFailure"), // the certificate is of the other kind
            (oldest(OldestTls::Tls13), &both, "TLSv1_3 full"),
            (oldest(OldestTls::Tls13), &old, "ProtocolVersion"),
            (tls_1_3(Tls13::Off), &both, "TLSv1_2 full"),
            (tls_1_3(Tls13::Off), &new, "ProtocolVersion"),
            (ciphers(Cipher::EcdsaAes128), &ecdsa, "TLSv1_2 full"),
            (ciphers(Cipher::EcdsaAes256), &ecdsa, "HandshakeFailure"),
            (ciphers(Cipher::EcdsaAes256), &old, "TLSv1_2 full"),
            (ciphers(Cipher::EcdsaAes256), &new, "TLSv1_3 full"),
        ] {
            let acceptor = Acceptor::new(&[]);
            let hosts = under(&hosts, "a.test", &settings);
            let seen = meet(&acceptor, &hosts, client, "a.test").await;
            assert!(seen.contains(expect), "{seen}, not {expect}: {settings:?}");
            // Another zone on the same certificate has its own.
            assert_eq!(meet(&acceptor, &hosts, &old, "b.test").await.rsplit(' ').next(), Some("full"));
            let version = meet(&acceptor, &hosts, &both, "b.test").await;
            assert!(version.starts_with("TLSv1_3"), "{version}");
        }
    });
}

/// Who was here before is judged by what holds now.
#[test]
fn a_session_does_not_outlive_its_policy() {
    let ca = Ca::new();
    let hosts = ca.hosts(&[&["a.test", "b.test"]]);
    let default = ZoneSettings::default();
    let strict = ZoneSettings { ciphers: Ciphers::from_iter([Cipher::EcdsaAes128]), ..ZoneSettings::default() };
    run(async {
        for version in [&TLS12, &TLS13] {
            let (acceptor, config) = (Acceptor::new(&[]), client(&ca, &[version], None));
            for (settings, name, expect) in [
                (&default, "a.test", "full"),
                (&default, "a.test", "resumed"),
                (&default, "b.test", "full"),
                (&strict, "a.test", "full"),
                (&strict, "a.test", "resumed"),
                (&default, "a.test", "full"),
                (&default, "b.test", "resumed"),
            ] {
                let seen = meet(&acceptor, &under(&hosts, "a.test", settings), &config, name).await;
                assert!(seen.ends_with(expect), "{seen}, not {expect}: {version:?} {name} {settings:?}");
            }
        }
    });
}

/// Nor the zone of its name: one that comes about below another did not make it, nor did the one that has the name again.
#[test]
fn a_session_is_of_one_zone() {
    let ca = Ca::new();
    let parent = under(&ca.hosts(&[&["a.test"]]), "test", &ZoneSettings::default());
    let mut edit = parent.edit();
    edit.put_zone(&zone("a.test"), ZoneId::from_bytes([2; 16]), TlsPolicy::default());
    let child = edit.finish();
    run(async {
        for version in [&TLS12, &TLS13] {
            let (acceptor, config) = (Acceptor::new(&[]), client(&ca, &[version], None));
            for (hosts, expect) in [
                (&parent, "full"),
                (&parent, "resumed"),
                (&child, "full"),
                (&child, "resumed"),
                (&parent, "full"),
                (&parent, "resumed"),
            ] {
                let seen = meet(&acceptor, hosts, &config, "a.test").await;
                assert!(seen.ends_with(expect), "{seen}, not {expect}: {version:?}");
            }
        }
    });
}

/// Nor is it taken up at another host than the one that was served, by a client that names none.
#[test]
fn a_session_without_a_name_is_of_one_host() {
    let ca = Ca::new();
    let hosts = ca.hosts(&[&["a.test", "b.test"]]);
    run(async {
        for version in [&TLS12, &TLS13] {
            let (acceptor, mut config) = (Acceptor::new(&[]), client(&ca, &[version], None));
            Arc::make_mut(&mut config).enable_sni = false;
            for (served, expect) in [
                ("a.test", "full"),
                ("a.test", "resumed"),
                ("b.test", "full"),
                ("B.test", "resumed"),
                ("a.test", "full"),
            ] {
                let mut hosts = hosts.clone();
                hosts.set_default(served);
                let seen = meet(&acceptor, &hosts, &config, "a.test").await;
                assert!(seen.ends_with(expect), "{seen}, not {expect}: {version:?} {served}");
            }
        }
    });
}

/// Where there is one host, no other is shown, and what holds for another is nobody's way in.
#[tokio::test]
async fn a_door_of_one_host() {
    let ca = Ca::new();
    let off = ZoneSettings { http2: false, ..ZoneSettings::default() };
    let hosts = under(&ca.hosts(&[&["a.test"], &["b.test"], &["*.a.test"]]), "a.test", &off);
    let acceptor = Acceptor::new(&[b"h2", b"http/1.1"]);
    for (only, name, with_sni, expect) in [
        ("a.test", "a.test", true, Ok("http/1.1")),
        ("A.test", "a.TEST", true, Ok("http/1.1")),
        ("a.test", "a.test", false, Ok("http/1.1")),
        ("b.test", "b.test", false, Ok("h2")),
        ("a.test", "b.test", true, Err("UnrecognisedName")),
        ("a.test", "x.a.test", true, Err("UnrecognisedName")),
        ("a.test", "nobody.test", true, Err("UnrecognisedName")),
        ("nobody.test", "a.test", true, Err("UnrecognisedName")),
        ("nobody.test", "a.test", false, Err("UnrecognisedName")),
    ] {
        let (near, far) = duplex(PIPE_BYTES);
        let mut config = ca.client(&[b"h2", b"http/1.1"]);
        Arc::make_mut(&mut config).enable_sni = with_sni;
        let (client, server) = tokio::join!(connect(&config, name, near), acceptor.accept_for(far, &hosts, only));
        match expect {
            Ok(protocol) => assert_eq!(server.unwrap().alpn(), Some(protocol.as_bytes()), "{only} {name}"),
            Err(alert) => {
                let refused = format!("{:?}", client.err().unwrap());
                assert!(refused.contains(alert) && server.is_err(), "{only} {name}: {refused}");
            }
        }
    }
}

/// One certificate, one acceptor, and names that are not served in the same protocols.
#[tokio::test]
async fn a_name_can_be_served_without_http2() {
    let ca = Ca::new();
    let off = ZoneSettings { http2: false, ..ZoneSettings::default() };
    let hosts = under(&ca.hosts(&[&["new.test", "old.test"]]), "old.test", &off);
    let acceptor = Acceptor::new(&[b"h2", b"http/1.1"]);
    for (name, wanted, expect) in [
        ("new.test", &[&b"h2"[..], b"http/1.1"][..], Ok("h2")),
        ("old.test", &[b"h2", b"http/1.1"], Ok("http/1.1")),
        ("OLD.test", &[b"h2", b"http/1.1"], Ok("http/1.1")),
        ("new.test", &[b"h2"], Ok("h2")),
        ("old.test", &[b"h2"], Err("none of our protocols")),
    ] {
        let (near, far) = duplex(PIPE_BYTES);
        let client = ca.client(wanted);
        let (client, server) = tokio::join!(connect(&client, name, near), acceptor.accept(far, &hosts));
        match expect {
            Ok(protocol) => {
                assert_eq!(server.unwrap().alpn(), Some(protocol.as_bytes()), "{name}");
                assert_eq!(client.unwrap().alpn(), Some(protocol.as_bytes()), "{name}");
            }
            Err(alert) => {
                let refused = client.err().unwrap().to_string();
                assert!(refused.contains(alert), "{name}: {refused}");
                assert!(server.is_err(), "{name}");
            }
        }
    }
}
