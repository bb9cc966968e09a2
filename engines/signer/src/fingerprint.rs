//! By which a signature is found again: 128 bits of all that is signed and of the key.
//!
//! A secret seed goes in, so that nobody can make two record sets with one fingerprint. By chance two of a million sets
//! have the same in one of 10^27 servers.

/// Odd, with about as many ones as zeros (the fractions of the golden ratio and of the root of two).
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909];

const WORD: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u64; 2]);

impl Fingerprint {
    pub(crate) fn begin(seed: u64, mark: u64) -> Fingerprint {
        Fingerprint([seed, seed.rotate_left(32) ^ MULTIPLIERS[0]]).number(mark)
    }

    pub(crate) fn number(self, number: u64) -> Fingerprint {
        let Fingerprint([a, b]) = self;
        Fingerprint([mix(a ^ number, MULTIPLIERS[0]), mix(b ^ number, MULTIPLIERS[1])])
    }

    /// The length goes in too, so that where one piece ends and the next begins counts.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Fingerprint {
        let (words, rest) = bytes.as_chunks::<WORD>();
        let state = words.iter().fold(self, |state, word| state.number(u64::from_le_bytes(*word)));
        let last = match bytes.last_chunk::<WORD>() {
            Some(_) if rest.is_empty() => 0,
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        state.number(last ^ (bytes.len() as u64) << 56)
    }
}

/// Both halves of a full product: every bit of the word reaches every bit of the state.
fn mix(word: u64, multiplier: u64) -> u64 {
    let product = u128::from(word) * u128::from(multiplier);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_bit_and_every_border_counts() {
        let print =
            |pieces: &[&[u8]]| pieces.iter().fold(Fingerprint::begin(1, 2), |print, piece| print.bytes(piece)).0;
        let mut seen = HashSet::new();
        for length in 0..40 {
            let zeros = vec![0; length];
            assert!(seen.insert(print(&[&zeros])), "{length} zeros");
            for bit in 0..8 * length {
                let mut bytes = zeros.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(seen.insert(print(&[&bytes])), "bit {bit} of {length} bytes");
            }
        }
        assert_ne!(print(&[b"ab", b"c"]), print(&[b"a", b"bc"]));
        assert_ne!(print(&[b"", b"a"]), print(&[b"a", b""]));
        assert_ne!(Fingerprint::begin(1, 2), Fingerprint::begin(2, 2));
        assert_ne!(Fingerprint::begin(1, 2), Fingerprint::begin(1, 3));
    }
}
