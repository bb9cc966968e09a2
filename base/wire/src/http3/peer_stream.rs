//! What the other end says beside its requests, each on a stream of its own: SETTINGS, and what it has to say of tables of
//! fields (RFC 9114 §6.2, RFC 9204 §4.2).
//!
//! With no room in either table there is hardly anything to be said of them (RFC 9204 §4.3, §4.4).

use super::frame::{
    CANCEL_PUSH, DATA, FrameHead, GOAWAY, HEADERS, HeadBytes, MAX_PUSH_ID, PUSH_PROMISE, RESERVED, SETTINGS,
};
use super::{Code, Fault, varint};

/// Types of streams.
pub(super) const CONTROL: u64 = 0x0;
const PUSH: u64 = 0x1;
const ENCODER: u64 = 0x2;
const DECODER: u64 = 0x3;

/// SETTINGS. Common clients have five, and one that nobody knows.
const SETTINGS_BYTES_MAX: u64 = 1024;
const SETTINGS_MAX: usize = 64;

/// Settings of HTTP/2 that are none here (RFC 9114 §7.2.4.1).
const RESERVED_SETTINGS: std::ops::RangeInclusive<u64> = 0x2..=0x5;

/// Octets that nobody knows that count as one more frame that asks for nothing.
const BYTES_AN_IDLE: u64 = 1024;

/// "Set Dynamic Table Capacity" to none, all that an encoder may say.
const NO_CAPACITY: u8 = 0x20;

/// "Stream Cancellation", all that a decoder may say: its flag, the bits of its number, and octets behind the first.
const CANCELLATION: u8 = 0x40;
const CANCELLATION_MAX: u8 = 0x3f;
const INTEGER_OCTETS_MAX: u32 = 9;

/// Which streams of one connection the other end has opened.
#[derive(Debug, Default)]
pub struct PeerStreams {
    has_control: bool,
    has_encoder: bool,
    has_decoder: bool,
    /// What it said last that must not grow, and not shrink.
    goaway: Option<u64>,
    push_max: Option<u64>,
}

/// One of them.
#[derive(Debug)]
pub struct PeerStream(Kind);

#[derive(Debug)]
enum Kind {
    /// Of which the type has not come.
    Begun {
        bytes: [u8; varint::BYTES_MAX],
        len: usize,
    },
    Control(Box<Control>),
    Encoder,
    /// So many octets of an integer have come that is not over.
    Decoder {
        octets: Option<u32>,
    },
    Unwanted,
}

#[derive(Debug, Default)]
struct Control {
    has_settings: bool,
    head: HeadBytes,
    /// The frame under way and how much of it is still to come.
    frame: Option<(FrameHead, u64)>,
    payload: Vec<u8>,
}

impl Default for PeerStream {
    fn default() -> PeerStream {
        PeerStream(Kind::Begun { bytes: [0; varint::BYTES_MAX], len: 0 })
    }
}

impl PeerStream {
    /// Whether its type has come.
    pub fn is_known(&self) -> bool {
        !matches!(self.0, Kind::Begun { .. })
    }

    /// Whether nobody is interested in it (RFC 9114 §6.2.3).
    pub fn is_unwanted(&self) -> bool {
        matches!(self.0, Kind::Unwanted)
    }

    /// Takes what came. Says how much of it asks for nothing, in frames.
    pub fn take(&mut self, mut bytes: &[u8], all: &mut PeerStreams) -> Result<u32, Fault> {
        let mut idle = 0;
        if let Kind::Begun { bytes: known, len } = &mut self.0 {
            while let Some((first, rest)) = bytes.split_first() {
                known[*len] = *first;
                *len += 1;
                bytes = rest;
                if let Some((kind, _)) = varint::read(&known[..*len]) {
                    self.0 = begin(kind, all)?;
                    break;
                }
            }
        }
        match &mut self.0 {
            Kind::Begun { .. } => {}
            Kind::Unwanted => idle = 1,
            Kind::Control(control) => idle = control.take(bytes, all)?,
            Kind::Encoder => {
                if bytes.iter().any(|octet| *octet != NO_CAPACITY) {
                    return Err(Fault::connection(Code::EncoderStream, "an insertion into a table that there is not"));
                }
                idle = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            }
            Kind::Decoder { octets } => {
                for octet in bytes {
                    idle += take_cancellation(*octet, octets)?;
                }
            }
        }
        Ok(idle)
    }

    /// The peer has ended it, or broken it off.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.0 {
            Kind::Control(_) | Kind::Encoder | Kind::Decoder { .. } => {
                Err(Fault::connection(Code::ClosedCriticalStream, "a stream ends that the connection needs"))
            }
            Kind::Begun { .. } | Kind::Unwanted => Ok(()),
        }
    }
}

fn begin(kind: u64, all: &mut PeerStreams) -> Result<Kind, Fault> {
    let (seen, kind) = match kind {
        CONTROL => (&mut all.has_control, Kind::Control(Box::default())),
        ENCODER => (&mut all.has_encoder, Kind::Encoder),
        DECODER => (&mut all.has_decoder, Kind::Decoder { octets: None }),
        PUSH => return Err(Fault::connection(Code::StreamCreation, "a push of a client")),
        _ => return Ok(Kind::Unwanted),
    };
    match std::mem::replace(seen, true) {
        true => Err(Fault::connection(Code::StreamCreation, "a second stream of a kind that there is one of")),
        false => Ok(kind),
    }
}

fn take_cancellation(octet: u8, octets: &mut Option<u32>) -> Result<u32, Fault> {
    let fault = Fault::connection(Code::DecoderStream, "something about a table that there is not");
    match octets {
        None if octet & 0xc0 != CANCELLATION => return Err(fault),
        None => *octets = (octet & CANCELLATION_MAX == CANCELLATION_MAX).then_some(0),
        Some(count) if *count == INTEGER_OCTETS_MAX => return Err(fault),
        Some(_) if octet & 0x80 == 0 => *octets = None,
        Some(count) => *count += 1,
    }
    Ok(u32::from(octets.is_none()))
}

impl Control {
    fn take(&mut self, mut bytes: &[u8], all: &mut PeerStreams) -> Result<u32, Fault> {
        let mut idle: u32 = 0;
        loop {
            let Some((head, left)) = self.frame else {
                let (taken, head) = self.head.take(bytes);
                bytes = &bytes[taken..];
                let Some(head) = head else { return Ok(idle) };
                let more = self.begin(&head)?;
                idle = idle.saturating_add(1).saturating_add(more);
                self.frame = Some((head, head.length));
                continue;
            };
            let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(here);
            bytes = rest;
            if is_known(head.kind) {
                self.payload.extend_from_slice(piece);
            }
            let left = left - here as u64;
            self.frame = Some((head, left)).filter(|_| left > 0);
            if left > 0 {
                return Ok(idle);
            }
            let payload = std::mem::take(&mut self.payload);
            end(head.kind, &payload, all)?;
        }
    }

    /// Looks at a frame that begins; says how much more than one it counts as.
    fn begin(&mut self, head: &FrameHead) -> Result<u32, Fault> {
        let FrameHead { kind, length } = *head;
        match kind {
            SETTINGS if std::mem::replace(&mut self.has_settings, true) => {
                Err(Fault::connection(Code::FrameUnexpected, "SETTINGS a second time"))
            }
            SETTINGS if length > SETTINGS_BYTES_MAX => {
                Err(Fault::connection(Code::ExcessiveLoad, "SETTINGS without end"))
            }
            SETTINGS => Ok(0),
            _ if !self.has_settings => Err(Fault::connection(Code::MissingSettings, "something before SETTINGS")),
            GOAWAY | MAX_PUSH_ID | CANCEL_PUSH if length > varint::BYTES_MAX as u64 => {
                Err(Fault::connection(Code::Frame, "more than one number"))
            }
            GOAWAY | MAX_PUSH_ID | CANCEL_PUSH => Ok(0),
            DATA | HEADERS | PUSH_PROMISE => {
                Err(Fault::connection(Code::FrameUnexpected, "a frame that is for a request"))
            }
            _ if RESERVED.contains(&kind) => Err(Fault::connection(Code::FrameUnexpected, "a frame of HTTP/2")),
            _ => Ok(u32::try_from(length / BYTES_AN_IDLE).unwrap_or(u32::MAX)),
        }
    }
}

fn is_known(kind: u64) -> bool {
    matches!(kind, SETTINGS | GOAWAY | MAX_PUSH_ID | CANCEL_PUSH)
}

/// Reads a frame that is whole.
fn end(kind: u64, payload: &[u8], all: &mut PeerStreams) -> Result<(), Fault> {
    let number = || match varint::read(payload) {
        Some((number, length)) if length == payload.len() => Ok(number),
        _ => Err(Fault::connection(Code::Frame, "not one number")),
    };
    match kind {
        SETTINGS => read_settings(payload),
        GOAWAY => {
            let id = number()?;
            if all.goaway.replace(id).is_some_and(|before| before < id) {
                return Err(Fault::connection(Code::Id, "GOAWAY that takes back what it said"));
            }
            Ok(())
        }
        MAX_PUSH_ID => {
            let id = number()?;
            if all.push_max.replace(id).is_some_and(|before| before > id) {
                return Err(Fault::connection(Code::Id, "MAX_PUSH_ID that takes back what it said"));
            }
            Ok(())
        }
        CANCEL_PUSH => {
            number()?;
            Err(Fault::connection(Code::Id, "the end of a push that nobody promised"))
        }
        _ => Ok(()),
    }
}

/// None of them changes what we do; they have to be some (RFC 9114 §7.2.4).
fn read_settings(mut payload: &[u8]) -> Result<(), Fault> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let cut_short = Fault::connection(Code::Frame, "SETTINGS that are cut short");
        let (id, first) = varint::read(payload).ok_or(cut_short)?;
        let (_, second) = varint::read(&payload[first..]).ok_or(cut_short)?;
        payload = &payload[first + second..];
        if RESERVED_SETTINGS.contains(&id) || seen.contains(&id) {
            return Err(Fault::connection(Code::Settings, "a setting of HTTP/2, or one that is there twice"));
        }
        if seen.len() == SETTINGS_MAX {
            return Err(Fault::connection(Code::ExcessiveLoad, "SETTINGS without end"));
        }
        seen.push(id);
    }
    Ok(())
}
