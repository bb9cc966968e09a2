//! The API through its front door: a router over a real store.

mod access_rules;
mod audit_logs;
mod auth;
mod batch;
mod clients;
mod damage;
mod deletions;
mod dialect;
mod dns_records;
mod document;
mod edge;
mod firewall;
mod honest;
mod others;
mod people;
mod races;
mod renewals;
mod resources;
mod revoked;
mod rights;
mod setup;
mod spectrum;
mod status;
mod tunnels;
mod undo;
mod zones;
