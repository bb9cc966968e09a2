//! Connections to services that speak HTTP/2: the edge speaks it with them, and here bytes go both ways. So there is room for
//! what HTTP/1.1 has no place for and gRPC needs: streams both ways at the same time, and trailers.
//!
//! The edge names a host, and the rules say which service that is. Only one that is said to speak HTTP/2 (`http2Origin`) is
//! connected so: another one could take what is in the bytes of a body for requests that nobody has judged.

use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{Host, OriginFault};
use bartizan_net::{LeastRate, delivered};
use bartizan_rpc::{ConnectRequest, Metadata};
use tokio::io::AsyncWriteExt;

use crate::Event;
use crate::ingress::{Shared, StreamError};
use crate::link::Io;
use crate::pipeline::fail;
use crate::stream::{Arriving, IntakeError, Outlet};

/// Serves one connection to its end, or until the rules say something else of its host. The stream is reset by the caller
/// after an error.
pub(crate) async fn serve(
    request: &ConnectRequest,
    send: &mut Outlet,
    receive: Arriving,
    shared: &Shared,
) -> Result<(), StreamError> {
    let Some(host) = request.text(Metadata::HOST).and_then(Host::parse) else {
        return fail(send, "the host is not valid".to_owned(), OriginFault::Untold).await;
    };
    let mut changes = shared.rules.changes();
    let found = shared.rules.snapshot().value.find_http2(&host).map(Arc::clone);
    let origin = match found {
        Ok(origin) => origin,
        Err(why) => {
            let (host, why) = (host.as_str().to_owned(), why.to_string());
            shared.mention(Event::RequestFailed { origin: host.clone(), why: why.clone() });
            return fail(send, format!("{host}: {why}"), OriginFault::Untold).await;
        }
    };
    let opened = tokio::select! {
        opened = origin.open(host.bare_name(), &shared.origins) => opened,
        // The edge has given it up.
        _ = send.stopped() => return Err(StreamError::GivenUp),
    };
    let mut io = match opened {
        Ok(io) => io,
        Err(error) => {
            let why = error.to_string();
            shared.mention(Event::RequestFailed { origin: origin.name().to_owned(), why: why.clone() });
            return fail(send, format!("{}: {why}", origin.name()), error.fault()).await;
        }
    };
    send.agree().await?;
    let receive = receive.intake(request, None);
    let shed = receive.shed();
    let mut edge = tokio::io::join(receive, send);
    let moved = async {
        while changes.changed().await.is_ok() {
            if !shared.rules.snapshot().value.find_http2(&host).is_ok_and(|now| now.is_same(&origin)) {
                return;
            }
        }
        // The rules are there for as long as the connector is.
        std::future::pending().await
    };
    tokio::select! {
        biased;
        copied = tokio::io::copy_bidirectional(&mut edge, &mut io) => copied.map_err(StreamError::Upgraded)?,
        () = shed => return Err(IntakeError::Shed.into()),
        () = moved => return Err(StreamError::Moved),
    };
    deliver(io, shared.limits.deliver_time).await;
    Ok(())
}

/// Until the service has all of it.
async fn deliver(mut io: Box<dyn Io>, time: Duration) {
    // A TLS library may hold its last record back.
    let _ = io.flush().await;
    delivered(io.socket(), LeastRate::with_stall(time)).await;
}
