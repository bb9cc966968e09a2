//! What requests and answers have in common: where a head ends, its fields, and what they say about the connection.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::field::{Class, Known, has_token, tokens};
use super::{CONNECTION_OPTIONS_MAX, FIELDS_MOST, Limits, Persistence, Refusal, Version};

/// Looks for the end of a head while its bytes arrive. One for each message.
#[derive(Clone, Copy, Debug)]
pub struct HeadSearch {
    leading: Leading,
    /// Bytes from the front that were looked at before.
    scanned: usize,
    /// Whether the end of the first line was among them.
    in_first_line: bool,
}

/// What may stand in front of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leading {
    /// One empty line, which old clients send behind a body (RFC 9112 §2.2). A stream of them is refused.
    EmptyLine,
    /// Nothing: so for answers. What does not begin like a version is refused at once, for a server of another protocol
    /// may say one line and wait.
    Nothing,
}

/// How each answer begins (RFC 9112 §4).
const ANSWER: &[u8] = b"HTTP/";

impl HeadSearch {
    pub const fn new(leading: Leading) -> HeadSearch {
        HeadSearch { leading, scanned: 0, in_first_line: true }
    }

    /// Where the head is in `input`, its empty line included, or none until more of it is there. `input` begins where the
    /// message before ended, and only grows between calls.
    // Hot: once a read. No allocation.
    pub fn find(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, Refusal> {
        let start = match input {
            [] | b"\r" if self.leading == Leading::EmptyLine => return Ok(None),
            [b'\r', b'\n', ..] if self.leading == Leading::EmptyLine => 2,
            [b'\r' | b'\n', ..] => {
                return Err(if input[0] == b'\n' { Refusal::BareLineFeed } else { Refusal::Malformed });
            }
            _ if self.leading == Leading::Nothing && !begins_alike(input, ANSWER) => return Err(Refusal::Malformed),
            _ => 0,
        };
        let head = &input[start..];
        if matches!(head, [b'\r', ..]) {
            return Err(Refusal::Malformed);
        }
        let within = &head[..head.len().min(limits.head_bytes)];
        let unseen = self.scanned.max(start) - start;
        for at in memchr::memchr_iter(b'\n', within.get(unseen..).unwrap_or_default()) {
            let end = unseen + at;
            match &within[..end] {
                [.., b'\r', b'\n', b'\r'] => return Ok(Some(start..start + end + 1)),
                [.., b'\r'] => self.in_first_line = false,
                _ => return Err(Refusal::BareLineFeed),
            }
        }
        if within.len() == limits.head_bytes {
            return Err(if self.in_first_line { Refusal::TargetTooLong } else { Refusal::HeadTooLong });
        }
        self.scanned = input.len();
        Ok(None)
    }
}

/// Whether two texts are the same as far as both go.
fn begins_alike(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Where a part of a head lies in its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `part` is a slice of `whole`, or empty and anywhere.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let narrow = |offset: usize| u32::try_from(offset).ok();
        let span = narrow(start).zip(narrow(start.wrapping_add(part.len()))).map(|(start, end)| Span { start, end });
        span.filter(|span| !part.is_empty() && span.end as usize <= whole.len()).unwrap_or_default()
    }

    pub(super) fn within(self, range: Range<usize>) -> Span {
        Span { start: self.start + range.start as u32, end: self.start + range.end as u32 }
    }

    /// Of a text that is shorter than 4 GB.
    pub(crate) fn at(range: Range<usize>) -> Span {
        Span { start: range.start as u32, end: range.end as u32 }
    }

    pub(crate) fn get(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// For parts that were read as text.
    pub(crate) fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.get(bytes)).unwrap_or_default()
    }
}

/// Where a field is in its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldSpan {
    name: Span,
    value: Span,
    pub(super) class: Class,
}

impl FieldSpan {
    pub(super) fn of(field: &httparse::Header<'_>, class: Class, head: &[u8]) -> FieldSpan {
        FieldSpan { name: Span::of(field.name.as_bytes(), head), value: Span::of(field.value, head), class }
    }

    pub(super) fn field(self, head: &[u8]) -> Field<'_> {
        Field { name: self.name.get(head), value: self.value.get(head), class: self.class }
    }

    /// Where its line lies with its end, if it is written as we write lines: one space behind the colon, none at the end.
    pub(super) fn line(self, head: &[u8]) -> Option<Range<usize>> {
        let (name, value) = (self.name, self.value);
        let (line, end) = (name.start as usize..value.end as usize + 2, head.get(value.end as usize..)?);
        let is_as_ours = value.start == name.end + 2
            && head.get(name.end as usize..).is_some_and(|rest| rest.starts_with(b": "))
            && end.starts_with(b"\r\n");
        is_as_ours.then_some(line)
    }
}

/// Memory for the spans of the fields, to be used again for the next head.
#[derive(Debug, Default)]
pub struct FieldRoom(pub(super) Vec<FieldSpan>);

impl FieldRoom {
    /// The fields of the head that was read with it last. `bytes`: those that it was read from.
    pub fn fields<'h>(&'h self, bytes: &'h [u8]) -> Fields<'h> {
        Fields { spans: &self.0, bytes }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a field of the head that is being written.
    pub(crate) fn push(&mut self, name: Span, value: Span, class: Class) {
        self.0.push(FieldSpan { name, value, class });
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'h> {
    /// As it was written.
    pub name: &'h [u8],
    /// Without the space around it.
    pub value: &'h [u8],
    pub class: Class,
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The field lines of a head, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'h> {
    pub(super) spans: &'h [FieldSpan],
    pub(super) bytes: &'h [u8],
}

impl<'h> Fields<'h> {
    pub fn iter(self) -> impl Iterator<Item = Field<'h>> {
        let Fields { spans, bytes } = self;
        spans.iter().map(|span| span.field(bytes))
    }

    /// The values of all lines with this name.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.iter().filter(move |field| field.is(name)).map(|field| field.value)
    }
}

/// What the fields of a head say about its message, whichever direction it has.
#[derive(Debug, Default)]
pub(super) struct Facts<'h> {
    pub(super) host: Option<&'h [u8]>,
    pub(super) length: Option<u64>,
    coding: Option<&'h [u8]>,
    /// `Connection` names `close`, `keep-alive`, `upgrade`.
    close: bool,
    keep_alive: bool,
    pub(super) wants_upgrade: bool,
    /// `Upgrade` names it.
    pub(super) websocket: bool,
    pub(super) expects_continue: bool,
}

/// How the fields frame a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

/// Room for the parser's own list, on the stack.
pub(super) type Lines<'h> = [MaybeUninit<httparse::Header<'h>>; FIELDS_MOST];

pub(super) const fn lines<'h>() -> Lines<'h> {
    [const { MaybeUninit::uninit() }; FIELDS_MOST]
}

impl<'h> Facts<'h> {
    /// Reads the fields of `head`, and notes the span and class of each in `room`.
    pub(super) fn collect(
        fields: &[httparse::Header<'h>],
        head: &[u8],
        room: &mut Vec<FieldSpan>,
    ) -> Result<Facts<'h>, Refusal> {
        room.clear();
        room.reserve_exact(fields.len());
        let mut facts = Facts::default();
        let mut options = 0;
        for field in fields {
            let known = Known::of(field.name.as_bytes());
            facts.take(known, field.value)?;
            if known == Known::Connection {
                options += tokens(field.value).count();
            }
            room.push(FieldSpan::of(field, known.class(), head));
        }
        if options > CONNECTION_OPTIONS_MAX {
            return Err(Refusal::TooManyOptions);
        }
        if options > 0 {
            let connection = fields.iter().filter(|field| Known::of(field.name.as_bytes()) == Known::Connection);
            connection.flat_map(|field| tokens(field.value)).for_each(|option| leave_behind(option, head, room));
        }
        Ok(facts)
    }

    fn take(&mut self, known: Known, value: &'h [u8]) -> Result<(), Refusal> {
        match known {
            Known::Host if self.host.replace(value).is_some() => return Err(Refusal::SeveralHosts),
            Known::ContentLength if self.length.replace(parse_length(value)?).is_some() => {
                return Err(Refusal::SeveralLengths);
            }
            Known::TransferEncoding if self.coding.replace(value).is_some() => return Err(Refusal::BadCoding),
            Known::Connection => {
                self.close |= has_token(value, "close");
                self.keep_alive |= has_token(value, "keep-alive");
                self.wants_upgrade |= has_token(value, "upgrade");
            }
            Known::Upgrade => self.websocket |= has_token(value, "websocket"),
            Known::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.1, §6.2. Exactly one `chunked`, or one length, or neither.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.coding, self.length) {
            (None, None) => Ok(Framing::Nothing),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (Some(_), _) if version == Version::Http10 => Err(Refusal::CodingInOldVersion),
            (Some(_), Some(_)) => Err(Refusal::LengthAndCoding),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(coding), None) => Err(fault_of(coding)),
        }
    }

    /// RFC 9112 §9.3.
    pub(super) fn persistence(&self, version: Version) -> Persistence {
        match version {
            _ if self.close => Persistence::Close,
            Version::Http10 if !self.keep_alive => Persistence::Close,
            Version::Http10 | Version::Http11 => Persistence::KeepAlive,
        }
    }
}

/// A field that `Connection` names is the connection's (RFC 9110 §7.6.1). What frames the message and whom it is for
/// cannot be taken away like that.
fn leave_behind(option: &[u8], head: &[u8], room: &mut [FieldSpan]) {
    let end_to_end = room.iter_mut().filter(|span| span.class == Class::EndToEnd);
    for span in end_to_end.filter(|span| span.name.get(head).eq_ignore_ascii_case(option)) {
        span.class = Class::HopByHop;
    }
}

/// Digits and nothing else: no sign, no space, no list of equal values.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() {
        return Err(Refusal::BadLength);
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0')).ok_or(Refusal::BadLength)?;
        length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(Refusal::BadLength)
    })
}

/// What is wrong with a transfer coding that is not "chunked".
fn fault_of(coding: &[u8]) -> Refusal {
    let is_chunked = |item: &&[u8]| item.eq_ignore_ascii_case(b"chunked");
    let chunked_last = tokens(coding).last().is_some_and(|last| is_chunked(&last));
    let once = tokens(coding).filter(is_chunked).count() == 1;
    if chunked_last && once && tokens(coding).count() > 1 { Refusal::UnknownCoding } else { Refusal::BadCoding }
}

/// The fault that the parser found, in our words.
pub(super) fn refusal_of(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::Version if names_another_version(head) => Refusal::Version,
        _ => Refusal::Malformed,
    }
}

/// Whether the first line has another version by the grammar (RFC 9112 §2.3), so that only its number is wrong.
fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').filter_map(|word| word.strip_prefix(b"HTTP/"));
    words.any(|number| matches!(number, [b'0'..=b'9', b'.', b'0'..=b'9']) && !matches!(number, b"1.0" | b"1.1"))
}
