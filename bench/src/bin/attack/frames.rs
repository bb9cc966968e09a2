//! HTTP/2 frame by frame (RFC 9113 §4), as no library would send them.

/// What a connection begins with, before the frames (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const HEAD_BYTES: usize = 9;

/// Appends a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The preface, with this window for each stream.
pub(super) fn preface(window: u32) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    put_window_of_streams(&mut out, window);
    out
}

/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(super) fn put_window_of_streams(out: &mut Vec<u8>, window: u32) {
    let [a, b, c, d] = window.to_be_bytes();
    put(out, SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
}

pub(super) fn put_window_update(out: &mut Vec<u8>, stream: u32, by: u32) {
    put(out, WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
}

/// Requests of one connection, in as few octets as they can have: after the first, names and values are in the table of
/// the other side (RFC 7541 §6.1, §6.2.1).
pub(super) struct Requests<'a> {
    host: &'a str,
    path: &'a str,
    next: u32,
}

impl Requests<'_> {
    pub(super) fn to<'a>(host: &'a str, path: &'a str) -> Requests<'a> {
        Requests { host, path, next: 1 }
    }

    /// Appends one, and says its stream.
    pub(super) fn put(&mut self, out: &mut Vec<u8>) -> u32 {
        const GET: u8 = 0x82;
        const HTTPS: u8 = 0x87;
        let stream = self.next;
        let mut block = vec![GET, HTTPS];
        if stream == 1 {
            // `:path` and `:authority`, which are new in the table.
            for (name, value) in [(0x44, self.path), (0x41, self.host)] {
                block.extend_from_slice(&[name, value.len().min(126) as u8]);
                block.extend_from_slice(&value.as_bytes()[..value.len().min(126)]);
            }
        } else {
            block.extend_from_slice(&[0x80 | 63, 0x80 | 62]);
        }
        put(out, HEADERS, END_STREAM | END_HEADERS, stream, &block);
        self.next += 2;
        stream
    }

    pub(super) fn put_many(&mut self, out: &mut Vec<u8>, count: usize) {
        for _ in 0..count {
            self.put(out);
        }
    }
}

/// The head of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
}

impl Head {
    pub(super) fn is_to_be_acknowledged(self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK == 0
    }
}

/// What came, taken apart into frames.
#[derive(Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next one that is here as a whole; SETTINGS and PING are acknowledged in `out`.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Option<Head> {
        let left = &self.bytes[self.taken..];
        let [a, b, c, kind, flags, stream @ ..] = *left.first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = left.get(HEAD_BYTES..HEAD_BYTES + length)?;
        let head = Head { kind, flags, stream: u32::from_be_bytes(stream), length };
        if head.is_to_be_acknowledged() {
            put(out, kind, ACK, 0, if kind == PING { payload } else { &[] });
        }
        self.taken += HEAD_BYTES + length;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart() {
        let mut sent = Vec::new();
        put(&mut sent, PING, 0, 0, &[7; 8]);
        put(&mut sent, DATA, END_STREAM, 5, b"abc");
        let (mut frames, mut out, mut seen) = (Frames::default(), Vec::new(), Vec::new());
        for byte in &sent {
            frames.add(&[*byte]);
            seen.extend(frames.next(&mut out));
        }
        let ping = Head { kind: PING, flags: 0, stream: 0, length: 8 };
        assert_eq!(seen, [ping, Head { kind: DATA, flags: END_STREAM, stream: 5, length: 3 }]);
        let mut answer = Vec::new();
        put(&mut answer, PING, ACK, 0, &[7; 8]);
        assert_eq!(out, answer);
    }

    #[test]
    fn requests_get_short() {
        let mut requests = Requests::to("a.test", "/1k");
        let lengths = [(); 3].map(|()| {
            let mut out = Vec::new();
            (requests.put(&mut out), out.len())
        });
        assert_eq!(lengths, [(1, 9 + 2 + 2 + 3 + 2 + 6), (3, 13), (5, 13)]);
    }
}
