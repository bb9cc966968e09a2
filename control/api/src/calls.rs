//! How many calls a caller may make in a while, and how each reply tells it: the dialect's `Ratelimit` and
//! `Ratelimit-Policy`, and `Retry-After` where there were too many.
//!
//! A caller is who shows the same secret, wherever from and however it is spelled; without one it is the source. Whether it
//! is right is not known yet: wrong ones are counted elsewhere, and each has a window of its own that helps nobody. Where
//! more are shown than are remembered, the new ones go by their source, and where there are too many sources, all of those
//! share a window: nobody is let in uncounted.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_quotas::SourceKey;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::caller::Credentials;
use crate::error::{Error, Fault};

/// The calls of a caller in each window, unless the operator says otherwise. So many that only a loop gone wrong makes
/// them: one of the tools sleeps five minutes when it is refused.
pub const CALLS_USUAL: u32 = 1_000_000;

/// A window begins with a caller's first call. The vendor's are as long.
const WINDOW: Duration = Duration::from_secs(300);

/// Secrets that are remembered at once, and sources.
const CALLERS_MAX: usize = 16_384;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(crate) struct Calls {
    most: u32,
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    /// By the hash of a secret.
    holders: HashMap<[u8; 32], Window>,
    sources: HashMap<SourceKey, Window>,
    /// Of all others.
    rest: Option<Window>,
}

struct Window {
    ends: Instant,
    left: u32,
}

/// What is left to a caller, this call counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    most: u32,
    /// None if there was nothing left for this call.
    left: Option<u32>,
    ends_in: Duration,
}

impl Calls {
    pub(crate) fn new(most: u32) -> Calls {
        Calls { most, windows: Mutex::default() }
    }

    /// Counts a call.
    pub(crate) fn turn(&self, headers: &HeaderMap, from: Option<IpAddr>, now: Instant) -> Turn {
        let (secret, source) = (secret(headers), from.map(SourceKey::widest));
        let new = || Window { ends: now + WINDOW, left: self.most };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let Windows { holders, sources, rest } = &mut *windows;
        let window = match (secret, source) {
            (Some(secret), _) if has_room(holders, &secret, now) => holders.entry(secret).or_insert_with(new),
            (_, Some(source)) if has_room(sources, &source, now) => sources.entry(source).or_insert_with(new),
            _ => rest.get_or_insert_with(new),
        };
        if window.ends <= now {
            *window = new();
        }
        let left = window.left.checked_sub(1);
        window.left = left.unwrap_or(0);
        Turn { most: self.most, left, ends_in: window.ends - now }
    }
}

/// The hash of the secret that a request shows.
fn secret(headers: &HeaderMap) -> Option<[u8; 32]> {
    let secret = match Credentials::read(headers).ok()? {
        Credentials::Token(secret) | Credentials::Key { key: secret, .. } | Credentials::Session(secret) => secret,
    };
    Some(bartizan_seal::sha256(secret.as_bytes()))
}

/// Whether somebody is remembered, or can be.
fn has_room<K: Eq + Hash>(windows: &mut HashMap<K, Window>, key: &K, now: Instant) -> bool {
    if windows.len() >= CALLERS_MAX && !windows.contains_key(key) {
        windows.retain(|_, window| window.ends > now);
        return windows.len() < CALLERS_MAX;
    }
    true
}

impl Turn {
    /// An error if there were too many calls before this one.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.left {
            Some(_) => Ok(()),
            None => Err(Error::from(Fault::TooManyCalls).after(self.ends_in)),
        }
    }

    /// Tells what is left, in whole seconds to the window's end.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let (left, ends_in) = (self.left.unwrap_or(0), self.ends_in.as_secs());
        for (name, text) in [
            (LIMIT, format!("\"default\";r={left};t={ends_in}")),
            (POLICY, format!("\"default\";q={};w={}", self.most, WINDOW.as_secs())),
        ] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &'static str, text: &str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_str(text).unwrap())].into_iter().collect()
    }

    #[test]
    fn windows_are_each_callers_own_and_end() {
        let (calls, start) = (Calls::new(2), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let (one, mut two) = (shown("authorization", "Bearer 1"), shown("x-auth-key", "2"));
        two.insert("x-auth-email", HeaderValue::from_static("ann@example.com"));
        // The same, spelled otherwise.
        let (again, mut two_again) = (shown("authorization", "bEARER   1 "), two.clone());
        two_again.insert("x-auth-email", HeaderValue::from_static("Ann@example.com"));
        let from = |last| Some(IpAddr::from([192, 0, 2, last]));
        for (who, from, at, left) in [
            (&one, from(1), 0, Some(1)),
            (&again, from(2), 10, Some(0)),
            (&one, from(1), 20, None),
            (&again, from(1), 20, None),
            (&two, from(1), 20, Some(1)),
            (&two_again, from(1), 20, Some(0)),
            (&two, from(1), 20, None),
            (&HeaderMap::new(), from(1), 20, Some(1)),
            (&HeaderMap::new(), from(2), 20, Some(1)),
            (&HeaderMap::new(), from(1), 20, Some(0)),
            (&one, from(1), 299, None),
            (&one, from(1), 300, Some(1)),
        ] {
            let turn = calls.turn(who, from, after(at));
            assert_eq!((turn.left, turn.check().is_ok()), (left, left.is_some()), "{at}");
        }
    }

    #[test]
    fn strangers_take_no_memory_and_make_nobody_free() {
        let (calls, now) = (Calls::new(2), Instant::now());
        let bearer = |text: &str| shown("authorization", &format!("Bearer {text}"));
        let from = |number: usize| Some(IpAddr::from((number as u32).to_be_bytes()));
        let left = |headers: &HeaderMap, from, now| calls.turn(headers, from, now).left;
        let sizes = || {
            let windows = calls.windows.lock().unwrap();
            (windows.holders.len(), windows.sources.len())
        };
        for number in 0..CALLERS_MAX {
            assert_eq!(left(&bearer(&number.to_string()), from(1), now), Some(1));
        }
        // Who is remembered is counted as before, and others by their source, whatever they show.
        assert_eq!([left(&bearer("7"), from(1), now), left(&bearer("7"), from(1), now)], [Some(0), None]);
        assert_eq!(["x", "y", "z"].map(|text| left(&bearer(text), from(1), now)), [Some(1), Some(0), None]);
        assert_eq!(left(&bearer("x"), from(2), now), Some(1));
        for number in 3..CALLERS_MAX + 1 {
            assert_eq!(left(&HeaderMap::new(), from(number), now), Some(1));
        }
        assert_eq!(sizes(), (CALLERS_MAX, CALLERS_MAX));
        let all = [CALLERS_MAX + 1, CALLERS_MAX + 2, CALLERS_MAX + 3];
        assert_eq!(all.map(|number| left(&bearer("x"), from(number), now)), [Some(1), Some(0), None]);
        assert_eq!(left(&bearer("x"), from(1), now + WINDOW), Some(1));
        assert_eq!(sizes(), (1, CALLERS_MAX));
    }
}
