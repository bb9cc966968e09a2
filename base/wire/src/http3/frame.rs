//! Frames, and what ends a stream or all of them (RFC 9114 §7, §8).

use super::varint;

/// Of a frame: two integers.
pub const FRAME_HEAD_BYTES_MAX: usize = 2 * varint::BYTES_MAX;

/// Types of frames (RFC 9114 §11.2.1).
pub(super) const DATA: u64 = 0x0;
pub(super) const HEADERS: u64 = 0x1;
pub(super) const CANCEL_PUSH: u64 = 0x3;
pub(super) const SETTINGS: u64 = 0x4;
pub(super) const PUSH_PROMISE: u64 = 0x5;
pub(super) const GOAWAY: u64 = 0x7;
pub(super) const MAX_PUSH_ID: u64 = 0xd;
/// Those of HTTP/2 that are no frames here (RFC 9114 §7.2.8).
pub(super) const RESERVED: [u64; 4] = [0x2, 0x6, 0x8, 0x9];

/// SETTINGS_MAX_FIELD_SECTION_SIZE.
pub(super) const SETTING_LIST_BYTES: u64 = 0x6;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 §5).
pub(super) const SETTING_CONNECT_PROTOCOL: u64 = 0x8;

/// The reason of a reset, or of the end of a connection (RFC 9114 §8.1, RFC 9204 §6). Codes that we do not send are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// Nothing went wrong.
    No = 0x100,
    Protocol = 0x101,
    Internal = 0x102,
    StreamCreation = 0x103,
    ClosedCriticalStream = 0x104,
    FrameUnexpected = 0x105,
    Frame = 0x106,
    ExcessiveLoad = 0x107,
    Id = 0x108,
    Settings = 0x109,
    MissingSettings = 0x10a,
    /// Nothing was done for the request, so it may be sent again.
    RequestRejected = 0x10b,
    RequestCancelled = 0x10c,
    RequestIncomplete = 0x10d,
    Message = 0x10e,
    Decompression = 0x200,
    EncoderStream = 0x201,
    DecoderStream = 0x202,
}

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One stream: the message on it is none (RFC 9114 §4.1.2).
    Stream,
    /// All of them: nothing that follows can be trusted.
    Connection,
}

/// What the peer did wrong (RFC 9114 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub code: Code,
    pub scope: Scope,
    pub what: &'static str,
}

impl Fault {
    pub(super) const fn connection(code: Code, what: &'static str) -> Fault {
        Fault { code, scope: Scope::Connection, what }
    }

    pub(super) const fn message(what: &'static str) -> Fault {
        Fault { code: Code::Message, scope: Scope::Stream, what }
    }
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: u64,
    pub(super) length: u64,
}

/// The beginning of a frame, of which more may have to come.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadBytes {
    bytes: [u8; FRAME_HEAD_BYTES_MAX],
    len: usize,
}

impl HeadBytes {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes what there is of it; says how much it took, and the head once that is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<FrameHead>) {
        let before = self.len;
        let room = &mut self.bytes[before..];
        let copied = room.len().min(bytes.len());
        room[..copied].copy_from_slice(&bytes[..copied]);
        let known = &self.bytes[..before + copied];
        let head = varint::read(known).and_then(|(kind, first)| {
            let (length, second) = varint::read(&known[first..])?;
            Some((FrameHead { kind, length }, first + second))
        });
        match head {
            Some((head, whole)) => {
                self.len = 0;
                // What was there before was no whole head.
                (whole - before, Some(head))
            }
            None => {
                self.len += copied;
                (copied, None)
            }
        }
    }
}

pub(super) fn put_head(kind: u64, length: usize, out: &mut Vec<u8>) {
    varint::put(kind, out);
    varint::put(length as u64, out);
}

/// The head of a frame with so much of a body, which follows.
pub fn put_data_head(length: usize, out: &mut Vec<u8>) {
    put_head(DATA, length, out);
}

/// A block of fields: of an answer's head or its trailers.
pub fn put_block(block: &[u8], out: &mut Vec<u8>) {
    put_head(HEADERS, block.len(), out);
    out.extend_from_slice(block);
}

/// Requests from this stream on are not served (RFC 9114 §5.2).
pub fn put_goaway(stream: u64, out: &mut Vec<u8>) {
    let mut id = Vec::with_capacity(varint::BYTES_MAX);
    varint::put(stream, &mut id);
    put_head(GOAWAY, id.len(), out);
    out.extend_from_slice(&id);
}
