//! Where a body ends (RFC 9112 §6.3), followed through whatever pieces its bytes come in.

use std::ops::Range;

use super::chunks::Chunks;
use super::{Refusal, Trailers};

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    Chunked,
    /// All that comes until the connection ends. Answers only.
    UntilClose,
    /// What follows is no HTTP: the connection belongs to another protocol now.
    Switched,
}

impl Body {
    /// Whether it is known to have no bytes.
    pub fn is_empty(self) -> bool {
        matches!(self, Body::None | Body::Length(0) | Body::Switched)
    }
}

/// Follows one body to its end.
#[derive(Debug)]
pub struct BodyReader(State);

#[derive(Debug)]
enum State {
    Left(u64),
    Chunks(Chunks),
    UntilClose,
    Over,
}

/// What a piece of input did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that belong to the body, from the front. They are not to be shown again.
    pub used: usize,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More bytes are needed.
    Hungry,
    /// These of the bytes shown are data.
    Data(Range<usize>),
    /// The body is over; what is behind the used bytes is not its.
    End,
}

impl BodyReader {
    pub fn new(body: Body) -> BodyReader {
        BodyReader(match body {
            Body::None | Body::Switched => State::Over,
            Body::Length(length) => State::Left(length),
            Body::Chunked => State::Chunks(Chunks::default()),
            Body::UntilClose => State::UntilClose,
        })
    }

    /// Looks at the next bytes. To be called until it is hungry, or at the end.
    // Hot: once a piece. No allocation but for trailers.
    pub fn next(&mut self, input: &[u8]) -> Result<Step, Refusal> {
        let here = input.len();
        match &mut self.0 {
            State::Over | State::Left(0) => Ok(Step { used: 0, event: Event::End }),
            State::Left(_) | State::UntilClose if here == 0 => Ok(Step { used: 0, event: Event::Hungry }),
            State::Left(left) => {
                let used = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= used as u64;
                Ok(Step { used, event: Event::Data(0..used) })
            }
            State::UntilClose => Ok(Step { used: here, event: Event::Data(0..here) }),
            State::Chunks(chunks) => chunks.next(input),
        }
    }

    /// How many bytes of data are still to come, where nothing else comes between them.
    pub fn left(&self) -> Option<u64> {
        match &self.0 {
            State::Left(left) => Some(*left),
            State::Chunks(_) | State::UntilClose | State::Over => None,
        }
    }

    /// So many of what is [`left`](BodyReader::left) went by without being shown, and no more than that.
    pub fn pass(&mut self, bytes: u64) {
        if let State::Left(left) = &mut self.0 {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Whether nothing more is to be read, known without reading.
    pub fn is_over(&self) -> bool {
        match &self.0 {
            State::Over | State::Left(0) => true,
            State::Chunks(chunks) => chunks.is_over(),
            State::Left(_) | State::UntilClose => false,
        }
    }

    /// The connection ended. For a body without another end that is its end.
    pub fn end_of_input(&mut self) -> Result<(), Refusal> {
        if !self.is_over() && !matches!(self.0, State::UntilClose) {
            return Err(Refusal::CutShort);
        }
        self.0 = State::Over;
        Ok(())
    }

    /// What came behind the last chunk, once the body is over.
    pub fn into_trailers(self) -> Result<Trailers, Refusal> {
        match self.0 {
            State::Chunks(chunks) => Trailers::parse(chunks.into_trailer_section()),
            State::Left(_) | State::UntilClose | State::Over => Ok(Trailers::default()),
        }
    }
}
