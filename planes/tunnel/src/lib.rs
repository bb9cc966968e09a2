//! The edge's end of tunnels.
