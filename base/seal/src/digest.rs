//! SHA-256 of secrets, and their comparison; and the hash that old protocols name.

use aws_lc_rs::{constant_time, digest};

/// The SHA-256 of `data` (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    sum
}

/// The SHA-1 of `data`, for protocols that name it and need nothing of it that it has not (RFC 6455 §10.8).
pub fn sha1(data: &[u8]) -> [u8; 20] {
    let mut sum = [0; 20];
    sum.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref());
    sum
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(sha256(b"abc")[..4], [0xBA, 0x78, 0x16, 0xBF]);
        assert_eq!(sha1(b"abc")[..4], [0xA9, 0x99, 0x3E, 0x36]);
        assert!(equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"ac") && !equal(b"ab", b"a"));
    }
}
