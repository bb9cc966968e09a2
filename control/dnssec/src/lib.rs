//! Looks after zones with DNSSEC: asks what their parents have, takes the steps of exchanged keys when their time comes, and
//! has registries told which DS records there shall be.
//!
//! ```text
//! routes (control/api) ── Dnssec ─ note, check ─┐
//!                                               ▼                    ┌─ Parents::look ─ news? ─► one revision
//! a start, a change ───────────► Board ─ due, and room ─► Keeper ────┼─ Parents::shows_key ─ Calls ─ Dsu::replace
//! the index of what is due, each round ─────────────────► one thread └─ Wrong ─ problems, gauges
//! ```
//! - Nobody waits for it, and what it cannot ask stays as it was seen last. There is work by zone whose time has come, and
//!   none by zone that there is.
//! - Whoever has a zone says who serves its parent, and these may be silent: so one account, and one parent, has a part of
//!   the places where it is waited for them ([`looks`]), and steps wait for none of it. A registry is called for accounts in
//!   turn, and only for zones whose key was seen ([`calls`]).
//! - Times are those of a clock that is doubted when it jumps ([`time`]): a step that is taken too early takes a zone from all
//!   who validate.
//!
//! Not here: which steps are safe (`engines/signer`, rollover), how a parent is asked and a registry called
//! (`control/registry`), how keys get in force (`control/publish`), routes and rights (`control/api`).

mod board;
mod calls;
mod counters;
mod documents;
mod error;
mod handle;
mod keeper;
mod keeping;
mod looks;
mod status;
mod time;
mod ways;
mod wrong;

pub use board::{Sent, Watched};
pub use error::{KeepError, LookError, RollRefused};
pub use handle::{Dnssec, Given};
pub use keeping::{Beginning, Form, Keeping, end_unasked, parse};
pub use status::{next, status};
pub use ways::{context, way_set};

/// By which the change log names it.
pub const INTERFACE: &str = "dnssec";
