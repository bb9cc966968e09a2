//! Host to zone settings and origin or tunnel.
