//! The origin's end of tunnels: dials out to the edge, takes requests from there, and serves a local URL.
//!
//! ```text
//! edge ─QUIC or HTTP/2─ uplink: dial, register ─ ingress: a task a stream ─ pipeline: rule ─┬─ egress: pooled HTTP/1.1 ─► origin
//!                                        │                                        ├─ hello page
//!                                        ├─ configuration from the edge           └─ a fixed status
//!                                        ├─ tcp: bytes both ways ─► the address that the edge names
//!                                        ├─ http2: the same ─► the service of a host, with which the edge speaks HTTP/2
//!                                        └─ udp: datagrams both ways, a session a flow ─► the same
//! ```
//! It opens no port. Several connections to the edge (four by default) carry requests at the same time, so that one can
//! be lost or drained. It runs on the caller's runtime; remote calls run on their own thread.
//! Not here: ICMP through a tunnel, PROXY headers, finding edges by DNS, and UDP over HTTP/2, which has no datagrams.

mod egress;
mod hello;
mod http2;
mod ingress;
mod limits;
mod link;
mod over_http2;
mod pipeline;
mod rules;
mod run;
mod stream;
mod tcp;
mod token;
mod udp;
mod untaken;
mod upgrade;
mod uplink;

pub use bartizan_rpc::{TAGS_MAX, Tag, is_plain, plain_text};
pub use limits::Limits;
pub use rules::{Ingress, IngressError, OriginRequest};
pub use run::{Credentials, DatagramVersion, DialerError, Event, Options, Protocol, RunError, Transport, run};
pub use token::{Token, TokenError};
