//! When tokens were last used. Kept in memory, and from time to time in a small file: no call waits for a disk, and nothing
//! of it goes into the log of changes. A crash loses the last minutes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bartizan_names::{Timestamp, TokenId};
use bartizan_quotas::Rarely;
use bartizan_seal as seal;

use crate::background::{Due, Stop};

/// In the data directory, mode 0600.
pub const FILE: &str = "token-uses.json";

/// Tokens of which the last use is known; beyond it the one that was not used for the longest time is forgotten.
/// 10,000 are 0.6 MB of file.
const TOKENS_MAX: usize = 10_000;

/// How long a crash may take back.
const SAVE_EVERY: Duration = Duration::from_mins(5);

/// When tokens were last used, and where that is kept.
pub(crate) struct LastUsed {
    path: PathBuf,
    uses: Mutex<HashMap<TokenId, Timestamp>>,
    unsaved: Due,
}

impl LastUsed {
    /// What the file knows. One that cannot be read knows nothing: it is of no use to anybody but people who look.
    pub(crate) fn read(data: &Path) -> LastUsed {
        let path = data.join(FILE);
        let mut uses: HashMap<TokenId, Timestamp> =
            std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        while uses.len() > TOKENS_MAX {
            forget_oldest(&mut uses);
        }
        LastUsed { path, uses: Mutex::new(uses), unsaved: Due::default() }
    }

    pub(crate) fn note(&self, token: TokenId, now: Timestamp) {
        let mut uses = self.uses();
        if uses.len() >= TOKENS_MAX && !uses.contains_key(&token) {
            forget_oldest(&mut uses);
        }
        uses.insert(token, now);
        drop(uses);
        self.unsaved.set();
    }

    pub(crate) fn of(&self, token: TokenId) -> Option<Timestamp> {
        self.uses().get(&token).copied()
    }

    pub(crate) fn run(&self, _: &Stop) -> Duration {
        self.save();
        SAVE_EVERY
    }

    fn save(&self) {
        if !self.unsaved.take() {
            return;
        }
        let uses = self.uses().clone();
        let saved =
            serde_json::to_vec(&uses).map_err(Into::into).and_then(|text| seal::write_private(&self.path, &text));
        if let Err(error) = saved {
            // The store tells of a disk that is full or cannot be written to.
            static FAILED: Rarely = Rarely::new();
            if FAILED.turn().is_some() {
                tracing::warn!(%error, "{} cannot be written: when tokens were last used is known until a stop", FILE);
            }
        }
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<TokenId, Timestamp>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LastUsed {
    fn drop(&mut self) {
        self.save();
    }
}

fn forget_oldest(uses: &mut HashMap<TokenId, Timestamp>) {
    let oldest = uses.iter().min_by_key(|(_, at)| **at).map(|(token, _)| *token);
    oldest.map(|token| uses.remove(&token));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> TokenId {
        TokenId::from_bytes((number as u128).to_be_bytes())
    }

    fn second(second: usize) -> Timestamp {
        Timestamp::from_unix_micros(second as u64 * 1_000_000)
    }

    #[test]
    fn what_was_used_is_known_after_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let uses = LastUsed::read(folder.path());
        assert_eq!(uses.of(token(1)), None);
        uses.note(token(1), second(1));
        uses.note(token(1), second(2));
        assert_eq!(uses.of(token(1)), Some(second(2)));
        assert!(!folder.path().join(FILE).exists(), "no call waits for a disk");
        drop(uses);
        assert_eq!(LastUsed::read(folder.path()).of(token(1)), Some(second(2)));
        // Damage is nobody's end.
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(LastUsed::read(folder.path()).of(token(1)), None);
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let uses = LastUsed::read(folder.path());
        for number in 0..=TOKENS_MAX {
            uses.note(token(number), second(number));
        }
        assert_eq!(uses.uses().len(), TOKENS_MAX);
        assert_eq!(uses.of(token(0)), None);
        assert_eq!(uses.of(token(TOKENS_MAX)), Some(second(TOKENS_MAX)));
    }
}
