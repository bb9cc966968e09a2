//! The origin's end of tunnels.
