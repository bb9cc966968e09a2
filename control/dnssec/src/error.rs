//! What can go wrong.

use bartizan_signer::KeyError;
use bartizan_signer::rollover::BeginError;
use bartizan_store::{CommitError, Key, ReadError};

/// Why nothing is kept of what was to be done to a zone's DNSSEC.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("others were faster, again and again")]
    Raced,
    #[error("{key}: {reason}")]
    Damaged { key: Key, reason: String },
    #[error("no key can be made")]
    Key(#[from] KeyError),
    #[error(transparent)]
    Roll(#[from] RollRefused),
    #[error("nobody looks after DNSSEC: its thread has ended")]
    Ended,
    #[error(transparent)]
    Look(#[from] LookError),
}

impl KeepError {
    /// Whether nothing of any zone can be read or kept now; else it is about the one.
    pub(crate) fn is_of_store(&self) -> bool {
        match self {
            KeepError::Read(_) => true,
            KeepError::Commit(error) => !matches!(
                error,
                CommitError::Conflict { .. } | CommitError::TooLarge { .. } | CommitError::Malformed { .. }
            ),
            _ => false,
        }
    }
}

/// Why no key is exchanged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollRefused {
    #[error("the zone is about to go without signatures")]
    NotOn,
    /// The new key would be announced by signatures that nobody can make.
    #[error(
        "a private key of the zone does not open, so nothing can be signed by it; `bartizan status` says what mends that"
    )]
    Sealed,
    #[error(transparent)]
    Begin(#[from] BeginError),
}

/// Why it is not known what a parent has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Look(#[from] bartizan_registry::LookError),
    #[error("the servers of the parent zone do not answer in time")]
    Slow,
    /// By the limits of those who call.
    #[error("it was asked a moment ago, or too many others are being asked: try again in a while")]
    Busy,
}

#[cfg(test)]
mod tests {
    use bartizan_names::ZoneId;

    use super::*;

    /// What is wrong with one zone must not keep the keeper from all others.
    #[test]
    fn what_is_of_one_zone_is_not_of_the_store() {
        let key = Key::dnssec(ZoneId::from_bytes([1; 16]));
        let reason = || "it is so".to_owned();
        for (error, expect) in [
            (KeepError::Raced, false),
            (KeepError::Damaged { key: key.clone(), reason: reason() }, false),
            (CommitError::TooLarge { what: "bytes", size: 2, max: 1 }.into(), false),
            (CommitError::Malformed { key, reason: reason() }.into(), false),
            (CommitError::Closed.into(), true),
            (CommitError::ReadOnly { reason: "it is so".into() }.into(), true),
            (CommitError::NotMended { reason: "it is so".into() }.into(), true),
            (ReadError::Busy.into(), true),
        ] {
            assert_eq!(error.is_of_store(), expect, "{error}");
        }
    }
}
