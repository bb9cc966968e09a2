//! Load over UDP: a window of datagrams in each of several flows, to a server that sends them back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bartizan_net::{Inbox, Outbox, Sharing, udp};

use super::{Done, MESSAGE_BYTES, source};

/// Datagrams under way in each flow: few enough for the smallest buffers of a kernel with some dozen flows.
const WINDOW: usize = 8;

/// Without an answer for so long, everything under way in a flow is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// A socket, and what it has under way.
struct Flow {
    socket: UdpSocket,
    under_way: usize,
}

impl Flow {
    fn new(at: SocketAddr, number: usize) -> io::Result<Flow> {
        let socket = udp(source::address(number), Sharing::Exclusive).map_err(io::Error::other)?;
        socket.connect(at)?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        Ok(Flow { socket, under_way: 0 })
    }
}

/// Keeps so many flows busy.
pub(super) fn exchange(at: &[SocketAddr], flows: usize, time: Duration) -> io::Result<Done> {
    let flows = (0..flows).map(|number| Flow::new(at[number % at.len()], number));
    let mut flows = flows.collect::<io::Result<Vec<Flow>>>()?;
    let Some(first) = flows.first() else { return Ok(Done::default()) };
    let (mut inbox, mut outbox) = (Inbox::new(&first.socket, MESSAGE_BYTES)?, Outbox::new(MESSAGE_BYTES));
    let mut done = Done::default();
    let start = Instant::now();
    while start.elapsed() < time {
        for flow in &mut flows {
            let missing = WINDOW - flow.under_way;
            (0..missing).for_each(|slot| outbox.set_len(slot, MESSAGE_BYTES));
            done.failed += outbox.send(&flow.socket).failed as u64;
            flow.under_way = WINDOW;
        }
        for flow in &mut flows {
            let received = inbox.receive(&flow.socket)?;
            if received == 0 {
                done.failed += flow.under_way as u64;
                flow.under_way = 0;
            }
            done.count += received as u64;
            done.bytes += inbox.datagrams().map(|datagram| datagram.len() as u64).sum::<u64>();
            flow.under_way = flow.under_way.saturating_sub(received);
        }
    }
    done.seconds = start.elapsed().as_secs_f64();
    Ok(done)
}
