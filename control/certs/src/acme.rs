//! Certificates of a public authority (ACME, RFC 8555).
//!
//! ```text
//! wishes in the store ─ the index of what is due ─► Keeper ─ claim ─► Authority::order ─┬─ Hands::show ─► DNS, HTTP
//!   names · certificate · next_on  ◄────────────── one revision ◄─── Plan ◄── Outcome ◄─┘
//! ```
//! - What is wanted, what came of it, and when somebody looks again is one document ([`AcmeCertificate`]). A start goes on
//!   where the last process was, and nothing is known by heart.
//! - [`plan`] decides and has no clock; [`Keeper`] asks it with the time that it is handed; an [`Authority`] does what takes
//!   a network.
//! - A certificate stays until the next one is there, whatever fails.
//! - A time that goes back was wrong: what was noted by it is looked at again.

mod account;
mod ari;
mod authority;
mod document;
mod failure;
mod http;
mod keeper;
mod line;
mod order;
mod plan;
mod review;
mod sweep;

pub use account::{AcmeAccount, AcmeAccountError, LETS_ENCRYPT, TERMS};
pub use authority::{Authority, Hands, Outcome, Proof, Renewal, Wanted, Window};
pub use document::{AcmeCertificate, AcmeStage, AcmeState, AcmeToken, Held, Method};
pub use failure::{Failure, Kind as FailureKind, Whose};
pub use keeper::{INTERFACE, Keeper, KeeperError, Paused, Progress};
pub use order::Acme;
