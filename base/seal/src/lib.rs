//! Secrets at rest and hashes of tokens.
