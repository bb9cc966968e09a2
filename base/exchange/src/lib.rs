//! One HTTP exchange as a value, and the trait by which planes hand one to each other.
//!
//! ```text
//! planes/http ── Request ──► dyn Upstream (planes/tunnel, given by bin) ──► Response
//! ```
//! Values of this crate stay on the thread that made them (bodies are not `Send`); only [`Upstream`] itself is shared.
//! No HTTP library's types: `http` for methods, statuses and header maps, `bytes` for data.

mod body;
mod upstream;

pub use body::{Body, BodyError, Length};
pub use upstream::{Io, LocalBoxFuture, Request, Response, Upgrade, Upstream, UpstreamError};
