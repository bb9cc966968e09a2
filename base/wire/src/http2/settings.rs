//! What the peer says about itself (RFC 9113 §6.5).

use super::window::WINDOW_MAX;
use super::{Code, FRAME_BYTES_MAX, Fault};

/// Of a setting: its number, and its value.
const SETTING_BYTES: usize = 6;

pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(super) const ENABLE_PUSH: u16 = 0x2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 §3.
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// The settings of one frame that mean something here. One that is there twice holds once and then again (RFC 9113
/// §6.5.3); of all its values but the last, what counts is the one at which something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The least and the last: a table that was to be smaller in between is told of both (RFC 7541 §4.2).
    pub(super) table_bytes_max: Option<(u32, u32)>,
    /// The greatest and the last: a window that was too large in between is an error (RFC 9113 §6.9.2).
    pub(super) initial_window: Option<(u32, u32)>,
    /// Streams at a time, for who opens them.
    pub(super) streams: Option<u32>,
    /// The peer would take what is pushed, which no server may say (RFC 9113 §6.5.2).
    pub(super) takes_pushed: bool,
}

impl Settings {
    pub(super) fn read(payload: &[u8]) -> Result<Settings, Fault> {
        let (settings, rest) = payload.as_chunks::<SETTING_BYTES>();
        if !rest.is_empty() {
            return Err(Fault::size("half a setting"));
        }
        let mut said = Settings::default();
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                HEADER_TABLE_SIZE => {
                    let least = said.table_bytes_max.map_or(value, |(least, _)| least.min(value));
                    said.table_bytes_max = Some((least, value));
                }
                ENABLE_PUSH if value > 1 => return Err(Fault::protocol("ENABLE_PUSH is neither 0 nor 1")),
                ENABLE_PUSH => said.takes_pushed = value == 1,
                MAX_CONCURRENT_STREAMS => said.streams = Some(value),
                INITIAL_WINDOW_SIZE if value > WINDOW_MAX => {
                    return Err(Fault::new(Code::FlowControl, "a first window that is too large"));
                }
                INITIAL_WINDOW_SIZE => {
                    let greatest = said.initial_window.map_or(value, |(greatest, _)| greatest.max(value));
                    said.initial_window = Some((greatest, value));
                }
                MAX_FRAME_SIZE if !(FRAME_BYTES_MAX as u32..1 << 24).contains(&value) => {
                    return Err(Fault::protocol("frames of a size that is not allowed"));
                }
                // The rest is for who sends more than the least that all take.
                _ => {}
            }
        }
        Ok(said)
    }
}

/// Writes settings as a payload.
pub(super) fn put(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    for (number, value) in settings {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// How much [`put`] writes.
pub(super) const fn bytes(count: usize) -> usize {
    count * SETTING_BYTES
}
