//! Sockets: listeners, and datagrams by the batch.
//!
//! The only crate of the product, beside the loader of kernel programs, that may use `unsafe`: each block stands
//! behind a safe function that cannot be called wrongly. No protocol, no policy, no runtime.

mod listen;
mod udp;

pub use listen::{BindError, Protocol, Sharing, tcp, tcp_shared, udp, udp_shared};
pub use udp::{BATCH, Inbox, Outbox, Sent};
