//! The plane over real sockets: raw bytes in, what reached the origin and what came back out.

mod clients;
mod destinations;
mod dns_over_https;
mod early;
mod edge;
mod ends;
mod firewall;
mod forwarding;
mod frames;
mod http1;
mod interim;
mod limits;
mod memory;
mod origin;
mod origins;
mod pages;
mod protocols;
mod records;
mod reuse;
mod settings;
mod streaming;
mod strictness;
mod tls;
mod translation;
mod websocket;
