//! How an answer came about, for whoever asks why. Nothing is kept where nobody does.

use bartizan_names::{Name, RecordType};
use bartizan_signer::{Denial, Unsigned};
use bartizan_wire::dns::Section;

use crate::answer::Subject;

/// One thing that was decided on the way to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// No zone of ours has the name.
    NoZone,
    /// The zone of a name, and what is true for all of it.
    Zone {
        apex: Name,
        paused: bool,
        signed: bool,
    },
    /// Nothing is known of the zone but where it is.
    Held,
    /// The name is there, perhaps without records.
    Exact {
        name: Name,
        proxied: bool,
    },
    Missing {
        name: Name,
    },
    /// The name before is not there, and this one answers for it (RFC 4592 §3.3).
    Wildcard {
        wildcard: Name,
        proxied: bool,
    },
    /// It lies at or below a delegation (RFC 1034 §4.3.2, step 3b).
    Delegated {
        cut: Name,
    },
    /// It lies below a name with a DNAME (RFC 6672 §3.2).
    Redirected {
        owner: Name,
    },
    /// The zone sends phishing mail, so its mail is not believed.
    Phishing,
    /// A CNAME leads on.
    Alias {
        target: Name,
    },
    /// An apex stands for this name outside our zones, and nobody has told its addresses yet.
    Unresolved {
        target: Name,
    },
    /// There are no such records; in a signed zone, how that is proven.
    Denied {
        form: Option<Denial>,
    },
    /// A record set for the answer.
    Set {
        section: Section,
        owner: Name,
        rtype: RecordType,
        ttl: u32,
    },
    /// The set before was signed by this key.
    Signed {
        key_tag: u16,
    },
    /// The set before could not be signed, and was taken out again.
    NotSigned {
        reason: Unsigned,
    },
    /// The set before did not fit, with its signatures, and was taken out again.
    TooLong,
    /// By what limits count the answer.
    Counted {
        subject: Subject,
    },
}

/// The steps to an answer, if somebody wants to know them.
#[derive(Debug, Default)]
pub struct Trail(Option<Vec<Step>>);

impl Trail {
    /// Nobody asks.
    pub const fn off() -> Trail {
        Trail(None)
    }

    /// All steps are kept. There are few: a chain has an end, and so has a message.
    pub fn on() -> Trail {
        Trail(Some(Vec::new()))
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }

    #[inline]
    pub(crate) fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }
}

/// A name of the hot path, for people.
pub(crate) fn told(wire: &[u8]) -> Name {
    Name::from_wire(wire).unwrap_or_else(|_| Name::root())
}
