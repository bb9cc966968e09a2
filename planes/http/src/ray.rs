//! Request numbers: 16 hexadecimal digits and the PoP (`CF-Ray`).

use std::cell::Cell;

/// The ids of one worker, made from a seed. An id names a request in logs. It protects nothing, so it may be guessable.
pub(crate) struct Rays {
    next: Cell<u64>,
}

/// One request's id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ray {
    text: [u8; DIGITS + 1 + POP_BYTES_MAX],
    length: usize,
}

const DIGITS: usize = 16;

/// So much of a PoP's name is in an id. Names of airports take three.
pub(crate) const POP_BYTES_MAX: usize = 15;

impl Rays {
    /// Workers of one seed never meet: each counts in a range of its own, and mixing maps no two numbers to one.
    pub(crate) fn new(seed: u64, worker: usize) -> Rays {
        Rays { next: Cell::new(seed.wrapping_add((worker as u64) << 48)) }
    }

    pub(crate) fn draw(&self, pop: &str) -> Ray {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let number = mix(number);
        let digits = (0..DIGITS).rev().map(|place| b"0123456789abcdef"[(number >> (4 * place)) as usize % 16]);
        let pop = pop.bytes().filter(u8::is_ascii_alphanumeric);
        let mut ray = Ray { text: [b'-'; DIGITS + 1 + POP_BYTES_MAX], length: 0 };
        for (byte, from) in ray.text.iter_mut().zip(digits.chain([b'-']).chain(pop)) {
            *byte = from;
            ray.length += 1;
        }
        ray
    }
}

impl Ray {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its digits as a number, which is as good as random where nobody is to be kept from guessing.
    pub(crate) fn number(&self) -> u64 {
        let digit = |byte: &u8| u64::from(if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 });
        self.text[..DIGITS].iter().fold(0, |number, byte| number << 4 | digit(byte))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// The finaliser of SplitMix64: a bijection, so that different numbers stay different.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rays_differ_and_look_like_rays() {
        let mut seen = HashSet::new();
        for worker in 0..4 {
            let rays = Rays::new(u64::MAX - 5, worker);
            for _ in 0..1000 {
                let ray = rays.draw("L-A\r\nB1");
                assert!(ray.as_str().len() == 21 && ray.as_str().ends_with("-LAB1"), "{ray:?}");
                let long = rays.draw("a-name-of-a-pop-that-is-too-long");
                assert!(long.as_str().len() == 32 && long.as_str().ends_with("-anameofapopthat"), "{long:?}");
                assert!(seen.insert(ray.as_str().to_owned()));
            }
        }
    }
}
