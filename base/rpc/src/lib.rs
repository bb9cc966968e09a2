//! Cap'n Proto for tunnels.
