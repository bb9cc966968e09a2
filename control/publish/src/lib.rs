//! Changes become bundles: engine values with one generation number, built from what changed and nothing else.
//!
//! ```text
//! store: change log ──► Publisher::follow ──► Bundle { number, zones, routes, apps, firewall, … }
//!                        one owner name a unit          (parts that did not change are shared with the last bundle)
//! ```
//! A unit that cannot be parsed is left out and logged; everything else stays in force. [`check()`] is asked by the API
//! before it commits, so that this does not happen to what the API wrote. Blocking: it runs on a thread of its own.

mod app;
mod bundle;
mod check;
mod directory;
mod name;
mod state;

pub use bundle::Bundle;
pub use check::{Refused, check};
pub use state::{PublishError, Publisher};
