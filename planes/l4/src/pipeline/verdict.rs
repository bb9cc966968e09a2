//! Whether a client is let in. It is decided by its address and the endpoint, before a byte of it is read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bartizan_firewall::Source;
use bartizan_names::{AppId, Protocol};
use bartizan_quotas::{Over, Permit, SourceKey, SourcePermit};
use bartizan_routes::App;
use bartizan_wire::proxy::Hop;

use super::clients;
use crate::Config;
use crate::counters::{EdgeEvent, Limit};
use crate::limits::Ceilings;
use crate::session::{End, Session};
use crate::worker::{QuotaPair, Worker};

/// A client that was let in.
pub(crate) struct Admitted {
    /// Who it is, and what it dialled.
    pub(crate) hop: Hop,
    /// The address and port of ours that it arrived at.
    pub(crate) local: SocketAddr,
    pub(crate) whom: Whom,
    pub(crate) source: SourcePermit,
    /// The number of the configuration by which it was decided.
    pub(crate) generation: u64,
}

/// Which application a client is for.
pub(crate) enum Whom {
    /// The only one there.
    App(Arc<App>, Permit<AppId>),
    /// The one that the client's handshake names.
    Named(Vec<Arc<App>>),
}

/// A client is refused. It has been counted.
pub(crate) struct Refused;

/// Whether a client is let in: which applications are there, what the rules say, what the limits allow. `local` is the
/// socket's own address, which may differ from the one that the client dialled.
// Hot: once a connection or flow. No allocation, unless several applications share the endpoint.
pub(crate) fn decide(worker: &Worker, protocol: Protocol, hop: Hop, local: SocketAddr) -> Result<Admitted, Refused> {
    let now = Instant::now();
    let generation = worker.generation();
    worker.with_config(|config| {
        let apps = apps_at(worker, config, protocol, local)?;
        let apps = admit(worker, config, apps, &hop)?;
        let (quotas, ceilings) = quotas_of(worker, config, protocol);
        let free = match protocol {
            // Nor may one source fill all that there is for its application. A newcomer is the application's to refuse.
            Protocol::Tcp => {
                let left = worker.room(config, protocol).left_to_app(quotas.apps.open(apps.first()));
                worker.free(config, protocol).min(left.max(1))
            }
            Protocol::Udp => worker.free(config, protocol),
        };
        let source = source_permit(worker, &apps, (protocol, free), quotas, &ceilings, &hop, now)?;
        let whom = match apps {
            Found::One(app) => {
                let permit = app_permit(worker, &app, hop.client.ip(), quotas, &ceilings, now)?;
                Whom::App(app, permit)
            }
            Found::Several(apps) => Whom::Named(apps),
        };
        Ok(Admitted { hop, local, whom, source, generation })
    })
}

/// The applications at an address and port.
enum Found {
    One(Arc<App>),
    /// At least two.
    Several(Vec<Arc<App>>),
}

impl Found {
    /// The application that pays for what happens before the client has named one.
    fn first_app(&self) -> &App {
        match self {
            Found::One(app) => app,
            // There are at least two.
            Found::Several(apps) => &apps[0],
        }
    }

    fn first(&self) -> AppId {
        self.first_app().id
    }
}

fn apps_at(worker: &Worker, config: &Config, protocol: Protocol, local: SocketAddr) -> Result<Found, Refused> {
    let mut apps = config.apps.at(&config.pools, protocol, local);
    let Some(first) = apps.next() else {
        worker.counters.event(EdgeEvent::Unknown);
        return Err(Refused);
    };
    let Some(second) = apps.next() else { return Ok(Found::One(Arc::clone(first))) };
    Ok(Found::Several([first, second].into_iter().chain(apps).cloned().collect()))
}

/// Refuses a client that no application of the endpoint would let in.
fn admit(worker: &Worker, config: &Config, apps: Found, hop: &Hop) -> Result<Found, Refused> {
    let lets_in = |app: &Arc<App>| !is_blocked(config, app, hop);
    let welcome = match &apps {
        Found::One(app) => lets_in(app),
        Found::Several(apps) => apps.iter().any(lets_in),
    };
    if welcome {
        return Ok(apps);
    }
    worker.filtered(apps.first_app(), hop.client.ip());
    Err(Refused)
}

/// A challenge is a refusal here: over plain TCP and UDP no page can be shown.
fn is_blocked(config: &Config, app: &App, hop: &Hop) -> bool {
    if !app.ip_firewall {
        return false;
    }
    let address = hop.client.ip();
    let (country, asn) = config.geo.lookup(address);
    config.firewall.decide(app.zone, &Source { address, country, asn }).refused_by().is_some()
}

/// Why a session that was let in must end under a newer configuration, if it must: where it arrived and how it is encrypted
/// has to be what the application has now. Which origin it has, and what that is told, was chosen when it began.
pub(crate) fn judge(config: &Config, session: &Session) -> Option<End> {
    let Some(app) = config.apps.get(session.app.id) else { return Some(End::Removed) };
    let is_there = config.apps.at(&config.pools, app.protocol, session.local).any(|there| there.id == app.id);
    // As early as it is known: before the end of a handshake nothing is.
    let is_weak = |agreed| !config.hosts.policy(&app.name.to_string()).allows(agreed);
    if !is_there || app.tls != session.app.tls || session.agreed.get().is_some_and(is_weak) {
        return Some(End::Removed);
    }
    (is_blocked(config, app, &session.hop) || clients::is_refused(config, session)).then_some(End::Blocked)
}

/// The counts to use, and the ceilings: as configured, or lower if there is less room.
fn quotas_of<'w>(worker: &'w Worker, config: &Config, protocol: Protocol) -> (&'w QuotaPair, Ceilings) {
    let (quotas, ceilings) = match protocol {
        Protocol::Tcp => (&worker.quotas.connections, &config.limits.connections),
        Protocol::Udp => (&worker.quotas.flows, &config.limits.flows),
    };
    (quotas, Ceilings { app: worker.room(config, protocol).lower(&ceilings.app), ..*ceilings })
}

/// `free`: how many more there is room for.
fn source_permit(
    worker: &Worker,
    apps: &Found,
    (protocol, free): (Protocol, usize),
    quotas: &QuotaPair,
    ceilings: &Ceilings,
    hop: &Hop,
    now: Instant,
) -> Result<SourcePermit, Refused> {
    let from = hop.client.ip();
    let admit = |free| quotas.sources.admit(from, ceilings.source, free, now);
    let mut permit = admit(free);
    if matches!(permit, Err(Over::Open | Over::Crowded)) && protocol == Protocol::Udp {
        let own = SourceKey::widest(from);
        let held = quotas.sources.open(own) as usize;
        if worker.flows.displace_own(apps.first(), own) {
            permit = admit(held);
        }
    }
    permit.map_err(|over| {
        worker.tally(apps.first()).limited(match over {
            Over::Open => Limit::SourceOpen,
            Over::Rate => Limit::SourceRate,
            Over::Handshakes => Limit::SourceHandshakes,
            Over::Crowded | Over::Full => Limit::SourceCrowded,
            Over::Counted => Limit::Sources,
        });
        Refused
    })
}

fn app_permit(
    worker: &Worker,
    app: &App,
    from: IpAddr,
    quotas: &QuotaPair,
    ceilings: &Ceilings,
    now: Instant,
) -> Result<Permit<AppId>, Refused> {
    let mut permit = quotas.apps.acquire(app.id, &ceilings.app, now);
    let makes_room = || match app.protocol {
        Protocol::Udp => worker.flows.displace(app.id),
        // Whoever has a connection already does not get the place of another's.
        Protocol::Tcp => quotas.sources.open(SourceKey::widest(from)) <= 1 && worker.sessions.displace(app.id),
    };
    if matches!(permit, Err(Over::Open)) && makes_room() {
        permit = quotas.apps.acquire(app.id, &ceilings.app, now);
    }
    permit.map_err(|over| {
        worker.tally(app.id).limited(match over {
            Over::Open | Over::Crowded | Over::Full => Limit::AppOpen,
            Over::Rate => Limit::AppRate,
            Over::Handshakes => Limit::AppHandshakes,
            Over::Counted => Limit::Sources,
        });
        Refused
    })
}

/// The verdict and the limits for an application that became known by the handshake.
pub(crate) fn enter(worker: &Worker, app: &App, hop: &Hop) -> Result<Permit<AppId>, Refused> {
    worker.with_config(|config| {
        if is_blocked(config, app, hop) {
            worker.filtered(app, hop.client.ip());
            return Err(Refused);
        }
        let (quotas, ceilings) = quotas_of(worker, config, Protocol::Tcp);
        app_permit(worker, app, hop.client.ip(), quotas, &ceilings, Instant::now())
    })
}
