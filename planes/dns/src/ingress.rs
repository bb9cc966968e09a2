//! Bytes come in: datagrams, connections with a length in front of each query, and messages that were in requests.

pub(crate) mod https;
pub(crate) mod tcp;
pub(crate) mod udp;
