//! Encrypted connections: who ends the encryption, and which application is meant.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{AppTls, OldestTls, ProxyProtocol, Tls13, ZoneSettings};
use bartizan_plane_l4::{EdgeEvent, Limit, OriginFailure};
use bartizan_routes::App;
use bartizan_tls::{Acceptor, ClientConfig, Roots, client_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::edge::{Ca, Edge, STUCK, Setup, address_of, app, dial, direct, echoed, ending, eventually, hosts};
use super::origin::Origin;

fn trusting(ca: &Ca) -> Arc<ClientConfig> {
    client_config(&Roots::Pem(ca.pem.clone()), &[]).unwrap()
}

/// Shakes hands as `name`, says `hello`, ends its side, and gives all that comes back; or why not.
pub(crate) fn conversation(edge: &Edge, app: &App, name: &str) -> String {
    let config = trusting(&edge.ca);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let talk = async {
            let socket = tokio::net::TcpStream::connect(address_of(app)).await?;
            let mut stream = bartizan_tls::connect(&config, name, socket).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<String, std::io::Error>(text)
        };
        match tokio::time::timeout(STUCK, talk).await.unwrap() {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        }
    })
}

/// An origin that speaks TLS: reads until the end, then says whom it was taken for and what it was told.
fn tls_origin(ca: &Ca, names: &[&str]) -> Origin {
    let mut hosts = hosts(names, ca);
    hosts.set_default(names[0]);
    let acceptor = Acceptor::new(&[]);
    Origin::start(move |mut stream| {
        // A header comes before the handshake.
        let mut head = [0; 5];
        while stream.peek(&mut head).is_ok_and(|read| read < 5 && read > 0) {}
        let mut line = String::new();
        if head.starts_with(b"PROXY") {
            while !line.ends_with('\n') {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                line.push(byte[0].into());
            }
        }
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpStream::from_std(stream).unwrap();
            let Ok(mut stream) = acceptor.accept(socket, &hosts).await else { return };
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            let told = line.split(' ').next().unwrap_or_default();
            let answer = format!("{told}{}:{text}", stream.sni().unwrap_or("-"));
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    })
}

#[test]
fn who_encrypts() {
    let ca = Ca::new();
    let (plain, chatty) = (Origin::last_word(), Origin::echo("220 no TLS here\r\n"));
    let known = tls_origin(&ca, &["one.test"]);
    let unknown = tls_origin(&Ca::new(), &["one.test"]);
    let other_name = tls_origin(&ca, &["two.test"]);
    let applications: Vec<(App, &str)> = [
        (AppTls::Flexible, &plain, ProxyProtocol::Off, "5:hello"),
        (AppTls::Full, &known, ProxyProtocol::Off, "one.test:hello"),
        (AppTls::Full, &unknown, ProxyProtocol::Off, "one.test:hello"),
        (AppTls::Full, &known, ProxyProtocol::V1, "PROXYone.test:hello"),
        (AppTls::Strict, &known, ProxyProtocol::Off, "one.test:hello"),
        (AppTls::Strict, &unknown, ProxyProtocol::Off, "error"),
        (AppTls::Strict, &other_name, ProxyProtocol::Off, "error"),
        (AppTls::Full, &chatty, ProxyProtocol::Off, "error"),
        // The origin's own encryption passes through.
        (AppTls::Off, &known, ProxyProtocol::Off, "one.test:hello"),
    ]
    .map(|(tls, origin, proxy_protocol, expect)| {
        (App { tls, proxy_protocol, ..app("one.test", direct(&[origin.address])) }, expect)
    })
    .into();
    let setup = Setup::new(&applications.iter().map(|(app, _)| app).collect::<Vec<_>>());
    let edge = Edge::with_ca(&setup, ca);
    for (app, expect) in &applications {
        let got = conversation(&edge, app, "one.test");
        assert_eq!(got.get(..expect.len()), Some(*expect), "{:?} {:?}: {got}", app.tls, app.proxy_protocol);
        eventually("closed", || edge.app(app).closed == 1);
        assert_eq!(edge.app(app).origin_failures(OriginFailure::Tls), u64::from(*expect == "error"), "{:?}", app.tls);
    }
}

#[test]
fn names_tell_applications_on_one_port_apart() {
    let (first, second) = (Origin::last_word(), Origin::echo(""));
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[first.address])) };
    let two = App {
        ports: one.ports.clone(),
        addresses: one.addresses.clone(),
        tls: AppTls::Flexible,
        ..app("two.test", direct(&[second.address]))
    };
    let edge = Edge::start(&Setup::new(&[&one, &two]));
    for (name, expect) in [
        ("one.test", "5:hello"),
        ("ONE.test", "5:hello"),
        ("two.test", "hello"),
        // There is a certificate for it, but no application.
        ("other.test", "error"),
        ("nobody.test", "error"),
        // An address is no name.
        ("127.0.0.1", "error"),
    ] {
        let got = conversation(&edge, &one, name);
        assert_eq!(got.get(..expect.len()), Some(expect), "{name}: {got}");
    }
    assert_eq!((first.accepted(), second.accepted()), (2, 1));
    assert_eq!((edge.app(&one).connects, edge.app(&two).connects), (2, 1));
    eventually("counted", || {
        let totals = edge.totals();
        (totals.events(EdgeEvent::NoSuchName), totals.events(EdgeEvent::HandshakeFailed)) == (1, 2)
    });
}

#[test]
fn one_application_alone_needs_no_name() {
    let origin = Origin::last_word();
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&one]));
    // Nobody has a certificate for the address, so only whoever does not look gets through.
    let config = client_config(&Roots::Unverified, &[]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address_of(&one)).await.unwrap();
        let mut stream = bartizan_tls::connect(&config, "127.0.0.1", socket).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        // Gone without a word, as many clients do.
        stream.flush().await.unwrap();
        let mut text = String::new();
        stream.shutdown().await.unwrap();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    assert_eq!(text, "5:hello");
    assert_eq!(edge.app(&one).connects, 1);
}

/// The edge has certificates for names of others too. They are not shown at an endpoint that is not theirs.
#[test]
fn one_application_alone_has_no_other_name() {
    let origin = Origin::last_word();
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let two = App { tls: AppTls::Flexible, ..app("two.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&one, &two]));
    for (app, name, expect) in [
        (&one, "one.test", "5:hello"),
        (&one, "two.test", "error: the server has no certificate for the name asked for"),
        (&one, "other.test", "error: the server has no certificate for the name asked for"),
        (&two, "TWO.test", "5:hello"),
        (&two, "one.test", "error: the server has no certificate for the name asked for"),
    ] {
        assert_eq!(conversation(&edge, app, name), expect, "{name} at {}", app.name);
    }
    assert_eq!(origin.accepted(), 2);
    eventually("counted", || edge.totals().events(EdgeEvent::HandshakeFailed) == 3);
}

/// A zone that wants more of TLS does not wait until its clients leave.
#[test]
fn what_is_encrypted_too_weakly_is_put_out() {
    let origin = Origin::echo("");
    let strict = ZoneSettings { min_tls_version: OldestTls::Tls13, ..ZoneSettings::default() };
    for (before, is_put_out) in [(Tls13::Off, true), (Tls13::On, false)] {
        let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
        let plain = app("two.test", direct(&[origin.address]));
        let mut setup = Setup::new(&[&one, &plain]);
        setup.settings.tls_1_3 = before;
        let edge = Edge::start(&setup);
        let config = trusting(&edge.ca);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address_of(&one)).await.unwrap();
            let mut stream = bartizan_tls::connect(&config, "one.test", socket).await.unwrap();
            let mut echo = async |text: &[u8]| {
                let mut got = [0; 5];
                stream.write_all(text).await?;
                stream.flush().await?;
                stream.read_exact(&mut got).await.map(|_| got)
            };
            assert_eq!(echo(b"hello").await.unwrap(), *b"hello");
            // That one goes shows that all were judged.
            let mut witness = dial(address_of(&plain));
            assert_eq!(echoed(&mut witness, "hello"), "hello");
            edge.publish(&Setup { settings: strict.clone(), ..Setup::new(&[&one]) });
            assert_eq!(ending(&mut witness), "reset");
            assert_eq!(echo(b"again").await.is_err(), is_put_out, "{before:?}");
        });
    }
}

#[test]
fn much_passes_unaltered_through_encryption() {
    let origin = Origin::echo("");
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let edge = Edge::start(&Setup::new(&[&one]));
    let config = trusting(&edge.ca);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent: Vec<u8> =
        (0..4_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let received = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address_of(&one)).await.unwrap();
        let stream = bartizan_tls::connect(&config, "one.test", socket).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let mut received = Vec::new();
        let sending = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), result) = tokio::join!(sending, read.read_to_end(&mut received));
        result.unwrap();
        received
    });
    assert!(received == sent, "{} of {}", received.len(), sent.len());
}

/// Whoever reads nothing on however many connections makes the edge hold no more than is left for others.
#[test]
fn what_slow_readers_hold_is_bounded() {
    let pouring = Origin::start(|mut stream| {
        let bytes = vec![7; 1 << 16];
        while stream.write_all(&bytes).is_ok() {}
    });
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[pouring.address])) };
    let mut setup = Setup::new(&[&one]);
    setup.limits.memory = 1 << 20;
    let edge = Edge::start(&setup);
    let config = trusting(&edge.ca);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut deaf = Vec::new();
        // Each makes the edge hold up to 64 KB, once the buffers of the kernel are full.
        for _ in 0..40 {
            let socket = tokio::net::TcpStream::connect(address_of(&one)).await.unwrap();
            deaf.push(bartizan_tls::connect(&config, "one.test", socket).await.unwrap());
        }
        eventually("one too many", || edge.app(&one).limited(Limit::Memory) > 0);
        let ended = edge.app(&one).limited(Limit::Memory);
        assert!(edge.app(&one).open >= 5, "{ended} of 40 were ended");
        assert!(held(&edge) > 1 << 18, "{} are held", held(&edge));
        // Another source reads what it likes.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.9.7:0".parse().unwrap()).unwrap();
        let socket = socket.connect(address_of(&one)).await.unwrap();
        let mut other = bartizan_tls::connect(&config, "one.test", socket).await.unwrap();
        let mut much = vec![0; 1 << 20];
        other.read_exact(&mut much).await.unwrap();
    });
    drop(runtime);
    eventually("closed", || edge.app(&one).open == 0);
    eventually("nothing is held", || held(&edge) == 0);
}

fn held(edge: &Edge) -> u64 {
    let metrics = edge.plane().measured().measure();
    metrics.iter().find(|metric| metric.name == "bartizan_l4_buffer_bytes").unwrap().samples[0].value
}

#[test]
fn handshakes_are_bounded_in_number_and_time() {
    let origin = Origin::last_word();
    let one = App { tls: AppTls::Flexible, ..app("one.test", direct(&[origin.address])) };
    let mut setup = Setup::new(&[&one]);
    setup.limits.connections.source.handshakes = 2;
    setup.limits.handshake_time = Duration::from_millis(300);
    let edge = Edge::start(&setup);
    let silent: Vec<TcpStream> = (0..2).map(|_| dial(address_of(&one))).collect();
    eventually("they are in", || edge.app(&one).open == 2);
    let third = conversation(&edge, &one, "one.test");
    let limited = edge.app(&one).limited(Limit::SourceHandshakes);
    for mut client in silent {
        let _ = client.write_all(&[22]);
        assert!(["end", "reset"].contains(&ending(&mut client).as_str()));
    }
    // A slow machine may have given up on the first two before the third came.
    assert!(limited == 1 && third.starts_with("error") || limited == 0 && third == "5:hello", "{limited} {third}");
    eventually("counted", || edge.totals().events(EdgeEvent::HandshakeFailed) == 2);
    assert_eq!(conversation(&edge, &one, "one.test"), "5:hello");
}
