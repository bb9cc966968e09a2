//! A batch of datagrams asks for no memory, whatever is in it. All of the process is counted, so it is one of its own.

use std::alloc::System;
use std::net::SocketAddr;
use std::process::Command;

use bartizan_plane_dns::{Config, CookieSecret, CookieSecrets, End, Exchange, Now, Silence, Transport, Worker, serve};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::config;
use crate::pipeline::query;

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Set where no other test runs.
const ALONE: &str = "BARTIZAN_TEST_ALONE";

#[test]
fn a_batch_asks_for_no_memory() {
    if std::env::var_os(ALONE).is_some() {
        return count();
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "allocations::a_batch_asks_for_no_memory", "--nocapture"]).env(ALONE, "1");
    assert!(alone.status().unwrap().success());
}

fn count() {
    let cookies = Some(CookieSecrets::new(CookieSecret::new([7; 16]), None));
    let config = Config { cookies, ..config(1) };
    let subnet = b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02";
    let every = [&b"\0\x03\0\0\0\x0a\0\x08clientco\0\x0b\0\0\0\x0c\0\0"[..], subnet].concat();
    let mut packets: Vec<Vec<u8>> = [
        "www.example A",
        "WWW.Example A",
        "example SOA",
        "example NS",
        "long.example TXT",
        "nope.example A",
        "www.example AAAA",
        "www.test A",
        "example AXFR",
        "www.example TYPE128",
        "id.server TXT 3",
    ]
    .into_iter()
    .flat_map(|question| [query(question, b""), query(question, &every)])
    .collect();
    // Signatures are kept once they are made.
    let signed = [
        "www.signed A",
        "www.signed AAAA",
        "nope.signed A",
        "x.wild.signed A",
        "signed SOA",
        "signed DNSKEY",
        "signed CDS",
    ];
    packets.extend(signed.into_iter().map(|question| {
        let mut packet = query(question, b"");
        let flags = packet.len() - 4;
        packet[flags] |= 0x80; // DO
        packet
    }));
    // What is no question: an answer, a notification, an unknown opcode, too short, not whole.
    for (opcode, cut) in [(0x80, 0), (0x20, 0), (0x30, 0), (0, 20), (0, 1)] {
        let mut packet = query("example SOA", b"");
        packet[2] |= opcode;
        packet.truncate(packet.len() - cut);
        packets.push(packet);
    }
    let client = SocketAddr::from(([192, 0, 2, 9], 53_000));
    let (mut worker, mut replies) = (Worker::default(), vec![[0; 1232]; packets.len()]);
    let mut exchanges: Vec<Exchange<'_>> = packets
        .iter()
        .zip(&mut replies)
        .map(|(packet, reply)| Exchange::new(client, Transport::Udp, packet, reply))
        .collect();
    serve(&mut exchanges, &config, &mut worker, Now::read(&config.clock));
    let answered = exchanges.iter().filter(|exchange| matches!(exchange.end, End::Reply { .. })).count();
    assert_eq!(answered, packets.len() - 1);
    // From here on its network gets too much, which costs no memory either.
    let region = Region::new(MEMORY);
    for _ in 0..100 {
        serve(&mut exchanges, &config, &mut worker, Now::read(&config.clock));
    }
    let asked = region.change();
    assert_eq!((asked.allocations, asked.reallocations, asked.deallocations), (0, 0, 0));
    assert!(exchanges.iter().any(|exchange| exchange.end == End::Silent(Silence::Rate)));
}
