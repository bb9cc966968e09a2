//! The signature of a whole message by a shared key (RFC 8945): where it stands, and how one is refused.
//!
//! Nothing is verified here. No key is configured yet, so every one is unknown.

use bartizan_names::{NAME_WIRE_MAX, RecordType};

use super::query::{LABEL_MAX, skip_name};
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

/// A TSIG record (RFC 8945 §4.2), its MAC not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tsig<'m> {
    /// All of it, from the key's name on.
    record: &'m [u8],
    key_bytes: u8,
    algorithm_bytes: u8,
}

impl<'m> Tsig<'m> {
    /// Reads a record that is there whole; its owner has `key_bytes`. None if it has another form than §4.2 says.
    pub(super) fn read(record: &'m [u8], key_bytes: usize) -> Option<Tsig<'m>> {
        let (key, rest) = record.split_at_checked(key_bytes)?;
        let (header, data) = rest.split_at_checked(RECORD_HEADER)?;
        let is_usual = header[2..8] == [0, Class::ANY.0 as u8, 0, 0, 0, 0];
        let algorithm_bytes = skip_name(data, 0)?;
        let (algorithm, rest) = data.split_at_checked(algorithm_bytes)?;
        let mac = usize::from(u16_at(rest, BEFORE_MAC - 2)?);
        let behind = rest.get(BEFORE_MAC + mac..)?;
        let other = usize::from(u16_at(behind, BEHIND_MAC - 2)?);
        // Both names are written out: they are signed in their canonical form (§4.3.3).
        (is_usual && behind.len() == BEHIND_MAC + other && is_plain(key) && is_plain(algorithm)).then_some(Tsig {
            record,
            key_bytes: key.len() as u8, // names have at most 255 bytes
            algorithm_bytes: algorithm.len() as u8,
        })
    }

    /// The key's name, as uncompressed wire bytes.
    pub fn key(&self) -> &'m [u8] {
        &self.record[..usize::from(self.key_bytes)]
    }

    /// The algorithm's name, likewise.
    pub fn algorithm(&self) -> &'m [u8] {
        &self.record[usize::from(self.key_bytes) + RECORD_HEADER..][..usize::from(self.algorithm_bytes)]
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

/// Whether a name is whole and has no pointer.
fn is_plain(name: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&length @ 1..=LABEL_MAX) = name.get(at) {
        at += usize::from(length) + 1;
    }
    name.get(at..) == Some(&[0]) && name.len() <= NAME_WIRE_MAX
}
