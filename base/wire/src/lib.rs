//! Byte formats, each parser once. No policy, no I/O, no clock.
//!
//! - [`dns`]: DNS messages (RFC 1035, RFC 6891)

pub mod dns;
