//! The keys of one zone as they are in force: immutable, shared, and cheap while nobody asks.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use bartizan_names::{RecordType, ZoneName};

use crate::algorithm::Digest;
use crate::denial::Denial;
use crate::key::KeyPair;
use crate::public_key::{Data, PublicKey};

/// Opens what was sealed (`base/seal`): the context it was sealed for, and the sealed bytes. None if it does not open.
pub type Unseal = dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The private half of a key: sealed until something is to be signed, so that a hundred thousand signed zones start as
/// fast as unsigned ones.
pub struct PrivateKey {
    context: Box<[u8]>,
    sealed: Box<[u8]>,
    unseal: Arc<Unseal>,
    /// None inside if it did not open: it will not open later either.
    opened: OnceLock<Option<Box<KeyPair>>>,
}

impl PrivateKey {
    /// `sealed` holds a key as [`generate`](crate::generate) makes it.
    pub fn sealed(context: &[u8], sealed: &[u8], unseal: Arc<Unseal>) -> PrivateKey {
        PrivateKey { context: context.into(), sealed: sealed.into(), unseal, opened: OnceLock::new() }
    }

    fn open(&self, public: &PublicKey) -> Option<&KeyPair> {
        let open = || {
            let pkcs8 = (self.unseal)(&self.context, &self.sealed)?;
            let pair = KeyPair::from_pkcs8(public.algorithm(), &pkcs8).ok()?;
            // Signatures by another key would be bogus everywhere.
            (pair.public(public.role())? == *public).then(|| Box::new(pair))
        };
        self.opened.get_or_init(open).as_deref()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &PrivateKey) -> bool {
        self.context == other.context && self.sealed == other.sealed
    }
}

impl Eq for PrivateKey {}

/// What a key is used for at this moment of its life (RFC 7583 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// It is in the DNSKEY set.
    pub published: bool,
    /// It signs what its role says.
    pub signs: bool,
    /// It is in the CDS and CDNSKEY sets, if these announce keys: the parent is to have a DS record of it.
    pub announced: bool,
}

/// One key of a zone.
#[derive(Debug, PartialEq, Eq)]
pub struct ZoneKey {
    pub public: PublicKey,
    pub duties: Duties,
    /// None for a key of somebody else who signs this zone too (RFC 8901).
    pub private: Option<PrivateKey>,
}

impl ZoneKey {
    /// Opens the key unless it is open already.
    pub fn pair(&self) -> Option<&KeyPair> {
        self.private.as_ref()?.open(&self.public)
    }

    fn signs(&self) -> bool {
        self.duties.signs && self.private.is_some()
    }
}

/// What the zone tells its parent by CDS and CDNSKEY (RFC 7344, RFC 8078).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announcement {
    /// Nothing: there are no such records.
    #[default]
    None,
    /// The keys that are to be announced.
    Keys,
    /// That all DS records are to be deleted (RFC 8078 §4).
    Delete,
}

/// What says that all DS records are to be deleted, as data of CDS and CDNSKEY records (RFC 8078 §4).
const DELETE_DS: &[u8] = &[0, 0, 0, 0, 0];
const DELETE_KEY: &[u8] = &[0, 0, 3, 0, 0];

/// The span that a signature is valid for, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// How long before it is made it begins, for resolvers whose clock is slow.
    pub backdate: u32,
    /// From its beginning to its end.
    pub span: u32,
}

impl Validity {
    /// The hours that may be asked for. A signature goes out until half of them are over, and half of two days
    /// is the longest TTL: with fewer, who keeps an answer that long without looking at it would hand on signatures that have
    /// run out (RFC 6781 §4.4.1). With more, an old answer could be told for too long.
    pub const HOURS: RangeInclusive<u32> = 48..=720;

    /// One hour back, and so many hours in all.
    pub const fn of_hours(hours: u32) -> Validity {
        Validity { backdate: 3_600, span: hours * 3_600 }
    }

    /// The shortest time for which a signature that is not late is valid yet.
    pub const fn least_left(self) -> u32 {
        self.span / 2
    }
}

impl Default for Validity {
    fn default() -> Validity {
        Validity::of_hours(50)
    }
}

/// These keys cannot sign a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneKeysError {
    #[error("no published key signs the zone's keys")]
    NoKeySigner,
    #[error("no published key signs the zone's records")]
    NoDataSigner,
}

/// The keys of a zone, and how it is signed. Made by publishing, and shared by all workers.
#[derive(Debug, PartialEq, Eq)]
pub struct ZoneKeys {
    keys: Box<[ZoneKey]>,
    pub denial: Denial,
    pub announcement: Announcement,
    pub validity: Validity,
}

impl ZoneKeys {
    pub fn new(
        keys: Vec<ZoneKey>,
        denial: Denial,
        announcement: Announcement,
        validity: Validity,
    ) -> Result<ZoneKeys, ZoneKeysError> {
        let signers = || keys.iter().filter(|key| key.signs() && key.duties.published);
        if !signers().any(|key| key.public.role().signs_keys()) {
            return Err(ZoneKeysError::NoKeySigner);
        }
        if !signers().any(|key| key.public.role().signs_data()) {
            return Err(ZoneKeysError::NoDataSigner);
        }
        Ok(ZoneKeys { keys: keys.into(), denial, announcement, validity })
    }

    /// Of a zone that is signed by keys that nobody can read: nothing is signed, and nothing goes out as if it need not be.
    pub fn unreadable() -> ZoneKeys {
        let (denial, announcement, validity) = (Denial::default(), Announcement::None, Validity::default());
        ZoneKeys { keys: Box::default(), denial, announcement, validity }
    }

    pub fn keys(&self) -> &[ZoneKey] {
        &self.keys
    }

    /// The keys that sign a set of records: the zone's keys, and what is said of them to the parent (RFC 7344 §4.1), by
    /// those that the parent knows; all else by the others.
    pub fn signers(&self, rtype: RecordType) -> impl Iterator<Item = &ZoneKey> {
        let of_keys = matches!(rtype, RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY);
        self.keys.iter().filter(move |key| {
            let role = key.public.role();
            key.signs() && if of_keys { role.signs_keys() } else { role.signs_data() }
        })
    }

    /// The data of the DNSKEY records.
    pub fn dnskeys(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.keys.iter().filter(|key| key.duties.published).map(|key| key.public.dnskey())
    }

    /// The data of the CDS records.
    pub fn cds<'k>(&'k self, apex: &'k ZoneName) -> impl Iterator<Item = Data> + Clone + 'k {
        let delete = (self.announcement == Announcement::Delete).then(|| Data::of(&[DELETE_DS]));
        self.announced().map(|key| key.ds(apex, Digest::Sha256)).chain(delete)
    }

    /// The data of the CDNSKEY records.
    pub fn cdnskeys(&self) -> impl Iterator<Item = Data> + Clone {
        let delete = (self.announcement == Announcement::Delete).then(|| Data::of(&[DELETE_KEY]));
        self.announced().map(|key| Data::of(&[key.dnskey()])).chain(delete)
    }

    /// Whether every key that signs opens. Opens them; for who looks after keys, not for who answers.
    pub fn all_open(&self) -> bool {
        self.keys.iter().filter(|key| key.signs()).all(|key| key.pair().is_some())
    }

    fn announced(&self) -> impl Iterator<Item = &PublicKey> + Clone {
        let told = self.announcement == Announcement::Keys;
        let keys = self.keys.iter().filter(move |key| told && key.duties.announced && key.public.role().signs_keys());
        keys.map(|key| &key.public)
    }
}
