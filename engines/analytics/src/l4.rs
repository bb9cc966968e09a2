//! What is told apart of connections and flows of applications.
//!
//! Their times are counted in microseconds, as they may last for hours: the last class begins at more than one.

use bartizan_names::AppId;

use crate::catalogue::{Bits, Catalogue, Dimension, Fact, Measure, Metric, What};

/// What became of one. The numbers are on disk, and places in [`EVENTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// It was let in.
    Connect = 0,
    /// It has carried octets, and goes on.
    Progress = 1,
    /// It is over.
    Disconnect = 2,
    /// Its origin could not be reached, or broke off.
    OriginError = 3,
    /// An access rule refused it, or cut it off.
    ClientFiltered = 4,
}

/// All that is told apart of it, but its zone and its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFacts {
    pub event: FlowEvent,
    pub is_ipv6: bool,
}

// On disk: none of them moves, nor gets wider. Those from 4 on are free.
const EVENT: Bits = Bits(0, 3);
const FAMILY: Bits = Bits(3, 1);

/// By the numbers of [`FlowEvent`].
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are on disk. Whoever has to change a number here changes the form of segments.
    #[test]
    fn facts_have_their_bits() {
        let shown = |facts: u64| {
            let of = |name| L4.fact(name).map(|fact| (fact.text)((fact.of)(facts))).unwrap_or_default();
            [of("event"), of("ipVersion")].join(" ")
        };
        for (event, packed, text) in [
            (FlowEvent::Connect, 0, "connect"),
            (FlowEvent::Progress, 1, "progress"),
            (FlowEvent::Disconnect, 2, "disconnect"),
            (FlowEvent::OriginError, 3, "originError"),
            (FlowEvent::ClientFiltered, 4, "clientFiltered"),
        ] {
            assert_eq!(FlowFacts { event, is_ipv6: false }.packed(), packed);
            assert_eq!(FlowFacts { event, is_ipv6: true }.packed(), packed | 8);
            assert_eq!((shown(packed), shown(packed | 8)), (format!("{text} 4"), format!("{text} 6")));
        }
    }
}
