//! A name's lower-case form and its hash, in one pass over eight bytes at a time.

use bartizan_names::NAME_WIRE_MAX;

/// Odd, with about as many ones as zeros (the fraction of the golden ratio): what multiplicative hashes want.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes taken at once.
const WORD: usize = 8;

/// Room for a name and the padding of its last word.
pub(crate) const LOWER_BYTES: usize = NAME_WIRE_MAX.next_multiple_of(WORD);

/// The hash of a name that is in lower case already.
pub(crate) fn hash(name: &[u8], seed: u64) -> u64 {
    let (words, _) = name.as_chunks::<WORD>();
    let state = words.iter().fold(begin(name, seed), |state, word| mix(state, u64::from_le_bytes(*word)));
    end(mix(state, last_word(name)))
}

/// Writes `name` in lower case to `lower` and gives its hash: the same as [`hash`] of what was written.
///
/// The case of names does not count (RFC 4343 §3). A length octet is at most 63 (RFC 1035 §2.3.4) and no letter, so lengths
/// stay as they are.
/// Hot: once a query.
pub(crate) fn lower_and_hash(name: &[u8], lower: &mut [u8; LOWER_BYTES], seed: u64) -> u64 {
    let (words, _) = name.as_chunks::<WORD>();
    let (places, _) = lower.as_chunks_mut::<WORD>();
    let mut state = begin(name, seed);
    for (word, place) in words.iter().zip(&mut *places) {
        let word = to_lower(u64::from_le_bytes(*word));
        *place = word.to_le_bytes();
        state = mix(state, word);
    }
    let last = to_lower(last_word(name));
    if let Some(place) = places.get_mut(words.len()) {
        *place = last.to_le_bytes();
    }
    end(mix(state, last))
}

fn begin(name: &[u8], seed: u64) -> u64 {
    seed ^ (name.len() as u64).wrapping_mul(MULTIPLIER)
}

/// Both halves of a full product: every bit of the word reaches every bit of the state.
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    (product as u64) ^ (product >> 64) as u64
}

/// One more round: the table takes its shard from the upper bits and its slot from the lower ones.
fn end(state: u64) -> u64 {
    mix(state, state >> 32)
}

/// What does not fill a word, padded with zeros; zero if all of the name fills words.
///
/// A copy of so few bytes would be a call, and a wait until the copied bytes can be read as one number. So the last
/// word is read whole and shifted, where the name is long enough for that.
fn last_word(name: &[u8]) -> u64 {
    let bits = name.len() % WORD * 8;
    match name.last_chunk::<WORD>() {
        Some(last) if bits > 0 => u64::from_le_bytes(*last) >> (64 - bits),
        Some(_) => 0,
        None => name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// ASCII lower case of eight bytes: sets 0x20 in each byte between `A` and `Z`.
fn to_lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * ONES);
    let from_a = low_bits + (0x80 - b'A' as u64) * ONES;
    let above_z = low_bits + (0x7f - b'Z' as u64) * ONES;
    let upper = (from_a ^ above_z) & !word & (0x80 * ONES);
    word | (upper >> 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lower_case_is_that_of_the_standard_library(name in prop::collection::vec(any::<u8>(), 0..=NAME_WIRE_MAX), seed: u64) {
            let mut lower = [0xee; LOWER_BYTES];
            let hashed = lower_and_hash(&name, &mut lower, seed);
            prop_assert_eq!(&lower[..name.len()], name.to_ascii_lowercase());
            prop_assert_eq!(hashed, hash(&name.to_ascii_lowercase(), seed));
        }
    }

    /// Names that differ in a digit only must not meet in shards or slots more often than chance wants.
    #[test]
    fn like_names_spread() {
        let mut slots = [0_u32; 1024];
        let mut shards = [0_u32; 1024];
        for number in 0..16_384 {
            let hash = hash(format!("\x06n{number:05}\x07example\0").as_bytes(), 0);
            slots[(hash & 1023) as usize] += 1;
            shards[(hash >> 54) as usize] += 1;
        }
        // Sixteen on average, with a standard deviation of four.
        assert!(
            slots.iter().chain(&shards).all(|count| *count < 48),
            "{:?} {:?}",
            slots.iter().max(),
            shards.iter().max()
        );
    }
}
