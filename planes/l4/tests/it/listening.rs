//! Which ports accept, while applications come and go.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bartizan_names::AppTls;
use bartizan_observed::{Listening, Reason, TierName};
use bartizan_plane_l4::EdgeEvent;
use bartizan_routes::App;

use super::edge::{
    Edge, LISTENERS_MAX, STUCK, Setup, address_of, app, dial, direct, echoed, ending, eventually, read_exactly,
};
use super::origin::Origin;

fn listening(edge: &Edge) -> Listening {
    edge.plane().listening().snapshot().value.clone()
}

#[test]
fn applications_come_and_go_and_others_stay() {
    let origin = Origin::echo("hello");
    let (one, two) = (app("one.test", direct(&[origin.address])), app("two.test", direct(&[origin.address])));
    let edge = Edge::start(&Setup::new(&[&one]));
    assert_eq!((listening(&edge).tier, listening(&edge).open), (TierName::Listeners, 1));
    let mut kept = dial(address_of(&one));
    assert_eq!(read_exactly(&mut kept, 5), "hello");
    assert!(TcpStream::connect(address_of(&two)).is_err());

    edge.publish(&Setup::new(&[&one, &two]));
    eventually("the second listens", || listening(&edge).open == 2);
    let mut other = dial(address_of(&two));
    assert_eq!(read_exactly(&mut other, 5), "hello");
    assert_eq!(echoed(&mut kept, "still here"), "still here");

    edge.publish(&Setup::new(&[&one]));
    eventually("the second is closed", || TcpStream::connect(address_of(&two)).is_err());
    assert_eq!(ending(&mut other), "reset");
    eventually("its numbers are gone", || !edge.totals().apps.contains_key(&two.id));
    assert_eq!(echoed(&mut kept, "still here"), "still here");
    assert_eq!(listening(&edge).not_listening_total, 0);
}

#[test]
fn ports_that_cannot_be_opened_are_told() {
    let origin = Origin::echo("hello");
    let (taken, free) = (app("one.test", direct(&[origin.address])), app("two.test", direct(&[origin.address])));
    let mut wide = app("wide.test", direct(&[origin.address]));
    wide.ports = 1..=65535;
    let holder = TcpListener::bind(address_of(&taken)).unwrap();
    let edge = Edge::start(&Setup::new(&[&taken, &free, &wide]));
    let heard = listening(&edge);
    assert_eq!((heard.open, heard.not_listening_total), (1, 65_536));
    let told: Vec<_> = heard.not_listening.iter().map(|one| (one.app, one.address, one.reason.clone())).collect();
    let first = std::net::SocketAddr::new(address_of(&wide).ip(), 1);
    assert!(told.contains(&(taken.id, address_of(&taken), Reason::Taken)), "{told:?}");
    assert!(told.contains(&(wide.id, first, Reason::TooMany { max: LISTENERS_MAX })), "{told:?}");
    assert_eq!(read_exactly(&mut dial(address_of(&free)), 5), "hello");

    // The next change tries again. The plane does so by itself too, and may come first, with the wide one still there.
    drop(holder);
    edge.publish(&Setup::new(&[&taken, &free]));
    eventually("both listen, and no other is asked for", || {
        let heard = listening(&edge);
        (heard.open, heard.not_listening_total) == (2, 0)
    });
    assert_eq!(read_exactly(&mut dial(address_of(&taken)), 5), "hello");
}

#[test]
fn draining_lets_connections_finish_and_takes_no_new_ones() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut edge = Edge::start(&Setup::new(&[&one]));
    let mut client = dial(address_of(&one));
    assert_eq!(read_exactly(&mut client, 5), "hello");
    let address = address_of(&one);
    let finishing = std::thread::spawn(move || {
        eventually("nobody listens", || TcpStream::connect(address).is_err());
        let last = echoed(&mut client, "last word");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        (last, ending(&mut client))
    });
    edge.drain(Duration::from_secs(30));
    assert_eq!(finishing.join().unwrap(), ("last word".to_owned(), "end".to_owned()));
}

/// Who has only begun to shake hands, or is to say for whom it speaks, does not hold up a stop.
#[test]
fn draining_does_not_wait_for_who_begins() {
    let origin = Origin::echo("hello");
    for (tls, trusted, said) in [
        (AppTls::Flexible, vec![], &b""[..]),
        (AppTls::Flexible, vec![], b"\x16\x03\x01\x02\x00\x01\x00"),
        (AppTls::Off, vec!["127.0.0.1/32"], b""),
        (AppTls::Off, vec!["127.0.0.1/32"], b"PROXY TC"),
    ] {
        let one = App { tls, ..app("one.test", direct(&[origin.address])) };
        let mut setup = Setup { trusted, ..Setup::new(&[&one]) };
        setup.limits.handshake_time = 2 * STUCK;
        let mut edge = Edge::start(&setup);
        let mut client = dial(address_of(&one));
        client.write_all(said).unwrap();
        // It is taken up before the one that ends.
        drop(TcpStream::connect(address_of(&one)).unwrap());
        eventually("it was taken up", || {
            let totals = edge.totals();
            edge.app(&one).closed == 1
                || totals.events(EdgeEvent::ProxyHeader) + totals.events(EdgeEvent::HandshakeFailed) == 1
        });
        let start = Instant::now();
        edge.drain(STUCK);
        assert!(start.elapsed() < STUCK / 2, "{said:?}");
    }
}
