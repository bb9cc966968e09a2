//! Any bytes as a server's cookie, from any address at any time: only what this server gave proves anything.

#![no_main]

use std::net::IpAddr;

use bartizan_dns_guard::{Proof, Secret, Secrets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 8], [u8; 16], u32, Vec<u8>)| {
    let (client, from, now, server) = input;
    let (from, now) = (IpAddr::from(from), u64::from(now));
    let secrets = Secrets::new(Secret::new([7; 16]), Some(Secret::new([9; 16])));
    let checked = secrets.check(&client, &server, from, now);
    // 64 bits that nobody guesses.
    assert_eq!(checked.proof, Proof::Unproven);
    let given = secrets.check(&client, &checked.server, from, now);
    assert_eq!((given.proof, given.server), (Proof::Proven, checked.server));
});
