//! Secrets at rest and hashes of tokens.

mod digest;

pub use digest::{equal, sha256};
