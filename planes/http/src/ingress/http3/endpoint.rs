//! UDP sockets, and who may come in by them.

use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bartizan_live::Live;
use bartizan_quic::{Inboxes, ResetKey, Unproven};
use bartizan_tls::Acceptor;
use quinn::{Endpoint, IdleTimeout, Incoming, Runtime, ServerConfig, TransportConfig, VarInt};

use super::driving::Driving;
use super::greeter::{Greeter, GreeterError};
use crate::limits::{
    ACCEPTS_A_TURN, PEER_STREAMS_MAX, QUIC_GOODBYE_TIME, QUIC_REST_BYTES, QUIC_UNPROVEN_MAX, QUIC_WAITING_BYTES,
    QUIC_WAITING_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::plane::Crowd;
use crate::worker::Worker;
use crate::{Config, Limits};

/// Those of the plane.
pub(crate) struct Endpoints(Vec<Endpoint>);

/// Opens an endpoint on each socket. On the thread that serves them.
pub(crate) fn open(
    sockets: Vec<UdpSocket>,
    reset_key: &ResetKey,
    acceptor: Acceptor,
    live: Live<Config>,
    (limits, inboxes): (&Limits, &Inboxes),
) -> Result<Endpoints, OpenError> {
    let mut config = ServerConfig::with_crypto(Arc::new(Greeter::new(acceptor, live)?));
    config
        .migration(false)
        .validation_token_config(bartizan_quic::tokens())
        .max_incoming(QUIC_WAITING_MAX)
        .incoming_buffer_size(QUIC_WAITING_BYTES)
        .incoming_buffer_size_total(QUIC_WAITING_BYTES * QUIC_WAITING_MAX as u64)
        .transport_config(Arc::new(transport(limits)));
    let mut endpoints = Vec::new();
    for socket in sockets {
        let on = (Arc::new(Driving) as Arc<dyn Runtime>, inboxes);
        endpoints.push(bartizan_quic::open(socket, reset_key, Some(config.clone()), on)?);
    }
    Ok(Endpoints(endpoints))
}

/// A socket cannot be used for QUIC.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Greeter(#[from] GreeterError),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

fn transport(limits: &Limits) -> TransportConfig {
    // Who is not there any more has not answered a PING.
    let silence = (limits.ping_every + limits.ping_answer_time).as_millis();
    let silence = VarInt::from_u32(u32::try_from(silence).unwrap_or(u32::MAX));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(silence)))
        .keep_alive_interval(Some(limits.ping_every))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_REST_BYTES))
        .send_window(u64::from(QUIC_REST_BYTES))
        .datagram_receive_buffer_size(None);
    transport
}

impl Endpoints {
    /// Accepts connections until the task is aborted.
    pub(crate) fn accept(&self, worker: &Rc<Worker>, crowd: &Rc<Crowd>) -> Vec<tokio::task::JoinHandle<()>> {
        let accept = |endpoint: &Endpoint| {
            tokio::task::spawn_local(accept(endpoint.clone(), Rc::clone(worker), Rc::clone(crowd)))
        };
        self.0.iter().map(accept).collect()
    }

    /// Nobody comes in any more.
    pub(crate) fn shut(&self) {
        self.0.iter().for_each(|endpoint| endpoint.set_server_config(None));
    }

    /// Waits until all were told that have to be, but not long.
    pub(crate) async fn end(self) {
        let told = async {
            for endpoint in &self.0 {
                endpoint.close(VarInt::from_u32(bartizan_wire::http3::Code::No as u32), b"");
                endpoint.wait_idle().await;
            }
        };
        let _ = tokio::time::timeout(QUIC_GOODBYE_TIME, told).await;
    }
}

async fn accept(endpoint: Endpoint, worker: Rc<Worker>, crowd: Rc<Crowd>) {
    let mut accepted: usize = 0;
    let mut unproven = Unproven::new(Instant::now());
    // None: the endpoint is closed.
    while let Some(incoming) = endpoint.accept().await {
        accepted += 1;
        admit(incoming, &mut unproven, &worker, &crowd);
        if worker.door.is_full() || accepted.is_multiple_of(ACCEPTS_A_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

fn admit(incoming: Incoming, unproven: &mut Unproven, worker: &Rc<Worker>, crowd: &Rc<Crowd>) {
    let peer = incoming.remote_address();
    let visitors = &worker.counters.visitors;
    let is_crowded = worker.door.is_crowded() || worker.quic_handshakes.get() >= QUIC_UNPROVEN_MAX;
    // Who sends from an address that is not its own must not take the places of others, nor those of whose it is.
    if !incoming.remote_address_validated() && (is_crowded || !unproven.begin(Instant::now())) {
        visitors.addresses_asked.add(1);
        // If this packet is lost, the visitor tries again (RFC 9000 §8.1.2).
        let _ = incoming.retry();
        return;
    }
    visitors.accepted.add(1);
    match worker.door.enter(peer.ip(), Instant::now()) {
        Ok(place) => {
            let (guest, worker) = (crowd.enter(&worker.counters), Rc::clone(worker));
            tokio::task::spawn_local(async move {
                super::serve(incoming, (peer, place), worker).await;
                drop(guest);
            });
        }
        Err(over) => {
            visitors.refused(over);
            incoming.refuse();
        }
    }
}
