//! The keeper at work, over a real store.

mod keeper;
