//! The least that a UDP server does: each datagram goes back, marked as an answer with one record so that `blast`
//! counts it. What a DNS server costs above this is its own work. With `--bytes N` what goes back is as long as that: an answer
//! is longer than its query.

use std::error::Error;
use std::net::SocketAddr;

use bartizan_bench::Flags;
use bartizan_net::{BATCH, Inbox, Outbox, Sharing, udp};

/// As large as a DNS server's, so that memory is alike.
const DATAGRAM_MAX: usize = 1_500;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["listen", "bytes"])?;
    let least = flags.get("bytes")?.unwrap_or(0).min(DATAGRAM_MAX);
    let socket = udp(flags.need::<SocketAddr>("listen")?, Sharing::Exclusive)?;
    let mut inbox = Inbox::new(&socket, DATAGRAM_MAX)?;
    let mut outbox = Outbox::new(DATAGRAM_MAX);
    loop {
        let count = inbox.receive(&socket)?;
        let mut lens = [0; BATCH];
        for ((datagram, slot), len) in inbox.datagrams().zip(outbox.slots()).zip(&mut lens) {
            slot[..datagram.len()].copy_from_slice(datagram);
            if let [_, _, flags, _, _, _, _, answers, ..] = slot {
                (*flags, *answers) = (0x84, 1);
            }
            *len = datagram.len().max(least);
        }
        for (slot, len) in lens[..count].iter().enumerate() {
            outbox.set_len(slot, *len);
        }
        outbox.reply(&socket, &inbox);
    }
}
