//! The local CA and the certificates it issues.
