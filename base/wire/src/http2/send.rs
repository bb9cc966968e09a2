//! What we send: heads, data within the windows, resets, and the goodbye.

use super::connection::{BYTES_A_TOKEN, Leaving, SMALL_FRAME_BYTES, TOKENS_A_FRAME};
use super::frame::{END_HEADERS, END_STREAM, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, Kind, put, put_head};
use super::hpack::Encoder;
use super::streams::Closed;
use super::window::WINDOW_MAX;
use super::{Code, Connection, Fault};

/// Our PINGs: whether somebody is there, and whether they know that we leave.
const PRESENCE: &[u8; 8] = b"bartizan";
pub(super) const GOODBYE: &[u8; 8] = b"farewell";

/// Whether a frame is the last that we send on its stream (RFC 9113 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStream {
    Set,
    Unset,
}

impl EndStream {
    /// Set if nothing follows.
    pub fn when(is_last: bool) -> EndStream {
        if is_last { EndStream::Set } else { EndStream::Unset }
    }

    fn flag(self) -> u8 {
        match self {
            EndStream::Set => END_STREAM,
            EndStream::Unset => 0,
        }
    }
}

/// What became of data that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many octets, in one frame.
    Frame(usize),
    /// None: this window is empty.
    NoRoom(Whose),
    /// Nothing may be sent on the stream any more.
    Closed,
}

/// Whose window it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Stream,
    Connection,
}

impl<S: Clone + Default> Connection<S> {
    /// Gives a stream to who answers it. None if it is over already.
    pub fn owner_of(&mut self, stream: u32) -> Option<&mut S> {
        self.streams.find(stream).map(|stream| &mut stream.owner)
    }

    /// All of them.
    pub fn owners(&mut self) -> impl Iterator<Item = &mut S> {
        self.streams.iter_mut().map(|stream| &mut stream.owner)
    }

    /// Those of streams whose own window lets something through.
    pub fn owners_with_window(&mut self) -> impl Iterator<Item = &mut S> {
        self.streams.iter_mut().filter(|stream| stream.send.bytes() > 0).map(|stream| &mut stream.owner)
    }

    /// Streams that are not closed.
    pub fn streams(&self) -> usize {
        self.streams.count()
    }

    /// Whether the window of the connection lets anything through.
    pub fn has_window(&self) -> bool {
        self.send.bytes() > 0
    }

    /// Whether the peer may still send on this stream.
    pub fn is_receiving(&mut self, stream: u32) -> bool {
        self.streams.find(stream).is_some_and(|stream| stream.is_receiving)
    }

    /// So much of the data that came on this stream was taken: its sender may send as much again.
    pub fn took(&mut self, stream: u32, bytes: usize, out: &mut Vec<u8>) {
        let Some(at) = self.streams.index(stream) else { return };
        let stream = self.streams.at(at);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(stream.held);
        stream.held -= bytes;
        self.make_room(bytes, out);
        self.tell_of_room(at, bytes, out);
    }

    /// Sends a head: an answer's, an interim one's, or trailers, which `fields` writes. False if the stream is over.
    // Hot: once an answer. No allocation but for a head that needs several frames.
    pub fn send_head(
        &mut self,
        stream: u32,
        end: EndStream,
        out: &mut Vec<u8>,
        fields: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> bool {
        let Some(at) = self.streams.index(stream) else { return false };
        if !self.streams.at(at).is_sending {
            return false;
        }
        let flag = end.flag();
        let start = out.len();
        put_head(0, Kind::Headers, flag | END_HEADERS, stream, out);
        self.encoder.begin(out);
        fields(&mut self.encoder, out);
        let length = out.len() - start - FRAME_HEAD_BYTES;
        if length <= FRAME_BYTES_MAX {
            let [_, _, high, low] = (length as u32).to_be_bytes();
            out[start + 1..start + 3].copy_from_slice(&[high, low]);
        } else {
            let block = out.split_off(start + FRAME_HEAD_BYTES);
            out.truncate(start);
            put_pieces(&block, flag, stream, out);
        }
        self.end_if(end, at, out);
        true
    }

    /// Sends as much of `data` as one frame, the windows and `most` allow. `end` is for the last of it.
    // Hot: once a frame. No allocation but for a larger buffer.
    pub fn send_data(&mut self, stream: u32, data: &[u8], end: EndStream, most: usize, out: &mut Vec<u8>) -> Sent {
        let Some(at) = self.streams.index(stream) else { return Sent::Closed };
        let (of_connection, found) = (self.send.bytes(), self.streams.at(at));
        if !found.is_sending {
            return Sent::Closed;
        }
        let wanted = data.len().min(FRAME_BYTES_MAX).min(most);
        let bytes = wanted.min(found.send.bytes()).min(of_connection);
        if bytes == 0 && !data.is_empty() {
            return Sent::NoRoom(if found.send.bytes() == 0 { Whose::Stream } else { Whose::Connection });
        }
        found.send.spend(bytes);
        found.unread = found.unread.saturating_add(bytes as u32);
        self.send.spend(bytes);
        let end = if bytes == data.len() { end } else { EndStream::Unset };
        put_head(bytes, Kind::Data, end.flag(), stream, out);
        out.extend_from_slice(&data[..bytes]);
        if bytes >= SMALL_FRAME_BYTES || bytes == wanted {
            self.add_tokens(TOKENS_A_FRAME + (bytes / BYTES_A_TOKEN) as u32);
        }
        self.end_if(end, at, out);
        Sent::Frame(bytes)
    }

    /// Ends a stream at once. Nothing, if it is over.
    pub fn reset(&mut self, stream: u32, code: Code, out: &mut Vec<u8>) {
        let Some(at) = self.streams.index(stream) else { return };
        let removed = self.streams.remove(at, Closed::ByUs);
        self.late.expect(&removed);
        self.make_room(removed.held, out);
        put(Kind::ResetStream, 0, stream, &(code as u32).to_be_bytes(), out);
    }

    /// Asks whether somebody is there.
    pub fn ping(&mut self, out: &mut Vec<u8>) {
        self.is_pinging = true;
        put(Kind::Ping, 0, 0, PRESENCE, out);
    }

    /// Whether it was asked and has not answered.
    pub fn is_pinging(&self) -> bool {
        self.is_pinging
    }

    /// Tells the peer to ask for nothing more. What it asked for before it knew is served (RFC 9113 §6.8): the answer to
    /// the PING behind says that it knows.
    pub fn leave(&mut self, out: &mut Vec<u8>) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Announced;
            put_go_away(WINDOW_MAX, Code::NoError, out);
            put(Kind::Ping, 0, 0, GOODBYE, out);
        }
    }

    /// The peer knows: what it asks for from now on is not served.
    pub(super) fn leave_from_here(&mut self, out: &mut Vec<u8>) {
        if self.leaving == Leaving::Announced {
            let last = self.streams.highest();
            self.leaving = Leaving::From(last);
            put_go_away(last, Code::NoError, out);
        }
    }

    /// Whether all that will be served has been.
    pub fn has_left(&self) -> bool {
        matches!(self.leaving, Leaving::From(_)) && self.streams.count() == 0
    }

    /// Says why the connection ends now. Whether streams above the last one named were served is not to be known, so the
    /// highest is.
    pub fn fail(&mut self, fault: Fault, out: &mut Vec<u8>) {
        put_go_away(self.streams.highest(), fault.code, out);
    }

    /// Our side of a stream is over, if it is.
    fn end_if(&mut self, end: EndStream, at: usize, out: &mut Vec<u8>) {
        if end == EndStream::Set {
            self.streams.at(at).is_sending = false;
            self.close_if_over(at, out);
        }
    }
}

fn put_go_away(last: u32, code: Code, out: &mut Vec<u8>) {
    put_head(8, Kind::GoAway, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// A block of fields in several frames (RFC 9113 §6.10).
fn put_pieces(block: &[u8], flag: u8, stream: u32, out: &mut Vec<u8>) {
    let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
    let mut kind = Kind::Headers;
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let flag = if kind == Kind::Headers { flag | end } else { end };
        put_head(piece.len(), kind, flag, stream, out);
        out.extend_from_slice(piece);
        kind = Kind::Continuation;
    }
}
