//! Apexes that stand for names outside, with a name server of ours in the place of the resolver.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_dial::{Destinations, NameServers, Own, Private, PublicNames, Reach};
use bartizan_lab::{Manner, NameServer};
use bartizan_live::{Generation, Live};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_net::{Sharing, udp};
use bartizan_plane_dns::{Config, Counters, Outside, Sockets, follow_outside, start};
use bartizan_wire::dns::{Class, Message, write_query};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Zones whose apexes stand for these names.
fn zones(aliases: &[(&str, &str)]) -> Zones {
    let mut edit = Zones::empty().edit();
    for (apex, target) in aliases {
        let zone = ZoneName::new(name(apex)).unwrap();
        edit.put_zone(ZoneFacts::new(zone.clone()));
        let cname = RecordSet { rtype: RecordType::CNAME, ttl: 300, rdata: vec![name(target).as_wire().to_vec()] };
        let content = NameContent { sets: vec![cname], proxied: Proxied::Never };
        edit.put_name(&zone, zone.as_name(), content);
    }
    edit.finish()
}

fn ask(server: SocketAddr, apex: &str, rtype: RecordType) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(&write_query(1, &name(apex), rtype, Class::IN, None), server).unwrap();
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).unwrap();
    let message = Message::parse(&answer[..len]).unwrap();
    let data: Vec<String> = message.answers.iter().map(|record| format!("{} {:?}", record.ttl, record.rdata)).collect();
    format!("{:?} {}", message.rcode, data.join(", ")).trim_end().to_owned()
}

#[track_caller]
fn becomes(expect: &str, mut look: impl FnMut() -> String) {
    let begun = Instant::now();
    loop {
        let seen = look();
        if seen == expect {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen}, and not {expect}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_apex_has_the_addresses_of_a_name_outside() {
    let resolver = NameServer::start(
        "cdn.test 60 A 198.51.100.7\ncdn.test 120 AAAA 2001:db8::7\ninside.test 60 A 10.0.0.1\nlate.test 5 A 198.51.100.8",
    );
    let outside = Live::new(Outside::default());
    let config = |aliases| Config { zones: zones(aliases), outside: outside.clone(), ..Config::default() };
    let live =
        Live::new(config(&[("one.example", "cdn.test"), ("in.example", "inside.test"), ("no.example", "nope.test")]));
    let socket = udp("127.0.0.1:0".parse().unwrap(), Sharing::Exclusive).unwrap();
    let server = socket.local_addr().unwrap();
    let plane = start(Sockets { udp: vec![socket], ..Sockets::default() }, &live, &Counters::default()).unwrap();
    // Nobody has told anything yet.
    assert_eq!(ask(server, "one.example", RecordType::A), "SERVFAIL");

    let destinations = Destinations::new(Own::default(), Private::Refused);
    // Others are asked for origins.
    let reach = Reach::new(NameServers::These(Vec::new()), destinations);
    let names = PublicNames::new(NameServers::These(vec![resolver.address]), &reach);
    let following = follow_outside(&live, names).unwrap();
    becomes("NOERROR 60 [198, 51, 100, 7]", || ask(server, "one.example", RecordType::A));
    let v6 = ask(server, "one.example", RecordType::AAAA);
    assert!(v6.starts_with("NOERROR 60 [32, 1, 13, 184"), "{v6}");
    // What is known only here is told to nobody, and that there is nothing is an answer as well.
    becomes("NOERROR", || ask(server, "in.example", RecordType::A));
    becomes("NOERROR", || ask(server, "no.example", RecordType::A));

    // A new name is looked up; one that nobody needs is forgotten; the last good answer stays where nobody answers.
    resolver.becomes(Manner::Silent);
    live.publish(Generation { number: 1, value: config(&[("one.example", "cdn.test"), ("two.example", "late.test")]) });
    becomes("SERVFAIL", || ask(server, "two.example", RecordType::A));
    assert_eq!(ask(server, "one.example", RecordType::A), "NOERROR 60 [198, 51, 100, 7]");
    resolver.becomes(Manner::Answers);
    becomes("NOERROR 30 [198, 51, 100, 8]", || ask(server, "two.example", RecordType::A));
    becomes("2", || outside.snapshot().value.len().to_string());
    let metrics = format!("{:?}", following.measured().measure());
    assert!(metrics.contains("bartizan_dns_outside_names"), "{metrics}");
    drop(following);
    plane.stop();
}
