//! What is told of each request to who counts what happens.

use std::hash::{BuildHasher, RandomState};

use bartizan_analytics::{Event, HttpFacts, Protocol, Sealed, Table};
use bartizan_live::{Filled, Tray, Trays};
use bartizan_tail::{HttpSeen, Listeners};
use bartizan_tls::Agreed;
use http::Version;

use crate::ingress::Connection;
use crate::record::Ended;

/// What is told of the path of a request, at most.
const PATH_CHARS_MAX: usize = 2_000;

/// Where requests that are over are told, if somebody wants to know.
#[derive(Clone, Debug)]
pub struct Taps {
    /// Counts them by zone and host.
    pub counted: Trays<Table>,
    /// Looks on at the moment.
    pub seen: Listeners<HttpSeen>,
}

/// One worker's.
pub(crate) struct Tap {
    tray: Tray<Table>,
    seen: Listeners<HttpSeen>,
    hasher: RandomState,
}

impl Tap {
    pub(crate) fn new(taps: &Taps) -> Tap {
        Tap { tray: taps.counted.tray(), seen: taps.seen.clone(), hasher: RandomState::new() }
    }

    /// Counts a request that is over, if it was for a zone of ours, and tells it to who looks on. False if it could not be
    /// counted.
    ///
    /// Hot: once a request. No allocation but for who looks on; it does not wait.
    pub(crate) fn record(&self, request: &Ended<'_>, connection: &Connection) -> bool {
        let (Some(zone), Some(asked)) = (request.zone, request.asked) else { return true };
        let answered_by = answerer(request);
        let facts = HttpFacts {
            status: request.status.map(|status| status.as_u16()),
            method: asked.method.as_str(),
            protocol: match asked.version {
                Version::HTTP_3 => Protocol::Http3,
                Version::HTTP_2 => Protocol::Http2,
                Version::HTTP_11 => Protocol::Http11,
                _ => Protocol::Http10,
            },
            sealed: match connection.agreed() {
                None => Sealed::InClear,
                Some(Agreed::Tls12(_)) => Sealed::Tls12,
                Some(Agreed::Tls13) => Sealed::Tls13,
            },
            by: answered_by,
            is_page: request.is_page,
            country: connection.source.country.map(|country| country.letters()),
        };
        let nanos = request.first_byte.unwrap_or(request.whole).as_nanos() as u64; // 584 years
        self.seen.tell(zone, asked.host.as_bytes(), facts.status.unwrap_or(0), |at| HttpSeen {
            at,
            host: asked.host.into(),
            method: asked.method.as_str().into(),
            path: asked.path.path().chars().take(PATH_CHARS_MAX).collect(),
            status: facts.status,
            protocol: match facts.protocol {
                Protocol::Http10 => "HTTP/1.0",
                Protocol::Http11 => "HTTP/1.1",
                Protocol::Http2 => "HTTP/2",
                Protocol::Http3 => "HTTP/3",
            },
            client: connection.source.address,
            country: connection.source.country,
            answered_by,
            received: request.received,
            sent: request.sent,
            nanos,
            ray: request.ray.as_ref().map(|ray| ray.as_str().into()),
        });
        let [one, other] = halves(*zone.as_bytes());
        let event = Event {
            // Ids are random: no other zone has this number.
            zone: one ^ other,
            place: self.hasher.hash_one(asked.host),
            name: asked.host.as_bytes(),
            facts: facts.packed(),
            sent: request.sent,
            received: request.received,
            nanos,
        };
        let fill = |table: &mut Table| {
            table.record(event, || Some(zone));
            if table.is_crowded() { Filled::Full } else { Filled::Room }
        };
        self.tray.fill(fill).is_some()
    }
}

/// The stage that answered, or where the answer came from, if one came.
pub(crate) fn answerer(request: &Ended<'_>) -> &'static str {
    if request.sent_to.is_some() && request.problem.is_some() { "unreached" } else { request.stage }
}

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let number = u128::from_le_bytes(bytes);
    [number as u64, (number >> 64) as u64]
}
