//! Turns changes into one bundle of engine values.
