//! What both ends of a tunnel do together.

mod configuration;
mod lifecycle;
mod requests;
mod wire;
