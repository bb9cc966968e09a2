//! The life of a registered connection, until it closes.
//!
//! ```text
//! registered ─┬─ configuration: push → serving; and again when its version grows
//!             ├─ calls: upload kept for the API; unregister → departing → nothing in flight → closed
//!             ├─ UDP: datagrams to their flows, ends of sessions both ways
//!             ├─ nothing more may be asked on it (HTTP/2) → departing
//!             └─ tunnel removed, or its secret changed → closed by us
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bartizan_live::Live;
use bartizan_observed::{Configured, Uploaded};
use bartizan_quotas::{Rarely, SourceKey};
use bartizan_routes::{Tunnel, TunnelConfiguration};
use bartizan_rpc::{
    Applied, Call, OUR_FEATURE, Refused, RpcError, RpcStopped, RpcThread, SessionCall, SessionId, StreamKind,
    read_stream_kind, serve_sessions, unregister_session, update_configuration,
};
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Config;
use crate::counters::count;
use crate::http2;
use crate::ingress::Edge;
use crate::limits::{TELLING_MAX, UPLOAD_BYTES_MAX};
use crate::link::{Carrier, Departure, Link};
use crate::sessions::{self, Ended};

/// What connectors list that take a configuration from the edge.
const CONFIGURED_FEATURE: &str = "allow_remote_config";

/// The work of the control stream on the thread of remote calls.
pub(crate) type Served = Pin<Box<dyn Future<Output = Result<Result<(), RpcError>, RpcStopped>> + Send>>;

/// A control stream whose connector is known.
pub(crate) struct ControlStream {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) served: Served,
}

/// A connection that registered.
pub(crate) struct Arrived {
    pub(crate) link: Arc<Link>,
    pub(crate) control: ControlStream,
    pub(crate) ended: Ended,
    /// Of the secret that it was admitted by.
    pub(crate) secret_sha256: [u8; 32],
}

/// Serves the connection until it closes, then forgets it.
pub(crate) async fn serve(Arrived { link, control, ended, secret_sha256 }: Arrived, edge: Edge) {
    // A task of its own, which ends with the connection: datagrams come more often than anything else here.
    tokio::spawn(sessions::receive(Arc::clone(&link), Arc::clone(&edge.counters)));
    let ours = tokio::select! {
        _ = link.carrier.closed() => None,
        why = until_not_admitted(&edge.live, &link, secret_sha256) => Some(why),
        never = follow_configuration(&link, &edge) => match never {},
        never = follow_exhaustion(&link, &edge) => match never {},
        () = serve_calls(&link, &edge.rpc) => None,
        never = tell_ended(&link, ended, &edge.rpc) => match never {},
        never = answer_calls(&link, control, &edge) => match never {},
        why = leave(&link) => Some(why),
    };
    if let Some(why) = ours {
        link.close(why);
    }
    let why = link.closed().await;
    if link.carrier.was_silent() {
        count(&edge.counters.lost);
    }
    let facts = &link.facts;
    tracing::info!(
        tunnel = %facts.tunnel, connector = %facts.connector, index = facts.index, "a connector's connection ended: {why}"
    );
    edge.registry.remove(link).await;
}

/// Waits until its credentials would not be admitted any more. Who registers between the commit of a new secret and its
/// publication is admitted by the old one, so this is asked of every snapshot.
async fn until_not_admitted(live: &Live<Config>, link: &Link, secret_sha256: [u8; 32]) -> &'static str {
    let mut changes = live.changes();
    loop {
        match live.snapshot().value.tunnels.get(&link.facts.tunnel) {
            None => return "the tunnel was deleted",
            Some(tunnel) if tunnel.secret_sha256 != secret_sha256 => return "the tunnel's secret was changed",
            Some(_) => {}
        }
        if changes.changed().await.is_err() {
            // No new configuration can come any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a connector can answer as soon as it has registered; if not, as soon as it has its configuration.
pub(crate) fn has_its_rules(link: &Link, tunnel: &Tunnel) -> bool {
    tunnel.configuration.is_none() || !link.has_feature(CONFIGURED_FEATURE)
}

/// Lets the connection depart when nothing more may be asked on it.
async fn follow_exhaustion(link: &Arc<Link>, edge: &Edge) -> std::convert::Infallible {
    link.carrier.until_exhausted().await;
    edge.registry.depart(link, Departure::Exhausted).await;
    std::future::pending().await
}

/// Waits until the connection departs, and then until it may be closed.
async fn leave(link: &Link) -> &'static str {
    let why = match link.departed().await {
        Departure::Replaced => "replaced by a newer connection",
        Departure::Exhausted => "nothing more may be asked on it",
        Departure::Unregistered if link.has_feature(OUR_FEATURE) => "the connector has left",
        // It closes by itself. If we did, it would take that for a failure.
        Departure::Unregistered => {
            tokio::time::sleep(link.limits.depart_time).await;
            count(&link.counters.overstayed);
            return "the connector's time to leave is over";
        }
    };
    if timeout(link.limits.depart_time, link.idle()).await.is_err() {
        count(&link.counters.overstayed);
    }
    why
}

/// Pushes the tunnel's configuration, and each newer one. With the first the connection begins to serve.
async fn follow_configuration(link: &Arc<Link>, edge: &Edge) -> std::convert::Infallible {
    let mut changes = edge.live.changes();
    let mut pushed = None;
    loop {
        let snapshot = edge.live.snapshot();
        let wanted = snapshot.value.tunnels.get(&link.facts.tunnel).and_then(|tunnel| tunnel.configuration.clone());
        let wanted = wanted.filter(|wanted| pushed.is_none_or(|pushed| wanted.version > pushed));
        let failed = match wanted {
            Some(wanted) => match timeout(edge.limits.call_time, push(link, &wanted, edge)).await {
                Ok(Ok(applied)) => {
                    if pushed.replace(wanted.version).is_none() {
                        // Also if it was refused: then the connector has other rules, and an operator has to see it.
                        edge.registry.serve(Arc::clone(link)).await;
                    }
                    note_push(link, &wanted, applied, edge).await;
                    false
                }
                Ok(Err(error)) => {
                    tracing::debug!(tunnel = %link.facts.tunnel, %error, "a configuration could not be pushed");
                    count(&edge.counters.calls_unanswered);
                    true
                }
                Err(_) => {
                    count(&edge.counters.calls_unanswered);
                    true
                }
            },
            None => false,
        };
        if failed {
            tokio::time::sleep(edge.limits.push_again_time).await;
        } else if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Http2(#[from] http2::PushError),
    #[error(transparent)]
    Stopped(#[from] RpcStopped),
    #[error(transparent)]
    Call(#[from] RpcError),
}

async fn push(link: &Link, configuration: &TunnelConfiguration, edge: &Edge) -> Result<Applied, PushError> {
    let quic = match &link.carrier {
        Carrier::Quic(quic) => quic,
        Carrier::Http2(session) => {
            return Ok(http2::push(session, SourceKey::widest(link.facts.origin_ip), configuration).await?);
        }
    };
    let (send, receive) = quic.open_bi().await?;
    let TunnelConfiguration { version, json } = configuration.clone();
    Ok(edge.rpc.run(move || update_configuration(receive, send, version, json.as_bytes().to_vec())).await??)
}

async fn note_push(link: &Arc<Link>, wanted: &TunnelConfiguration, applied: Applied, edge: &Edge) {
    let (tunnel, version) = (link.facts.tunnel, wanted.version);
    let configured = Configured { version: applied.version, error: applied.error.as_deref().map(Arc::from) };
    edge.registry.configure(Arc::clone(link), configured).await;
    match applied.error {
        None => {
            tracing::debug!(%tunnel, version, "a connector took its configuration");
            count(&edge.counters.configurations_applied);
        }
        // Of ours: it serves the rest.
        Some(error) if applied.version == version => {
            static IN_PART: Rarely = Rarely::new();
            if let Some(times) = IN_PART.turn() {
                tracing::warn!(%tunnel, version, why = ?error, times, "a connector serves its configuration in part");
            }
            count(&edge.counters.configurations_applied);
        }
        Some(error) => {
            let kept = applied.version;
            static REFUSED: Rarely = Rarely::new();
            if let Some(times) = REFUSED.turn() {
                tracing::warn!(%tunnel, version, kept, why = ?error, times, "a connector refused its configuration");
            }
            count(&edge.counters.configurations_refused);
        }
    }
}

/// Answers what the connector calls.
async fn answer_calls(link: &Arc<Link>, mut control: ControlStream, edge: &Edge) -> std::convert::Infallible {
    loop {
        tokio::select! {
            // The end of the stream counts as unregistering: the stock connector aborts it right after the call.
            ended = &mut control.served => {
                if !matches!(ended, Ok(Ok(()))) && !link.is_departing() && !link.carrier.is_closed() {
                    count(&edge.counters.calls_refused);
                }
                edge.registry.depart(link, Departure::Unregistered).await;
                std::future::pending::<()>().await;
            }
            Some(call) = control.calls.recv() => answer(call, link, edge).await,
        }
    }
}

async fn answer(call: Call, link: &Arc<Link>, edge: &Edge) {
    match call {
        Call::Register(_, reply) => {
            let cause = "this connection is registered already".to_owned();
            let _ = reply.send(Err(Refused { cause, retry_after: None }));
        }
        Call::Upload(json, reply) => {
            match std::str::from_utf8(&json) {
                Ok(json) if json.len() <= UPLOAD_BYTES_MAX => {
                    let at = edge.live.snapshot().value.clock.now();
                    let uploaded = Uploaded { json: json.into(), at };
                    edge.registry.upload(Arc::clone(link), uploaded).await;
                }
                _ => {
                    tracing::debug!(tunnel = %link.facts.tunnel, "an uploaded configuration is not text, or too large")
                }
            }
            let _ = reply.send(());
        }
        Call::Unregister(reply) => {
            edge.registry.depart(link, Departure::Unregistered).await;
            let _ = reply.send(());
        }
    }
}

/// Serves the streams that the connector opens for calls, until the connection is closed.
async fn serve_calls(link: &Arc<Link>, rpc: &RpcThread) {
    // Over HTTP/2 only the edge opens streams.
    let Some(quic) = link.carrier.quic() else { return drop(link.carrier.closed().await) };
    // As many as the connector may have open at a time.
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            stream = quic.accept_bi() => match stream {
                Ok((send, receive)) => {
                    let (link, rpc) = (Arc::clone(link), rpc.clone());
                    running.spawn(async move {
                        let mut called = false;
                        let serve = serve_call(send, receive, &link, &rpc, &mut called);
                        // How the connector closes the stream after its call does not matter.
                        let _ = timeout(link.limits.call_time, serve).await;
                        if !called && !link.carrier.is_closed() {
                            count(&link.counters.calls_refused);
                        }
                    });
                }
                Err(_) => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

/// The connector may tell that a UDP session has ended; that is all there is to call. `called` turns true when it did.
async fn serve_call(send: SendStream, mut receive: RecvStream, link: &Link, rpc: &RpcThread, called: &mut bool) {
    if !matches!(read_stream_kind(&mut receive).await, Ok(StreamKind::Rpc)) {
        return;
    }
    let (calls, mut received) = mpsc::channel(1);
    let serve = rpc.run(move || serve_sessions(receive, send, calls));
    let answer = async {
        while let Some(call) = received.recv().await {
            *called = true;
            match call {
                SessionCall::Register(_, reply) => {
                    let _ = reply.send(Err("sessions are begun by the edge".to_owned()));
                }
                SessionCall::Unregister(id, why, reply) => {
                    tracing::debug!(tunnel = %link.facts.tunnel, "a connector ended a UDP session: {why}");
                    link.sessions.end(id);
                    let _ = reply.send(());
                }
            }
        }
    };
    let _ = tokio::join!(serve, answer);
}

/// Tells the connector of each session that ended on our side.
async fn tell_ended(link: &Arc<Link>, mut ended: Ended, rpc: &RpcThread) -> std::convert::Infallible {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            Some(session) = ended.recv(), if running.len() < TELLING_MAX => {
                let (link, rpc) = (Arc::clone(link), rpc.clone());
                running.spawn(async move {
                    // If the call is lost, the session ends there by its idle timeout.
                    if !matches!(timeout(link.limits.call_time, tell(session, &link, &rpc)).await, Ok(Some(()))) {
                        count(&link.counters.calls_unanswered);
                    }
                });
            }
            Some(_) = running.join_next() => {}
            // The link holds a sender, and more may end.
            else => std::future::pending().await,
        }
    }
}

async fn tell(session: SessionId, link: &Link, rpc: &RpcThread) -> Option<()> {
    let (send, receive) = link.carrier.quic()?.open_bi().await.ok()?;
    let call = move || unregister_session(receive, send, session, "the client's flow ended");
    rpc.run(call).await.ok()?.ok()
}
