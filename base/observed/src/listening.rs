//! Where clients of applications are heard, and where they are not.

use std::fmt;
use std::net::SocketAddr;

use bartizan_names::{AppId, Protocol, Timestamp};

use crate::problem::{Problem, ProblemKind, What};

/// Ports that are told one by one as unheard; of the rest only the number.
const UNHEARD_TOLD_MAX: usize = 100;

/// What is heard at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    pub tier: TierName,
    /// Sockets that listen, counted once whatever the number of workers.
    pub open: usize,
    /// Some of those that should and do not.
    pub unheard: Vec<Unheard>,
    /// How many there are of them.
    pub unheard_total: usize,
}

/// How clients reach applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierName {
    /// The kernel looks up the socket for any port (`sk_lookup`).
    SkLookup,
    /// The kernel's filter redirects to a transparent socket (TPROXY).
    Tproxy,
    /// One listener for each configured port.
    Listeners,
}

impl TierName {
    pub const fn as_str(self) -> &'static str {
        match self {
            TierName::SkLookup => "sk_lookup",
            TierName::Tproxy => "tproxy",
            TierName::Listeners => "listeners",
        }
    }
}

/// An address and port of an application that nobody listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    pub app: AppId,
    pub protocol: Protocol,
    pub address: SocketAddr,
    pub reason: Reason,
    pub since: Timestamp,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody else listens there.
    Taken,
    /// Ports below 1024 need a privilege.
    Forbidden,
    /// The pools were changed, and the kernel was told of them at the start.
    NotRouted,
    /// The whole application would take more listeners than there may be.
    TooMany {
        max: usize,
    },
    Other(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Taken => f.write_str("another program listens on this address and port"),
            Reason::Forbidden => f.write_str("this port needs a privilege (CAP_NET_BIND_SERVICE)"),
            Reason::NotRouted => f.write_str("the pool is newer than this process, and its packets may not come here"),
            Reason::TooMany { max } => {
                write!(f, "more than {max} ports in all need a way to receive for any port (CAP_BPF and CAP_NET_ADMIN)")
            }
            Reason::Other(error) => f.write_str(error),
        }
    }
}

impl Reason {
    const fn remedy(&self) -> &'static str {
        match self {
            Reason::Taken => "stop the other program, or give the application another port",
            Reason::Forbidden => "give the edge the capability, or the application a port from 1024 on",
            Reason::NotRouted => "start the edge again",
            Reason::TooMany { .. } => "give the edge the capabilities, or the application fewer ports",
            Reason::Other(_) => "see the reason; it is tried again by itself",
        }
    }
}

impl Listening {
    /// Nothing yet.
    pub const fn new(tier: TierName) -> Listening {
        Listening { tier, open: 0, unheard: Vec::new(), unheard_total: 0 }
    }

    /// Notes one more that is not heard, and with it as many as `count` in all.
    pub fn note(&mut self, count: usize, unheard: Unheard) {
        self.unheard_total += count;
        if self.unheard.len() < UNHEARD_TOLD_MAX {
            self.unheard.push(unheard);
        }
    }

    /// What was unheard before for the same reason has been so since then.
    #[must_use]
    pub fn after(mut self, before: &Listening) -> Listening {
        for unheard in &mut self.unheard {
            if let Some(same) = before.unheard.iter().find(|old| old.is_as(unheard)) {
                unheard.since = same.since;
            }
        }
        self
    }

    /// Whether this was told already.
    pub fn tells(&self, unheard: &Unheard) -> bool {
        self.unheard.iter().any(|old| old.is_as(unheard))
    }

    /// Why clients of an application cannot connect, if so.
    pub fn unheard_of(&self, app: AppId) -> Option<&Unheard> {
        self.unheard.iter().find(|unheard| unheard.app == app)
    }

    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        let named = self.unheard.iter().map(|unheard| Problem {
            what: What::Port { app: unheard.app, protocol: unheard.protocol, address: unheard.address },
            count: 1,
            reason: unheard.reason.to_string(),
            since: unheard.since,
            remedy: unheard.reason.remedy(),
        });
        let others = self.unheard_total.saturating_sub(self.unheard.len());
        let first = self.unheard.iter().map(|unheard| unheard.since).min().filter(|_| others > 0);
        named.chain(first.map(|since| Problem {
            what: What::Others(ProblemKind::Port),
            count: others as u64,
            reason: "they are not heard either".to_owned(),
            since,
            remedy: "see those that are named, and the metric bartizan_l4_unheard",
        }))
    }
}

impl Unheard {
    /// The same but for the time.
    fn is_as(&self, other: &Unheard) -> bool {
        let Unheard { app, protocol, address, reason, since: _ } = self;
        (app, protocol, address, reason) == (&other.app, &other.protocol, &other.address, &other.reason)
    }
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.protocol, self.address, self.reason)
    }
}
