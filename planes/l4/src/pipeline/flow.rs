//! A UDP flow from its first datagram to its last.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Instant;

use bartizan_exchange::Datagrams;
use bartizan_names::{Protocol, ProxyProtocol};
use bartizan_wire::proxy::{self, HeaderBytes, Hop};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Admitted, Whom, count_end};
use crate::counters::{EdgeEvent, Limit, OriginFailure};
use crate::egress::{Opened, failure_of};
use crate::flows::{Ends, Flow, Speaker};
use crate::limits::REPLIES_A_TURN;
use crate::relay::is_pause;
use crate::session::{Permits, Session, Way};
use crate::worker::Worker;

/// How replies get back to the client: always with the source address and port that it dialled.
pub(crate) enum Back {
    /// Through the socket that it dialled.
    Shared(Rc<UdpSocket>),
    /// Through a socket of its own, which from now on also receives the client's datagrams.
    Own,
}

/// The same, ready.
enum Return {
    Shared(Rc<UdpSocket>),
    Own(UdpSocket),
}

/// Begins a flow with its first datagram. A refusal has been counted.
pub(crate) fn begin_flow(
    worker: &Rc<Worker>,
    admitted: Admitted,
    ends: Ends,
    speaker: Speaker,
    payload: &[u8],
    back: Back,
) {
    let Admitted { hop, local, whom, source, .. } = admitted;
    // Datagrams carry no name, so two applications on one UDP port cannot be told apart. The API refuses such.
    let Whom::App(app, permit) = whom else { return worker.counters.event(EdgeEvent::NoSuchName) };
    let room = worker.with_config(|config| worker.room(config, Protocol::Udp));
    if worker.flows.len() >= room.worker && !worker.flows.displace_any() {
        return worker.counters.limited(Limit::Worker);
    }
    let Ok(back) = prepare(back, ends) else { return worker.counters.event(EdgeEvent::Unsent) };
    let header = header_of(app.proxy_protocol, &hop);
    let counting = worker.counting(app.id);
    let quotas = (Permits { _source: source, _app: permit }, worker.memory.clone());
    let session = Session::new(app, hop, local, counting, quotas, Instant::now());
    let flow = worker.flows.add(Flow::new(ends, session, speaker, header));
    flow.send(payload);
    tokio::task::spawn_local(run(flow, back, Rc::clone(worker)));
}

/// The header in front of each datagram. Of version 2 some proxies send it in the first one only; but that one may get
/// lost or come late, and an origin that has been started again has never seen it.
fn header_of(form: ProxyProtocol, hop: &Hop) -> Option<HeaderBytes> {
    match form {
        ProxyProtocol::V2 => Some(proxy::write_v2(hop, Protocol::Udp)),
        ProxyProtocol::Simple => Some(proxy::write_simple(hop)),
        ProxyProtocol::Off | ProxyProtocol::V1 => None,
    }
}

fn prepare(back: Back, ends: Ends) -> std::io::Result<Return> {
    match back {
        Back::Shared(socket) => Ok(Return::Shared(socket)),
        Back::Own => {
            let socket = bartizan_net::udp_between(ends.local, ends.client)?;
            Ok(Return::Own(UdpSocket::from_std(socket)?))
        }
    }
}

async fn run(flow: Rc<Flow>, back: Return, worker: Rc<Worker>) {
    let carrying = carry(&flow, &back, &worker);
    match flow.session.cancel.unless_triggered(carrying).await {
        Ok(Some(failure)) => flow.session.origin_failed(failure),
        Err(end) => count_end(&flow.session, end),
        Ok(None) => {}
    }
    worker.flows.remove(&flow);
}

/// Until one side is gone, and the reason if it is the origin.
async fn carry(flow: &Flow, back: &Return, worker: &Worker) -> Option<OriginFailure> {
    match back {
        Return::Shared(_) => outwards(flow, back, worker).await.err(),
        Return::Own(socket) => tokio::select! {
            ended = outwards(flow, back, worker) => ended.err(),
            () = inwards(flow, socket, worker) => None,
        },
    }
}

/// Finds the origin, sends it the datagrams that wait, and forwards its replies until it is gone.
async fn outwards(flow: &Flow, back: &Return, worker: &Worker) -> Result<(), OriginFailure> {
    if let Return::Own(socket) = back {
        // A new socket is not known to be readable before it was polled once.
        let _ = socket.writable().await;
    }
    // In a box, so that its memory is freed when the flow has begun.
    match Box::pin(worker.egress.open(&flow.session, worker)).await? {
        Opened::Socket(socket, address) => {
            let socket = flow.set_origin(socket).await;
            let result = tokio::select! {
                failure = replies(flow, socket, back, worker) => failure,
                failure = flow.failure() => failure,
            };
            worker.egress.note_dead(address);
            Err(result)
        }
        Opened::Tunnel(datagrams) => through_tunnel(flow, datagrams, back, worker).await,
    }
}

/// Receives from a client that has its own socket here. Ends when the client is gone.
async fn inwards(flow: &Flow, socket: &UdpSocket, worker: &Worker) {
    loop {
        if datagram_or_error(socket).await.is_err() {
            return;
        }
        for _ in 0..REPLIES_A_TURN {
            let mut buffer = worker.scratch.borrow_mut();
            match socket.try_recv(&mut buffer) {
                Ok(len) => {
                    flow.confirm();
                    match flow.payload(&buffer[..len]) {
                        Some(payload) => flow.send(payload),
                        None => worker.counters.event(EdgeEvent::ProxyHeader),
                    }
                }
                Err(error) if is_pause(&error) => break,
                Err(_) => return,
            }
        }
    }
}

/// Forwards replies until the origin is gone.
async fn replies(flow: &Flow, socket: &UdpSocket, back: &Return, worker: &Worker) -> OriginFailure {
    loop {
        if let Err(error) = datagram_or_error(socket).await {
            return failure_of(&error);
        }
        for _ in 0..REPLIES_A_TURN {
            let mut buffer = worker.scratch.borrow_mut();
            match socket.try_recv(&mut buffer) {
                Ok(len) => give_back(flow, &buffer[..len], back, worker),
                Err(error) if is_pause(&error) => break,
                Err(error) => return failure_of(&error),
            }
        }
    }
}

/// Waits for a datagram, or for an error that says that the port is closed (ICMP, RFC 1122 §3.2.2.1).
async fn datagram_or_error(socket: &UdpSocket) -> io::Result<()> {
    loop {
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_error() {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            // Something else has read it already.
            let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        if ready.is_readable() {
            return Ok(());
        }
    }
}

/// Both directions at once. A datagram that the tunnel cannot take yet waits, and later ones wait behind it.
async fn through_tunnel(
    flow: &Flow,
    mut datagrams: Box<dyn Datagrams>,
    back: &Return,
    worker: &Worker,
) -> Result<(), OriginFailure> {
    let mut next = None;
    poll_fn(|cx| {
        while let Some(datagram) = next.take().or_else(|| flow.poll_waiting(cx)) {
            match datagrams.poll_send(cx, &datagram) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(OriginFailure::Tunnel)),
                Poll::Pending => {
                    next = Some(datagram);
                    break;
                }
            }
        }
        for _ in 0..REPLIES_A_TURN {
            match ready!(datagrams.poll_receive(cx)) {
                Ok(Some(datagram)) => give_back(flow, &datagram, back, worker),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(_) => return Poll::Ready(Err(OriginFailure::Tunnel)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

// Hot: once a reply. No allocation.
fn give_back(flow: &Flow, datagram: &[u8], back: &Return, worker: &Worker) {
    let payload = flow.reply(datagram);
    let sent = match back {
        Return::Shared(socket) => socket.try_send_to(payload, flow.ends.client),
        Return::Own(socket) => socket.try_send(payload),
    };
    match sent {
        Ok(len) => flow.session.traffic.took(Way::Out, len),
        Err(_) => worker.counters.event(EdgeEvent::Unsent),
    }
}
