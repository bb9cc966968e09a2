//! The only way a connection is carried. [`decide`] is all that happens before a byte of it is read; [`carry`] is the
//! rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_firewall::Source;
use bartizan_names::{AppId, Protocol};
use bartizan_routes::{App, AppTls};
use bartizan_tls::ServerStream;
use bartizan_wire::proxy::Hop;
use tokio::net::TcpStream;

use crate::Config;
use crate::counters::{EdgeEvent, Limit, OriginFailure};
use crate::ingress;
use crate::ledger::{Over, Seat, SourceKey};
use crate::limits::Ceilings;
use crate::relay::{Client, Outcome, relay, reset_on_close};
use crate::session::{End, Place, Seats, Session};
use crate::worker::{Pair, Worker};

/// A client that may come in.
pub(crate) struct Admitted {
    /// Who it is, and what it dialled.
    pub(crate) hop: Hop,
    /// The address and port of ours that it arrived at.
    pub(crate) local: SocketAddr,
    pub(crate) whom: Whom,
    pub(crate) source: Seat<SourceKey>,
}

/// Which application a client is for.
pub(crate) enum Whom {
    /// The only one there.
    App(Arc<App>, Seat<AppId>),
    /// The one that the client's handshake names.
    Named(Vec<Arc<App>>),
}

/// A client is refused. It has been counted.
pub(crate) struct Refused;

/// Whether a client may come in: the place, its verdict, the limits. `local` is the socket's own address, which need
/// not be what the client dialled.
// Hot: once a connection or flow. No allocation, unless several applications share the place.
pub(crate) fn decide(worker: &Worker, protocol: Protocol, hop: Hop, local: SocketAddr) -> Result<Admitted, Refused> {
    let now = Instant::now();
    worker.with_config(|config| {
        let apps = place(worker, config, protocol, local)?;
        let apps = admit(worker, config, apps, &hop)?;
        let (book, ceilings) = book(worker, config, protocol);
        let source = source_seat(worker, &apps, book, ceilings, &hop, now)?;
        let whom = match apps {
            Found::One(app) => {
                let seat = app_seat(worker, &app, book, ceilings, now)?;
                Whom::App(app, seat)
            }
            Found::Several(apps) => Whom::Named(apps),
        };
        Ok(Admitted { hop, local, whom, source })
    })
}

/// The applications at a place.
enum Found {
    One(Arc<App>),
    /// At least two.
    Several(Vec<Arc<App>>),
}

impl Found {
    /// Who is charged for what happens before it is known who is meant.
    fn first(&self) -> AppId {
        match self {
            Found::One(app) => app.id,
            // There are two at least.
            Found::Several(apps) => apps[0].id,
        }
    }
}

fn place(worker: &Worker, config: &Config, protocol: Protocol, local: SocketAddr) -> Result<Found, Refused> {
    let mut apps = config.apps.at(&config.pools, protocol, local);
    let Some(first) = apps.next() else {
        worker.counters.event(EdgeEvent::Unknown);
        return Err(Refused);
    };
    let Some(second) = apps.next() else { return Ok(Found::One(Arc::clone(first))) };
    Ok(Found::Several([first, second].into_iter().chain(apps).cloned().collect()))
}

/// Refuses a client whom no application there would let in.
fn admit(worker: &Worker, config: &Config, apps: Found, hop: &Hop) -> Result<Found, Refused> {
    let lets_in = |app: &Arc<App>| !is_blocked(config, app, hop);
    let welcome = match &apps {
        Found::One(app) => lets_in(app),
        Found::Several(apps) => apps.iter().any(lets_in),
    };
    if welcome {
        return Ok(apps);
    }
    worker.tally(apps.first()).filtered();
    Err(Refused)
}

/// No page can be shown to ask for proof, so a challenge is a refusal.
fn is_blocked(config: &Config, app: &App, hop: &Hop) -> bool {
    if !app.ip_firewall {
        return false;
    }
    let source = Source { address: hop.client.ip(), country: None, asn: None };
    config.firewall.decide(app.zone, &source).refused_by().is_some()
}

/// Why a session that was let in once is ended under a newer configuration.
pub(crate) fn judge(config: &Config, session: &Session) -> Option<End> {
    let Some(app) = config.apps.get(session.app.id) else { return Some(End::Removed) };
    is_blocked(config, app, &session.hop).then_some(End::Blocked)
}

fn book<'w>(worker: &'w Worker, config: &'w Config, protocol: Protocol) -> (&'w Pair, &'w Ceilings) {
    match protocol {
        Protocol::Tcp => (&worker.books.connections, &config.limits.connections),
        Protocol::Udp => (&worker.books.flows, &config.limits.flows),
    }
}

fn source_seat(
    worker: &Worker,
    apps: &Found,
    book: &Pair,
    ceilings: &Ceilings,
    hop: &Hop,
    now: Instant,
) -> Result<Seat<SourceKey>, Refused> {
    book.sources.enter(hop.client.ip().into(), &ceilings.source, now).map_err(|over| {
        worker.tally(apps.first()).limited(match over {
            Over::Open => Limit::SourceOpen,
            Over::Rate => Limit::SourceRate,
            Over::Handshakes => Limit::SourceHandshakes,
            Over::Counted => Limit::Sources,
        });
        Refused
    })
}

fn app_seat(
    worker: &Worker,
    app: &App,
    book: &Pair,
    ceilings: &Ceilings,
    now: Instant,
) -> Result<Seat<AppId>, Refused> {
    book.apps.enter(app.id, &ceilings.app, now).map_err(|over| {
        worker.tally(app.id).limited(match over {
            Over::Open => Limit::AppOpen,
            Over::Rate => Limit::AppRate,
            Over::Handshakes => Limit::AppHandshakes,
            Over::Counted => Limit::Sources,
        });
        Refused
    })
}

/// Carries a connection from its first byte to its last.
pub(crate) async fn carry(stream: TcpStream, admitted: Admitted, worker: &Worker) {
    let Some((client, place)) = open(stream, admitted, worker).await else { return };
    let session = &*place.session;
    // In a box, so that its memory is free again once the connection stands.
    let connecting = Box::pin(worker.egress.connect(session, worker));
    match session.order.unless_given(connecting).await {
        Ok(Ok(origin)) => match relay(client, origin, session, worker).await {
            Outcome::OriginReset => session.tally.origin_failed(OriginFailure::Reset),
            Outcome::Ended(End::Blocked) => session.tally.filtered(),
            Outcome::Finished | Outcome::ClientReset | Outcome::Ended(_) => {}
        },
        Ok(Err(failure)) => {
            session.tally.origin_failed(failure);
            client.reset();
        }
        Err(end) => {
            if end == End::Blocked {
                session.tally.filtered();
            }
            client.reset();
        }
    }
}

/// Begins the session: at once where one application is meant, else after the handshake that names it.
async fn open<'w>(stream: TcpStream, admitted: Admitted, worker: &'w Worker) -> Option<(Client, Place<'w>)> {
    let Admitted { hop, local, whom, source } = admitted;
    match whom {
        Whom::App(app, seat) => {
            let seats = Seats { _source: source, _app: seat };
            let place = begin(worker, Arc::clone(&app), hop, local, seats);
            if app.tls == AppTls::Off {
                return Some((Client::Plain(stream), place));
            }
            let shaking = Box::pin(decrypt(stream, &hop, app.id, Some(&app), worker));
            let stream = place.session.order.unless_given(shaking).await.ok()??;
            Some((Client::Tls(Box::new(stream)), place))
        }
        Whom::Named(apps) => {
            let stream = Box::pin(decrypt(stream, &hop, apps[0].id, None, worker)).await?;
            let named = apps.iter().find(|app| is_named(app, stream.sni()));
            let client = Client::Tls(Box::new(stream));
            let Some(app) = named else {
                worker.counters.event(EdgeEvent::NoSuchName);
                client.reset();
                return None;
            };
            match enter(worker, app, &hop) {
                Ok(seat) => {
                    let seats = Seats { _source: source, _app: seat };
                    Some((client, begin(worker, Arc::clone(app), hop, local, seats)))
                }
                Err(Refused) => {
                    client.reset();
                    None
                }
            }
        }
    }
}

fn begin(worker: &Worker, app: Arc<App>, hop: Hop, local: SocketAddr, seats: Seats) -> Place<'_> {
    let tally = worker.tally(app.id);
    worker.sessions.add(Session::new(app, hop, local, tally, seats, Instant::now()))
}

/// The verdict and the limits of an application that is known only now.
fn enter(worker: &Worker, app: &App, hop: &Hop) -> Result<Seat<AppId>, Refused> {
    worker.with_config(|config| {
        if is_blocked(config, app, hop) {
            worker.tally(app.id).filtered();
            return Err(Refused);
        }
        app_seat(worker, app, &worker.books.connections, &config.limits.connections, Instant::now())
    })
}

fn is_named(app: &App, sni: Option<&str>) -> bool {
    app.tls != AppTls::Off && sni.is_some_and(|sni| app.name.to_string().eq_ignore_ascii_case(sni))
}

/// The TLS handshake, within its limits. `charged` pays for it; `only` is the application if there is no other.
async fn decrypt(
    stream: TcpStream,
    hop: &Hop,
    charged: AppId,
    only: Option<&App>,
    worker: &Worker,
) -> Option<ServerStream<TcpStream>> {
    let seats = worker.with_config(|config| {
        let (book, ceilings, now) = (&worker.books.connections, &config.limits.connections, Instant::now());
        let source = book.sources.shake_hands(hop.client.ip().into(), &ceilings.source, now);
        let app = book.apps.shake_hands(charged, &ceilings.app, now);
        match (source, app) {
            (Ok(source), Ok(app)) => Ok((source, app)),
            (Err(_), _) => Err(Limit::SourceHandshakes),
            (_, Err(_)) => Err(Limit::AppHandshakes),
        }
    });
    let _seats = match seats {
        Ok(seats) => seats,
        Err(limit) => {
            worker.tally(charged).limited(limit);
            reset_on_close(&stream);
            return None;
        }
    };
    ingress::shake_hands(stream, only, worker).await
}
