//! What both ends of a tunnel do together.

mod answers;
mod configuration;
mod delivery;
mod demands;
mod lifecycle;
mod origins;
mod presence;
mod raw;
mod requests;
mod restart;
mod silence;
mod tcp;
mod udp;
mod waits;
mod wire;
