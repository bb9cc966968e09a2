//! What happens, told to who looks on at the moment.
//!
//! ```text
//! plane: tell(zone, name, code) ─► each listener that wants it: room for it? ─┬─ yes ─► kept until it is taken
//!                                                                             └─ no ──► counted as skipped
//! ```
//! Nobody who tells waits: while nobody listens it costs one look at a number, and what a listener has no room for is
//! counted. Listeners are few ([`LISTENERS_MAX`]), and each takes so much at a time ([`ROOM`]).
//!
//! Not here: a clock. Whoever makes it says how late it is.

mod listeners;
mod seen;

pub use listeners::{Crowded, LISTENERS_MAX, Listener, Listeners, ROOM, Taken, ZONE_LISTENERS_MAX};
pub use seen::{Code, DnsSeen, HttpSeen, Tails, Wish};
