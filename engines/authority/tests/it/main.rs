//! Questions in, answers out, through the crate's front door.

mod answers;
mod bad_input;
mod changes;
mod signed;
mod synthesised;
mod zone_text;
