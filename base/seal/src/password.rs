//! Passwords: people choose them, so they can be guessed, and each guess is made to cost memory and time (Argon2id,
//! RFC 9106).
//!
//! Both calls block for some tens of milliseconds and take 19 MiB meanwhile: not for threads that others wait for.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::random;

/// The least that OWASP's cheat sheet for password storage asks of Argon2id: memory in KiB, passes over it, lanes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Octets of salt (RFC 9106 §3.1).
const SALT: usize = 16;

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the function takes such numbers");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What is kept of a password: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
pub fn hash_password(password: &str) -> String {
    let hash: Result<PasswordHash, _> = hasher().hash_password_with_salt(password.as_bytes(), &random::<SALT>());
    hash.expect("passwords below 4 GiB can be hashed").to_string()
}

/// Whether `password` is the one of which `kept` is the hash. None is nobody's, and takes as long.
pub fn is_password(password: &str, kept: Option<&str>) -> bool {
    match kept.and_then(|kept| PasswordHash::new(kept).ok()) {
        Some(kept) => hasher().verify_password(password.as_bytes(), &kept).is_ok(),
        None => {
            hash_password(password);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let kept = hash_password("correct horse");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(hash_password("correct horse"), kept, "the salt is another one");
        // As argon2-cffi, which has the reference implementation in it, makes it.
        let of_others =
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk";
        for (password, kept, expect) in [
            ("correct horse", Some(kept.as_str()), true),
            ("correct horse", Some(of_others), true),
            ("correct horse ", Some(&kept), false),
            ("", Some(&kept), false),
            ("correct horse", Some("correct horse"), false),
            ("correct horse", None, false),
        ] {
            assert_eq!(is_password(password, kept), expect, "{password:?} {kept:?}");
        }
    }
}
