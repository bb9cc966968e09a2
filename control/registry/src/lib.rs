//! The zones above ours: which DS records they have of a zone, and how they get there.
//!
//! ```text
//! Parents::look ─ a resolver: which zone is the parent, and who serves it ─ each of those: DS? ─► DsSeen
//! Parents::delegation ─ the same: NS? and whether who is named answers for the zone ─► Delegation
//! Parents::beside ─ what this edge serves itself: a parent that is here too is asked without a packet
//! Dsu::replace ── a registry's own call: these DS records and no others
//! ```
//! What a parent has decides whether a signed zone is found at all, so its own servers are asked and not a cache, and all of
//! them: one that is behind still sends people by what it has.
//!
//! Not here: what follows from it (`engines/signer`, rollover), when it is asked, and what is kept of it (`control/dnssec`).

mod delegation;
mod dsu;
mod parents;

pub use delegation::{Delegation, NamedServer, Serves};
pub use dsu::{Blame, Dsu, DsuAddressError, DsuError, DsuFault};
pub use parents::{DS_MAX, DsSeen, LookError, Parents, Source};
