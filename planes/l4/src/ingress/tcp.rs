//! TCP: from the listener to a task of its own, or to a reset.

use std::net::SocketAddr;
use std::rc::Rc;

use bartizan_names::Protocol;
use bartizan_wire::proxy::Hop;
use tokio::net::{TcpListener, TcpStream};

use super::header;
use crate::counters::{EdgeEvent, Limit};
use crate::limits::ACCEPT_PAUSE;
use crate::pipeline::{self, Refused};
use crate::relay::reset_on_close;
use crate::worker::Worker;

/// Which destination the connections of a listener have.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// The address and port that it is bound to.
    Here(SocketAddr),
    /// Any address and port of the pools: each connection's own local address says which.
    AnyPort,
}

/// Accepts connections until the task is aborted.
pub(crate) async fn accept(listener: TcpListener, at: At, worker: Rc<Worker>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                arrive(stream, peer, at, &worker);
                if worker.is_full() {
                    // Whoever had to go closes its sockets first.
                    tokio::task::yield_now().await;
                }
            }
            // If file descriptors have run out, trying again at once does not help.
            Err(error) => {
                worker.counters.event(EdgeEvent::AcceptFailed);
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Decides about a connection and hands it to a task. One that is refused leaves nothing behind.
fn arrive(stream: TcpStream, peer: SocketAddr, at: At, worker: &Rc<Worker>) {
    let is_full = worker.is_full();
    let local = match at {
        At::Here(address) => address,
        // Fails only where the client has gone already.
        At::AnyPort => match stream.local_addr() {
            Ok(address) => address,
            Err(_) => return,
        },
    };
    let hop = Hop { client: peer, dialled: local };
    if worker.with_config(|config| config.trusted.iter().any(|prefix| prefix.contains(peer.ip()))) {
        // Whom it speaks for, and so whether one may go for it, is not known yet.
        if is_full {
            worker.counters.limited(Limit::Worker);
            return reset_on_close(&stream);
        }
        let guest = worker.connections.enter();
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            speak_for(stream, hop, &worker).await;
            drop(guest);
        });
        return;
    }
    match pipeline::decide(worker, Protocol::Tcp, hop, local) {
        Ok(_) if is_full && !worker.sessions.displace_any() => {
            worker.counters.limited(Limit::Worker);
            reset_on_close(&stream);
        }
        Ok(admitted) => {
            let guest = worker.connections.enter();
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move {
                pipeline::carry(stream, admitted, &worker).await;
                drop(guest);
            });
        }
        Err(Refused) => reset_on_close(&stream),
    }
}

/// A trusted peer sends a PROXY header first. Rules and limits apply to the client in it.
async fn speak_for(mut stream: TcpStream, near: Hop, worker: &Worker) {
    let time = worker.limits().handshake_time;
    let saying = async {
        if !worker.begins(&stream).await {
            return None;
        }
        worker.soon(header::read(&mut stream)).await
    };
    let hop = match tokio::time::timeout(time, saying).await {
        Ok(None) => return reset_on_close(&stream),
        Ok(Some(Ok(hop))) => hop.unwrap_or(near),
        Ok(Some(Err(error))) => {
            tracing::debug!(peer = %near.client, %error, "a trusted peer does not say whom it speaks for");
            worker.counters.event(EdgeEvent::ProxyHeader);
            return reset_on_close(&stream);
        }
        Err(_) => {
            worker.counters.event(EdgeEvent::ProxyHeader);
            return reset_on_close(&stream);
        }
    };
    // Without a header no check is needed: who has shaken hands has the address that it says.
    if worker.is_ours(Protocol::Tcp, hop.client) && hop.client != near.client {
        worker.counters.event(EdgeEvent::OwnSource);
        return reset_on_close(&stream);
    }
    match pipeline::decide(worker, Protocol::Tcp, hop, near.dialled) {
        Ok(admitted) => pipeline::carry(stream, admitted, worker).await,
        Err(Refused) => reset_on_close(&stream),
    }
}
