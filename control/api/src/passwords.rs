//! Passwords: hashed where it holds up nobody, a few at once, and dear for those who guess.
//!
//! Tries are counted for each source, and for each user. Nobody is locked out by others: while a user's password is being
//! guessed, from however many places, each source has fewer tries for that user, but one that has made none yet has its
//! own. It is the same for an address that is no user's, in its answers and in its time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_quotas::{SourceKey, Throttle};
use bartizan_seal::{hash_password, is_password, sha256};
use tokio::sync::Semaphore;

use crate::error::{Error, Fault};
use crate::writes::blocking;

/// Wrong passwords of a source.
const OF_SOURCE: (u32, Duration) = (10, Duration::from_secs(300));

/// Wrong passwords for a user, from everywhere, after which each source has fewer tries for that user.
const OF_USER: (u32, Duration) = (20, Duration::from_secs(600));

/// Wrong passwords of a source for a user who is being guessed.
const OF_SOURCE_FOR_USER: (u32, Duration) = (2, Duration::from_secs(600));

/// Hashes at once, of 19 MiB each: half of the processors, as logins are not all that an edge does.
const HASHES_MAX: usize = 4;

/// Hashes that wait for their turn; others are told to come again.
const WAITING_MAX: usize = 64;
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Whose password is guessed: of an address, be it a user's or not.
type Whom = [u8; 16];

pub(crate) struct Passwords {
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    sources: Throttle,
    users: Throttle<Whom>,
    guessed: Throttle<(SourceKey, Whom)>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let half = std::thread::available_parallelism().map_or(1, usize::from) / 2;
        Passwords {
            hashing: Arc::new(Semaphore::new(half.clamp(1, HASHES_MAX))),
            waiting: Semaphore::new(WAITING_MAX),
            sources: Throttle::new(OF_SOURCE.0, OF_SOURCE.1),
            users: Throttle::new(OF_USER.0, OF_USER.1),
            guessed: Throttle::new(OF_SOURCE_FOR_USER.0, OF_SOURCE_FOR_USER.1),
        }
    }
}

impl Passwords {
    /// Whether somebody who says that they are `email` has the password of which `kept` is the hash. None is nobody's.
    pub(crate) async fn is(
        &self,
        email: &str,
        password: String,
        kept: Option<String>,
        from: Option<IpAddr>,
    ) -> Result<bool, Error> {
        let now = Instant::now();
        let mut whom: Whom = [0; 16];
        whom.copy_from_slice(&sha256(email.as_bytes())[..16]);
        let source = from.map(SourceKey::widest);
        // Counted before, so that tries which are made at once are all counted.
        if let Some(source) = source {
            let counted = self.sources.take(source, now);
            let of_user = if self.users.is_over(whom, now) { self.guessed.take((source, whom), now) } else { Ok(()) };
            counted.and(of_user).map_err(|wait| Error::from(Fault::TooManyTries).after(wait))?;
        }
        let is_right = self.run(move || is_password(&password, kept.as_deref())).await?;
        match source {
            Some(source) if is_right => {
                self.sources.give_back(source, now);
                self.guessed.give_back((source, whom), now);
            }
            // That there were too many is told to the next one.
            _ if !is_right => drop(self.users.take(whom, now)),
            _ => {}
        }
        Ok(is_right)
    }

    /// What is to be kept of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || hash_password(&password)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let busy = || Error::from(Fault::Busy).after(COME_AGAIN);
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| busy())?;
        blocking(move || {
            let done = work();
            // Also where whoever asked has left.
            drop(turn);
            Ok(done)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery";

    fn from(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    #[tokio::test]
    async fn who_guesses_has_to_wait_and_nobody_is_locked_out() {
        let passwords = Passwords::default();
        let kept = passwords.hash(PASSWORD.to_owned()).await.unwrap();
        let is = async |email: &str, password: &str, source: u8| {
            let known = (email == "user@example.com").then(|| kept.clone());
            match passwords.is(email, password.to_owned(), known, from(source)).await {
                Ok(is) => is.to_string(),
                Err(error) => format!("{:?}", error.fault),
            }
        };
        // The same for one who is no user.
        for email in ["user@example.com", "nobody@example.com"] {
            let base = if email.starts_with("user") { 0 } else { 100 };
            // One source.
            for _ in 0..OF_SOURCE.0 {
                assert_eq!(is(email, "wrong", base + 1).await, "false");
            }
            assert_eq!(is(email, "wrong", base + 1).await, "TooManyTries");
            // Others have their own tries, until it is known that somebody guesses this user.
            for _ in OF_SOURCE.0..OF_USER.0 {
                assert_eq!(is(email, "wrong", base + 2).await, "false");
            }
            for source in 3..6 {
                for _ in 0..OF_SOURCE_FOR_USER.0 {
                    assert_eq!(is(email, "wrong", base + source).await, "false");
                }
                assert_eq!(is(email, "wrong", base + source).await, "TooManyTries", "{source}");
            }
        }
        // Whoever has the password is let in from elsewhere as often as they like, and others are not troubled.
        for _ in 0..12 {
            assert_eq!(is("user@example.com", PASSWORD, 50).await, "true");
        }
        assert_eq!(is("other@example.com", "wrong", 51).await, "false");
    }

    /// More than wait at most, at once.
    #[tokio::test]
    async fn no_more_wait_than_may() {
        let passwords = Arc::new(Passwords::default());
        let all = Arc::clone(&passwords.hashing).acquire_many_owned(passwords.hashing.available_permits() as u32);
        let all = all.await.unwrap();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.run(|| ()).await })
            })
            .collect();
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.run(|| ()).await.unwrap_err().fault, Fault::Busy);
        drop(all);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
    }
}
