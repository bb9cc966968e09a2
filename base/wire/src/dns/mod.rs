//! DNS messages: the query parser and the answer writer of the hot path, and a reader of whole messages.
//!
//! ```text
//! packet ─► parse ─► Query ─┐                      ┌─ block, soa: records encoded ahead, copied
//!            │              ├─► Answer ── sections ┤
//!            └─► Fault ─────┘   (header, question, └─ record_set: written with name compression
//!                                EDNS and its options, truncation, padding)
//! ```
//! Neither parser nor writer allocates. What is *not* here: which records answer a question (`engines/authority`),
//! presentation formats, signatures, transfers.
//!
//! RFC 1035 §4 (format), 1996 and 2136 (opcodes), 2181, 3597 §4 (what may be compressed), 4343 (case), 6891 (EDNS), 7766
//! (TCP), 8945 (TSIG), 9619 (one question), 9824 §5.1 (CO); options: see `options.rs`.

mod answer;
mod lifetime;
mod message;
mod options;
mod prepared;
mod query;
mod tsig;

use std::fmt;

pub use answer::{Answer, Authoritative, Fit, Mark, Owner, Section};
pub use lifetime::lifetime;
pub use message::{Message, MessageError, Record};
pub use options::{Added, Asked, Cookie, ExtendedError, Options, Subnet};
pub use prepared::PreparedSoa;
pub use query::{Edns, Fault, Head, Opcode, Query, Silence, parse, write_query};
pub use tsig::{Tsig, TsigError};

/// The fixed part of every message (RFC 1035 §4.1.1). The question's name begins here.
pub const HEADER_BYTES: usize = 12;

/// A pointer to the question's name: how an answer names its owner in two bytes (RFC 1035 §4.1.4).
pub const QUESTION_POINTER: [u8; 2] = [0xc0, HEADER_BYTES as u8];

/// The largest datagram that we send and announce: it fits every path that carries IPv6 (RFC 9715 §3.1, RFC 8200 §5),
/// so no answer is fragmented.
pub const UDP_ANSWER_MAX: usize = 1232;

/// What a client without EDNS takes in a datagram (RFC 1035 §2.3.4).
pub const UDP_PLAIN_MAX: usize = 512;

/// What the length in front of a message over TCP can say (RFC 1035 §4.2.2).
pub const TCP_ANSWER_MAX: usize = 65_535;

/// A response code. Above 15 it needs EDNS to be said (RFC 6891 §6.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u8);

impl Rcode {
    pub const NOERROR: Rcode = Rcode(0);
    pub const FORMERR: Rcode = Rcode(1);
    pub const SERVFAIL: Rcode = Rcode(2);
    pub const NXDOMAIN: Rcode = Rcode(3);
    pub const NOTIMP: Rcode = Rcode(4);
    pub const REFUSED: Rcode = Rcode(5);
    /// RFC 6672 §2.2: the name that follows from a DNAME is too long.
    pub const YXDOMAIN: Rcode = Rcode(6);
    /// Not the zone of this server (RFC 2136 §2.2), or a message that is not signed as it must be (RFC 8945 §5.3).
    pub const NOTAUTH: Rcode = Rcode(9);
    pub const BADVERS: Rcode = Rcode(16);
    pub const BADCOOKIE: Rcode = Rcode(23);

    /// The mnemonic, if we ever say this code.
    pub const fn mnemonic(self) -> Option<&'static str> {
        Some(match self {
            Rcode::NOERROR => "NOERROR",
            Rcode::FORMERR => "FORMERR",
            Rcode::SERVFAIL => "SERVFAIL",
            Rcode::NXDOMAIN => "NXDOMAIN",
            Rcode::NOTIMP => "NOTIMP",
            Rcode::REFUSED => "REFUSED",
            Rcode::YXDOMAIN => "YXDOMAIN",
            Rcode::NOTAUTH => "NOTAUTH",
            Rcode::BADVERS => "BADVERS",
            Rcode::BADCOOKIE => "BADCOOKIE",
            _ => return None,
        })
    }
}

impl fmt::Debug for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

/// A class of records (IANA, "DNS CLASSes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

impl Class {
    pub const IN: Class = Class(1);
    /// Chaosnet: today only the class in which servers tell about themselves (RFC 4892).
    pub const CHAOS: Class = Class(3);
    /// No class of records, but that of TSIG (RFC 8945 §4.2).
    pub const ANY: Class = Class(255);
}

/// The two bytes at `at`, or none if the message ends before.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The four bytes at `at`, or none if the message ends before.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
