//! What is measured, and what it should be (design §4).

use super::super::report::{Measured, Target};

/// One row of the table, in the order of their importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Plain,
    Tls,
    Http2,
    Large,
    IdlePlain,
    IdleTls,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Plain,
    Tls,
    Http2,
}

#[derive(Clone, Copy)]
pub(super) struct Load {
    /// As `--only` names it.
    pub(super) part: &'static str,
    pub(super) row: Row,
    pub(super) wire: Wire,
    pub(super) path: &'static str,
    /// Connections, and requests at a time on each.
    pub(super) clients: usize,
    pub(super) streams: usize,
}

/// The names of the origin's files are their sizes.
pub(super) const FILES: [(&str, usize); 2] = [("1k", 1024), ("100k", 100 * 1024)];

pub(super) const LOADS: [Load; 4] = [
    Load { part: "plain", row: Row::Plain, wire: Wire::Plain, path: "/1k", clients: 64, streams: 1 },
    Load { part: "tls", row: Row::Tls, wire: Wire::Tls, path: "/1k", clients: 64, streams: 1 },
    Load { part: "h2", row: Row::Http2, wire: Wire::Http2, path: "/1k", clients: 16, streams: 8 },
    Load { part: "large", row: Row::Large, wire: Wire::Tls, path: "/100k", clients: 16, streams: 1 },
];

pub(super) const IDLE: [(Row, &str); 2] = [(Row::IdlePlain, "http"), (Row::IdleTls, "https")];

impl Measured for Row {
    fn title(self) -> &'static str {
        match self {
            Row::Plain => "h1, 1 KB",
            Row::Tls => "h1, 1 KB, TLS",
            Row::Http2 => "h2, 1 KB, TLS",
            Row::Large => "h1, 100 KB, TLS",
            Row::IdlePlain => "idle connection",
            Row::IdleTls => "idle connection, TLS",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Row::IdlePlain | Row::IdleTls => "KB",
            Row::Plain | Row::Tls | Row::Http2 | Row::Large => "CPU µs",
        }
    }

    fn rate_unit(self) -> &'static str {
        match self {
            Row::IdlePlain | Row::IdleTls => "",
            Row::Plain | Row::Tls | Row::Http2 | Row::Large => "/s",
        }
    }

    fn targets(self) -> &'static [Target] {
        match self {
            Row::Plain => &[
                Target { when: "first", peer: "nginx", most: 1.0 },
                Target { when: "then", peer: "nginx", most: 0.85 },
            ],
            Row::Tls => &[
                Target { when: "first", peer: "nginx", most: 0.95 },
                Target { when: "then", peer: "nginx", most: 0.8 },
            ],
            Row::Http2 => &[
                Target { when: "first", peer: "HAProxy", most: 1.1 },
                Target { when: "then", peer: "HAProxy", most: 0.9 },
            ],
            Row::Large => {
                &[Target { when: "first", peer: "nginx", most: 0.8 }, Target { when: "then", peer: "nginx", most: 0.7 }]
            }
            Row::IdlePlain | Row::IdleTls => &[],
        }
    }
}
