//! HTTP/1.1 messages through the front door of the codec.

mod bodies;
mod exchanges;
mod requests;
mod responses;
mod splits;
mod writing;
mod zone_files;
