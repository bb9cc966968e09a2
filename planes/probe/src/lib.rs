//! Looks whether the servers of pools are well.
//!
//! ```text
//! Live<Config> ── pools and monitors ─► Rounds (who is due) ─► look (TCP, HTTP, HTTPS; straight or through a tunnel)
//!                                          ▲                     │
//!                        turned? ─► Marks ─┴──── outcome ◄───────┘
//!                          └─► Seen: how each is, and what it turned into (for the API)
//! ```
//! A server behind a tunnel for which nobody is connected is marked too, at once and without a look (`tunnels`).
//!
//! What is found is no configuration and is not in the store: a bit beside the pool that every decision looks at
//! (`engines/steering`). After a start all servers are taken to be well, and the first look at each decides at once; where one
//! is said to be down that many looks must say so as its monitor wants.
//!
//! One thread does all of it. A look has its monitor's time and no more, a server is looked at by one look at a time, and there
//! are [`Limits::looks`] of them at once; the next one is due a while after the last was due, not after it ended, so that
//! nothing drifts. Servers are known by what they are called and, once that is found out, by their addresses: so many looks at one
//! there are at most, and one more is due a second later.
//!
//! Not here: the decision who is sent where; mail.

mod look;
mod plane;
mod preview;
mod rounds;
mod seen;
mod servers;
mod tunnels;

use bartizan_clock::Clock;
use bartizan_steering::Checks;

pub use plane::{Plane, StartError, start};
pub use preview::Previewer;

/// The configuration of the plane.
#[derive(Clone)]
pub struct Config {
    pub checks: Checks,
    /// By which it is told when a server turned. Read once, at the start.
    pub clock: Clock,
    /// Read once, at the start.
    pub limits: Limits,
    /// Root certificates in PEM for servers, beside those of the system. Read once, at the start.
    pub origin_roots: Option<String>,
}

/// What may be at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Looks that are under way, as far as there are descriptors for them. An account gets no more than is left free for others: alone half of them. A server whose turn it is
    /// while there is no room is looked at a second later.
    pub looks: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { looks: 1_024 }
    }
}
