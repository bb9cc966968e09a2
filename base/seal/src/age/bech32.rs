//! Keys as text: Bech32 (BIP 173), without its limit of 90 characters.

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Characters at the end that tell of a mistake.
const CHECK_CHARS: usize = 6;

pub(super) fn encode(prefix: &str, data: &[u8]) -> String {
    let mut digits = regroup(data.iter().map(|byte| u32::from(*byte)), 8, 5).0;
    let check = checksum(prefix, digits.iter().copied().chain([0; CHECK_CHARS])) ^ 1;
    digits.extend((0..CHECK_CHARS).map(|at| (check >> (5 * (CHECK_CHARS - 1 - at)) & 31) as u8));
    let digits = digits.iter().map(|digit| char::from(ALPHABET[usize::from(*digit)]));
    prefix.chars().chain(['1']).chain(digits).collect()
}

/// The data, if the text has this prefix (which is lower case) and no mistake. All of it is in upper or in lower case.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let is_mixed =
        text.bytes().any(|byte| byte.is_ascii_lowercase()) && text.bytes().any(|byte| byte.is_ascii_uppercase());
    let text = text.to_ascii_lowercase();
    let (found, digits) = text.rsplit_once('1')?;
    if is_mixed || found != prefix {
        return None;
    }
    let value = |char: u8| ALPHABET.iter().position(|known| *known == char).map(|at| at as u8);
    let digits: Vec<u8> = digits.bytes().map(value).collect::<Option<_>>()?;
    if digits.len() < CHECK_CHARS || checksum(prefix, digits.iter().copied()) != 1 {
        return None;
    }
    let data = &digits[..digits.len() - CHECK_CHARS];
    let (bytes, (rest, bits)) = regroup(data.iter().map(|digit| u32::from(*digit)), 5, 8);
    // What is left over of the last digit is filled with zeros, and is less than a digit.
    (bits < 5 && rest == 0).then(|| bytes[..data.len() * 5 / 8].to_vec())
}

/// Bits in groups of another size, the last one filled with zeros; and what was left over, with its number of bits.
fn regroup(values: impl Iterator<Item = u32>, from: u32, to: u32) -> (Vec<u8>, (u32, u32)) {
    let (mut groups, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for value in values {
        held = held << from | value;
        bits += from;
        while bits >= to {
            bits -= to;
            groups.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    if bits > 0 {
        groups.push((held << (to - bits)) as u8);
    }
    (groups, (held, bits))
}

fn checksum(prefix: &str, digits: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(digits).fold(1, |sum: u32, digit| {
        let top = sum >> 25;
        let mixed = GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1);
        mixed.fold((sum & 0x1ff_ffff) << 5 ^ u32::from(digit), |sum, (_, generator)| sum ^ generator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        // BIP 173, "Test vectors".
        assert_eq!(decode("a", "A12UEL5L"), Some(vec![]));
        assert_eq!(encode("a", &[]), "a12uel5l");
        for text in ["A1G7SGD8", "a12uel5m", "10a06t8", "1qzzfhee", "a12UEL5L", "a12uel5", "", "1", "a1"] {
            assert_eq!(decode("a", text), None, "{text}");
        }
        for length in 0..70 {
            let data: Vec<u8> = (0..length).map(|at: u8| at.wrapping_mul(37)).collect();
            let text = encode("age", &data);
            assert_eq!(decode("age", &text), Some(data.clone()), "{text}");
            assert_eq!(decode("age", &text.to_ascii_uppercase()), Some(data));
            assert_eq!(decode("agf", &text), None);
        }
    }
}
