//! What is told.

use std::net::IpAddr;

use bartizan_names::{CountryCode, RecordType, Timestamp, ZoneId};

use crate::listeners::Listeners;

/// All who listen, by what they listen to. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tails {
    pub dns: Listeners<DnsSeen>,
    pub http: Listeners<HttpSeen>,
}

/// What a listener wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub zone: ZoneId,
    /// In the form in which it is told.
    pub name: Option<Box<[u8]>>,
    pub code: Code,
}

/// Numbers of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Any,
    /// This one.
    Is(u16),
    /// All that begin with this figure of three: 4 for 404.
    Class(u16),
}

/// A query of DNS that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSeen {
    pub at: Timestamp,
    /// As on the wire, in lower case.
    pub name: Box<[u8]>,
    pub rtype: RecordType,
    /// What the answer means, by the number that statistics have for it.
    pub code: u16,
    pub transport: &'static str,
    pub client: IpAddr,
    pub query_len: usize,
    pub reply_len: usize,
    pub nanos: u64,
}

/// A request over HTTP that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSeen {
    pub at: Timestamp,
    pub host: Box<str>,
    pub method: Box<str>,
    /// Without the query, which may have secrets.
    pub path: Box<str>,
    pub status: Option<u16>,
    pub protocol: &'static str,
    pub client: IpAddr,
    pub country: Option<CountryCode>,
    pub answered_by: &'static str,
    pub received: u64,
    pub sent: u64,
    pub nanos: u64,
    pub ray: Option<Box<str>>,
}

impl Tails {
    /// `now` is the time that is told.
    pub fn new(now: impl Fn() -> Timestamp + Clone + Send + Sync + 'static) -> Tails {
        Tails { dns: Listeners::new(now.clone()), http: Listeners::new(now) }
    }
}

impl Wish {
    /// Of HTTP `code` is 0 if there was no answer.
    pub(crate) fn is_for(&self, zone: ZoneId, name: &[u8], code: u16) -> bool {
        let is_code = match self.code {
            Code::Any => true,
            Code::Is(wanted) => wanted == code,
            Code::Class(class) => class == code / 100,
        };
        is_code && self.zone == zone && self.name.as_ref().is_none_or(|wanted| **wanted == *name)
    }
}
