//! UDP: from a socket to the flow that a datagram belongs to.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bartizan_names::Protocol;
use bartizan_net::BATCH;
use bartizan_wire::proxy::{self, Hop};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::counters::EdgeEvent;
use crate::flows::{Ends, Speaker};
use crate::limits::{ACCEPT_PAUSE, BATCHES_A_TURN, DATAGRAM_BYTES_MAX};
use crate::pipeline::{self, Back};
use crate::relay::is_pause;
use crate::worker::Worker;

/// Receives on a socket that is bound to the address and port that clients dial, until the task is aborted.
pub(crate) async fn receive(socket: std::net::UdpSocket, local: SocketAddr, worker: Rc<Worker>) {
    let prepared = worker.prepare_inbox(&socket).and_then(|()| UdpSocket::from_std(socket));
    let socket = match prepared {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(%error, "a socket of the UDP edge cannot be used"),
    };
    while socket.readable().await.is_ok() {
        for _ in 0..BATCHES_A_TURN {
            match receive_batch(&socket, local, &worker) {
                Ok(()) => {}
                Err(error) if is_pause(&error) => break,
                Err(error) => {
                    complain(&worker, &error).await;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn receive_batch(socket: &Rc<UdpSocket>, local: SocketAddr, worker: &Rc<Worker>) -> io::Result<()> {
    let mut inbox = worker.inbox.borrow_mut();
    // It was made for the first of the sockets.
    let Some(inbox) = inbox.as_mut() else { return Err(io::ErrorKind::WouldBlock.into()) };
    let count = socket.try_io(Interest::READABLE, || some(inbox.receive(&**socket)))?;
    for slot in 0..count {
        let Some(client) = inbox.peer(slot) else { continue };
        arrive(inbox.datagram(slot), Ends { client, local }, || Back::Shared(Rc::clone(socket)), worker);
    }
    Ok(())
}

/// Receives the first datagrams of flows on a socket for any port, until the task is aborted. Later datagrams of a flow
/// arrive at the flow's own socket.
pub(crate) async fn receive_any(socket: std::net::UdpSocket, worker: Rc<Worker>) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a socket of the UDP edge cannot be used"),
    };
    // Not the worker's inbox: a flow that begins here may need that one.
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while socket.readable().await.is_ok() {
        for _ in 0..BATCH * BATCHES_A_TURN {
            let received = socket.try_io(Interest::READABLE, || bartizan_net::receive_any_port(&socket, &mut buffer));
            match received {
                Ok(Some(datagram)) => {
                    let ends = Ends { client: datagram.client, local: datagram.dialled };
                    arrive(&buffer[..datagram.len], ends, || Back::Own, &worker);
                }
                Ok(None) => {}
                Err(error) if is_pause(&error) => break,
                Err(error) => {
                    complain(&worker, &error).await;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn complain(worker: &Worker, error: &io::Error) {
    worker.counters.event(EdgeEvent::AcceptFailed);
    tracing::debug!(%error, "datagrams cannot be received");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// `WouldBlock` is not an error: the socket was read empty.
fn some(received: io::Result<usize>) -> io::Result<usize> {
    received.and_then(|count| if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) })
}

/// Gives a datagram to its flow, or begins one.
// Hot: once a datagram.
fn arrive(datagram: &[u8], ends: Ends, back: impl FnOnce() -> Back, worker: &Rc<Worker>) {
    if let Some(flow) = worker.flows.find(ends) {
        return match flow.payload(datagram) {
            Some(payload) => flow.send(payload),
            None => worker.counters.event(EdgeEvent::ProxyHeader),
        };
    }
    let near = Hop { client: ends.client, dialled: ends.local };
    let trusted = worker.with_config(|config| config.trusted.iter().any(|prefix| prefix.contains(ends.client.ip())));
    let (hop, payload, speaker) = match trusted.then(|| proxy::read_datagram(datagram)) {
        None => (near, datagram, Speaker::Client),
        Some(Ok(header)) => (header.hop.unwrap_or(near), &datagram[header.length..], Speaker::Peer),
        Some(Err(_)) => return worker.counters.event(EdgeEvent::ProxyHeader),
    };
    // The second is where replies go.
    if [hop.client, ends.client].into_iter().any(|source| worker.is_ours(Protocol::Udp, source)) {
        return worker.counters.event(EdgeEvent::OwnSource);
    }
    // The refusal has been counted. There is no connection on which the client could be told.
    if let Ok(admitted) = pipeline::decide(worker, Protocol::Udp, hop, ends.local) {
        pipeline::begin_flow(worker, admitted, ends, speaker, payload, back());
    }
}
