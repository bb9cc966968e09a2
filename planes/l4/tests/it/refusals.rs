//! Who is not let in, and who is put out.

use std::net::Ipv4Addr;
use std::time::Duration;

use bartizan_names::{AccessMode, AccessTarget, AppTls, Name, ProxyProtocol};
use bartizan_plane_l4::{Ceiling, Limit, Tier};
use bartizan_routes::App;

use super::edge::{
    Ca, Edge, LISTENERS_MAX, STUCK, Setup, Tunnels, address_of, app, dial, dial_from, direct, echoed, ending,
    eventually, got_from, read_exactly,
};
use super::origin::Origin;

fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 9, last)
}

#[test]
fn a_blocked_source_is_reset_and_the_origin_hears_nothing() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let open = App { ip_firewall: false, ..app("two.test", direct(&[origin.address])) };
    let mut setup = Setup::new(&[&one, &open]);
    setup.rules = vec![
        (AccessMode::Block, AccessTarget::Range("127.0.9.0/24".parse().unwrap())),
        (AccessMode::Whitelist, AccessTarget::Ip(source(1).into())),
        (AccessMode::Challenge, AccessTarget::Ip(source(200).into())),
        (AccessMode::Block, AccessTarget::Ip("127.0.10.1".parse().unwrap())),
    ];
    let edge = Edge::start(&setup);
    for (from, to, expect) in [
        (source(2), &one, "reset"),
        (source(1), &one, "hello"),
        (source(200), &one, "reset"),
        (Ipv4Addr::new(127, 0, 10, 1), &one, "reset"),
        (Ipv4Addr::new(127, 0, 10, 2), &one, "hello"),
        (source(2), &open, "hello"),
    ] {
        let before = origin.accepted();
        assert_eq!(got_from(from, address_of(to), 5), expect, "{from}");
        assert_eq!(origin.accepted() - before, usize::from(expect == "hello"));
    }
    assert_eq!((edge.app(&one).filtered, edge.app(&one).connects, edge.app(&open).filtered), (3, 2, 0));
}

#[test]
fn who_becomes_blocked_is_put_out_and_others_stay() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    let edge = Edge::start(&setup);
    let [mut bad, mut good] = [66, 67].map(|last| dial_from(source(last), address_of(&one)).unwrap());
    assert_eq!((read_exactly(&mut bad, 5), read_exactly(&mut good, 5)), ("hello".into(), "hello".into()));
    setup.rules = vec![(AccessMode::Block, AccessTarget::Ip(source(66).into()))];
    edge.publish(&setup);
    assert_eq!(ending(&mut bad), "reset");
    assert_eq!(echoed(&mut good, "still here"), "still here");
    assert_eq!(got_from(source(66), address_of(&one), 5), "reset");
    eventually("counted", || edge.app(&one).filtered == 2 && edge.app(&one).open == 1);
    // And let in again.
    setup.rules.clear();
    edge.publish(&setup);
    eventually("let in again", || got_from(source(66), address_of(&one), 5) == "hello");
}

/// Who would not be let in in this way any more is put out; what concerns the origin is for those who come next.
#[test]
fn an_application_that_changes() {
    let origin = Origin::echo("hello");
    let elsewhere = || app("one.test", direct(&[origin.address]));
    type Change<'c> = &'c dyn Fn(App) -> App;
    let ways: [(&str, Change<'_>, &str); 6] = [
        ("other ports", &|app| App { ports: elsewhere().ports, ..app }, "reset"),
        ("other addresses", &|app| App { addresses: elsewhere().addresses, ..app }, "reset"),
        ("the edge ends TLS", &|app| App { tls: AppTls::Flexible, ..app }, "reset"),
        ("another origin", &|app| App { origin: direct(&["127.0.0.1:9".parse().unwrap()]), ..app }, "hello"),
        ("another header", &|app| App { proxy_protocol: ProxyProtocol::V1, ..app }, "hello"),
        ("another name", &|app| App { name: Name::parse("two.test").unwrap(), ..app }, "hello"),
    ];
    for (what, change, expect) in ways {
        let one = elsewhere();
        let edge = Edge::start(&Setup::new(&[&one]));
        let mut client = dial(address_of(&one));
        assert_eq!(read_exactly(&mut client, 5), "hello");
        // Put out with the change, or not at all: then the other connection is the proof that it is in force.
        let mut blocked = dial_from(source(66), address_of(&one)).unwrap();
        assert_eq!(read_exactly(&mut blocked, 5), "hello");
        let mut after = Setup::new(&[&change(one)]);
        after.rules = vec![(AccessMode::Block, AccessTarget::Ip(source(66).into()))];
        edge.publish(&after);
        assert_eq!(ending(&mut blocked), "reset", "{what}");
        let got = if expect == "reset" { ending(&mut client) } else { echoed(&mut client, "hello") };
        assert_eq!(got, expect, "{what}");
    }
}

#[test]
fn limits_have_names() {
    let origin = Origin::echo("hello");
    let most = Ceiling { open: 100, per_second: 100, handshakes: 100 };
    for (source_ceiling, app_ceiling, let_in, limit) in [
        (Ceiling { open: 2, ..most }, most, 2, Limit::SourceOpen),
        (Ceiling { per_second: 3, ..most }, most, 3, Limit::SourceRate),
        (most, Ceiling { open: 4, ..most }, 4, Limit::AppOpen),
        (most, Ceiling { per_second: 1, ..most }, 1, Limit::AppRate),
    ] {
        let one = app("one.test", direct(&[origin.address]));
        let mut setup = Setup::new(&[&one]);
        setup.limits.connections.source = source_ceiling;
        setup.limits.connections.app = app_ceiling;
        let edge = Edge::start(&setup);
        let before = origin.accepted();
        let mut clients: Vec<_> = (0..let_in).map(|_| dial(address_of(&one))).collect();
        clients.iter_mut().for_each(|client| assert_eq!(read_exactly(client, 5), "hello"));
        assert_eq!(got_from(Ipv4Addr::LOCALHOST, address_of(&one), 5), "reset", "{limit:?}");
        assert_eq!(origin.accepted() - before, let_in);
        for other in Limit::ALL {
            assert_eq!(edge.app(&one).limited(*other), u64::from(*other == limit), "{other:?}, {limit:?}");
        }
    }
}

#[test]
fn another_source_has_its_own_limit() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.connections.source.open = 1;
    let edge = Edge::start(&setup);
    let mut first = dial_from(source(1), address_of(&one)).unwrap();
    assert_eq!(read_exactly(&mut first, 5), "hello");
    assert_eq!(got_from(source(1), address_of(&one), 5), "reset");
    assert_eq!(got_from(source(2), address_of(&one), 5), "hello");
    // A address_of that becomes free can be taken again.
    drop(first);
    eventually("closed", || edge.app(&one).open == 0);
    assert_eq!(got_from(source(1), address_of(&one), 5), "hello");
}

#[test]
fn silence_ends_a_connection() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.idle_time = Duration::from_millis(50);
    let edge = Edge::start(&setup);
    let mut client = dial(address_of(&one));
    assert_eq!(read_exactly(&mut client, 5), "hello");
    assert_eq!(ending(&mut client), "end");
    eventually("closed", || edge.app(&one).closed == 1);
}

#[test]
fn who_is_half_closed_is_given_less_time() {
    let (ends, end) = std::sync::mpsc::channel();
    let origin = Origin::start(move |mut stream| {
        let mut rest = Vec::new();
        ends.send(std::io::Read::read_to_end(&mut stream, &mut rest).map(|_| rest.len()).unwrap()).unwrap();
        // Keeps its side open until the test is over.
        std::thread::park_timeout(STUCK);
    });
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.half_closed_time = Duration::from_millis(50);
    let edge = Edge::start(&setup);
    let mut client = dial(address_of(&one));
    std::io::Write::write_all(&mut client, b"bye").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(end.recv().unwrap(), 3);
    // The origin has not closed; the edge has.
    assert_eq!(ending(&mut client), "end");
    eventually("closed", || edge.app(&one).closed == 1);
}

#[test]
fn workers_count_together() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.connections.source.open = 8;
    let tier = Tier::Listeners { workers: 3, max: LISTENERS_MAX };
    let edge = Edge::with_tier(&setup, Tunnels::default(), Ca::new(), tier);
    // Whichever worker each of them falls on.
    let mut clients: Vec<_> = (0..8).map(|_| dial(address_of(&one))).collect();
    clients.iter_mut().for_each(|client| assert_eq!(read_exactly(client, 5), "hello"));
    for _ in 0..8 {
        assert_eq!(got_from(Ipv4Addr::LOCALHOST, address_of(&one), 5), "reset");
    }
    assert_eq!(edge.app(&one).limited(Limit::SourceOpen), 8);
    edge.publish(&Setup::new(&[]));
    clients.iter_mut().for_each(|client| assert_eq!(ending(client), "reset"));
}
