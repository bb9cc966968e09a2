//! Frames (RFC 9113 §4.1, §6): their heads, and what is around their payload.

use std::ops::Range;

use super::Fault;

/// The head of each frame.
pub const FRAME_HEAD_BYTES: usize = 9;

/// The payload of a frame, both ways: what every peer takes (RFC 9113 §4.2). We allow no more and send no more.
pub const FRAME_BYTES_MAX: usize = 16_384;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Data = 0x0,
    Headers = 0x1,
    Priority = 0x2,
    ResetStream = 0x3,
    Settings = 0x4,
    PushPromise = 0x5,
    Ping = 0x6,
    GoAway = 0x7,
    WindowUpdate = 0x8,
    Continuation = 0x9,
    /// Of an extension: to be passed over (RFC 9113 §4.1).
    Unknown = 0xff,
}

impl Kind {
    fn of(code: u8) -> Kind {
        const KNOWN: [Kind; 10] = [
            Kind::Data,
            Kind::Headers,
            Kind::Priority,
            Kind::ResetStream,
            Kind::Settings,
            Kind::PushPromise,
            Kind::Ping,
            Kind::GoAway,
            Kind::WindowUpdate,
            Kind::Continuation,
        ];
        KNOWN.get(usize::from(code)).copied().unwrap_or(Kind::Unknown)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    /// Of the payload.
    pub(super) length: usize,
    pub(super) kind: Kind,
    flags: u8,
    /// 0 is the connection.
    pub(super) stream: u32,
}

impl FrameHead {
    /// None if it is not all there.
    pub(super) fn read(input: &[u8]) -> Option<FrameHead> {
        let [a, b, c, kind, flags, stream @ ..] = *input.first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(FrameHead { length, kind: Kind::of(kind), flags, stream: number(stream) })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What is left of a payload without its padding (RFC 9113 §6.1).
    pub(super) fn without_padding(&self, payload: &[u8]) -> Result<Range<usize>, Fault> {
        if !self.has(PADDED) {
            return Ok(0..payload.len());
        }
        let padding = usize::from(*payload.first().ok_or(Fault::size("no length of the padding"))?);
        let end = payload.len().checked_sub(padding).filter(|end| *end > 0);
        Ok(1..end.ok_or(Fault::protocol("more padding than payload"))?)
    }
}

/// 31 bits, behind one that means nothing.
pub(super) fn number(octets: [u8; 4]) -> u32 {
    u32::from_be_bytes(octets) & 0x7fff_ffff
}

/// Writes the head of a frame. `length` fits into 24 bits.
pub(super) fn put_head(length: usize, kind: Kind, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, length @ ..] = (length as u32).to_be_bytes();
    let [a, b, c] = length;
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind as u8, flags, d, e, f, g]);
}

/// Writes a whole frame of a few octets.
pub(super) fn put(kind: Kind, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    put_head(payload.len(), kind, flags, stream, out);
    out.extend_from_slice(payload);
}
