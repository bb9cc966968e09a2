//! The public half of a key: DNSKEY, key tag, DS.

use bartizan_names::ZoneName;

use crate::algorithm::{Algorithm, Digest};

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything: one key does the work of both others. Its record is that of a [`Role::Ksk`]: while one follows another,
    /// the one that does not sign records (yet, or any more) can be given as such, so that answers do not grow.
    Csk,
    /// The zone's own keys; the parent's DS record is of it.
    Ksk,
    /// All other records.
    Zsk,
}

impl Role {
    /// The flags of the DNSKEY record: a zone's key (RFC 4034 §2.1.1), and a secure entry point for what a DS record is of.
    pub const fn flags(self) -> u16 {
        match self {
            Role::Csk | Role::Ksk => 257,
            Role::Zsk => 256,
        }
    }

    pub const fn signs_keys(self) -> bool {
        !matches!(self, Role::Zsk)
    }

    pub const fn signs_data(self) -> bool {
        !matches!(self, Role::Ksk)
    }
}

/// The protocol field of every DNSKEY record (RFC 4034 §2.1.2).
const PROTOCOL: u8 = 3;

/// Flags, protocol and algorithm, in front of the key itself.
const HEAD_BYTES: usize = 4;

/// The longest data of a DNSKEY record of ours, which is longer than that of a DS record.
pub(crate) const DATA_MAX: usize = HEAD_BYTES + 64;

/// The public half of a zone's key, as a DNSKEY record shows it (RFC 4034 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    role: Role,
    algorithm: Algorithm,
    tag: u16,
    data: Data,
}

/// The data of a record about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Padded with zeros.
    bytes: [u8; DATA_MAX],
    len: u8,
}

impl Data {
    /// Pieces that have no more than [`DATA_MAX`] bytes together; what is more is cut off.
    pub(crate) fn of(pieces: &[&[u8]]) -> Data {
        let mut data = Data { bytes: [0; DATA_MAX], len: 0 };
        for (place, byte) in data.bytes.iter_mut().zip(pieces.iter().copied().flatten()) {
            *place = *byte;
            data.len += 1;
        }
        data
    }
}

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PublicKey {
    /// None if `bytes` does not have the length of the algorithm's keys.
    pub fn new(role: Role, algorithm: Algorithm, bytes: &[u8]) -> Option<PublicKey> {
        if bytes.len() != algorithm.public_key_bytes() {
            return None;
        }
        let [high, low] = role.flags().to_be_bytes();
        let data = Data::of(&[&[high, low, PROTOCOL, algorithm.number()], bytes]);
        Some(PublicKey { role, algorithm, tag: key_tag(data.as_ref()), data })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As in a DNSKEY record, without what is in front of it there.
    pub fn as_bytes(&self) -> &[u8] {
        &self.dnskey()[HEAD_BYTES..]
    }

    /// By which signatures and DS records name the key; two keys may have the same (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The data of the DNSKEY record, which is that of the CDNSKEY record too (RFC 7344 §3.2).
    pub fn dnskey(&self) -> &[u8] {
        self.data.as_ref()
    }

    /// The data of the DS record for the parent (RFC 4034 §5.1), which is that of the CDS record too (RFC 7344 §3.1).
    pub fn ds(&self, apex: &ZoneName, digest: Digest) -> Data {
        let digested = digest.of(&[apex.as_name().as_wire(), self.dnskey()]);
        let [high, low] = self.tag.to_be_bytes();
        Data::of(&[&[high, low, self.algorithm.number(), digest.number()], digested.as_ref()])
    }

    /// Tells this key from all others: keys are random, so their first bytes are.
    pub(crate) fn mark(&self) -> u64 {
        let first = self.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first) ^ u64::from(self.role.flags())
    }
}

/// The tag of a DNSKEY record with this data (RFC 4034 appendix B): all pairs of bytes added up, with what flows over.
pub fn key_tag(dnskey: &[u8]) -> u16 {
    let (pairs, rest) = dnskey.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    let sum = pairs.iter().fold(last, |sum, pair| sum + u32::from(u16::from_be_bytes(*pair)));
    (sum + (sum >> 16)) as u16 // the lower half is the tag
}
