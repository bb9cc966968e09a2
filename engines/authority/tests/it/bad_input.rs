//! Any bytes, answered from a small zone: never a panic, never an answer that cannot be read.

use bartizan_wire::dns::{Edns, Message};
use proptest::prelude::*;

use crate::zone_text::{Server, Transport, query, zones};

fn server() -> Server {
    Server::new(zones(
        &["example"],
        &[
            ("example", "www.example", &["A 192.0.2.1"]),
            ("example", "*.wild.example", &["CNAME www.example"]),
            ("example", "proxied.example", &["proxied"]),
        ],
    ))
}

fn check(server: &Server, packet: &[u8]) -> Result<(), TestCaseError> {
    for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
        if let Some(answer) = server.raw(transport, packet) {
            let message = Message::parse(&answer).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(message.response && answer.len() <= limit);
            prop_assert_eq!(&answer[..2], &packet[..2]);
            // An answer is never taken for a query.
            prop_assert_eq!(server.raw(transport, &answer), None);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes(packet in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&server(), &packet)?;
    }

    #[test]
    fn damaged_queries(
        question in prop::sample::select(vec!["www.example A", "a.wild.example TXT", "proxied.example AAAA", "id.server TXT CH"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(), whole: bool,
    ) {
        let mut packet = query(question, Some(Edns { dnssec_ok: true, ..Edns::of_size(1232) }));
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if !whole {
            packet.truncate(cut.index(packet.len()));
        }
        check(&server(), &packet)?;
    }
}
