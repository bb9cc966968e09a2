//! Data that clients send before the handshake is over.

use std::io::Write;

use bartizan_names::ZoneSettings;
use bartizan_tls::{Acceptor, Hosts, TlsPolicy};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::rounds::{Client, ZONE, client, run, serve, zone};
use super::{Ca, PIPE_BYTES};

fn hosts(ca: &Ca, early_data: bool) -> Hosts {
    let mut edit = ca.hosts(&[&["a.test"]]).edit();
    edit.put_zone(&zone("a.test"), ZONE, TlsPolicy::of(&ZoneSettings { early_data, ..ZoneSettings::default() }));
    edit.finish()
}

/// What is sent before and after the end of the handshake is read in its order, and it is told when it is over.
#[test]
fn before_and_after() {
    let ca = Ca::new();
    let (hosts, acceptor, config) = (hosts(&ca, true), Acceptor::with_early_data(&[]), client(&ca, &[&TLS13], None));
    run(async {
        let (mut first, far) = Client::dial(&config, "a.test");
        let seen = serve(&acceptor, far, &hosts);
        first.ask("first\n").await.unwrap();
        drop(first);
        assert_eq!(seen.await.unwrap().unwrap(), "first late full");

        let (mut second, far) = Client::dial(&config, "a.test");
        let seen = serve(&acceptor, far, &hosts);
        // A line that begins before the handshake is over, and ends after it.
        second.tls.early_data().unwrap().write_all(b"one\ntwo\nthr").unwrap();
        second.wait().await.unwrap();
        assert_eq!(second.answer, "one!\ntwo!\n", "in half a round trip");
        second.tls.writer().write_all(b"ee\nfour\n").unwrap();
        second.wait().await.unwrap();
        assert_eq!(second.answer, "one!\ntwo!\nthree!\nfour!\n");
        drop(second);
        let expect = "one early resumed, two early resumed, three late resumed, four late resumed";
        assert_eq!(seen.await.unwrap().unwrap(), expect);
    });
}

/// Only where the policy allows it and somebody can tell it from other data; a change is in force at the next handshake,
/// and what was made before it is of no use then.
#[test]
fn who_may_send_it() {
    let ca = Ca::new();
    run(async {
        for (acceptor, before, after, expect) in [
            (Acceptor::with_early_data(&[]), true, true, "x early resumed"),
            (Acceptor::with_early_data(&[]), true, false, "x late full"),
            (Acceptor::with_early_data(&[]), false, true, "x late full"),
            (Acceptor::with_early_data(&[]), false, false, "x late resumed"),
            (Acceptor::new(&[]), true, true, "x late resumed"),
        ] {
            let config = client(&ca, &[&TLS13], None);
            let mut said = Vec::new();
            for early_data in [before, after] {
                let (mut client, far) = Client::dial(&config, "a.test");
                let seen = serve(&acceptor, far, &hosts(&ca, early_data));
                client.ask("x\n").await.unwrap();
                assert_eq!(client.answer, "x!\n");
                client.wait().await.unwrap();
                drop(client);
                said.push(seen.await.unwrap().unwrap());
            }
            assert_eq!(said, ["x late full", expect], "{before} {after}");
        }
    });
}

/// The very bytes of a first flight, sent again by whoever saw them: to whichever copy of the acceptor, they are not read.
#[test]
fn a_copy_is_not_read() {
    let ca = Ca::new();
    let (hosts, acceptor, config) = (hosts(&ca, true), Acceptor::with_early_data(&[]), client(&ca, &[&TLS13], None));
    run(async {
        let (mut first, far) = Client::dial(&config, "a.test");
        let seen = serve(&acceptor, far, &hosts);
        first.ask("first\n").await.unwrap();
        drop(first);
        seen.await.unwrap().unwrap();

        let (mut second, far) = Client::dial(&config, "a.test");
        let seen = serve(&acceptor, far, &hosts);
        second.tls.early_data().unwrap().write_all(b"pay\n").unwrap();
        second.wait().await.unwrap();
        assert_eq!(second.answer, "pay!\n");
        let flight = second.sent.clone();
        drop(second);
        assert_eq!(seen.await.unwrap().unwrap(), "pay early resumed");

        for _ in 0..2 {
            let (mut near, far) = duplex(PIPE_BYTES);
            let seen = serve(&acceptor.clone(), far, &hosts);
            near.write_all(&flight).await.unwrap();
            near.shutdown().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            assert!(answer.len() > 500, "a whole handshake is offered: {} bytes", answer.len());
            let refused = format!("{:?}", seen.await.unwrap());
            assert!(refused.contains("UnexpectedEof"), "nothing is read: {refused}");
        }
    });
}

/// So much of it and no more, and the client knows.
#[test]
fn it_is_bounded() {
    let ca = Ca::new();
    let (hosts, acceptor, config) = (hosts(&ca, true), Acceptor::with_early_data(&[]), client(&ca, &[&TLS13], None));
    run(async {
        for (most, expect) in [(0, "late full"), (14 * 1024, "late resumed")] {
            let (mut client, far) = Client::dial(&config, "a.test");
            let seen = serve(&acceptor, far, &hosts);
            let line = "x".repeat(20_000) + "\n";
            let early = client.tls.early_data().map_or(0, |mut early| early.write(line.as_bytes()).unwrap());
            assert_eq!(early, most);
            client.tls.writer().write_all(&line.as_bytes()[early..]).unwrap();
            while client.answer.len() <= line.len() {
                assert!(client.waits < 8, "no answer");
                client.wait().await.unwrap();
            }
            drop(client);
            let seen = seen.await.unwrap().unwrap();
            assert!(seen.ends_with(expect), "{}", &seen[20_000..]);
        }
    });
}
