//! Tokio's streams as the RPC library's, with a limit on what may be read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads at most `left` bytes, then fails.
pub(crate) struct Limited<R> {
    inner: R,
    left: u64,
    /// None once it is known who sends.
    stranger: Option<Stranger>,
}

impl<R> Limited<R> {
    pub(crate) const fn new(inner: R, limit: u64) -> Limited<R> {
        Limited { inner, left: limit, stranger: None }
    }

    /// With less for a stranger, until `known` turns true.
    pub(crate) const fn with_stranger(inner: R, limit: u64, less: Allowance, known: Rc<Cell<bool>>) -> Limited<R> {
        Limited { inner, left: limit, stranger: Some(Stranger { known, left: less, frames: Frames::new() }) }
    }
}

impl<R: AsyncRead + Unpin> futures_util::io::AsyncRead for Limited<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut buffer = ReadBuf::new(to);
        std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        match this.left.checked_sub(read as u64) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Err(io::Error::other("the stream is longer than all its calls need"))),
        }
        match &mut this.stranger {
            Some(stranger) if stranger.known.get() => this.stranger = None,
            // Before the RPC library sees a byte of it, and makes room for what a frame says that comes.
            Some(stranger) => stranger.take(buffer.filled())?,
            None => {}
        }
        Poll::Ready(Ok(read))
    }
}

/// What may be sent.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

struct Stranger {
    known: Rc<Cell<bool>>,
    left: Allowance,
    frames: Frames,
}

impl Stranger {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let too_much = || io::Error::other("more was sent than a registration needs");
        self.left.bytes = self.left.bytes.checked_sub(bytes.len()).ok_or_else(too_much)?;
        while let Some(begun) = self.frames.next(&mut bytes) {
            let messages = self.left.messages.checked_sub(1).filter(|_| begun <= self.left.bytes + bytes.len());
            self.left.messages = messages.ok_or_else(too_much)?;
        }
        Ok(())
    }
}

/// Follows messages on a stream: the number of segments less one, the words of each, and the segments.
/// <https://capnproto.org/encoding.html#serialization-over-a-stream>
struct Frames {
    head: [u8; Frames::HEAD_BYTES_MAX],
    head_bytes: usize,
    body_left: usize,
}

impl Frames {
    /// More is legal, and nobody needs it to register.
    const SEGMENTS_MAX: usize = 15;
    const HEAD_BYTES_MAX: usize = 4 + 4 * Frames::SEGMENTS_MAX;

    const fn new() -> Frames {
        Frames { head: [0; Frames::HEAD_BYTES_MAX], head_bytes: 0, body_left: 0 }
    }

    /// Goes on in `bytes`. Some for the head of a message, with the bytes that it says that follow.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<usize> {
        loop {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            *bytes = &bytes[skipped..];
            let wanted = match self.head_bytes {
                0..4 => 4,
                _ => 4 + 4 * (self.number(0).saturating_add(1) | 1).min(Frames::SEGMENTS_MAX),
            };
            let taken = (wanted - self.head_bytes).min(bytes.len());
            if taken == 0 {
                return None;
            }
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            *bytes = &bytes[taken..];
            if wanted > 4 && self.head_bytes == wanted {
                let segments = self.number(0).saturating_add(1);
                self.head_bytes = 0;
                if segments > Frames::SEGMENTS_MAX {
                    return Some(usize::MAX);
                }
                let words = (1..=segments).fold(0_usize, |words, at| words.saturating_add(self.number(at)));
                self.body_left = words.saturating_mul(8);
                return Some(self.body_left);
            }
        }
    }

    fn number(&self, at: usize) -> usize {
        let bytes = self.head.get(4 * at..4 * at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0xFF; 4]);
        u32::from_le_bytes(bytes) as usize
    }
}

/// The writing half.
pub(crate) struct Writer<W>(pub(crate) W);

impl<W: AsyncWrite + Unpin> futures_util::io::AsyncWrite for Writer<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(segments: &[usize]) -> Vec<u8> {
        let mut bytes = (segments.len() as u32 - 1).to_le_bytes().to_vec();
        segments.iter().for_each(|words| bytes.extend((*words as u32).to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.resize(bytes.len() + 8 * segments.iter().sum::<usize>(), 0xAA);
        bytes
    }

    proptest! {
        #[test]
        fn messages_are_told_apart_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(0_usize..5, 1..15), 0..9),
            cut in 1_usize..40,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|segments| message(segments)).collect();
            let mut frames = Frames::new();
            let mut found = Vec::new();
            for mut bytes in stream.chunks(cut) {
                while let Some(body) = frames.next(&mut bytes) {
                    found.push(body);
                }
            }
            let expect: Vec<usize> = messages.iter().map(|segments| 8 * segments.iter().sum::<usize>()).collect();
            prop_assert_eq!(found, expect);
        }

        #[test]
        fn no_bytes_are_too_strange(stream in prop::collection::vec(any::<u8>(), 0..400), cut in 1_usize..40) {
            let mut frames = Frames::new();
            for mut bytes in stream.chunks(cut) {
                while frames.next(&mut bytes).is_some() {}
            }
        }
    }
}
