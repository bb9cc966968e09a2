//! Connectors come in over TCP: admission, TLS, and the question who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_quotas::{Over, Rarely, SourceKey};
use bartizan_rpc::serve_registration;
use bartizan_tls::{AcceptError, Acceptor, ServerStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::ask::{self, ControlError};
use super::driver::Driver;
use super::session::Session;
use crate::admission::Address;
use crate::counters::count;
use crate::ingress::{Admitted, ArrivalError, Edge, RegisterCall, first_call, register};
use crate::limits::{ACCEPT_PAUSE, CALLS_MAX};
use crate::link::Carrier;
use crate::pipeline;

/// What stock connectors ask for when they only try whether an edge is there. They shake hands, and close.
const PROBE: &str = "probe.cftunnel.com";

/// Accepts connections for as long as `listening` says so.
pub(crate) async fn accept(listener: TcpListener, edge: Edge, mut listening: watch::Receiver<bool>) {
    // Stock connectors offer no protocol in the handshake, and none is asked for.
    let acceptor = Acceptor::new(&[]);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = listening.wait_for(|listening| !*listening) => return,
        };
        match accepted {
            Ok((stream, from)) => admit(stream, from, &acceptor, &edge),
            Err(error) => {
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    tracing::warn!(%error, times, "a connector's connection cannot be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(stream: TcpStream, from: SocketAddr, acceptor: &Acceptor, edge: &Edge) {
    // Who shakes hands over TCP has an address.
    let admitted = match edge.admit(from.ip(), Address::Proven).and_then(|admitted| admitted.over_tcp(edge)) {
        Ok(admitted) => admitted,
        Err(over) => {
            count(if over == Over::Full { &edge.counters.full } else { &edge.counters.source_limited });
            // At once, and without an end that would wait for the other side's.
            let _ = stream.set_zero_linger();
            return;
        }
    };
    let (acceptor, edge) = (acceptor.clone(), edge.clone());
    tokio::spawn(async move {
        let Admitted { open, stranger } = admitted;
        match arrive(stream, from, &acceptor, &edge).await {
            Ok(arrived) => {
                drop(stranger);
                pipeline::serve(arrived, edge).await;
            }
            Err(error) => edge.note_stranger(from, &error),
        }
        drop(open);
    });
}

async fn arrive(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: &Acceptor,
    edge: &Edge,
) -> Result<pipeline::Arrived, ArrivalError> {
    let _ = stream.set_nodelay(true);
    let certificate = edge.live.snapshot().value.certificate.clone().ok_or(ArrivalError::NoCertificate)?;
    let shaking = timeout(edge.limits.handshake_time, acceptor.accept_as(stream, &certificate));
    let stream = shaking.await.map_err(|_| ArrivalError::HandshakeTime)??;
    if stream.sni() == Some(PROBE) {
        return Err(probed(stream, edge.limits.refused_time).await);
    }
    let session = Session::new(edge.memory, edge.limits.streams, edge.share.clone());
    let driving = tokio::spawn(Driver::new(Arc::clone(&session), stream, Arc::clone(&edge.counters)).run());
    let source = SourceKey::widest(from.ip());
    let called = timeout(edge.limits.register_time, call(&session, source, edge)).await;
    let registering = match called {
        Ok(Ok((registration, reply, control))) => {
            let carrier = Carrier::Http2(Arc::clone(&session));
            register(carrier, from.ip(), *registration, reply, control, edge).await
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ArrivalError::RegisterTime),
    };
    if registering.is_err() {
        session.close();
        // Its place is for another when its socket is gone.
        let _ = driving.await;
    }
    registering
}

/// Opens the control stream, and waits for the call to register.
async fn call(session: &Arc<Session>, source: SourceKey, edge: &Edge) -> Result<RegisterCall, ArrivalError> {
    let (read, write) = ask::control(session, source).await?;
    let (calls, received) = mpsc::channel(CALLS_MAX);
    let rpc = edge.rpc.clone();
    let served: pipeline::Served =
        Box::pin(async move { rpc.run(move || serve_registration(read, write, calls)).await });
    first_call(served, received, std::future::pending()).await
}

/// Waits until who tries has seen enough.
async fn probed(mut stream: ServerStream<TcpStream>, patience: Duration) -> ArrivalError {
    let mut byte = [0];
    let _ = timeout(patience, tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await;
    ArrivalError::Probe
}

impl From<AcceptError> for ArrivalError {
    fn from(error: AcceptError) -> ArrivalError {
        ArrivalError::Tls(Box::new(error))
    }
}

impl From<ControlError> for ArrivalError {
    fn from(error: ControlError) -> ArrivalError {
        ArrivalError::Control(Box::new(error))
    }
}
