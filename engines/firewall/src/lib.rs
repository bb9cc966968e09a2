//! Which sources may connect: access rules by address, prefix, network and country.
//!
//! ```text
//! publish ── Edit ──► Firewall (immutable, shared) ──► decide(zone, source) ──► Verdict
//!                                                  └─► explain(zone, source) ──► every rule that matches
//! ```
//! **Allow beats challenge beats block**, over all levels and targets together: a specific block inside an allowed prefix
//! blocks nothing, and "block everybody, allow one prefix" says "only these". Rules are for everything, for all zones of an
//! account or for one zone. Among rules that say the same, the one
//! named as deciding is the most specific ([`Firewall::explain`]); it changes no verdict.
//!
//! A rule of which nobody knows whom it is for holds up everybody whom no other rule names ([`Edit::put_unread`]).
//!
//! Not here: where an address's country and network come from, rates and limits, anything inside a connection. No clock.
//!
//! In memory: per scope (everywhere, and each account and zone that has rules) a radix tree for each kind of target, shared between
//! generations but for what changed, and one index from rule ids to keys in those trees.

mod bits;
mod firewall;
mod leaf;
mod rule;
mod rule_index;
mod scope;
mod scopes;
mod tree;
mod unread;

pub use firewall::{Edit, Firewall};
pub use rule::{Coverage, Level, Rule, Source, Verdict};
