//! Any bytes as a DNS query, answered by the whole pipeline from a small zone, over both transports.
//!
//! Whatever is answered must be readable, have the query's id, fit the transport, and get no answer itself.

#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bartizan_authority::{Addresses, Identity, NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, CookieSecret, CookieSecrets, End, Exchange, Limits, Now, Transport, Worker, serve};
use bartizan_signer::{
    Algorithm, Announcement, Denial, Duties, PrivateKey, Role, Validity, ZoneKey, ZoneKeys, generate,
};
use bartizan_wire::dns::{Message, TCP_ANSWER_MAX, UDP_ANSWER_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    for (transport, limit) in [(Transport::Udp, UDP_ANSWER_MAX), (Transport::Tcp, TCP_ANSWER_MAX)] {
        let Some(reply) = answer(transport, packet) else { continue };
        let message = Message::parse(&reply).expect("our answers can be read");
        assert!(message.response && reply.len() <= limit);
        assert_eq!(reply[..2], packet[..2]);
        assert_eq!(answer(transport, &reply), None);
    }
});

fn answer(transport: Transport, query: &[u8]) -> Option<Vec<u8>> {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
        zones: zones(),
        addresses: Addresses { v4: vec![[192, 0, 2, 1].into()], v6: vec![[0x20; 16].into()], http3: true, https_port: None },
        identity: Identity { id_server: "fuzz".to_owned(), version: "0".to_owned() },
        cookies: Some(CookieSecrets::new(CookieSecret::new([7; 16]), None)),
        ..Config::default()
    });
    let client = SocketAddr::from(([192, 0, 2, 9], 53_000));
    let mut reply = vec![0; TCP_ANSWER_MAX];
    let mut exchange = [Exchange::new(client, transport, query, &mut reply)];
    let signatures = Limits { lasting: 8, passing: 8, ..Limits::default() };
    serve(&mut exchange, &CONFIG, &mut Worker::new(signatures), Now::read(&CONFIG.clock));
    match exchange[0].end {
        End::Silent(_) => None,
        End::Reply { len, .. } => Some(reply[..len].to_vec()),
    }
}

fn keys() -> Arc<ZoneKeys> {
    let made = generate(Role::Csk, Algorithm::Ed25519).expect("the library makes keys");
    let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
    let duties = Duties { published: true, signs: true, announced: true };
    let key = ZoneKey { public: made.public, duties, private: Some(private) };
    let keys = ZoneKeys::new(vec![key], Denial::Compact, Announcement::Keys, Validity::default());
    Arc::new(keys.expect("one key that does everything"))
}

/// Something of everything: addresses, an alias below a wildcard, a proxied name, a set that no datagram holds.
fn zones() -> Zones {
    let name = |text: &str| Name::parse(text).expect("a name of ours");
    let apex = ZoneName::new(name("example")).expect("an apex");
    let mut edit = Zones::empty().edit();
    edit.put_zone(ZoneFacts {
        serial: 1,
        nameservers: vec![name("ns.example")],
        soa_rname: name("dns.example"),
        dnssec: Some(keys()),
        ..ZoneFacts::new(apex.clone())
    });
    for (owner, rtype, rdata, proxied) in [
        ("www.example", RecordType::A, vec![192, 0, 2, 1], Proxied::Never),
        ("*.wild.example", RecordType::CNAME, name("www.example").as_wire().to_vec(), Proxied::Never),
        ("proxied.example", RecordType::TXT, b"\x01x".to_vec(), Proxied::UnlessPaused),
        ("long.example", RecordType::TXT, [&[99][..], &[b'x'; 99]].concat().repeat(20), Proxied::Never),
    ] {
        let sets = vec![RecordSet { rtype, ttl: 60, rdata: vec![rdata] }];
        edit.put_name(&apex, &name(owner), NameContent { sets, proxied });
    }
    edit.finish()
}
