//! What is told of connections and flows to who counts them.

use std::net::IpAddr;
use std::time::Duration;

use bartizan_analytics::{Event, FlowEvent, FlowFacts, Table};
use bartizan_live::{Filled, Tray};
use bartizan_routes::App;

use crate::counters::Counters;

/// One worker's.
pub(crate) struct Tap {
    tray: Tray<Table>,
    counters: Counters,
}

/// What moved, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
}

impl Tap {
    pub(crate) fn new(tray: Tray<Table>, counters: Counters) -> Tap {
        Tap { tray, counters }
    }

    /// Counts what became of a connection or flow of an application. No allocation; it does not wait.
    pub(crate) fn record(&self, app: &App, client: IpAddr, event: FlowEvent, moved: Moved) {
        let Moved { bytes_in, bytes_out, duration } = moved;
        let facts = FlowFacts { event, is_ipv6: client.to_canonical().is_ipv6() };
        let event = Event {
            // Ids are random: no other has this number.
            zone: number(app.zone.as_bytes()),
            place: number(app.id.as_bytes()),
            name: app.id.as_bytes(),
            facts: facts.packed(),
            sent: bytes_out,
            received: bytes_in,
            nanos: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), // its unit is the microsecond
        };
        let fill = |table: &mut Table| {
            table.record(event, || Some(app.zone));
            if table.is_crowded() { Filled::Full } else { Filled::Room }
        };
        if self.tray.fill(fill).is_none() {
            self.counters.untold();
        }
    }
}

fn number(id: &[u8; 16]) -> u64 {
    let id = u128::from_le_bytes(*id);
    id as u64 ^ (id >> 64) as u64
}
