//! Through the front door: a real store, changes, and the bundles that come of them.

mod agreement;
mod answers;
mod balancers;
mod check;
mod cookies;
mod copies;
mod documents;
mod histories;
mod keys;
mod lab;
mod names;
mod open;
mod pops;
mod problems;
mod zones;
