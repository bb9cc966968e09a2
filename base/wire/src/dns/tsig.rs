//! The signature of a whole message by a shared key (RFC 8945): where it stands, and how one is refused.
//!
//! Nothing is verified here. No key is configured yet, so every one is unknown.

use bartizan_names::{NAME_WIRE_MAX, RecordType};

use super::query::LABEL_MAX;
use super::{Class, u16_at};

pub(super) const TSIG: RecordType = RecordType(250);

/// Errors of a TSIG record (RFC 8945 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigError {
    BadKey = 17,
}

/// Type, class, TTL and data length behind the owner.
const RECORD_HEADER: usize = 10;
/// Time signed, fudge and MAC length behind the algorithm's name.
const BEFORE_MAC: usize = 10;
/// Original id, error and length of other data.
const BEHIND_MAC: usize = 6;

/// A TSIG record (RFC 8945 §4.2), its MAC not looked at: all of it, from the key's name on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tsig<'m>(&'m [u8]);

impl<'m> Tsig<'m> {
    /// Reads a record that is there whole. None if it has another form than §4.2 says.
    pub(super) fn read(record: &'m [u8]) -> Option<Tsig<'m>> {
        // Both names are written out: they are signed in their canonical form (§4.3.3).
        let (key, rest) = split_name(record)?;
        let (header, data) = rest.split_at_checked(RECORD_HEADER)?;
        let is_usual = header[2..8] == [0, Class::ANY.0 as u8, 0, 0, 0, 0];
        let (algorithm, rest) = split_name(data)?;
        let mac = usize::from(u16_at(rest, BEFORE_MAC - 2)?);
        let behind = rest.get(BEFORE_MAC + mac..)?;
        let other = usize::from(u16_at(behind, BEHIND_MAC - 2)?);
        let is_whole = behind.len() == BEHIND_MAC + other && key.len().max(algorithm.len()) <= NAME_WIRE_MAX;
        (is_usual && is_whole).then_some(Tsig(record))
    }

    /// The key's name, as uncompressed wire bytes.
    pub fn key(&self) -> &'m [u8] {
        split_name(self.0).unwrap_or_default().0
    }

    /// The algorithm's name, likewise.
    pub fn algorithm(&self) -> &'m [u8] {
        let data = self.0.get(self.key().len() + RECORD_HEADER..).unwrap_or_default();
        split_name(data).unwrap_or_default().0
    }

    /// Bytes of the record that refuses it.
    pub(super) fn refusal_bytes(&self) -> usize {
        self.key().len() + RECORD_HEADER + self.algorithm().len() + BEFORE_MAC + BEHIND_MAC
    }

    /// Writes the record that refuses it: without a MAC, since there is no key to make one (§5.3.2). `id` is that of the message, and `now` is
    /// in seconds since 1970. `place` must have [`Tsig::refusal_bytes`].
    pub(super) fn write_refusal(&self, id: u16, error: TsigError, now: u64, place: &mut [u8]) {
        let data = (self.algorithm().len() + BEFORE_MAC + BEHIND_MAC) as u16; // names have at most 255 bytes
        let [_, _, time @ ..] = now.to_be_bytes();
        let mut at = 0;
        for part in [
            self.key(),
            &TSIG.0.to_be_bytes(),
            &Class::ANY.0.to_be_bytes(),
            &[0; 4],
            &data.to_be_bytes(),
            self.algorithm(),
            &time,
            &FUDGE.to_be_bytes(),
            &[0, 0],
            &id.to_be_bytes(),
            &(error as u16).to_be_bytes(),
            &[0, 0],
        ] {
            place[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }
}

/// Seconds that clocks may differ (RFC 8945 §10 recommends 300).
const FUDGE: u16 = 300;

/// The uncompressed name that `bytes` begin with, and what follows it.
fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while let length @ 1..=LABEL_MAX = *bytes.get(at)? {
        at += usize::from(length) + 1;
    }
    (bytes[at] == 0).then(|| bytes.split_at(at + 1))
}
