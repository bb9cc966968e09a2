//! How many calls a caller may make in a while, and how each reply tells it: the dialect's `Ratelimit` and
//! `Ratelimit-Policy`, and `Retry-After` where there were too many.
//!
//! A caller is who shows the same credentials, wherever from; without any it is the source. Whether they are right is not
//! known yet: wrong ones are counted elsewhere, and each has a window of its own that helps nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::{Error, Fault};

/// The calls of a caller in each window, unless the operator says otherwise. So many that only a loop gone wrong makes
/// them: one of the tools sleeps five minutes when it is refused.
pub const CALLS_USUAL: u32 = 1_000_000;

/// A window begins with a caller's first call. The vendor's are as long.
const WINDOW: Duration = Duration::from_secs(300);

/// Callers that are remembered at once. Who comes when there are more is let in and not counted.
const CALLERS_MAX: usize = 16_384;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(crate) struct Calls {
    most: u32,
    windows: Mutex<HashMap<Who, Window>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// A hash of what was shown.
    Holder([u8; 32]),
    Source(Option<IpAddr>),
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
        let who = Who::of(headers, from);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= CALLERS_MAX && !windows.contains_key(&who) {
            windows.retain(|_, window| window.ends > now);
            if windows.len() >= CALLERS_MAX {
                return Turn { most: self.most, left: Some(self.most.saturating_sub(1)), ends_in: WINDOW };
            }
        }
        let new = || Window { ends: now + WINDOW, left: self.most };
        let window = windows.entry(who).or_insert_with(new);
        if window.ends <= now {
            *window = new();
        }
        let left = window.left.checked_sub(1);
        window.left = left.unwrap_or(0);
        Turn { most: self.most, left, ends_in: window.ends - now }
    }
}

impl Who {
    fn of(headers: &HeaderMap, from: Option<IpAddr>) -> Who {
        let shown = [header::AUTHORIZATION, HeaderName::from_static("x-auth-key")];
        match shown.iter().find_map(|name| headers.get(name)) {
            Some(text) => Who::Holder(bartizan_seal::sha256(text.as_bytes())),
            None => Who::Source(from),
        }
    }
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
        let (one, two) = (shown("authorization", "Bearer 1"), shown("x-auth-key", "2"));
        let from = |last| Some(IpAddr::from([192, 0, 2, last]));
        for (who, from, at, left) in [
            (&one, from(1), 0, Some(1)),
            (&one, from(2), 10, Some(0)),
            (&one, from(1), 20, None),
            (&two, from(1), 20, Some(1)),
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
    fn strangers_take_no_memory() {
        let (calls, now) = (Calls::new(1), Instant::now());
        for number in 0..CALLERS_MAX + 10 {
            calls.turn(&shown("authorization", &number.to_string()), None, now);
        }
        assert_eq!(calls.windows.lock().unwrap().len(), CALLERS_MAX);
        calls.turn(&shown("authorization", "x"), None, now + WINDOW);
        assert_eq!(calls.windows.lock().unwrap().len(), 1);
    }
}
