//! What a source and a plane may use of this process: descriptors, connections, memory, handshakes, tries, lines in the log.
//!
//! ```text
//! all descriptors ── Shares ──► a share for each plane ── Door ──► Place (a connection that is let in)
//!
//! all memory ─────── Shares ──► a share for each plane ── Memory ──► Held (what a connection has in buffers)
//!
//! Gate: the same for what has no queue of those that rest      Quotas: counts of each source or application
//! Throttle: wrong tries of each source, or for each user        Rarely: a line a minute in the log
//! ```
//! What is counted is bounded, also the counting: tables have a size, and a full one refuses.
//!
//! A source gets no more than is left free for others: alone it may have half of a share, beside many others little
//! (dynamic thresholds, as switches share a buffer between queues). So a newcomer finds room, however greedy one is.
//!
//! Not here: sockets, the clock of connections (each plane names its own waits), who is let in for other reasons.

mod bucket;
mod clock;
mod door;
mod gate;
mod memory;
mod quotas;
mod rarely;
mod shares;
mod source;
mod throttle;

pub use door::{Door, Place};
pub use gate::{Gate, Pass, Whose};
pub use memory::{Held, Memory};
pub use quotas::{Ceiling, Over, Permit, Quotas, SourcePermit};
pub use rarely::Rarely;
pub use shares::{MemoryShares, Shares};
pub use source::SourceKey;
pub use throttle::Throttle;
