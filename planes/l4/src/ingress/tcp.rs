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

/// What a listener receives for.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// The address and port that it is bound to.
    Here(SocketAddr),
    /// More than that: each connection knows.
    AnyPort,
}

/// Lets connections in, for ever.
pub(crate) async fn accept(listener: TcpListener, at: At, worker: Rc<Worker>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => arrive(stream, peer, at, &worker),
            // Lack of file descriptors does not end by asking again at once.
            Err(error) => {
                worker.counters.event(EdgeEvent::AcceptFailed);
                tracing::debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Decides, and hands the connection to a task; nothing is kept of one that is refused.
fn arrive(stream: TcpStream, peer: SocketAddr, at: At, worker: &Rc<Worker>) {
    let room = worker.with_config(|config| worker.room(config, Protocol::Tcp));
    let Some(guest) = worker.connections.enter(room.worker) else {
        worker.counters.limited(Limit::Worker);
        return reset_on_close(&stream);
    };
    let local = match at {
        At::Here(address) => address,
        // Fails for a connection that is gone already.
        At::AnyPort => match stream.local_addr() {
            Ok(address) => address,
            Err(_) => return,
        },
    };
    let hop = Hop { client: peer, dialled: local };
    if worker.with_config(|config| config.trusted.iter().any(|prefix| prefix.contains(peer.ip()))) {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            speak_for(stream, hop, &worker).await;
            drop(guest);
        });
        return;
    }
    match pipeline::decide(worker, Protocol::Tcp, hop, local) {
        Ok(admitted) => {
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move {
                pipeline::carry(stream, admitted, &worker).await;
                drop(guest);
            });
        }
        Err(Refused) => reset_on_close(&stream),
    }
}

/// A trusted peer says first whom it speaks for. All that is decided is decided about that client.
async fn speak_for(mut stream: TcpStream, near: Hop, worker: &Worker) {
    let time = worker.limits().handshake_time;
    let hop = match tokio::time::timeout(time, header::read(&mut stream)).await {
        Ok(Ok(hop)) => hop.unwrap_or(near),
        Ok(Err(error)) => {
            tracing::debug!(peer = %near.client, %error, "a trusted peer does not say whom it speaks for");
            worker.counters.event(EdgeEvent::ProxyHeader);
            return reset_on_close(&stream);
        }
        Err(_) => {
            worker.counters.event(EdgeEvent::ProxyHeader);
            return reset_on_close(&stream);
        }
    };
    match pipeline::decide(worker, Protocol::Tcp, hop, near.dialled) {
        Ok(admitted) => pipeline::carry(stream, admitted, worker).await,
        Err(Refused) => reset_on_close(&stream),
    }
}
