//! What both ends of a tunnel do together.

mod answers;
mod configuration;
mod demands;
mod lifecycle;
mod raw;
mod requests;
mod restart;
mod tcp;
mod udp;
mod wire;
