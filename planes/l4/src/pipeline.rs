//! The only way a client's bytes are carried.
//!
//! ```text
//! decide: endpoint → verdict → limits ─┬─ carry (TCP): TLS → name → origin → relay
//!                                      └─ begin_flow (UDP): origin → datagrams both ways
//! ```

mod clients;
mod flow;
mod verdict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bartizan_names::{AppId, AppTls};
use bartizan_routes::App;
use bartizan_tls::ServerStream;
use bartizan_wire::proxy::Hop;
use tokio::net::TcpStream;

pub(crate) use clients::{has_run_out, tell};
pub(crate) use flow::{Back, begin_flow};
pub(crate) use verdict::{Admitted, Refused, Whom, decide, judge};

use crate::counters::{EdgeEvent, Limit, OriginFailure};
use crate::ingress;
use crate::relay::{Client, Outcome, relay, reset_on_close};
use crate::session::{End, Permits, Session, SessionEntry};
use crate::worker::Worker;
use verdict::enter;

/// Carries a connection from its first byte to its last.
pub(crate) async fn carry(stream: TcpStream, admitted: Admitted, worker: &Worker) {
    let Some((client, entry)) = open(stream, admitted, worker).await else { return };
    let session = &*entry.session;
    // In a box, so that its memory is freed when the connection is made.
    let connecting = Box::pin(worker.egress.connect(session, worker));
    match session.cancel.unless_triggered(connecting).await {
        Ok(Ok(origin)) => match relay(client, origin, session, worker).await {
            Outcome::OriginReset | Outcome::OriginLeft => session.origin_failed(OriginFailure::Reset),
            Outcome::Ended(end) => count_end(session, end),
            Outcome::Finished | Outcome::ClientReset | Outcome::ClientLeft => {}
        },
        Ok(Err(failure)) => {
            session.origin_failed(failure);
            client.reset();
        }
        Err(end) => {
            count_end(session, end);
            client.reset();
        }
    }
}

/// Begins the session: at once where the endpoint has one application, else after the TLS handshake that names one.
async fn open<'w>(stream: TcpStream, admitted: Admitted, worker: &'w Worker) -> Option<(Client, SessionEntry<'w>)> {
    let Admitted { hop, local, whom, source, generation } = admitted;
    match whom {
        Whom::App(app, permit) => {
            let permits = Permits { _source: source, _app: permit };
            let entry = begin(worker, Arc::clone(&app), hop, local, permits);
            if worker.generation() != generation {
                judge_again(&entry.session, worker);
            }
            if app.tls == AppTls::Off {
                return Some((Client::Plain(stream), entry));
            }
            let shaking = Box::pin(decrypt(stream, &hop, app.id, Some(&app), worker));
            match entry.session.cancel.unless_triggered(shaking).await {
                Ok(stream) => {
                    let stream = stream?;
                    entry.session.agreed.set(stream.agreed());
                    clients::note(&entry.session, &stream);
                    judge_again(&entry.session, worker);
                    Some((Client::Tls(Box::new(stream)), entry))
                }
                Err(end) => {
                    count_end(&entry.session, end);
                    None
                }
            }
        }
        Whom::Named(apps) => {
            let stream = Box::pin(decrypt(stream, &hop, apps[0].id, None, worker)).await?;
            let named = apps.iter().find(|app| is_named(app, stream.sni()));
            let Some(app) = named else {
                worker.counters.event(EdgeEvent::NoSuchName);
                Client::Tls(Box::new(stream)).reset();
                return None;
            };
            match enter(worker, app, &hop) {
                Ok(permit) => {
                    let permits = Permits { _source: source, _app: permit };
                    let entry = begin(worker, Arc::clone(app), hop, local, permits);
                    entry.session.agreed.set(stream.agreed());
                    clients::note(&entry.session, &stream);
                    judge_again(&entry.session, worker);
                    Some((Client::Tls(Box::new(stream)), entry))
                }
                Err(Refused) => {
                    Client::Tls(Box::new(stream)).reset();
                    None
                }
            }
        }
    }
}

fn begin(worker: &Worker, app: Arc<App>, hop: Hop, local: SocketAddr, permits: Permits) -> SessionEntry<'_> {
    let counting = worker.counting(app.id);
    worker.sessions.add(Session::new(app, hop, local, counting, (permits, worker.memory.clone()), Instant::now()))
}

/// A change that came since the decision, or since the handshake began, has not judged this session, and will not do so
/// later; and who the client is by its certificate is known only now.
fn judge_again(session: &Session, worker: &Worker) {
    let end = worker.with_config(|config| judge(config, session));
    end.into_iter().for_each(|end| session.cancel.trigger(end));
}

fn is_named(app: &App, sni: Option<&str>) -> bool {
    app.tls != AppTls::Off && sni.is_some_and(|sni| app.name.to_string().eq_ignore_ascii_case(sni))
}

/// The TLS handshake, within its limits. It counts for the application `charged`; `only` is the application of the
/// endpoint, if there is just one.
async fn decrypt(
    stream: TcpStream,
    hop: &Hop,
    charged: AppId,
    only: Option<&App>,
    worker: &Worker,
) -> Option<ServerStream<TcpStream>> {
    let permits = worker.with_config(|config| {
        let (quotas, ceilings, now) = (&worker.quotas.connections, &config.limits.connections, Instant::now());
        let source = quotas.sources.shake_hands_with(hop.client.ip(), ceilings.source, now);
        let app = quotas.apps.shake_hands(charged, &ceilings.app, now);
        match (source, app) {
            (Ok(source), Ok(app)) => Ok((source, app)),
            (Err(_), _) => Err(Limit::SourceHandshakes),
            (_, Err(_)) => Err(Limit::AppHandshakes),
        }
    });
    let _permits = match permits {
        Ok(permits) => permits,
        Err(limit) => {
            worker.tally(charged).limited(limit);
            reset_on_close(&stream);
            return None;
        }
    };
    ingress::shake_hands(stream, only, worker).await
}

fn count_end(session: &Session, end: End) {
    match end {
        End::Blocked => session.filtered(),
        End::Removed | End::Idle | End::Displaced | End::Memory | End::Stopped => {}
    }
}
