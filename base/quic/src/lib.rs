//! What our ends of QUIC share, of visitors and of tunnels: the ids of connections ([`RandomIds`]), and what is done about
//! streams that are read slower than they come ([`Intake`]).
//!
//! Not here: endpoints and their settings, which each plane has for itself, and what is said on streams.

mod ids;
mod unread;

pub use ids::RandomIds;
pub use unread::{
    AllUnread, Intake, IntakeError, Looked, Shed, Watched, connection_window, look, looks, stream_window,
};
