//! What users asked for, kept: durable objects, the change log that made them, and tables to list them by.
//!
//! ```text
//! commit(ChangeSet) ─ prepare (caller's thread) ─ bounded queue ─ writer thread: one SQLite transaction a group
//!                                                                  │ guards → change log + objects + listing tables
//!                     Rev ◄── durable ◄────────────────────────────┘
//! read(), read_for_listing(), read_for_search() ── Snapshot: one consistent view ── get · list · for_each · tail · records · zones · tunnels
//! watch() ── the newest revision, for those who tail
//! ```
//! - A change set is atomic: all its guards hold and all its operations land as one [`Rev`], or nothing does. Revisions
//!   are dense. The same request id again gives the same revision and does nothing, for as long as the log reaches back.
//! - What [`Store::commit`] returned is on the disk (WAL, `synchronous=FULL`).
//! - Each kind and each zone has a hash of its objects, kept up to date with each change: copies are compared by it.
//! - A damaged page takes what was on it and nothing else; the file is mended, and what is lost is told ([`Condition`]).
//! - The audit says of each object what was done to it, by whom, and what it was before; it is written in the same
//!   transaction, outlives the log, and is no part of the state ([`Snapshot::audit`]).
//! - What kinds of objects there are, and what the store knows of each, is declared in one table: [`Kind`].
//! - Values are JSON documents that the store does not interpret, except for the few fields that listings need
//!   ([`Snapshot::records`] and its like). Listing tables come from the objects alone: any copy can rebuild them.
//!
//! Not here: what a document means (`base/model`), what clients may do (`control/api`), and anything async. All calls
//! block; an async caller moves them to a blocking thread.

mod audit;
mod backup;
mod change;
mod condition;
mod damage;
mod document;
mod envelope;
mod error;
mod gate;
mod high_water;
mod install;
mod key;
mod kind;
mod layout;
mod listing;
mod log;
mod lost;
mod mend;
mod pages;
mod pause;
mod query;
mod raw;
mod readers;
mod rebuild;
mod salvage;
mod schema;
mod snapshot;
mod state_hash;
mod store;
mod tables;
mod writer;
mod zone_names;

pub use audit::{
    API, AuditAction, AuditEntry, AuditExtent, AuditOf, AuditPlace, AuditRange, AuditRetention, DELETION, IMPORT,
    RECOVERY,
};
pub use backup::{BackupError, Contents};
pub use change::{Change, ChangeSet, Entry, Epoch, Guard, Meta, Op, Rev, Value};
pub use condition::{Condition, Examined, Unseen};
pub use envelope::{Budget, Envelope, Log, Verdict};
pub use error::{Blame, CommitError, EngineError, OpenError, ReadError, TailError, Unreadable};
pub use install::State;
pub use key::{Filter, Index, Key, KeyError, Prefix, Scope};
pub use kind::{Kind, Owner};
pub use log::Retention;
pub use lost::Lost;
pub use mend::Mended;
pub use pause::Pause;
pub use query::{
    AccessRuleOrder, AccessRuleQuery, AcmeDue, AcmeQuery, ClientCertificateQuery, Direction, DnssecQuery, InZones,
    Match, Page, Presence, RecordOrder, RecordQuery, TagFilter, Text, TunnelQuery, TunnelRecordQuery, VisibleZones,
    ZoneOrder, ZoneQuery, renew_at,
};
pub use snapshot::{Position, RecordText, Snapshot, Stretch};
pub use state_hash::{Part, StateHash, Wrong};
pub use store::Store;
pub use writer::{CHANGE_BYTES_MAX, VALUE_BYTES_MAX};
pub use zone_names::ZoneNames;
