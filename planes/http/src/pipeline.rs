//! The only way a request becomes an answer.

use std::pin::pin;

use bartizan_exchange::Upgrade;
use bartizan_firewall::Verdict;
use bartizan_names::{Ssl, ZoneId, ZoneSettings};
use bartizan_routes::Scheme;
use http::{HeaderMap, HeaderValue, Version};

use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::egress::Destination;
use crate::forward;
use crate::ingress::RequestGuard;
use crate::page::{self, Problem};
use crate::ray::Ray;
use crate::worker::{Known, Worker};

/// How a request ends without an origin.
enum Instead {
    Problem(Problem),
    /// The URL to go to instead.
    Moved(HeaderValue),
    /// What can be asked of the edge itself.
    Options,
}

impl From<Problem> for Instead {
    fn from(problem: Problem) -> Instead {
        Instead::Problem(problem)
    }
}

/// Answers a request. Read it to learn the order of the steps.
pub(crate) async fn serve(arrived: &mut Arrived, guard: &RequestGuard, worker: &Worker) -> Answered {
    let (known, ray) = worker.look_up(arrived);
    let ended = {
        let answering = pin!(steps(arrived, known, ray, guard, worker));
        guard.unless_ended(answering).await.unwrap_or(Err(Problem::Blocked.into()))
    };
    let response = match ended {
        Ok(answered) => {
            worker.counters.requests.answered(answered.status);
            return answered;
        }
        Err(Instead::Moved(location)) => page::moved(location),
        Err(Instead::Options) => page::options(),
        Err(Instead::Problem(problem)) => {
            if problem == Problem::Blocked {
                worker.counters.requests.blocked.add(1);
            }
            problem.page(&arrived.fields.accepted(), &ray)
        }
    };
    worker.counters.requests.answered(response.status);
    Answered::new(response, ray)
}

/// Answers a request that was refused before it could be read.
pub(crate) fn refuse(problem: Problem, asked: &HeaderMap, worker: &Worker) -> Answered {
    let ray = worker.draw_ray();
    let response = problem.page(asked, &ray);
    worker.counters.requests.answered(response.status);
    Answered::new(response, ray)
}

/// The snapshot is held for as long as the request lasts, so it never sees parts of two configurations.
async fn steps(
    arrived: &mut Arrived,
    known: Option<Known>,
    ray: Ray,
    guard: &RequestGuard,
    worker: &Worker,
) -> Result<Answered, Instead> {
    let Known { site, route, verdict } = known.ok_or(Problem::UnknownHost)?;
    let settings = &site.policy.settings;
    let_in(verdict, site.zone, guard)?;
    allow_version(arrived, settings)?;
    right_scheme(arrived, settings, worker)?;
    allow_upgrade(arrived, settings)?;
    if forward::is_loop(&arrived.fields) {
        return Err(Problem::Loop.into());
    }
    if forward::ends_here(&arrived.method, &arrived.fields) {
        return Err(Instead::Options);
    }
    let destination = Destination { zone: site.zone, target: &route.target, settings, request: guard, ray };
    Ok(worker.egress.send(&destination, arrived).await?)
}

/// Passes a request that the firewall allows. A challenge is a refusal too: there is no page for one yet.
fn let_in(verdict: Verdict, zone: ZoneId, guard: &RequestGuard) -> Result<(), Problem> {
    match verdict {
        Verdict::Block(_) | Verdict::Challenge(_) => Err(Problem::Blocked),
        Verdict::Unknown(_) => Err(Problem::Unread),
        Verdict::Allow(_) => {
            guard.concern(zone);
            Ok(())
        }
    }
}

/// A connection whose name may speak HTTP/2 can still ask for one that may not, and a setting can change while it lasts.
fn allow_version(arrived: &Arrived, settings: &ZoneSettings) -> Result<(), Problem> {
    if arrived.version == Version::HTTP_2 && !settings.http2 { Err(Problem::Http2Off) } else { Ok(()) }
}

/// 301 for visitors by the scheme that the zone does not have: over HTTPS with `ssl: off`, which goes before all else, and
/// over plain HTTP with `always_use_https`.
fn right_scheme(arrived: &Arrived, settings: &ZoneSettings, worker: &Worker) -> Result<(), Instead> {
    let (scheme, usual, port) = match (arrived.scheme, settings.ssl) {
        (Scheme::Https, Ssl::Off) => ("http", 80, worker.ports.http),
        (Scheme::Http, Ssl::Flexible | Ssl::Full | Ssl::Strict) if settings.always_use_https => {
            ("https", 443, worker.ports.https)
        }
        _ => return Ok(()),
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let location = format!("{scheme}://{}{port}{}", arrived.host.name(), arrived.path);
    // Both parts were read as parts of a target, so they make one.
    HeaderValue::try_from(location).map_or(Ok(()), |location| Err(Instead::Moved(location)))
}

fn allow_upgrade(arrived: &Arrived, settings: &ZoneSettings) -> Result<(), Instead> {
    match arrived.upgrade {
        Upgrade::WebSocket if !settings.websockets => Err(Problem::WebSocketOff.into()),
        Upgrade::WebSocket | Upgrade::None => Ok(()),
    }
}
