//! What both ends of a tunnel do together.

mod allocations;
mod answers;
mod configuration;
mod connector_waits;
mod delivery;
mod demands;
mod http2;
mod http2_connector;
mod inside;
mod lifecycle;
mod origins;
mod places;
mod presence;
mod raw;
mod requests;
mod restart;
mod silence;
mod tcp;
mod transports;
mod udp;
mod unread;
mod untaken;
mod waits;
mod wire;
