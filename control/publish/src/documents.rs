//! Objects that are there and that the API cannot read, whether a plane uses them or not.
//!
//! What cannot be put in force is noted where it is read. That covers neither accounts, users and tokens, which no plane
//! uses, nor the parts of a record that only the API shows. So every object is read once more as the shape that the API
//! reads: all of them, a piece at a time, when there is nothing else to do, so that a start does not wait for it; and each
//! one again when it changes.

use std::collections::HashMap;
use std::sync::Arc;

use bartizan_certs as certs;
use bartizan_store::{Blame, Change, Entry, Index, Key, Kind, Op, Position, ReadError, Rev, Snapshot, Unreadable};
use bartizan_v4 as v4;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::problems::{About, Problems};
use crate::reading::{Fault, document};

/// Objects of one piece: some milliseconds, for which a change waits at most.
const PIECE_OBJECTS: usize = 1_000;

/// Whether all objects were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    Done,
    More,
}

/// Says why a token of the right shape cannot be read all the same. Only the API knows the permissions that it names.
pub type ReadToken = fn(&v4::StoredToken) -> Result<(), &'static str>;

/// What of the documents is known to be unreadable, and how far all of them were looked at.
pub(crate) struct Documents {
    pub(crate) read_token: ReadToken,
    unreadable: Problems,
    pass: Option<Pass>,
}

/// One look at all objects.
struct Pass {
    at: Position,
    /// Those that it found, which are all that there are when it ends.
    found: Problems,
}

impl Documents {
    pub(crate) fn begin() -> Documents {
        Documents { read_token: |_| Ok(()), unreadable: none(), pass: Some(Pass::begin()) }
    }

    /// Begins to look at all of them again. Those that were unreadable count as such until that ends.
    pub(crate) fn begin_again(&mut self) {
        self.pass = Some(Pass::begin());
    }

    pub(crate) fn is_reviewed(&self) -> bool {
        self.pass.is_none()
    }

    pub(crate) fn unreadable(&self) -> &Problems {
        &self.unreadable
    }

    /// Looks at the next piece. What is one of `units`, those that cannot be put in force, is told there.
    pub(crate) fn review(&mut self, snapshot: &Snapshot, units: &Problems) -> Review {
        let Some(at) = self.pass.as_ref().map(|pass| pass.at) else { return Review::Done };
        let (mut bad, read_token) = (Vec::new(), self.read_token);
        let piece = snapshot.objects(at, PIECE_OBJECTS, &mut |object| {
            bad.extend(object.map_or_else(Some, |entry| fault(&entry, read_token)));
        });
        // All pages of the file pass by, and would fill the room of all connections.
        snapshot.forget_pages();
        bad.into_iter().for_each(|bad| self.note(bad, units));
        match (piece, &mut self.pass) {
            (Ok(Some(at)), Some(pass)) => {
                pass.at = at;
                Review::More
            }
            (Err(ReadError::Busy), _) => Review::More,
            (Ok(_), pass) => {
                self.unreadable = pass.take().map_or_else(none, |pass| pass.found);
                Review::Done
            }
            // The store tells of its own damage, and has another epoch when it is mended: then all is looked at again.
            (Err(error), pass) => {
                tracing::warn!(%error, "not all documents could be looked at; the next start looks again");
                *pass = None;
                Review::Done
            }
        }
    }

    /// Looks at what changed.
    pub(crate) fn look_again(&mut self, snapshot: &Snapshot, changes: &[Change], units: &Problems) {
        // What was said of each last.
        let last: HashMap<&Key, &Op> = changes.iter().flat_map(|change| &change.ops).map(|op| (op.key(), op)).collect();
        for (key, op) in last {
            let found = match op {
                // As it was put, it is in the store: it is not looked for there.
                Op::Put { value, .. } if value.is_of_today(key.kind()) => {
                    let entry = Entry { key: key.clone(), rev: Rev::ZERO, value: value.clone() };
                    Ok(fault(&entry, self.read_token))
                }
                Op::Put { .. } => {
                    snapshot.get(key).map(|entry| entry.as_ref().and_then(|entry| fault(entry, self.read_token)))
                }
                Op::Del { .. } => Ok(None),
            };
            match found {
                Ok(Some(bad)) | Err(ReadError::Unreadable(bad)) => self.note(bad, units),
                Ok(None) => self.forget(key.as_str()),
                // It is met on the way.
                Err(_) => self.pass = Some(Pass::begin()),
            }
        }
    }

    fn note(&mut self, bad: Unreadable, units: &Problems) {
        if units.has(&bad.key) {
            self.forget(&bad.key);
        // The store tells of keys that this version does not know.
        } else if Key::parse(&bad.key).is_ok() {
            let (key, reason): (Arc<str>, Arc<str>) = (bad.key.into(), bad.reason.into());
            self.lists().for_each(|list| list.note(Arc::clone(&key), Arc::clone(&reason), bad.blame));
        }
    }

    fn forget(&mut self, key: &str) {
        self.lists().for_each(|list| list.forget(key));
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut Problems> {
        std::iter::once(&mut self.unreadable).chain(self.pass.as_mut().map(|pass| &mut pass.found))
    }
}

impl Pass {
    fn begin() -> Pass {
        Pass { at: Position::default(), found: none() }
    }
}

fn none() -> Problems {
    Problems::of(About::Document)
}

/// What is wrong with a document, if anything is.
fn fault(entry: &Entry, read_token: ReadToken) -> Option<Unreadable> {
    let read = match entry.key.kind() {
        Kind::Token => document(entry).and_then(|token| Ok(read_token(&token)?)),
        kind => shape(kind)(entry),
    };
    let error = read.err()?;
    Some(Unreadable { key: entry.key.to_string(), reason: error.to_string(), blame: Blame::Document })
}

/// How the documents of a kind are read.
fn shape(kind: Kind) -> fn(&Entry) -> Result<(), Fault> {
    match kind {
        // Only their keys mean something.
        Kind::Meta | Kind::Deletion => is::<IgnoredAny>,
        Kind::Pop => is::<v4::Pop>,
        Kind::Account => is::<v4::Account>,
        Kind::User => is::<v4::StoredUser>,
        Kind::Token => is::<v4::StoredToken>,
        Kind::Session => is::<v4::StoredSession>,
        Kind::Membership => is::<v4::StoredMembership>,
        Kind::Zone => is::<v4::Zone>,
        Kind::Settings => is::<v4::StoredSettings>,
        Kind::Dnssec => is::<v4::StoredDnssec>,
        Kind::Registry => is::<v4::registry::StoredRegistry>,
        Kind::Record => is::<v4::Record>,
        Kind::Name => is::<v4::StoredName>,
        Kind::Tunnel => is::<v4::StoredTunnel>,
        Kind::TunnelConfig => is::<v4::TunnelConfiguration>,
        Kind::Certificate => is::<certs::Document>,
        Kind::AcmeCertificate => is::<certs::AcmeCertificate>,
        Kind::CustomCertificate => is::<certs::Upload>,
        Kind::AcmeAccount => is::<certs::AcmeAccount>,
        Kind::ClockWord => is::<v4::clock::ClockWord>,
        Kind::AcmeToken => is::<certs::AcmeToken>,
        Kind::OriginRoot => is::<v4::certificate::StoredOriginRoot>,
        Kind::OriginClient | Kind::OriginHostClient => is::<certs::OriginClient>,
        Kind::OriginClientHost => is::<v4::origin_client::StoredOriginClientHost>,
        Kind::ClientRoot => is::<v4::client_auth::StoredClientRoot>,
        Kind::ClientHost => is::<v4::client_auth::ClientHost>,
        Kind::ClientAuthority => is::<v4::client_auth::StoredClientAuthority>,
        Kind::ClientCertificate => is::<v4::client_auth::ClientCertificate>,
        Kind::ClientRevocation => is::<v4::client_auth::StoredRevocation>,
        Kind::ClientCrl => is::<v4::client_auth::StoredCrlFetch>,
        Kind::AccessRule => is::<v4::StoredAccessRule>,
        Kind::App => is::<v4::StoredApp>,
        Kind::Monitor => is::<v4::Monitor>,
        Kind::Pool => is::<v4::Pool>,
        Kind::LoadBalancer => is::<v4::LoadBalancer>,
        Kind::Import => is::<v4::StoredImport>,
        Kind::Unique => unique,
    }
}

fn unique(entry: &Entry) -> Result<(), Fault> {
    match entry.key.index() {
        Some(
            Index::ZoneName
            | Index::TunnelName
            | Index::TokenHash
            | Index::LastToken
            | Index::LastCertificate
            | Index::UserEmail
            | Index::SessionHash
            | Index::Member,
        ) => is::<v4::StoredHolder>(entry),
        Some(Index::AppSlot) => is::<v4::StoredSlot>(entry),
        Some(Index::AppAddress) => is::<v4::StoredAddress>(entry),
        None => Ok(()),
    }
}

fn is<D: DeserializeOwned>(entry: &Entry) -> Result<(), Fault> {
    document::<D>(entry).map(drop)
}
