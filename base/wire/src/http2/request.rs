//! The head of a request or of an answer, and trailers, from the fields that a block of them has (RFC 9113 §8.2, §8.3; of HTTP/3 the same,
//! RFC 9114 §4.2, §4.3). Extended CONNECT (RFC 8441, RFC 9220) is for WebSocket alone.
//!
//! What was sent as fields is written down as the lines of an HTTP/1.1 head, with the place and class of each: so it goes
//! on to an origin as other heads do, without a map being made of it. `Cookie`, which may come in several fields, is one
//! line (§8.2.3).

use bartizan_names::Authority;

use crate::http1::{Class, FieldRoom, Fields, Known, Refusal, Span, is_token, is_value, parse_length};

/// Where fields are written to, for one message after the other.
#[derive(Debug, Default)]
pub struct HeadRoom {
    text: Vec<u8>,
    cookies: Vec<u8>,
    fields: FieldRoom,
    seen: Seen,
    unfolded: Vec<u8>,
}

/// The head of a request. Its parts lie in the text of the [`HeadRoom`] that it was written to.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead {
    method: Span,
    path: Span,
    host: Span,
    pub length: Option<u64>,
    /// The client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// `CONNECT` for a WebSocket (RFC 8441 §5, RFC 9220 §3): the data of its stream are the bytes of a connection.
    pub to_websocket: bool,
}

impl RequestHead {
    pub fn method(self, text: &[u8]) -> &[u8] {
        self.method.get(text)
    }

    /// With the query; `*` with `OPTIONS`, and nothing with `CONNECT` that is for no WebSocket.
    pub fn path(self, text: &[u8]) -> &[u8] {
        self.path.get(text)
    }

    /// An [`Authority`].
    pub fn host(self, text: &[u8]) -> &str {
        self.host.text(text)
    }
}

/// The head of an answer. Its fields lie in the [`HeadRoom`] that it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// From 100 to 999, and not 101, which HTTP/2 has not (RFC 9113 §8.6).
    pub status: u16,
    /// What it states; of an answer to `HEAD` and of a 304 it is not the body's.
    pub length: Option<u64>,
}

impl AnswerHead {
    /// Whether another answer to the same request follows (RFC 9110 §15.2).
    pub fn is_interim(self) -> bool {
        self.status < 200
    }
}

/// It is no message (RFC 9113 §8.1.1), which is an error of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Why a block is no request that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Malformed,
    /// It is one message for everybody, and is not to be served.
    Refused(Refusal),
}

impl From<Malformed> for Unfit {
    fn from(Malformed: Malformed) -> Unfit {
        Unfit::Malformed
    }
}

/// Which of them a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Section {
    #[default]
    Head,
    /// The head of an answer.
    Answer,
    Trailers,
}

/// What is known of the block under way.
#[derive(Debug, Default)]
struct Seen {
    section: Section,
    /// Pseudo-fields.
    method: Option<Span>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
    status: Option<u16>,
    /// Whether a field was seen that is none.
    has_fields: bool,
    count: usize,
    count_max: usize,
    host: Option<Span>,
    length: Option<u64>,
    expects_continue: bool,
    /// The first reason.
    refusal: Option<Refusal>,
    is_malformed: bool,
}

impl Seen {
    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }
}

impl HeadRoom {
    /// What was written last.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Its fields.
    pub fn fields(&self) -> Fields<'_> {
        self.fields.fields(&self.text)
    }

    /// Where its fields lie in it, in exchange for memory for the next.
    pub fn take_fields(&mut self, next: FieldRoom) -> FieldRoom {
        std::mem::replace(&mut self.fields, next)
    }

    /// Memory for what is unfolded from Huffman's code.
    pub(crate) fn unfolding(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unfolded)
    }

    /// Keeps it for the next block.
    pub(crate) fn give_unfolding(&mut self, unfolded: Vec<u8>) {
        self.unfolded = unfolded;
    }

    pub(crate) fn begin(&mut self, section: Section, count_max: usize) {
        self.text.clear();
        self.cookies.clear();
        self.fields.clear();
        self.seen = Seen { section, count_max, ..Seen::default() };
    }

    // Hot: once a field. No allocation but for longer heads than any before.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        if self.seen.is_malformed {
            return;
        }
        let taken =
            if name.first() == Some(&b':') { self.take_pseudo(name, value) } else { self.take_field(name, value) };
        self.seen.is_malformed = taken.is_err();
    }

    fn put(&mut self, text: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        Span::at(start..self.text.len())
    }

    fn take_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if self.seen.has_fields || self.seen.section == Section::Trailers {
            return Err(Malformed);
        }
        if self.seen.section == Section::Answer {
            return self.take_status(name, value);
        }
        let is_legal = match name {
            b":method" => is_token(value),
            b":scheme" => !value.is_empty() && value.iter().all(|byte| is_of_scheme(*byte)),
            b":authority" => is_value(value),
            b":protocol" => is_token(value),
            b":path" => !value.is_empty() && value.iter().all(|byte| *byte > b' ' && *byte != 0x7f),
            _ => false,
        };
        let span = self.put(value);
        let place = match name {
            b":method" => &mut self.seen.method,
            b":scheme" => &mut self.seen.scheme,
            b":authority" => &mut self.seen.authority,
            b":protocol" => &mut self.seen.protocol,
            _ => &mut self.seen.path,
        };
        if !is_legal || place.replace(span).is_some() { Err(Malformed) } else { Ok(()) }
    }

    /// The only pseudo-field of an answer (RFC 9113 §8.3.2).
    fn take_status(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let digits: [u8; 3] = value.try_into().map_err(|_| Malformed)?;
        if name != b":status" || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        let status = digits.iter().fold(0, |status, digit| 10 * status + u16::from(digit - b'0'));
        let is_legal = status >= 100 && status != 101;
        if !is_legal || self.seen.status.replace(status).is_some() { Err(Malformed) } else { Ok(()) }
    }

    fn take_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        self.seen.has_fields = true;
        if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) || !is_value(value) {
            return Err(Malformed);
        }
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            // RFC 9113 §8.2.1. HTTP/1.1 has it around values, and drops it.
            self.seen.refuse(Refusal::Malformed);
        }
        let known = Known::of(name);
        match (known, name) {
            // RFC 9113 §8.2.2.
            (Known::Connection | Known::Upgrade | Known::TransferEncoding, _) => return Err(Malformed),
            (Known::OtherHopByHop, b"keep-alive" | b"proxy-connection") => return Err(Malformed),
            (Known::OtherHopByHop, b"te") if !value.eq_ignore_ascii_case(b"trailers") => return Err(Malformed),
            (Known::Other, b"cookie") if self.seen.section != Section::Answer => {
                self.take_cookie(value);
                return Ok(());
            }
            _ => {}
        }
        if self.is_one_too_many() {
            return Ok(());
        }
        let (name, value) = self.put_line(name, value);
        self.fields.push(name, value, known.class());
        self.note(known, value);
        Ok(())
    }

    /// Counts a line.
    fn is_one_too_many(&mut self) -> bool {
        self.seen.count += 1;
        let is_too_many = self.seen.count > self.seen.count_max;
        if is_too_many {
            self.seen.refuse(Refusal::TooManyFields);
        }
        is_too_many
    }

    fn take_cookie(&mut self, value: &[u8]) {
        if self.cookies.is_empty() {
            self.is_one_too_many();
        } else {
            self.cookies.extend_from_slice(b"; ");
        }
        self.cookies.extend_from_slice(value);
    }

    /// What the field says about the message.
    fn note(&mut self, known: Known, value: Span) {
        let seen = &mut self.seen;
        match known {
            Known::Host if seen.host.replace(value).is_some() => seen.refuse(Refusal::SeveralHosts),
            Known::ContentLength => match parse_length(value.get(&self.text)) {
                Ok(length) if seen.length.replace(length).is_none() => {}
                Ok(_) => seen.refuse(Refusal::SeveralLengths),
                Err(refusal) => seen.refuse(refusal),
            },
            Known::Expect => seen.expects_continue |= value.get(&self.text).eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }

    /// A line as those of HTTP/1.1, with the capitals that old readers look for.
    fn put_line(&mut self, name: &[u8], value: &[u8]) -> (Span, Span) {
        let start = self.text.len();
        let mut is_first = true;
        self.text.extend(name.iter().map(|byte| {
            if std::mem::replace(&mut is_first, *byte == b'-') { byte.to_ascii_uppercase() } else { *byte }
        }));
        let name = Span::at(start..self.text.len());
        self.text.extend_from_slice(b": ");
        let value = self.put(value);
        self.text.extend_from_slice(b"\r\n");
        (name, value)
    }

    /// The head, once all of the block was taken.
    pub(crate) fn finish_head(&mut self) -> Result<RequestHead, Unfit> {
        if self.seen.is_malformed {
            return Err(Unfit::Malformed);
        }
        if !self.cookies.is_empty() {
            let cookies = std::mem::take(&mut self.cookies);
            let (name, value) = self.put_line(b"cookie", &cookies);
            self.fields.push(name, value, Class::EndToEnd);
            self.cookies = cookies;
        }
        let (text, seen) = (&self.text, &self.seen);
        let method = seen.method.ok_or(Malformed)?;
        let is_connect = method.get(text) == b"CONNECT";
        let path = match (is_connect, seen.protocol, seen.scheme, seen.path) {
            // RFC 9113 §8.5.
            (true, None, None, None) => Span::default(),
            // RFC 8441 §4.
            (true, Some(_), Some(_), Some(path)) | (false, None, Some(_), Some(path)) => path,
            _ => return Err(Unfit::Malformed),
        };
        if !is_connect || seen.protocol.is_some() {
            check_path(path.get(text), method.get(text))?;
        }
        if let Some(refusal) = seen.refusal {
            return Err(Unfit::Refused(refusal));
        }
        let host = self.host().map_err(Unfit::Refused)?;
        let Seen { length, expects_continue, .. } = *seen;
        let Some(protocol) = seen.protocol else {
            return Ok(RequestHead { method, path, host, length, expects_continue, to_websocket: false });
        };
        if !protocol.get(text).eq_ignore_ascii_case(b"websocket") {
            return Err(Unfit::Refused(Refusal::UnknownProtocol));
        }
        if length.is_some_and(|length| length > 0) {
            return Err(Unfit::Refused(Refusal::BodyOnUpgrade));
        }
        // There is no body that could be waited for.
        Ok(RequestHead { method, path, host, length: None, expects_continue: false, to_websocket: true })
    }

    /// The head of an answer, once all of the block was taken. What would be a refusal of a request is none here: nobody is there
    /// to be told.
    pub(crate) fn finish_answer(&self) -> Result<AnswerHead, Malformed> {
        match self.seen {
            Seen { is_malformed: false, refusal: None, status: Some(status), length, .. } => {
                Ok(AnswerHead { status, length })
            }
            _ => Err(Malformed),
        }
    }

    /// The one host that `:authority` and `Host` name together (RFC 9113 §8.3.1).
    fn host(&self) -> Result<Span, Refusal> {
        let Seen { authority, host, .. } = self.seen;
        let parse = |span: Span| Authority::parse(span.text(&self.text)).ok_or(Refusal::BadHost);
        let named = authority.or(host).ok_or(Refusal::NoHost)?;
        let parsed = parse(named)?;
        match host {
            Some(field) if !parse(field)?.is_same(&parsed, 443) => Err(Refusal::HostDiffers),
            _ => Ok(named),
        }
    }

    /// Trailers: what is no field of HTTP makes them none.
    pub(crate) fn finish_trailers(&self) -> Result<(), Malformed> {
        if self.seen.is_malformed || self.seen.refusal.is_some() { Err(Malformed) } else { Ok(()) }
    }
}

/// RFC 3986 §3.1.
fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Whether HTTP/1.1 could name this path with this method (RFC 9113 §8.3.1, RFC 9112 §3.2).
fn check_path(path: &[u8], method: &[u8]) -> Result<(), Unfit> {
    match path {
        _ if path.contains(&b'#') => Err(Unfit::Refused(Refusal::Target)),
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        b"*" | [b'?', ..] => Err(Unfit::Refused(Refusal::Target)),
        _ => Err(Unfit::Malformed),
    }
}
