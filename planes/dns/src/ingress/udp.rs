//! Datagrams: one thread a socket, blocking calls, no runtime.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bartizan_authority::{Outcome, Scratch, Transaction, Transport};
use bartizan_live::Reader;
use bartizan_net::{BATCH, Inbox, Outbox};
use bartizan_wire::dns::{Silence, UDP_ANSWER_MAX};

use crate::counters::{Counters, Event, Family, Tally};
use crate::{Config, egress, pipeline};

/// Bytes that are read of a datagram. A query with every option that clients send has less than 400 bytes. A longer one
/// is cut off, and is answered as malformed.
const QUERY_MAX: usize = 1_500;

/// How often a silent socket looks whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(500);

/// A pause after an error of the system, so that one that repeats does not use a whole core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Worker {
    socket: UdpSocket,
    config: Reader<Config>,
    tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
    inbox: Inbox,
    outbox: Outbox,
    scratch: Box<Scratch>,
}

impl Worker {
    pub(crate) fn new(
        socket: UdpSocket,
        config: Reader<Config>,
        counters: &Counters,
        stopping: Arc<AtomicBool>,
    ) -> io::Result<Worker> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        let family = if socket.local_addr()?.is_ipv4() { Family::V4 } else { Family::V6 };
        Ok(Worker {
            inbox: Inbox::new(&socket, QUERY_MAX)?,
            outbox: Outbox::new(UDP_ANSWER_MAX),
            scratch: Box::default(),
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
        let mut outcomes = [Outcome::Silent(Silence::Short); BATCH];
        {
            let mut slots = self.outbox.slots();
            let mut transactions: [Transaction<'_>; BATCH] = std::array::from_fn(|slot| {
                let reply = slots.next().unwrap_or_default();
                Transaction::new(Transport::Udp, self.inbox.datagram(slot), reply)
            });
            pipeline::serve(&mut transactions[..count], config, &mut self.scratch);
            for (outcome, transaction) in outcomes.iter_mut().zip(&transactions[..count]) {
                *outcome = transaction.outcome;
            }
        }
        egress::send_datagrams(&self.socket, &self.inbox, &mut self.outbox, &outcomes[..count], &self.tally);
    }
}
