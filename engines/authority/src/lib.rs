//! DNS answers from record sets: what this server is authoritative for, and what it says about it.
//!
//! ```text
//! publish ─► Edit ─► Zones ──┐
//!                            ├─► Authority: ask, load (all of a batch), answer ─► records and a Verdict
//! this PoP's Addresses ──────┤
//! a worker's Signing ────────┘ (signatures of signed zones, by `engines/signer`)
//! ```
//! A name is found by hash, never by order, in one of some thousand immutable shards; a change makes one shard anew
//! and shares the others. A name keeps its records as they are also while the PoP answers with its own addresses, so
//! that pausing a zone is one bit, however many names it has. A batch is answered in phases, so that its waits for memory overlap.
//!
//! Names at and below NS records that are not the apex's lead to the servers named there, and names below a DNAME lead
//! elsewhere. An apex with a CNAME is answered with the addresses of the name that it stands for; what others know of that
//! is looked up ahead of queries ([`Outside`]).
//!
//! A record set goes into an answer with its signatures or not at all (`reply.rs`), and what is denied is denied by the
//! very function that answers (`resolve/types.rs`).
//!
//! Not here: sockets, transfers, keys. Nothing is ever asked of another server. No clock, no randomness, no lock.
//!
//! RFC 1034, 1035, 2181, 2308, 4035, 4343, 4592, 4892, 6604, 6672, 8482, 9460, 9824.

mod answer;
mod chaos;
mod drafts;
mod edit;
mod entry;
mod facts;
mod fill;
mod hash;
mod mail;
mod outside;
mod reply;
mod resolve;
mod shard;
mod signing;
mod steer;
mod trail;
mod ways;
mod zone;
mod zone_bits;
mod zones;

pub use answer::{Authority, BATCH_MAX, Place, Question, Scratch, Subject, Verdict};
pub use edit::Edit;
pub use facts::{Addresses, Identity, NameContent, Proxied, RecordSet, ZoneFacts};
pub use fill::{Fill, Filled, Part, Taken};
pub use outside::{Outside, OutsideName};
pub use signing::Signing;
pub use steer::{STEERED_MAX, Services, Steer, Steered};
pub use trail::{Step, Trail};
pub use ways::Ways;
pub use zones::{ProxiedName, Zones};

/// What every zone is served with, in seconds.
pub mod times {
    pub use crate::zone::{EXPIRE, KEYS_TTL, MINIMUM, NS_TTL, REFRESH, RETRY, SOA_TTL};
}
