//! What is told apart of connections and flows of applications.
//!
//! Their times are counted in microseconds, as they may last for hours: the last class begins at more than one.

use bartizan_names::AppId;

use crate::catalogue::{Bits, Catalogue, Dimension, Fact, Measure, Metric, What};

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// It was let in.
    Connect,
    /// It has carried octets, and goes on.
    Progress,
    /// It is over.
    Disconnect,
    /// Its origin could not be reached, or broke off.
    OriginError,
    /// An access rule refused it, or cut it off.
    ClientFiltered,
}

/// All that is told apart of it, but its zone and its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFacts {
    pub event: FlowEvent,
    pub is_ipv6: bool,
}

const EVENT: Bits = Bits(0, 3);
const FAMILY: Bits = Bits(3, 1);

/// In the order of [`FlowEvent`].
const EVENTS: [&str; 5] = ["connect", "progress", "disconnect", "originError", "clientFiltered"];

impl FlowFacts {
    pub fn packed(&self) -> u64 {
        EVENT.put(self.event as u64) | FAMILY.put(self.is_ipv6.into())
    }
}

/// The name of an application is its id: 16 octets.
fn name_text(id: &[u8]) -> String {
    <[u8; 16]>::try_from(id).map_or_else(|_| String::new(), |id| AppId::from_bytes(id).to_string())
}

/// Questions to what was counted of applications.
pub static L4: Catalogue = Catalogue {
    dimensions: &[
        Dimension {
            name: "event",
            what: What::Fact(Fact {
                of: |facts| EVENT.get(facts),
                text: |code| EVENTS.get(code as usize).copied().unwrap_or_default().to_owned(),
                read: |text| EVENTS.iter().position(|event| event.eq_ignore_ascii_case(text)).map(|at| at as u64),
                is_ordered: false,
            }),
        },
        Dimension { name: "appID", what: What::Name },
        Dimension { name: "coloName", what: What::Pop },
        Dimension {
            name: "ipVersion",
            what: What::Fact(Fact {
                of: |facts| 4 + 2 * FAMILY.get(facts),
                text: |code| code.to_string(),
                read: |text| text.parse().ok().filter(|version| [4, 6].contains(version)),
                is_ordered: true,
            }),
        },
        Dimension { name: "dayOfWeek", what: What::Day },
    ],
    metrics: &[
        Metric { name: "count", measure: Measure::Events },
        Metric { name: "bytesIngress", measure: Measure::Received },
        Metric { name: "bytesEgress", measure: Measure::Sent },
        Metric { name: "durationAvg", measure: Measure::MillisAverageApart },
        Metric { name: "durationMedian", measure: Measure::MillisQuantile(0.5) },
        Metric { name: "duration90th", measure: Measure::MillisQuantile(0.9) },
        Metric { name: "duration99th", measure: Measure::MillisQuantile(0.99) },
    ],
    not_kept: &[("clientIP", "addresses of clients are not kept")],
    name_text,
    name_of: |text| text.parse::<AppId>().ok().map(|id| id.as_bytes().as_slice().into()),
    coarse: |facts| facts,
    is_apart: |facts| EVENT.get(facts) == FlowEvent::Disconnect as u64,
    only_apart: true,
    units_a_milli: 1e3,
};
