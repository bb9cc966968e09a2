//! Codes of links by which a browser logs in once, without a password: who makes one shows a token or the global key, which are
//! worth more. They are kept here for a quarter of an hour, as hashes, and end with the process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::UserId;
use bartizan_seal::{TokenHash, hash_token, random};

/// How long a link is good.
pub(crate) const LIFE: Duration = Duration::from_secs(15 * 60);

/// Links at once, all users together. Another one ends the oldest: they are made by people, one at a time.
const CODES_MAX: usize = 16;

/// Octets of a code, which nobody guesses.
const CODE_BYTES: usize = 20;

#[derive(Default)]
pub(crate) struct LoginCodes(Mutex<Vec<Waiting>>);

/// One that was not used yet; the oldest is the first.
struct Waiting {
    hash: TokenHash,
    user: UserId,
    until: Instant,
}

impl LoginCodes {
    pub(crate) fn make(&self, user: UserId, now: Instant) -> String {
        let code = hex::encode(random::<CODE_BYTES>());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.until > now);
        if all.len() >= CODES_MAX {
            all.remove(0);
        }
        all.push(Waiting { hash: hash_token(&code), user, until: now + LIFE });
        code
    }

    /// Whose it is, if it is good; then it is so no more.
    pub(crate) fn take(&self, code: &str, now: Instant) -> Option<UserId> {
        let hash = hash_token(code);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.until > now);
        let at = all.iter().position(|one| one.hash == hash)?;
        Some(all.remove(at).user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_a_while() {
        let (codes, now, user) = (LoginCodes::default(), Instant::now(), UserId::from_bytes([1; 16]));
        let (one, other) = (codes.make(user, now), codes.make(UserId::from_bytes([2; 16]), now));
        assert_ne!(one, other);
        assert_eq!(codes.take(&one[1..], now), None);
        assert_eq!(codes.take(&one, now), Some(user));
        assert_eq!(codes.take(&one, now), None);
        assert_eq!(codes.take(&other, now + LIFE), None);
        // Nobody fills the memory, and the newest are good.
        let many: Vec<_> = (0..100).map(|_| codes.make(user, now)).collect();
        assert_eq!(codes.0.lock().unwrap().len(), CODES_MAX);
        assert_eq!((codes.take(&many[0], now), codes.take(&many[99], now)), (None, Some(user)));
    }
}
