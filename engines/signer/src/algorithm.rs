//! The algorithms that we sign with, and the digests by which a parent knows a key (IANA, "DNSSEC Algorithm Numbers").

/// What a key signs with. RFC 9904 wants the first of all who sign, and recommends the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// RFC 6605.
    EcdsaP256Sha256 = 13,
    /// RFC 8080.
    Ed25519 = 15,
}

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519];

    /// As DNSKEY, RRSIG and DS records have it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// None for an algorithm that we do not sign with.
    pub fn of_number(number: u8) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    pub const fn mnemonic(self) -> &'static str {
        match self {
            Algorithm::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Algorithm::Ed25519 => "ED25519",
        }
    }

    /// The length of a public key in a DNSKEY record: both coordinates (RFC 6605 §4), or one with a sign (RFC 8080 §3).
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Algorithm::EcdsaP256Sha256 => 64,
            Algorithm::Ed25519 => 32,
        }
    }
}

/// The digest of a key in a DS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Digest {
    /// RFC 4509.
    Sha256 = 2,
    /// RFC 6605.
    Sha384 = 4,
}

impl Digest {
    pub const ALL: [Digest; 2] = [Digest::Sha256, Digest::Sha384];

    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Of pieces that lie one behind the other.
    pub(crate) fn of(self, pieces: &[&[u8]]) -> aws_lc_rs::digest::Digest {
        let algorithm = match self {
            Digest::Sha256 => &aws_lc_rs::digest::SHA256,
            Digest::Sha384 => &aws_lc_rs::digest::SHA384,
        };
        let mut context = aws_lc_rs::digest::Context::new(algorithm);
        pieces.iter().for_each(|piece| context.update(piece));
        context.finish()
    }
}
