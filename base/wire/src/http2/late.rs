//! What comes on streams that we have reset: the peer may have sent it before it knew (RFC 9113 §5.1), and nobody is to blame for
//! it. So each reset pays for as much of it as one stream may bring, whichever stream it comes on. What goes beyond costs
//! tokens, as all that asks for nothing.

use super::streams::Stream;

/// Frames that are no data: HEADERS of an answer and of one before it, trailers, RST_STREAM and WINDOW_UPDATE.
const FRAMES_A_RESET: u32 = 5;

/// Those of so many resets at most, so that nobody saves up what others would have to wait for.
const FRAMES_MAX: u32 = 4_096 * FRAMES_A_RESET;

/// A frame of data with less takes up as much time.
const DATA_FRAME_BYTES: u32 = 256;

/// Octets of data: four times as much as the windows of connections let come at a time.
const BYTES_MAX: u32 = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Late {
    frames: u32,
    bytes: u32,
}

impl Late {
    /// We have reset this one.
    pub(super) fn expect<S>(&mut self, stream: &Stream<S>) {
        if stream.is_receiving {
            self.frames = (self.frames + FRAMES_A_RESET).min(FRAMES_MAX);
            self.expect_data(stream.receive.left());
        }
    }

    /// So much data may come on one that was not taken.
    pub(super) fn expect_data(&mut self, bytes: u32) {
        self.bytes = self.bytes.saturating_add(bytes).min(BYTES_MAX);
    }

    /// Whether a frame without data may come for nothing.
    pub(super) fn take_frame(&mut self) -> bool {
        let left = self.frames.checked_sub(1);
        self.frames = left.unwrap_or_default();
        left.is_some()
    }

    /// Whether so much data may, in one frame.
    pub(super) fn take_data(&mut self, bytes: u32) -> bool {
        let left = self.bytes.checked_sub(bytes.max(DATA_FRAME_BYTES));
        self.bytes = left.unwrap_or_default();
        left.is_some()
    }
}
