//! Changes become bundles: engine values with one generation number, built from what changed and nothing else.
//!
//! ```text
//! store: change log ──► Publisher::follow: read ──► patch ──► apply ──► Bundle { number, zones, routes, apps, … }
//!                        one owner name a unit              (parts that did not change are shared with the last bundle)
//! ```
//! A unit that cannot be made into what is served keeps its last value, is listed in [`Publisher::problems`], and holds up
//! no other unit. It is tried again when it is touched, and at every start. The API asks [`check()`] before it commits, so
//! that this does not happen to what it wrote. Documents that the API cannot read, also those that no plane uses, are found
//! by [`Publisher::review`]. All calls block: the publisher has a thread of its own.

mod bundle;
mod check;
mod cookie_secrets;
mod dnssec;
mod documents;
mod part;
mod problems;
mod publisher;
mod reading;
mod remedy;
mod unit;

/// What every zone is served with, in seconds.
pub use bartizan_authority::times;
pub use bundle::{Bundle, ServedPop};
pub use check::{Refused, check};
pub use cookie_secrets::{CookieSecrets, CookieSecretsError};
pub use dnssec::{DnssecError, HeldKey, ParentSeen, ZoneDnssec, seal_context, stored_role, stored_stage};
pub use documents::{ReadToken, Review};
pub use part::{Edge, check_of, soa_rname, soa_serial};
pub use problems::Problems;
pub use publisher::{PublishError, Publisher};
pub use remedy::{Changes, KEYS_BACK};
