//! Codes of links by which a browser logs in once, without a password: who makes one shows a token or the global key, which are
//! worth more. They are kept here for a quarter of an hour, as hashes, and end with the process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::UserId;
use bartizan_seal::{TokenHash, hash_token, random};
use bartizan_v4::StoredUser;

/// How long a link is good.
pub(crate) const LIFE: Duration = Duration::from_secs(15 * 60);

/// Links at once of a user, and of all users together. Another one ends the user's oldest, else the oldest of all: they are made
/// by people, one at a time.
const OF_ONE_MAX: usize = 4;
const CODES_MAX: usize = 1_024;

/// Octets of a code, which nobody guesses.
const CODE_BYTES: usize = 20;

#[derive(Default)]
pub(crate) struct LoginCodes(Mutex<Vec<Waiting>>);

/// One that was not used yet; the oldest is the first.
struct Waiting {
    hash: TokenHash,
    user: UserId,
    /// What the user logged in by when it was made: it is good for nothing once that is another.
    by: Credentials,
    until: Instant,
}

/// A hash of what a user logs in by.
pub(crate) type Credentials = TokenHash;

/// Of the password and the key of a user, as they are kept.
pub(crate) fn credentials(user: &StoredUser) -> Credentials {
    hash_token(&format!("{:?} {} {:?}", user.password, user.key_sha256, user.status))
}

impl LoginCodes {
    pub(crate) fn make(&self, user: UserId, by: Credentials, now: Instant) -> String {
        let code = hex::encode(random::<CODE_BYTES>());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.until > now);
        let own = all.iter().filter(|one| one.user == user).count();
        if own >= OF_ONE_MAX
            && let Some(oldest) = all.iter().position(|one| one.user == user)
        {
            all.remove(oldest);
        } else if all.len() >= CODES_MAX {
            all.remove(0);
        }
        all.push(Waiting { hash: hash_token(&code), user, by, until: now + LIFE });
        code
    }

    /// All links of a user are good for nothing from now on.
    pub(crate) fn end(&self, user: UserId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| one.user != user);
    }

    /// Whose it is, and by what it was made, if it is good; it stays so.
    pub(crate) fn owner(&self, code: &str, now: Instant) -> Option<(UserId, Credentials)> {
        let hash = hash_token(code);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|one| one.hash == hash && one.until > now).map(|one| (one.user, one.by))
    }

    /// Whose it is, and by what it was made, if it is good; then it is so no more.
    pub(crate) fn take(&self, code: &str, now: Instant) -> Option<(UserId, Credentials)> {
        let hash = hash_token(code);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.until > now);
        let at = all.iter().position(|one| one.hash == hash)?;
        let Waiting { user, by, .. } = all.remove(at);
        Some((user, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_a_while() {
        let (codes, now) = (LoginCodes::default(), Instant::now());
        let [user, second] = [1, 2].map(|number| UserId::from_bytes([number; 16]));
        let by = hash_token("a password");
        let (one, other) = (codes.make(user, by, now), codes.make(second, by, now));
        assert_ne!(one, other);
        assert_eq!(codes.take(&one[1..], now), None);
        for _ in 0..2 {
            assert_eq!(codes.owner(&one, now), Some((user, by)));
        }
        assert_eq!((codes.owner(&one[1..], now), codes.owner(&one, now + LIFE)), (None, None));
        assert_eq!(codes.take(&one, now), Some((user, by)));
        assert_eq!((codes.take(&one, now), codes.owner(&one, now)), (None, None));
        assert_eq!(codes.take(&other, now + LIFE), None);
    }

    /// Nobody fills the memory, nor ends the links of others.
    #[test]
    fn each_user_has_a_few() {
        let (codes, now, by) = (LoginCodes::default(), Instant::now(), hash_token("a password"));
        let [user, second] = [1, 2].map(|number| UserId::from_bytes([number; 16]));
        let first = codes.make(second, by, now);
        let many: Vec<_> = (0..100).map(|_| codes.make(user, by, now)).collect();
        assert_eq!(codes.0.lock().unwrap().len(), OF_ONE_MAX + 1);
        assert_eq!((codes.take(&many[0], now), codes.take(&many[99], now)), (None, Some((user, by))));
        codes.end(user);
        assert_eq!(codes.take(&many[98], now), None);
        assert_eq!(codes.take(&first, now), Some((second, by)));
    }
}
