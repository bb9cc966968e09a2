//! Why there is no certificate this time, and what that means for the next try.

use std::time::Duration;

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The authority is not there, or at odds with itself: it may go well in a while.
    Away,
    /// It took several of our nonces for old, one after the other (RFC 8555 §6.5): the same may go well at once.
    Stale,
    /// It did not find what shows that the names are ours.
    NotShown,
    /// It issues no such certificate, or none to us.
    Refused,
    /// We have asked too often (RFC 8555 §6.6).
    TooOften,
    /// It does not know our account any more.
    NoAccount,
    /// Something of ours.
    Ours,
}

/// Whose matter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of these names.
    Names,
    /// That of everybody who has one account with us: the authority is not there, or has had enough of the account.
    All,
}

/// A try that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    pub whose: Whose,
    /// For people: what the authority said, or what is wrong here.
    pub reason: String,
    /// Before then it wants to hear nothing of it.
    pub retry_after: Option<Duration>,
}

/// Characters of a reason that are kept: an authority may say a lot.
const REASON_MAX: usize = 600;

impl Failure {
    /// It is everybody's matter if the authority is away or is asked too often, as far as nothing else is known.
    pub fn new(kind: Kind, reason: impl Into<String>) -> Failure {
        let reason: String = reason.into();
        let reason = reason.chars().filter(|char| !char.is_control()).take(REASON_MAX).collect();
        let whose = if matches!(kind, Kind::Away | Kind::TooOften) { Whose::All } else { Whose::Names };
        Failure { kind, whose, reason, retry_after: None }
    }

    #[must_use]
    pub fn of_names(self) -> Failure {
        Failure { whose: Whose::Names, ..self }
    }

    #[must_use]
    pub fn after(self, retry_after: Option<Duration>) -> Failure {
        Failure { retry_after, ..self }
    }
}
