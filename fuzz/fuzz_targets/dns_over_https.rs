//! Any bytes as the body of a request for DNS over HTTPS, answered from a small zone.
//!
//! Whatever is answered must be readable and have the query's id, and no cache may keep it longer than its records.

#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_exchange::DnsAnswerer;
use bartizan_live::Live;
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, Counters, answerers};
use bartizan_wire::dns::Message;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static ANSWERER: RefCell<Box<dyn DnsAnswerer>> = {
        let live = Live::new(Config { zones: zones(), ..Config::default() });
        RefCell::new(answerers(&live, &Counters::default()).answerer())
    };
}

fuzz_target!(|body: &[u8]| {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    let Some(answer) = ANSWERER.with_borrow_mut(|answerer| answerer.answer(client, body)) else { return };
    let message = Message::parse(&answer.message).expect("our answers can be read");
    assert!(message.response);
    assert_eq!(answer.message[..2], body[..2]);
    let kept = answer.lifetime.as_secs();
    assert!(message.answers.iter().all(|record| kept <= record.ttl.into()));
});

fn zones() -> Zones {
    let name = |text: &str| Name::parse(text).expect("a name of ours");
    let apex = ZoneName::new(name("example")).expect("an apex");
    let mut edit = Zones::empty().edit();
    edit.put_zone(ZoneFacts {
        serial: 1,
        nameservers: vec![name("ns.example")],
        soa_rname: name("dns.example"),
        ..ZoneFacts::new(apex.clone())
    });
    for (owner, rtype, rdata) in [
        ("www.example", RecordType::A, vec![192, 0, 2, 1]),
        ("*.wild.example", RecordType::CNAME, name("www.example").as_wire().to_vec()),
    ] {
        let sets = vec![RecordSet { rtype, ttl: 60, rdata: vec![rdata] }];
        edit.put_name(&apex, &name(owner), NameContent { sets, proxied: Proxied::Never });
    }
    edit.finish()
}
