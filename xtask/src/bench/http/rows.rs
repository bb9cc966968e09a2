//! What is measured, and what it should be (design §4).

use super::super::report::{Measured, Target};

/// One row of the table, in the order of their importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Plain,
    Tls,
    Http2,
    Http3,
    Large,
    Upload,
    Handshake,
    Tunnel,
    IdlePlain,
    IdleTls,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Plain,
    Tls,
    /// The same, each request on a connection of its own, with a full handshake.
    Handshakes,
    Http2,
    Http3,
}

#[derive(Clone, Copy)]
pub(super) struct Load {
    /// As `--only` names it.
    pub(super) part: &'static str,
    pub(super) row: Row,
    pub(super) wire: Wire,
    pub(super) host: &'static str,
    pub(super) path: &'static str,
    /// Connections, and requests at a time on each.
    pub(super) clients: usize,
    pub(super) streams: usize,
    /// What each request carries.
    pub(super) upload: usize,
}

/// The hosts: with an origin of files, with one that reads uploads, and with files behind a connector of ours.
pub(super) const HOST: &str = "www.bench.example";
pub(super) const UPLOAD_HOST: &str = "upload.bench.example";
pub(super) const TUNNEL_HOST: &str = "tunnel.bench.example";

/// And with an origin for those who attack.
pub(super) const ATTACKED_HOST: &str = "attacked.bench.example";

/// The peers know uploads by their path.
pub(super) const UPLOAD_PATH: &str = "/upload";

/// Octets of one upload.
const UPLOAD_BYTES: usize = 10_000_000;

/// The names of the origin's files are their sizes.
pub(super) const FILES: [(&str, usize); 2] = [("1k", 1024), ("100k", 100 * 1024)];

const SMALL: Load = Load {
    part: "plain",
    row: Row::Plain,
    wire: Wire::Plain,
    host: HOST,
    path: "/1k",
    clients: 64,
    streams: 1,
    upload: 0,
};

pub(super) const LOADS: [Load; 6] = [
    SMALL,
    Load { part: "tls", row: Row::Tls, wire: Wire::Tls, ..SMALL },
    Load { part: "h2", row: Row::Http2, wire: Wire::Http2, clients: 16, streams: 8, ..SMALL },
    Load { part: "large", row: Row::Large, wire: Wire::Tls, path: "/100k", clients: 16, ..SMALL },
    Load {
        part: "upload",
        row: Row::Upload,
        host: UPLOAD_HOST,
        path: UPLOAD_PATH,
        clients: 8,
        upload: UPLOAD_BYTES,
        ..SMALL
    },
    Load { part: "handshakes", row: Row::Handshake, wire: Wire::Handshakes, ..SMALL },
];

/// Through a tunnel there is no peer: what the edge and the connector take.
pub(super) const THROUGH_TUNNEL: Load =
    Load { part: "tunnel", row: Row::Tunnel, wire: Wire::Tls, host: TUNNEL_HOST, clients: 32, ..SMALL };

/// As many at a time as over HTTP/2. Debian's peers do not speak it.
pub(super) const OVER_QUIC: Load =
    Load { part: "h3", row: Row::Http3, wire: Wire::Http3, clients: 16, streams: 8, ..SMALL };

pub(super) const IDLE: [(Row, &str); 2] = [(Row::IdlePlain, "http"), (Row::IdleTls, "https")];

impl Measured for Row {
    fn title(self) -> &'static str {
        match self {
            Row::Plain => "h1, 1 KB",
            Row::Tls => "h1, 1 KB, TLS",
            Row::Http2 => "h2, 1 KB, TLS",
            Row::Http3 => "h3, 1 KB",
            Row::Large => "h1, 100 KB, TLS",
            Row::Upload => "h1, 10 MB upload",
            Row::Handshake => "h1, 1 KB, full TLS handshake",
            Row::Tunnel => "h1, 1 KB, TLS, tunnel",
            Row::IdlePlain => "idle connection",
            Row::IdleTls => "idle connection, TLS",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Row::IdlePlain | Row::IdleTls => "KB",
            _ => "CPU µs",
        }
    }

    fn rate_unit(self) -> &'static str {
        match self {
            Row::IdlePlain | Row::IdleTls => "",
            _ => "/s",
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
            Row::Upload => {
                &[Target { when: "first", peer: "nginx", most: 0.8 }, Target { when: "then", peer: "nginx", most: 0.6 }]
            }
            Row::Handshake => {
                &[Target { when: "first", peer: "nginx", most: 0.5 }, Target { when: "then", peer: "nginx", most: 0.4 }]
            }
            Row::Http3 | Row::Tunnel | Row::IdlePlain | Row::IdleTls => &[],
        }
    }
}
