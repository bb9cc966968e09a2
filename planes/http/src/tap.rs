//! What is told of each request to who counts what happens.

use std::hash::{BuildHasher, RandomState};

use bartizan_analytics::{Event, HttpFacts, Protocol, Sealed, Table};
use bartizan_live::{Filled, Tray};
use bartizan_tls::Agreed;
use http::Version;

use crate::ingress::Connection;
use crate::record::Ended;

/// One worker's.
pub(crate) struct Tap {
    tray: Tray<Table>,
    hasher: RandomState,
}

impl Tap {
    pub(crate) fn new(tray: Tray<Table>) -> Tap {
        Tap { tray, hasher: RandomState::new() }
    }

    /// Counts a request that is over, if it was for a zone of ours. False if it could not be.
    ///
    /// Hot: once a request. No allocation; it does not wait.
    pub(crate) fn record(&self, request: &Ended<'_>, connection: &Connection) -> bool {
        let (Some(zone), Some(asked)) = (request.zone, request.asked) else { return true };
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
            by: answerer(request),
            is_page: request.is_page,
            country: connection.source.country.map(|country| country.letters()),
        };
        let [one, other] = halves(*zone.as_bytes());
        let event = Event {
            // Ids are random: no other zone has this number.
            zone: one ^ other,
            place: self.hasher.hash_one(asked.host),
            name: asked.host.as_bytes(),
            facts: facts.packed(),
            sent: request.sent,
            received: request.received,
            nanos: request.first_byte.unwrap_or(request.whole).as_nanos() as u64, // 584 years
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
