//! DNSSEC: keys of zones, signatures made when they are asked for, and what denies that something exists.
//!
//! ```text
//! publish ─► ZoneKeys (sealed, opened at first use) ─┐
//!                                                    ├─► Signer::signature ─► cache, or budget ─► key ─► RRSIG
//! authority: a record set, whose it is, who asks ────┘
//! ```
//! A zone is never signed as a whole: what is asked for is signed, and kept by the worker that signed it. A name that
//! is not there is denied by one NSEC record at that very name, so that no other name of the zone is told.
//!
//! Not here: which records answer (`engines/authority`), where keys are kept and when they change, sockets. No clock and
//! no lock; what is random (keys, and a number in each ECDSA signature) comes from the crypto library.
//!
//! RFC 4034, 4035, 4470, 6605 (P-256), 6840, 7344 and 8078 (CDS), 8080 (Ed25519), 9077 (TTL of NSEC), 9824 (compact denial).

mod algorithm;
mod budget;
mod cache;
mod canonical;
mod denial;
mod ds;
mod fingerprint;
mod key;
mod public_key;
pub mod rollover;
mod signer;
mod zone_keys;

pub use algorithm::{Algorithm, Digest};
pub use budget::{Budget, Origin, Source};
pub use cache::LOADED_MAX;
pub use denial::{Denial, NXNAME, SHOTGUN_TYPES, nsec, successor};
pub use ds::{Ds, DsError};
pub use key::{KeyError, KeyPair, NewKey, generate};
pub use public_key::{Data, PublicKey, Role, key_tag};
pub use signer::{Expected, Lasting, Limits, RecordSet, Signature, Signer, Tally, Unsigned};
pub use zone_keys::{Announcement, Duties, PrivateKey, Unseal, Validity, ZoneKey, ZoneKeys, ZoneKeysError};
