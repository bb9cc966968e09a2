//! What is told of connections and flows, to who counts them.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, UdpSocket};

use bartizan_analytics::L4;
use bartizan_names::{AccessMode, AccessTarget, Protocol};

use super::edge::{
    Edge, STUCK, Setup, address_of, app, app_for, dial, direct, echoed, ending, eventually, got_from, udp_echo,
};
use super::origin::{Origin, nobody};

/// Events by application: how many, and octets from and to clients.
type Told = BTreeMap<(String, String), (u64, u64, u64)>;

fn take(edge: &Edge, told: &mut Told) {
    let event = L4.fact("event").unwrap();
    edge.taps.each(|table| {
        table.drain(|counted| {
            let app = (L4.name_text)(counted.name.unwrap());
            let sum = told.entry((app, (event.text)((event.of)(counted.facts)))).or_default();
            let counts = counted.counts;
            *sum = (sum.0 + counts.events, sum.1 + counts.received, sum.2 + counts.sent);
        });
    });
}

#[test]
fn connections_and_flows_are_told_by_what_became_of_them() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let lost = app("two.test", direct(&[nobody()]));
    let flow = app_for(Protocol::Udp, "other.test", direct(&[udp_echo()]));
    let mut setup = Setup::new(&[&one, &lost, &flow]);
    setup.rules = vec![(AccessMode::Block, AccessTarget::Ip("127.0.9.77".parse().unwrap()))];
    let mut edge = Edge::start(&setup);

    let mut client = dial(address_of(&one));
    assert_eq!(echoed(&mut client, "hello"), "hello");
    let mut more = [0; 5];
    client.read_exact(&mut more).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client), "end");
    assert_eq!(got_from(Ipv4Addr::new(127, 0, 9, 77), address_of(&one), 5), "reset");
    assert_eq!(ending(&mut dial(address_of(&lost))), "reset");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    socket.send_to(b"abc", address_of(&flow)).unwrap();
    assert_eq!(socket.recv(&mut more).unwrap(), 3);
    eventually("closed", || edge.app(&one).closed == 1 && edge.app(&lost).closed == 1);
    // The end of the plane is the flow's.
    edge.drain(std::time::Duration::ZERO);

    let expect: Told = [
        (&one, "connect", (1, 0, 0)),
        (&one, "disconnect", (1, 5, 10)),
        (&one, "clientFiltered", (1, 0, 0)),
        (&lost, "connect", (1, 0, 0)),
        (&lost, "originError", (1, 0, 0)),
        (&lost, "disconnect", (1, 0, 0)),
        (&flow, "connect", (1, 0, 0)),
        (&flow, "disconnect", (1, 3, 3)),
    ]
    .into_iter()
    .map(|(app, event, sums)| ((app.id.to_string(), event.to_owned()), sums))
    .collect();
    let mut told = Told::new();
    eventually("told", || {
        take(&edge, &mut told);
        told.len() >= expect.len()
    });
    assert_eq!(told, expect);
}
