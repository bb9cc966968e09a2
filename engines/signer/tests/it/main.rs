//! Keys and signatures beside the examples of the RFCs, and beside the crypto library as judge.

mod keys;
mod lab;
mod signatures;
