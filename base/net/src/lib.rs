//! Sockets: listeners, datagrams by the batch, and bytes from socket to socket. And the room on a disk, and how urgent a thread
//! is.
//!
//! The only crate of the product, beside the loader of kernel programs, that may use `unsafe`: each block stands
//! behind a safe function that cannot be called wrongly. No protocol, no policy; a runtime only to wait for the end of a
//! connection.

mod account;
mod any_port;
mod buffer;
mod delivery;
mod descriptors;
mod disk;
mod freebind;
mod gather;
mod goodbye;
mod listen;
mod memory;
mod priority;
mod splice;
mod udp;

pub use account::{Account, LEAST_BYTES_PER_SECOND, LeastRate};
pub use any_port::{AnyPortDatagram, prepare_any_port, receive_any_port, tcp_transparent, udp_transparent};
pub use buffer::{hand_down, hold_to_receive, hold_to_send};
pub use delivery::undelivered;
pub use descriptors::descriptors_max;
pub use disk::{free_bytes, read_ahead};
pub use freebind::{FLOW_BUFFER_BYTES, prepare_listener, tcp_pooled, udp_between, udp_pooled};
pub use gather::send_behind;
pub use goodbye::{Patience, delivered, say_goodbye};
pub use listen::{BindError, Protocol, Sharing, tcp, tcp_shared, udp, udp_shared};
pub use memory::{HeldMemory, give_back_memory, held_memory, keep_little_memory, memory_max};
pub use priority::{stand_back, thread_time};
pub use splice::{PIPES_MAX, Pipe, Pipes};
pub use udp::{BATCH, Inbox, Outbox, Sent};
