//! From a host to a connection: the one way in which every plane finds and dials an origin.
//!
//! ```text
//!                  ┌─ Resolver ─ hosts(5), name servers, the system       (RFC 1034, 8767)
//! host, port ─► OriginDialer ─ Destinations: may this address be dialled?
//!                  ├─ Dead ───── what did not answer a moment ago comes last
//!                  └─ race ───── IPv6 and IPv4 beside each other           (RFC 8305)
//! ```
//! An address is judged when it is dialled, whatever name it comes from and however often that name is resolved anew:
//! what is refused is never sent a packet. TLS towards origins ([`OriginTls`]) is set up here and spoken by the planes.
//!
//! Names whose addresses are told to others, and not dialled, are asked for by [`PublicNames`].
//!
//! Not here: what is said on a connection, tunnels, pools of kept connections, sockets of the Unix kind. Names are
//! complete: no search list is used. A validating or a recursive resolver runs beside the edge where it is needed.

mod counters;
mod dead;
mod destinations;
mod dialer;
mod embedded;
mod failure;
mod limits;
mod origin_tls;
mod places;
mod race;
mod resolver;
mod trusts;

pub use destinations::{Destinations, Known, Listener, Own, Private, Refusal, Serves, is_private};
pub use dialer::{Group, OriginDialer, Reach};
pub use failure::Failure;
pub use limits::{RESOLVER_THREADS, TTL_MIN};
pub use origin_tls::{NoRoots, OriginTls};
pub use resolver::{
    NameServers, NotAnswered, NotTransferred, PublicAddresses, PublicNames, Question, Questions, Transfer,
};
pub use trusts::{OwnSums, OwnTls, Trusts};
