//! Byte formats, each parser once. No policy, no I/O, no clock.
//!
//! - [`dns`]: DNS messages (RFC 1035, RFC 6891)
//! - [`http1`]: HTTP/1.1 messages (RFC 9112)
//! - [`http2`]: HTTP/2 as a server speaks it (RFC 9113), and its fields (RFC 7541)
//! - [`http3`]: HTTP/3 as a server speaks it (RFC 9114), and its fields (RFC 9204)
//! - [`proxy`]: PROXY protocol headers, versions 1 and 2, and the simple header of datagrams
//! - [`smtp`]: replies of mail servers (RFC 5321)
//! - [`zone_file`]: master files (RFC 1035 §5)

pub mod dns;
pub mod http1;
pub mod http2;
pub mod http3;
pub mod proxy;
pub mod smtp;
pub mod zone_file;
