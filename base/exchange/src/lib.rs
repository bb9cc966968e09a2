//! What planes hand to each other: an HTTP exchange as a value, a TCP connection, a UDP flow; and the traits for it.
//!
//! ```text
//! planes/http ── Request ──► dyn Upstream (planes/tunnel, given by bin) ──► Response
//! planes/http ── Request ──► impl Service (what the edge answers itself) ──────► Response
//! planes/http ── message ──► dyn DnsAnswerer (planes/dns, given by bin) ─────► DnsAnswer
//! planes/l4 ──── Flow ─────► dyn Dialer   (planes/tunnel, given by bin) ──► Dialled, Datagrams
//! ```
//! Values of this crate stay on the thread that made them (bodies are not `Send`); only [`Upstream`], [`Dialer`] and
//! [`DnsAnswerers`] are shared.
//! No HTTP library's types: `http` for methods, statuses and header maps, `bytes` for data.

mod body;
mod dialer;
mod dns;
mod service;
mod upstream;

pub use body::{Body, BodyError, Frame, Length, Meter};
pub use dialer::{Datagrams, DialError, Dialer, Dialled, Flow};
pub use dns::{DnsAnswer, DnsAnswerer, DnsAnswerers};
pub use service::Service;
pub use upstream::{Io, LocalBoxFuture, Request, Response, Upgrade, Upstream, UpstreamError};
