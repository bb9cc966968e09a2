//! One TLS acceptor and one TLS client. The only crate that knows the TLS library (QUIC's hand-over excepted).
//!
//! ```text
//! bytes ─► Acceptor: ClientHello ─► name (RFC 6066 §3) ─► Certificates ─► ServerStream
//! origin ◄─ connect(client_config(Roots)) ◄─ bytes
//! ```
//! TLS 1.3 (RFC 8446) and 1.2, one crypto provider (AWS-LC), hybrid key agreement `X25519MLKEM768` preferred.
//! No 0-RTT and no client certificates yet: both belong to a host's policy, see [`Certificates`].
//! Not here: time-outs. Who calls [`Acceptor::accept`] or [`connect`] sets one deadline around it.

mod acceptor;
mod certificates;
mod certified_key;
mod client;
mod error;
mod pin;
mod plain;
mod provider;
mod quic;
mod stream;
mod verifier;

pub use acceptor::{Acceptor, HELLO_BYTES_MAX, Offer};
pub use certificates::{Certificate, Certificates, CertificatesEdit};
pub use certified_key::CertifiedKey;
pub use client::{Roots, client_config, connect};
pub use error::{AcceptError, TlsError};
pub use pin::Pin;
pub use quic::quic_server_config;
pub use stream::{ClientStream, ServerStream};

/// Names of QUIC's hand-over: `quinn` takes these very types.
pub use rustls::{ClientConfig, ServerConfig};
