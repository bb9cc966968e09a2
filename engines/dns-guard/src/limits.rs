//! How many answers a network gets in a second, as an operator says it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bartizan_names::Prefix;

use crate::rates::{self, Kind, LIMIT_NAMES};

/// The unit of time here.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// The limits of one worker. `Display` and `FromStr` are the form of the command line: `answers=200,slip=2`, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    rates: [Rate; LIMIT_NAMES.len()],
    /// Of the answers over a limit each so manieth goes out as a short one; 0: none.
    slip: u32,
    exempt: Vec<Prefix>,
}

/// So many in a second; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second: u32,
    /// Nanoseconds that one takes.
    pub(crate) each: u64,
}

impl Rate {
    const fn new(per_second: u32) -> Rate {
        Rate { per_second, each: if per_second == 0 { 0 } else { SECOND / per_second as u64 } }
    }

    pub(crate) fn is_none(self) -> bool {
        self.per_second == 0
    }
}

/// What a network may have of answers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Who shares it.
    pub network: Prefix,
    /// Its limit, and that of bytes beyond those of queries: what each is called, and how many there are in a second; 0 is as many
    /// as anybody likes.
    pub limits: [(&'static str, u32); 2],
    /// Of the answers over a limit each so manieth goes out as a short one; 0: none.
    pub slip: u32,
}

/// What no normal resolver reaches:
///
/// - **answers**, of one name: a resolver asks for it again when its TTL has run out. 200 a second from one /24 or /56 are
///   200 resolvers there, all with a TTL of a second. NSD has the same default.
/// - **wildcards**, of one zone: as many names of customers as a large resolver asks for at once.
/// - **denials**, of one zone: misspelt and probed names. Behind a large resolver they are tens a second; a network that
///   asks a block list by DNS asks more, and is to be exempt or to use cookies, as resolvers do that are made today.
/// - **referrals**, of one delegation: a resolver keeps them for hours.
/// - **errors**: a resolver that is refused remembers it for minutes (RFC 9520).
/// - **bytes**, of answers beyond those of their queries: 4 MB a second are what 10,000 signed answers or 40,000 others have
///   in excess, and more than any network asks for by datagrams that it has not. They are what a forger wants.
/// - **slip** 2: every second one over a limit is short and asks for TCP or shows a cookie, which whoever did ask can use.
impl Default for Limits {
    fn default() -> Limits {
        Limits { rates: [200, 1_000, 500, 200, 200, 4_000_000].map(Rate::new), slip: 2, exempt: Vec::new() }
    }
}

/// Why a text is no limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    #[error("{0:?} is not one of {names}, slip, each with =N; or `off`", names = LIMIT_NAMES.join(", "))]
    Name(String),
    #[error("{0:?} is not a number from 0 to 1000000000; 0 is no limit")]
    Number(String),
}

/// Beyond it an answer would take no time at all.
const PER_SECOND_MAX: u32 = SECOND as u32;

impl Limits {
    /// No answer is ever held back.
    pub fn off() -> Limits {
        Limits { rates: [Rate::new(0); LIMIT_NAMES.len()], slip: 0, exempt: Vec::new() }
    }

    /// Networks that are never limited: no stranger can forge their addresses, or they ask more than others.
    pub fn exempt(self, exempt: Vec<Prefix>) -> Limits {
        Limits { exempt, ..self }
    }

    /// What a source that proves nothing may have of answers of a kind; none if it is never limited.
    pub fn allowance(&self, source: IpAddr, kind: Kind) -> Option<Allowance> {
        let network = rates::prefix(source).filter(|_| !self.spare(source))?;
        let limit = |at: usize| (LIMIT_NAMES[at], self.rates[at].per_second);
        Some(Allowance { network, limits: [limit(kind as usize), limit(rates::BYTES)], slip: self.slip })
    }

    pub(crate) fn rate(&self, limit: usize) -> Rate {
        self.rates[limit]
    }

    pub(crate) fn slip(&self) -> u32 {
        self.slip
    }

    /// This machine is always exempt: no datagram from elsewhere can have a loopback address (RFC 1122 §3.2.1.3).
    pub(crate) fn spare(&self, source: IpAddr) -> bool {
        source.to_canonical().is_loopback() || self.exempt.iter().any(|prefix| prefix.contains(source))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, rate) in LIMIT_NAMES.iter().zip(&self.rates) {
            write!(f, "{name}={},", rate.per_second)?;
        }
        write!(f, "slip={}", self.slip)
    }
}

impl FromStr for Limits {
    type Err = LimitsError;

    /// What is not said stays as it is by default.
    fn from_str(text: &str) -> Result<Limits, LimitsError> {
        if text == "off" {
            return Ok(Limits::off());
        }
        let mut limits = Limits::default();
        for part in text.split(',') {
            let (name, number) = part.split_once('=').ok_or_else(|| LimitsError::Name(part.to_owned()))?;
            let (name, number) = (name.trim(), number.trim());
            let value = number.parse().ok().filter(|value| *value <= PER_SECOND_MAX);
            let value: u32 = value.ok_or_else(|| LimitsError::Number(number.to_owned()))?;
            match LIMIT_NAMES.iter().position(|known| *known == name) {
                Some(at) => limits.rates[at] = Rate::new(value),
                None if name == "slip" => limits.slip = value,
                None => return Err(LimitsError::Name(name.to_owned())),
            }
        }
        Ok(limits)
    }
}
