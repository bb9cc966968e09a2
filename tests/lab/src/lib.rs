//! Servers of ours that stand in for real ones in tests, where a real one cannot be made to do what the test needs.

pub mod acme;
pub mod flood;
mod name_server;
pub mod registry;
mod tls;

pub use name_server::{Manner, NameServer};
pub use tls::client_hello;
