//! What both ends of a tunnel do together.

mod answers;
mod configuration;
mod demands;
mod lifecycle;
mod requests;
mod wire;
