//! The plane over real sockets of the loopback network: what clients see, and what reaches the origins.

mod clients;
mod counted;
mod edge;
mod faults;
mod listening;
mod names;
mod origin;
mod pools;
mod refusals;
mod tcp;
mod tls;
mod udp;
