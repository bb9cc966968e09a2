//! The fields of a message, as they came, and how they get into the next head.
//!
//! ```text
//! HTTP/1.1, HTTP/2 ── Lines ─┐                    ┌─► HeadWriter ─► HTTP/1.1: an origin, a visitor
//!                            ├─ rules of forward ─┼─► Block ──────► HTTP/2: a visitor
//! tunnel, page ─────── Map ──┘                    └─► HeaderMap ──► a tunnel
//! ```
//! From one head to the next lines are copied, and no map is made of them. All forms pass through the same rules.

use bartizan_wire::http1::{self, Class, FieldRoom, HeadWriter, Rewrite, is_end_to_end};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a request or of an answer, those of the connection and of framing included.
pub(crate) enum Fields {
    Lines(Lines),
    Map(HeaderMap),
}

/// Those of a head that was read, in its memory.
pub(crate) struct Lines {
    head: Bytes,
    room: FieldRoom,
}

impl Lines {
    /// `room` is the one that `head` was parsed with.
    pub(crate) fn new(head: Bytes, room: FieldRoom) -> Lines {
        Lines { head, room }
    }

    fn fields(&self) -> http1::Fields<'_> {
        self.room.fields(&self.head)
    }
}

impl Fields {
    /// Names are in lower case.
    pub(crate) fn get(&self, name: &'static str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The values of all lines with this name.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let (lines, map) = match self {
            Fields::Lines(lines) => (Some(lines.fields().values(name)), None),
            Fields::Map(map) => (None, Some(map.get_all(name).iter())),
        };
        lines.into_iter().flatten().chain(map.into_iter().flatten().map(HeaderValue::as_bytes))
    }

    /// Gives those that are the message's own (RFC 9110 §7.6.1), in their order.
    pub(crate) fn each_end_to_end<'f>(&'f self, mut take: impl FnMut(&'f [u8], &'f [u8])) {
        match self {
            Fields::Lines(lines) => {
                let own = lines.fields().iter().filter(|field| field.class == Class::EndToEnd);
                own.for_each(|field| take(field.name, field.value));
            }
            Fields::Map(map) => {
                end_to_end(map).for_each(|(name, value)| take(name.as_str().as_bytes(), value.as_bytes()));
            }
        }
    }

    /// What the format of an error page is chosen by.
    pub(crate) fn accepted(&self) -> HeaderMap {
        let values = self.values("accept").filter_map(|value| HeaderValue::from_bytes(value).ok());
        values.map(|value| (ACCEPT, value)).collect()
    }

    /// How many there are, or more.
    pub(crate) fn count(&self) -> usize {
        match self {
            Fields::Lines(lines) => lines.fields().iter().count(),
            Fields::Map(map) => map.len(),
        }
    }

    /// Octets that they take up: those of the head that they lie in, or of a map.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Fields::Lines(lines) => lines.head.len(),
            Fields::Map(map) => bytes_of(map),
        }
    }

    /// Those of the longest one.
    pub(crate) fn longest(&self) -> usize {
        let longest = match self {
            Fields::Lines(lines) => lines.fields().iter().map(|field| field.name.len() + field.value.len()).max(),
            Fields::Map(map) => map.iter().map(|(name, value)| name.as_str().len() + value.len()).max(),
        };
        longest.unwrap_or_default()
    }

    /// Changes them. If they are lines, a map is made of them, without the fields of the connection.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut HeaderMap)) {
        let mut map = match self {
            Fields::Lines(_) => HeaderMap::with_capacity(self.count()).pass(self, |_, _| Rewrite::Keep),
            Fields::Map(map) => std::mem::take(map),
        };
        change(&mut map);
        *self = Fields::Map(map);
    }

    /// The memory, for the next head.
    pub(crate) fn into_room(self) -> Option<FieldRoom> {
        match self {
            Fields::Lines(lines) => Some(lines.room),
            Fields::Map(_) => None,
        }
    }
}

/// What a field of a map takes up beside its name and its value.
const MAP_FIELD_BYTES: usize = 128;

/// Octets that a map takes up.
pub(crate) fn bytes_of(map: &HeaderMap) -> usize {
    map.iter().map(|(name, value)| name.as_str().len() + value.len() + MAP_FIELD_BYTES).sum()
}

/// What takes fields: the next head, or a map for who writes none.
pub(crate) trait Sink: Sized {
    /// Passes on what is the message's own (RFC 9110 §7.6.1), each field as `fate` says by its name and value.
    fn pass<'f, 'v>(self, fields: &'f Fields, fate: impl FnMut(&'f [u8], &'f [u8]) -> Rewrite<'v>) -> Self;

    /// Adds a field that `pass` did not.
    fn add(self, name: Name, value: Own<'_>) -> Self;

    /// The same under a name that is no word of ours.
    fn tell(self, name: &str, value: &[u8]) -> Self;

    /// Adds lines that were made before, each pair of them with the value behind it, if lines are what it takes
    /// ([`HeadWriter::lines_with`]).
    fn add_lines(self, _lines: &[(&[u8], &[u8])]) -> Result<Self, Self> {
        Err(self)
    }
}

/// The name of a field that the edge adds.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    /// As header maps and rules have it.
    pub(crate) lower: &'static str,
    /// As people have it.
    pub(crate) written: &'static str,
}

/// A value of the edge's own.
#[derive(Clone, Copy)]
pub(crate) enum Own<'v> {
    Word(&'static str),
    /// They follow each other.
    Parts(&'v [&'v [u8]]),
}

impl Sink for HeadWriter<'_> {
    // Hot: once a head. No allocation but for a larger buffer.
    fn pass<'f, 'v>(mut self, fields: &'f Fields, mut fate: impl FnMut(&'f [u8], &'f [u8]) -> Rewrite<'v>) -> Self {
        match fields {
            Fields::Lines(lines) => self.copy(lines.fields(), |field| fate(field.name, field.value)),
            Fields::Map(map) => {
                for (name, value) in end_to_end(map) {
                    self = match fate(name.as_str().as_bytes(), value.as_bytes()) {
                        Rewrite::Keep => self.titled(name.as_str(), value.as_bytes()),
                        Rewrite::Drop => self,
                        Rewrite::Replace(value) => self.titled(name.as_str(), value),
                    };
                }
                self
            }
        }
    }

    fn add(self, name: Name, value: Own<'_>) -> Self {
        match value {
            Own::Word(word) => self.field(name.written.as_bytes(), word.as_bytes()),
            Own::Parts(parts) => self.parts(name.written.as_bytes(), parts),
        }
    }

    fn tell(self, name: &str, value: &[u8]) -> Self {
        self.field(name.as_bytes(), value)
    }

    fn add_lines(self, lines: &[(&[u8], &[u8])]) -> Result<Self, Self> {
        Ok(self.lines_with(lines))
    }
}

impl Sink for HeaderMap {
    fn pass<'f, 'v>(mut self, fields: &'f Fields, mut fate: impl FnMut(&'f [u8], &'f [u8]) -> Rewrite<'v>) -> Self {
        match fields {
            Fields::Lines(lines) => {
                for field in lines.fields().iter().filter(|field| field.class == Class::EndToEnd) {
                    // What was read is legal. A value shares the memory of its head.
                    let value = match fate(field.name, field.value) {
                        Rewrite::Keep => HeaderValue::from_maybe_shared(lines.head.slice_ref(field.value)).ok(),
                        Rewrite::Drop => None,
                        Rewrite::Replace(value) => HeaderValue::from_bytes(value).ok(),
                    };
                    if let (Some(value), Ok(name)) = (value, HeaderName::from_bytes(field.name)) {
                        self.append(name, value);
                    }
                }
            }
            Fields::Map(map) => {
                for (name, value) in end_to_end(map) {
                    let value = match fate(name.as_str().as_bytes(), value.as_bytes()) {
                        Rewrite::Keep => Some(value.clone()),
                        Rewrite::Drop => None,
                        Rewrite::Replace(value) => HeaderValue::from_bytes(value).ok(),
                    };
                    if let Some(value) = value {
                        self.append(name.clone(), value);
                    }
                }
            }
        }
        self
    }

    fn add(mut self, name: Name, value: Own<'_>) -> Self {
        let value = match value {
            Own::Word(word) => Ok(HeaderValue::from_static(word)),
            Own::Parts(parts) => HeaderValue::from_maybe_shared(Bytes::from(parts.concat())),
        };
        // Parts are of what was read, or digits and letters.
        if let Ok(value) = value {
            self.append(HeaderName::from_static(name.lower), value);
        }
        self
    }

    fn tell(mut self, name: &str, value: &[u8]) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            self.append(name, value);
        }
        self
    }
}

/// Of a map, what is the message's own (RFC 9110 §7.6.1).
fn end_to_end(map: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let options = || map.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    map.iter().filter(move |(name, _)| is_end_to_end(name.as_str().as_bytes(), options()))
}
