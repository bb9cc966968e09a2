//! Answers go out: a batch of datagrams by one call. Those of connections leave where they came in (`ingress/tcp`), by one
//! write each time.

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
