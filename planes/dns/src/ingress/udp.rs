//! Datagrams: one thread a socket, blocking calls, no runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bartizan_dns_guard::Held;
use bartizan_live::Reader;
use bartizan_net::{BATCH, Inbox, Outbox};
use bartizan_signer::Limits;
use bartizan_wire::dns::UDP_ANSWER_MAX;

use crate::counters::{Counters, Event, Family, Tally};
use crate::pipeline::{self, End, Exchange, Now, Room, Silence, Transport};
use crate::{Config, egress};

/// Bytes that are read of a datagram. A query with every option that clients send has less than 400 bytes. A longer one
/// is cut off, and is answered as malformed.
const QUERY_MAX: usize = 1_500;

/// How often a silent socket looks whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(500);

/// A pause after an error of the system, so that one that repeats does not use a whole core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Whose address the system does not tell. Its port is one that gets no answer.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(crate) struct Worker {
    socket: UdpSocket,
    config: Reader<Config>,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
    inbox: Inbox,
    outbox: Outbox,
    worker: Box<pipeline::Worker>,
    /// What was counted last of answers over their limits.
    held: Held,
}

impl Worker {
    pub(crate) fn new(
        socket: UdpSocket,
        config: Reader<Config>,
        counters: &Counters,
        signatures: Limits,
        stopping: Arc<AtomicBool>,
    ) -> io::Result<Worker> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let family = if socket.local_addr()?.is_ipv4() { Family::V4 } else { Family::V6 };
        Ok(Worker {
            inbox: Inbox::new(&socket, QUERY_MAX)?,
            outbox: Outbox::new(UDP_ANSWER_MAX),
            worker: Box::new(pipeline::Worker::new(signatures).tapped(counters.tap())),
            held: Held::default(),
            tally: counters.worker(Transport::Udp, family),
            socket,
            config,
            stopping,
        })
    }

    /// Answers until it is told to stop.
    pub(crate) fn run(mut self) {
        while !self.stopping.load(Ordering::Relaxed) {
            match self.inbox.receive(&self.socket) {
                Ok(0) => {}
                Ok(count) => self.serve(count),
                Err(_) => {
                    self.tally.add(Event::ReceiveFailed, 1);
                    thread::sleep(ERROR_PAUSE);
                }
            }
        }
    }

    /// Hot: once a batch. No allocation, no lock.
    fn serve(&mut self, count: usize) {
        let config = &self.config.take().value;
        let mut ends = [End::Silent(Silence::Short); BATCH];
        {
            let mut slots = self.outbox.slots();
            let mut exchanges: [Exchange<'_>; BATCH] = std::array::from_fn(|slot| {
                let client = self.inbox.peer(slot).unwrap_or(NOBODY);
                let reply = slots.next().unwrap_or_default();
                Exchange::new(client, Transport::Udp, self.inbox.datagram(slot), reply)
            });
            let send = |exchanges: &[Exchange<'_>]| {
                for (end, exchange) in ends.iter_mut().zip(exchanges) {
                    *end = exchange.end;
                }
                count
            };
            let (exchanges, now) = (&mut exchanges[..count], Now::read(&config.clock));
            pipeline::serve_counted(exchanges, config, &mut self.worker, &self.tally, now, Room::ALL, send);
        }
        egress::send_datagrams(&self.socket, &self.inbox, &mut self.outbox, &ends[..count], &self.tally);
        let held = self.worker.held();
        if *held != self.held {
            self.tally.held(held);
            self.held = *held;
        }
    }
}
