//! One TLS acceptor and one TLS client. The only crate that knows the TLS library (QUIC's hand-over excepted).
//!
//! ```text
//! bytes ─► Acceptor: ClientHello ─► name (RFC 6066 §3) ─► Hosts: certificate, policy ─► ServerStream
//!                                                      └─► Sessions of that name and policy
//! origin ◄─ connect(client_config(Roots)) ◄─ bytes
//! ```
//! TLS 1.3 (RFC 8446) and 1.2, one crypto provider (AWS-LC), hybrid key agreement `X25519MLKEM768` preferred. Which of it
//! is offered, and whether data may come before the handshake is over, is for the policy of a name's zone to say
//! ([`TlsPolicy`]). It is asked at each handshake; a session that was made under another policy is not taken up again.
//! Some hosts ask their clients for a certificate. The handshake ends well whatever comes of that ([`Client`]).
//! Not here: time-outs. Who calls [`Acceptor::accept`] or [`connect`] sets one deadline around it.

mod acceptor;
mod certified_key;
mod chains;
mod client;
mod client_certificate;
mod clients;
mod error;
mod handshake_end;
mod hosts;
mod pin;
mod plain;
mod policy;
mod provider;
mod quic;
mod revocation;
mod server;
mod sessions;
mod stream;
mod to_origins;
mod verifier;

pub use acceptor::{Acceptor, HELLO_BYTES_MAX};
pub use certified_key::CertifiedKey;
pub use client::{Now, Roots, TrustStore, client_config, client_config_by, client_config_trusting, connect, showing};
pub use client_certificate::{ClientCertificate, ClientFacts};
pub use clients::{Client, ClientAuth, ClientHosts, ClientRoot, ClientTrust, RevokedId, revoked_id};
pub use error::{AcceptError, TlsError};
pub use handshake_end::HandshakeEnd;
pub use hosts::{Certificate, Hosts, HostsEdit};
pub use pin::Pin;
pub use policy::{Agreed, TlsPolicy};
pub use quic::{QuicHost, QuicRefusal, quic_server_config};
pub use stream::{ClientStream, ServerStream};
pub use to_origins::{Identity, IdentityLevel, OriginRoots, ToOrigins};

/// Names of QUIC's hand-over: `quinn` takes these very types.
pub use rustls::{ClientConfig, ServerConfig};
