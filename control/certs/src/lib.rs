//! The certificates that the edge shows to visitors and to connectors, and the local CA that issues them.
//!
//! ```text
//! DATA/ca.pem          what people trust            CA (P-256, 10 years) ── issues ──► leaf (P-256, 90 days)
//! DATA/ca.key.sealed   stays on this machine                                             │
//! store: certificate/<id>  { names, chain, sealed key, … } ◄── Op ── Certs::for_zone · for_host · for_tunnels · renewed
//! ```
//! [`Certs`] only says which operations to commit: a certificate comes into being with the change that needs it, in one
//! revision. Ids are made from what a certificate is for, so that the same one is never issued twice and can be found
//! without a search. Visitors get the leaf alone, because the CA is what they trust already (RFC 8446 §4.4.2 lets a trust
//! anchor out); connectors get the CA too, for they may know it by its fingerprint only.
//!
//! What others issue stands beside it: the public authority ([`acme`]), and owners of zones who bring theirs ([`Upload`]). What they bring
//! for the edge to show to origins is an [`OriginClient`].
//!
//! Certificates of clients are issued and read here too ([`ClientCa`], [`Authorities`]).
//!
//! Not here: TLS itself (`base/tls`), and the clock: `now` is the caller's.

mod acme;
mod anchor;
mod ca;
mod certs;
mod chain;
mod clients;
mod crl;
mod document;
mod error;
mod origin_client;
mod sealed;
mod upload;

pub use acme::{
    Acme, AcmeAccount, AcmeAccountError, AcmeCertificate, AcmeStage, AcmeState, AcmeToken, Authority, Failure,
    FailureKind, Hands, Held, INTERFACE, Keeper, KeeperError, LETS_ENCRYPT, Method, Outcome, Paused, Progress, Proof,
    Renewal, TERMS, Wanted, Whose, Window,
};
pub use anchor::{Anchor, AnchorError};
pub use bartizan_fetch::Url as CrlUrl;
pub use ca::{Ca, Issued, REMEDY as CA_REMEDY, Validity, Warning};
pub use certs::Certs;
pub use chain::{At, Chain, ChainError};
pub use clients::{
    Authorities, CLIENT_VALIDITY_DAYS, ClientCa, ClientCaError, IssuedToClient, ReadCrl, Subject as ClientSubject,
    read_crl,
};
pub use crl::{CrlFetchError, CrlFetcher, crl_as_pem, crl_begun, crl_fetched, crl_not_fetched};
pub use document::{Document, Purpose};
pub use error::CertsError;
pub use origin_client::OriginClient;
pub use upload::{Kept, PRIORITY_MAX, Upload};
