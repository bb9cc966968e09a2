//! HTTP/2 (RFC 9113): strict, and without input or output.
//!
//! - [`hpack`]: fields as HTTP/2 writes them (RFC 7541)

pub mod hpack;
