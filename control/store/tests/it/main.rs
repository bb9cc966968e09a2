//! The store through its front door.

mod commit;
mod crash;
mod listing;
mod log;
mod model;
mod objects;
mod opening;
