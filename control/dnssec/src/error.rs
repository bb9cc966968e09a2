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
