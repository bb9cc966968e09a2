//! What is measured, and what it should be (design §4).

use super::super::report::{Measured, Target};

/// One row of the table, in the order of their importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    BulkOne,
    BulkEight,
    Short,
    Datagram,
    LatencyMiddle,
    LatencyLate,
    OpenMiddle,
    OpenLate,
    Idle,
    TunnelBulkOne,
    TunnelBulkEight,
    TunnelShort,
    TunnelDatagram,
}

/// A load, as the generator knows it.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) what: &'static str,
    pub(super) count: usize,
    pub(super) row: Row,
    /// The row when the origin is behind a tunnel.
    pub(super) tunnel: Row,
}

/// Downloads; eight at the same time keep a relay busy while one of them waits.
pub(super) const BULK: [Load; 2] = [
    Load { what: "bulk", count: 1, row: Row::BulkOne, tunnel: Row::TunnelBulkOne },
    Load { what: "bulk", count: 8, row: Row::BulkEight, tunnel: Row::TunnelBulkEight },
];

pub(super) const SHORT: Load = Load { what: "short", count: 32, row: Row::Short, tunnel: Row::TunnelShort };

pub(super) const DATAGRAMS: Load =
    Load { what: "datagrams", count: 16, row: Row::Datagram, tunnel: Row::TunnelDatagram };

impl Row {
    pub(super) fn is_bulk(self) -> bool {
        matches!(self, Row::BulkOne | Row::BulkEight | Row::TunnelBulkOne | Row::TunnelBulkEight)
    }
}

impl Measured for Row {
    fn title(self) -> &'static str {
        match self {
            Row::BulkOne => "bulk, 1 stream",
            Row::BulkEight => "bulk, 8 streams",
            Row::Short => "short connection",
            Row::Datagram => "datagram and its answer",
            Row::LatencyMiddle => "round trip, p50",
            Row::LatencyLate => "round trip, p99",
            Row::OpenMiddle => "connect and first byte, p50",
            Row::OpenLate => "connect and first byte, p99",
            Row::Idle => "10,000 idle connections",
            Row::TunnelBulkOne => "tunnel: bulk, 1 stream",
            Row::TunnelBulkEight => "tunnel: bulk, 8 streams",
            Row::TunnelShort => "tunnel: short connection",
            Row::TunnelDatagram => "tunnel: datagram and its answer",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            bulk if bulk.is_bulk() => "CPU ms/Gbit",
            Row::LatencyMiddle | Row::LatencyLate | Row::OpenMiddle | Row::OpenLate => "µs added",
            Row::Idle => "MB",
            _ => "CPU µs",
        }
    }

    fn rate_unit(self) -> &'static str {
        match self {
            bulk if bulk.is_bulk() => "Gbit/s",
            Row::Idle => "",
            _ => "/s",
        }
    }

    fn targets(self) -> &'static [Target] {
        match self {
            Row::BulkOne | Row::BulkEight => &[
                Target { when: "first", peer: "nginx", most: 0.5 },
                Target { when: "then", peer: "nginx", most: 0.35 },
                Target { when: "then", peer: "HAProxy", most: 0.9 },
            ],
            Row::Short => &[
                Target { when: "first", peer: "HAProxy", most: 1.2 },
                Target { when: "then", peer: "HAProxy", most: 1.0 },
            ],
            _ => &[],
        }
    }
}
