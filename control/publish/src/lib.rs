//! Changes become bundles: engine values with one generation number, built from what changed and nothing else.
//!
//! ```text
//! store: change log ──► Publisher::follow: read ──► patch ──► apply ──► Bundle { number, zones, routes, apps, … }
//!                        one owner name a unit              (parts that did not change are shared with the last bundle)
//! ```
//! A unit that cannot be made into what is served keeps what it was before, is one of [`Publisher::problems`], and holds
//! up nobody else; it is tried again when it is touched and at every start. Documents that the API
//! cannot read, also of objects that no plane uses, are found by [`Publisher::review`]. [`check()`] is asked by the API before it
//! commits, so that this does not happen to what the API wrote. Blocking: it runs on a thread of its own.

mod bundle;
mod check;
mod documents;
mod part;
mod problems;
mod publisher;
mod reading;
mod unit;

pub use bundle::{Bundle, ServedPop};
pub use check::{Refused, check};
pub use documents::Review;
pub use problems::Problems;
pub use publisher::{PublishError, Publisher};
