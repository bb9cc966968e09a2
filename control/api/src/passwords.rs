//! Passwords: hashed where it holds up nobody, a few at once, and dear for those who guess.
//!
//! Tries are counted for each source, and for each user. Nobody is locked out by others: while a user's password is being
//! guessed, from however many places, each source has fewer tries for that user, but one that has made none yet has its
//! own. A source may be many people (a proxy, a machine with many processes): each of its users has tries of their own, and
//! whoever had the right password from there before is not troubled by what others there try. Where others use up the tries
//! of a source, those for users of whom nobody there tried lately have some of their own. It is the same for an address that
//! is no user's, in its answers and in its time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_quotas::{SourceKey, Throttle};
use bartizan_seal::{hash_password, is_password, sha256};
use tokio::sync::Semaphore;

use crate::error::{Error, Fault};
use crate::writes::blocking;

/// Wrong passwords of a source, for all users of whom it has not shown the right one.
const OF_SOURCE: (u32, Duration) = (50, Duration::from_secs(300));

/// Wrong passwords of a source beyond that, for users of whom it tried none lately.
const OF_NEW: (u32, Duration) = (10, Duration::from_secs(300));

/// Wrong passwords of a source for one user.
const OF_PAIR: (u32, Duration) = (10, Duration::from_secs(300));

/// Sources with a user whose password was right, which are remembered; the one of longest ago is forgotten first.
const RIGHT_MAX: usize = 4_096;

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

/// Those that a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    Usual,
    New,
}

pub(crate) struct Passwords {
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    sources: Throttle,
    new: Throttle,
    users: Throttle<Whom>,
    guessed: Throttle<(SourceKey, Whom)>,
    pairs: Throttle<(SourceKey, Whom)>,
    /// When a source last had the right password of a user.
    right: Mutex<HashMap<(SourceKey, Whom), Instant>>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let half = std::thread::available_parallelism().map_or(1, usize::from) / 2;
        Passwords {
            hashing: Arc::new(Semaphore::new(half.clamp(1, HASHES_MAX))),
            waiting: Semaphore::new(WAITING_MAX),
            sources: Throttle::new(OF_SOURCE.0, OF_SOURCE.1),
            new: Throttle::new(OF_NEW.0, OF_NEW.1),
            users: Throttle::new(OF_USER.0, OF_USER.1),
            guessed: Throttle::new(OF_SOURCE_FOR_USER.0, OF_SOURCE_FOR_USER.1),
            pairs: Throttle::new(OF_PAIR.0, OF_PAIR.1),
            right: Mutex::default(),
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
        let had_it = source.is_some_and(|source| self.had_it((source, whom)));
        let taken = match source {
            None => None,
            Some(source) => {
                let taken = self.count(source, whom, had_it, now);
                taken.map_err(|wait| Error::from(Fault::TooManyTries).after(wait))?
            }
        };
        let is_right = self.run(move || is_password(&password, kept.as_deref())).await?;
        match source {
            Some(source) if is_right => {
                let pair = (source, whom);
                if let Some(taken) = taken {
                    self.of(taken).give_back(source, now);
                    self.guessed.give_back(pair, now);
                }
                self.pairs.give_back(pair, now);
                self.note_right(pair, now);
            }
            // That there were too many is told to the next one.
            _ if !is_right => drop(self.users.take(whom, now)),
            _ => {}
        }
        Ok(is_right)
    }

    /// Counts a try; from which tries of the source it was taken, if from any. An error says how long to wait.
    fn count(&self, source: SourceKey, whom: Whom, had_it: bool, now: Instant) -> Result<Option<Tries>, Duration> {
        if had_it {
            return self.pairs.take((source, whom), now).map(|()| None);
        }
        let taken = match self.sources.take(source, now) {
            Ok(()) => Tries::Usual,
            Err(_) if self.pairs.is_new(&(source, whom), now) => self.new.take(source, now).map(|()| Tries::New)?,
            Err(wait) => return Err(wait),
        };
        let of_user = if self.users.is_over(whom, now) { self.guessed.take((source, whom), now) } else { Ok(()) };
        // What is refused for one user takes nothing from the others.
        let of_pair = of_user.and_then(|()| self.pairs.take((source, whom), now));
        of_pair.inspect_err(|_| self.of(taken).give_back(source, now)).map(|()| Some(taken))
    }

    fn of(&self, tries: Tries) -> &Throttle {
        match tries {
            Tries::Usual => &self.sources,
            Tries::New => &self.new,
        }
    }

    fn had_it(&self, pair: (SourceKey, Whom)) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&pair)
    }

    fn note_right(&self, pair: (SourceKey, Whom), now: Instant) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.insert(pair, now);
        if right.len() > RIGHT_MAX
            && let Some(oldest) = right.iter().min_by_key(|(_, at)| **at).map(|(pair, _)| *pair)
        {
            right.remove(&oldest);
        }
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
            for _ in 0..OF_PAIR.0 {
                assert_eq!(is(email, "wrong", base + 1).await, "false");
            }
            assert_eq!(is(email, "wrong", base + 1).await, "TooManyTries");
            // Others have their own tries, until it is known that somebody guesses this user.
            for _ in OF_PAIR.0..OF_USER.0 {
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

    #[tokio::test]
    async fn one_process_locks_out_nobody_else_on_its_machine() {
        let passwords = Passwords::default();
        let kept = passwords.hash(PASSWORD.to_owned()).await.unwrap();
        let is = async |email: &str, password: &str| match passwords
            .is(email, password.to_owned(), Some(kept.clone()), from(1))
            .await
        {
            Ok(is) => is.to_string(),
            Err(error) => format!("{:?}", error.fault),
        };
        assert_eq!(is("known@example.com", PASSWORD).await, "true");
        // One user is guessed until there are no tries left for them: others have theirs.
        for _ in 0..OF_PAIR.0 {
            assert_eq!(is("guessed@example.com", "wrong").await, "false");
        }
        for _ in 0..OF_SOURCE.0 {
            assert_eq!(is("guessed@example.com", "wrong").await, "TooManyTries");
        }
        assert_eq!(is("other@example.com", PASSWORD).await, "true");
        // Many are, until the source has none left: who had the right password from there goes on.
        for number in OF_PAIR.0..OF_SOURCE.0 {
            assert_eq!(is(&format!("{number}@example.com"), "wrong").await, "false");
        }
        for email in ["known@example.com", "other@example.com"] {
            assert_eq!(is(email, PASSWORD).await, "true", "{email}");
        }
        // Their own tries are counted all the same.
        for _ in 0..OF_PAIR.0 {
            assert_eq!(is("known@example.com", "wrong").await, "false");
        }
        assert_eq!(is("known@example.com", PASSWORD).await, "TooManyTries");
    }

    /// Where others have used up the tries of a source, some are left for those for whom nobody there tried lately.
    #[test]
    fn who_comes_for_the_first_time_has_some_tries() {
        let (passwords, now) = (Passwords::default(), Instant::now());
        let source = SourceKey::from(IpAddr::from([192, 0, 2, 1]));
        let whom = |number: u32| -> Whom { u128::from(number).to_be_bytes() };
        let count = |number: u32| passwords.count(source, whom(number), false, now);
        for number in 0..OF_SOURCE.0 {
            assert_eq!(count(number), Ok(Some(Tries::Usual)));
        }
        // A right password takes none of them.
        for number in 100..120 {
            assert_eq!(count(number), Ok(Some(Tries::New)));
            passwords.of(Tries::New).give_back(source, now);
        }
        // Who was tried there gets none, and takes none.
        assert!((0..OF_SOURCE.0).all(|number| count(number).is_err()));
        for number in 200..200 + OF_NEW.0 {
            assert_eq!(count(number), Ok(Some(Tries::New)));
        }
        assert!(count(300).is_err());
        assert_eq!(passwords.count(source, whom(300), true, now), Ok(None), "who had the right one");
        assert!(passwords.count(SourceKey::from(IpAddr::from([192, 0, 2, 2])), whom(0), false, now).is_ok());
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
