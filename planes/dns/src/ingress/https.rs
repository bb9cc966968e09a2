//! Queries that came to another plane over HTTPS (RFC 8484): it has the requests, and hands their messages over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bartizan_exchange::{DnsAnswer, DnsAnswerer, DnsAnswerers};
use bartizan_live::{Live, Reader};
use bartizan_signer::Limits;
use bartizan_wire::dns::{TCP_ANSWER_MAX, lifetime};
use bytes::Bytes;

use crate::Config;
use crate::counters::{Counters, Family, Tally};
use crate::pipeline::{self, End, Exchange, Now, Room, Transport};

/// What makes one for each thread of another plane.
pub(crate) struct Answerers {
    pub(crate) live: Live<Config>,
    pub(crate) counters: Counters,
    pub(crate) signatures: Limits,
}

impl DnsAnswerers for Answerers {
    fn answerer(&self) -> Box<dyn DnsAnswerer> {
        Box::new(Answerer {
            config: self.live.reader(),
            worker: Box::new(pipeline::Worker::new(self.signatures).tapped(self.counters.tap())),
            reply: vec![0; TCP_ANSWER_MAX].into(),
            v4: self.counters.worker(Transport::Https, Family::V4),
            v6: self.counters.worker(Transport::Https, Family::V6),
        })
    }
}

struct Answerer {
    config: Reader<Config>,
    worker: Box<pipeline::Worker>,
    reply: Box<[u8]>,
    v4: Arc<Tally>,
    v6: Arc<Tally>,
}

impl DnsAnswerer for Answerer {
    fn answer(&mut self, client: IpAddr, message: &[u8]) -> Option<DnsAnswer> {
        // Which port it was says nothing: a request is not what a connection is.
        let client = SocketAddr::new(client, 0);
        let mut exchanges = [Exchange::new(client, Transport::Https, message, &mut self.reply)];
        let tally = if client.is_ipv4() { &self.v4 } else { &self.v6 };
        let config = &self.config.take().value;
        let now = Now::read(&config.clock);
        pipeline::serve_counted(&mut exchanges, config, &mut self.worker, tally, now, Room::ALL, |all| all.len());
        let [Exchange { end, .. }] = exchanges;
        let End::Reply { len, .. } = end else { return None };
        let message = Bytes::copy_from_slice(&self.reply[..len]);
        let lifetime = Duration::from_secs(lifetime(&message).unwrap_or_default().into());
        Some(DnsAnswer { message, lifetime })
    }
}
