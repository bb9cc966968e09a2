//! Formats through the front doors of their codecs.

mod bodies;
mod dns_judge;
mod exchanges;
mod hpack;
mod http2;
mod http3;
mod requests;
mod responses;
mod splits;
mod writing;
mod zone_files;
