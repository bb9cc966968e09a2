//! The store through its front door.

mod audit;
mod commit;
mod copies;
mod crash;
mod damage;
mod listing;
mod log;
mod migration;
mod model;
mod objects;
mod opening;
mod pages;
mod state_hash;
mod torn;
