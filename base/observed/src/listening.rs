//! Where clients of applications are heard, and where they are not.

use std::fmt;
use std::net::SocketAddr;

use bartizan_names::{AppId, Protocol, Timestamp};

use crate::problem::{Problem, ProblemKind, What};

/// Ports without a listener that are named; the rest are only counted.
const NAMED_MAX: usize = 100;

/// What is heard at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    pub tier: TierName,
    /// Sockets that listen, counted once whatever the number of workers.
    pub open: usize,
    /// Some of those that should and do not.
    pub not_listening: Vec<NotListening>,
    /// How many there are of them.
    pub not_listening_total: usize,
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
pub struct NotListening {
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
        Listening { tier, open: 0, not_listening: Vec::new(), not_listening_total: 0 }
    }

    /// Notes one more that is not heard, and with it as many as `count` in all.
    pub fn note(&mut self, count: usize, not_listening: NotListening) {
        self.not_listening_total += count;
        if self.not_listening.len() < NAMED_MAX {
            self.not_listening.push(not_listening);
        }
    }

    /// A port that had no listener before, for the same reason, has had none since then.
    #[must_use]
    pub fn after(mut self, before: &Listening) -> Listening {
        for not_listening in &mut self.not_listening {
            if let Some(same) = before.not_listening.iter().find(|old| old.is_as(not_listening)) {
                not_listening.since = same.since;
            }
        }
        self
    }

    /// Whether this was told already.
    pub fn tells(&self, not_listening: &NotListening) -> bool {
        self.not_listening.iter().any(|old| old.is_as(not_listening))
    }

    /// Why clients of an application cannot connect, if so.
    pub fn not_listening_of(&self, app: AppId) -> Option<&NotListening> {
        self.not_listening.iter().find(|not_listening| not_listening.app == app)
    }

    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        let named = self.not_listening.iter().map(|not_listening| Problem {
            what: What::Port {
                app: not_listening.app,
                protocol: not_listening.protocol,
                address: not_listening.address,
            },
            count: 1,
            reason: not_listening.reason.to_string(),
            since: not_listening.since,
            remedy: not_listening.reason.remedy(),
        });
        let others = self.not_listening_total.saturating_sub(self.not_listening.len());
        let first = self.not_listening.iter().map(|not_listening| not_listening.since).min().filter(|_| others > 0);
        named.chain(first.map(|since| Problem {
            what: What::Others(ProblemKind::Port),
            count: others as u64,
            reason: "they are not heard either".to_owned(),
            since,
            remedy: "see those that are named, and the metric bartizan_l4_not_listening",
        }))
    }
}

impl NotListening {
    /// The same but for the time.
    fn is_as(&self, other: &NotListening) -> bool {
        let NotListening { app, protocol, address, reason, since: _ } = self;
        (app, protocol, address, reason) == (&other.app, &other.protocol, &other.address, &other.reason)
    }
}

impl fmt::Display for NotListening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.protocol, self.address, self.reason)
    }
}
