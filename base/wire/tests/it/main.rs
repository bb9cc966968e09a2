//! Formats through the front doors of their codecs.

mod bodies;
mod exchanges;
mod hpack;
mod requests;
mod responses;
mod splits;
mod writing;
mod zone_files;
