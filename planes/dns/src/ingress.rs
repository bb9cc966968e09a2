//! Bytes come in: datagrams, and connections with a length in front of each query.

pub(crate) mod tcp;
pub(crate) mod udp;
