//! Tells of an edge that refuses private origins which of its names and applications have one: they were made when it did
//! not, or by somebody who does not know, and their visitors get 502.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_dial::is_private;
use bartizan_names::{AppOrigin, OriginHost};
use bartizan_observed::{Lease, Problem, Reporter, What};
use bartizan_routes::{App, Route, Target};

use crate::clock;
use crate::planes::Planes;

/// How often they are counted, if something changed: with a million names that takes a tenth of a second.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// Counts them for as long as the edge runs.
pub async fn watch(planes: Arc<Planes>) {
    let mut tick = tokio::time::interval(COUNT_EVERY);
    let mut counted = None;
    loop {
        tick.tick().await;
        let (http, l4) = (planes.routes(), planes.apps());
        if counted.replace((http.number, l4.number)) == Some((http.number, l4.number)) {
            continue;
        }
        let count = move || {
            let names = http.value.routes.all().filter(|route| is_for_nothing(route)).count();
            names + l4.value.apps.all().filter(|app| is_app_for_nothing(app)).count()
        };
        let Ok(count) = tokio::task::spawn_blocking(count).await else { return };
        let problem = (count > 0).then(|| Problem {
            what: What::PrivateOrigins,
            count: count as u64,
            reason: "this edge is set not to dial loopback and private addresses".to_owned(),
            since: clock::now(),
            remedy: "give them public addresses; or start the edge with --private-origins allow, if its zones are yours alone",
        });
        let problems = &planes.observed().problems;
        let news = problems.report(Reporter::Origins, problem.into_iter().collect(), Lease::Held, Instant::now());
        for problem in news {
            tracing::warn!(%problem, remedy = problem.remedy, "their visitors get an error");
        }
    }
}

/// Names of origins are not looked up: what they lead to is judged when they are dialled.
fn is_for_nothing(route: &Route) -> bool {
    let Target::Origin(origin) = &route.target else { return false };
    let private = |host: &OriginHost| matches!(host, OriginHost::Address(address) if is_private(*address));
    !origin.hosts.is_empty() && origin.hosts.iter().all(private)
}

fn is_app_for_nothing(app: &App) -> bool {
    match &app.origin {
        AppOrigin::Direct(origins) => origins.iter().all(|origin| is_private(origin.address)),
        AppOrigin::Dns { .. } | AppOrigin::Tunnel { .. } | AppOrigin::Pool { .. } => false,
    }
}
