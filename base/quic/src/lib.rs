//! What our ends of QUIC share, of visitors and of tunnels: sockets, ids and resets ([`open`]), what
//! may wait for a connection ([`Inboxes`]), whose address is proven
//! ([`tokens()`], [`Unproven`]), and what is done about streams that are read slower than they come ([`Intake`]).
//!
//! Not here: the settings of connections, which each plane has for itself, and what is said on streams.

mod driving;
mod endpoint;
mod ids;
mod inbox;
mod reset;
mod socket;
mod tokens;
mod unproven;
mod unread;

pub use driving::Drivers;
pub use endpoint::open;
pub use inbox::{Driver, Inboxes};
pub use reset::ResetKey;
pub use tokens::tokens;
pub use unproven::Unproven;
pub use unread::{
    AllUnread, Intake, IntakeError, Looked, Looks, Shed, Watched, connection_window, first_window, look, looks,
    stream_window,
};
