//! Answers go out: a batch of datagrams by one call, all answers of a connection by one write.

use std::net::UdpSocket;

use bartizan_net::{Inbox, Outbox};

use crate::counters::{Event, Tally};
use crate::pipeline::End;

/// Sends the answers that lie in `outbox` to those who asked, and counts those that the system refuses.
pub(crate) fn send_datagrams(socket: &UdpSocket, inbox: &Inbox, outbox: &mut Outbox, ends: &[End], tally: &Tally) {
    for (slot, end) in ends.iter().enumerate() {
        let len = match end {
            End::Silent(_) => 0,
            End::Reply { len, .. } => *len,
        };
        outbox.set_len(slot, len);
    }
    let sent = outbox.reply(socket, inbox);
    tally.add(Event::Unsent, sent.failed);
}

/// Adds an answer to what a connection is to write, behind its length (RFC 1035 §4.2.2).
pub(crate) fn push_frame(output: &mut Vec<u8>, answer: &[u8]) {
    let length = answer.len() as u16; // the authority was given room for no more
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(answer);
}
