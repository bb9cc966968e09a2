//! Proofs of addresses, which visitors get for the next time (RFC 9000 §8.1.3).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn::{TokenLog, TokenReuseError, ValidationTokenConfig};

/// How long one is good. Addresses pass on to others: who had one an hour ago must not speak for it tomorrow.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// That a connection is given: one to come back with, and one for who comes back twice at a time.
const TOKENS: u32 = 2;

/// A lifetime falls into so many spans at most of this length.
const SPAN: Duration = Duration::from_secs(LIFETIME.as_secs() / 2);
const SPANS: usize = 3;

/// Tokens of one span that are remembered, 16 octets each. Of those beyond, nobody is believed.
const REMEMBERED_MAX: usize = 1 << 16;

/// The tokens that were shown. Each is good once (RFC 9000 §8.1.4): whoever saw it pass must not show it again.
///
/// It goes by the times that the tokens say, which nobody else can write, and reads no clock.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    /// The number of the latest span of which there was one, counted from the epoch.
    latest: u64,
    /// Those of each span, by its number modulo theirs.
    spans: [HashSet<u128>; SPANS],
}

/// What an endpoint is to be told, to give tokens and to believe them.
pub fn tokens() -> ValidationTokenConfig {
    let mut config = ValidationTokenConfig::default();
    config.lifetime(LIFETIME).sent(TOKENS).log(Arc::new(Tokens::default()));
    config
}

impl TokenLog for Tokens {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        let since = issued.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| TokenReuseError)?;
        let span = since.as_secs() / SPAN.as_secs();
        let Shown { latest, spans } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What came in between is too old by now.
        for passed in (*latest + 1..=span).rev().take(SPANS) {
            spans[at(passed)] = HashSet::new();
        }
        *latest = span.max(*latest);
        if *latest - span >= SPANS as u64 {
            return Err(TokenReuseError);
        }
        let span = &mut spans[at(span)];
        if span.len() < REMEMBERED_MAX && span.insert(nonce) { Ok(()) } else { Err(TokenReuseError) }
    }
}

fn at(span: u64) -> usize {
    (span % SPANS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once() {
        let tokens = Tokens::default();
        let show = |nonce, issued| {
            let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(issued);
            tokens.check_and_insert(nonce, issued, LIFETIME).is_ok()
        };
        for (nonce, issued, is_good) in [
            (1, 100_000, true),
            (1, 100_000, false),
            (2, 100_001, true),
            // A lifetime later.
            (3, 103_600, true),
            (1, 100_000, false),
            (4, 100_000, true),
            (4, 100_000, false),
            // They are forgotten, and too old.
            (5, 107_200, true),
            (1, 100_000, false),
            (6, 100_000, false),
            (3, 103_600, false),
            // Long after, and back.
            (7, 9_000_000, true),
            (5, 107_200, false),
            (7, 9_000_000, false),
        ] {
            assert_eq!(show(nonce, issued), is_good, "{nonce} {issued}");
        }
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let tokens = Tokens::default();
        let issued = SystemTime::UNIX_EPOCH + LIFETIME;
        let shown =
            (0..REMEMBERED_MAX as u128 + 5).filter(|nonce| tokens.check_and_insert(*nonce, issued, LIFETIME).is_ok());
        assert_eq!(shown.count(), REMEMBERED_MAX);
        assert!(tokens.check_and_insert(1, issued + LIFETIME, LIFETIME).is_ok(), "the next span has room");
    }
}
