//! Kernel programs: loads them, fills their maps, reads their counters.
//!
//! ```text
//!                     ┌ kernel, for a packet without a connected socket ┐
//! TCP, UDP, any port ─┤ address → set of ports → worker (hash)          ├─► a socket that base/net opened and
//!                     └ ebpf/sk_lookup.c        ▲ maps                  ┘   planes/l4 accepts or receives on
//!                                               │
//!                             claims (bin) ─► Steering
//! ```
//!
//! [`Steering`] gives connections and datagrams for claimed addresses and ports to a few sockets that are bound
//! elsewhere, so that one listening socket has all ports of all prefixes (`sk_lookup`, Linux 5.9). [`Tproxy`] does the
//! same by a rule of the packet filter, where programs are forbidden. [`AnyIp`] makes the addresses of a prefix this
//! machine's own.
//!
//! Not here: what is done with a connection (planes/l4), and which addresses and ports there are (engines/routes). No
//! log, no runtime, no thread.

mod any_ip;
mod kernel;
mod pin;
mod steering;
mod support;
mod table;
mod tproxy;

pub use any_ip::{AnyIp, AnyIpError};
pub use kernel::{Counts, KernelError, WORKERS_MAX};
pub use pin::{BPFFS, Detached, PinFailure, pin_name, remove_pin};
pub use steering::{AttachError, Pinning, Setup, Steering, UpdateError, Workers};
pub use support::{Capability, Missing, Support, support, updates_need_capability};
pub use table::{ADDRESSES_MAX, Claim, PORTS_MAX, TableError};
pub use tproxy::{Tproxy, TproxyError};
