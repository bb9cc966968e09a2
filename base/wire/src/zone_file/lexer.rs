//! From bytes to logical lines: words, whatever is quoted, escaped, in parentheses or behind a semicolon.

use super::error::{Place, Reason, SyntaxError};

/// Bytes of one record as text. The largest rdata has 65,535 bytes, which are 131,070 hexadecimal digits (RFC 3597 §5).
pub const LINE_MAX: usize = 256 << 10;

/// Bytes of a comment; what is behind them is left out.
const COMMENT_MAX: usize = 16 << 10;

/// Parentheses inside each other. No record needs more than one pair.
const DEPTH_MAX: usize = 16;

/// A file may begin with it (RFC 3629 §6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A word with its escapes as they were written, and without its quotes if it is quoted whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) raw: Vec<u8>,
    pub(super) is_quoted: bool,
    pub(super) place: Place,
}

/// A record or a directive, over as many lines as its parentheses take.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<Word>,
    /// It is about the owner of the line before (RFC 1035 §5.1).
    pub(super) begins_blank: bool,
    pub(super) comment: Vec<u8>,
}

/// What a byte may complete.
type Taken = Option<Result<Line, SyntaxError>>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    Word,
    /// A word that begins with a quote and ends with the next one.
    Quoted,
    /// A quoted part of a word, as in `alpn="h2,h3"` (RFC 9460 §2.1).
    WordQuoted,
    Comment,
    /// Behind a fault, until the end of the line.
    Lost,
}

/// Takes bytes one at a time.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    state: State,
    /// The next byte means itself.
    escapes: bool,
    at: Place,
    line: Line,
    word: Word,
    /// Bytes of the logical line so far.
    bytes: usize,
    /// Where parentheses were opened that are not closed.
    open: Vec<Place>,
    /// Bytes of a mark of the byte order that were passed over.
    mark: usize,
}

impl Lexer {
    /// The next byte; a logical line, if it ends one that has words.
    pub(super) fn take(&mut self, byte: u8) -> Taken {
        if self.bytes == 0 && self.at == Place::default() && BYTE_ORDER_MARK.get(self.mark) == Some(&byte) {
            self.mark += 1;
            return None;
        }
        let taken = self.step(byte);
        if byte == b'\n' {
            self.at = Place { line: self.at.line + 1, column: 1 };
        // Not the bytes behind the first of a character (RFC 3629 §3).
        } else if byte & 0xc0 != 0x80 {
            self.at.column += 1;
        }
        taken
    }

    /// The file is over.
    pub(super) fn end(&mut self) -> Taken {
        let taken = self.take(b'\n');
        match self.open.first().copied() {
            Some(place) if taken.is_none() => {
                self.begin_line();
                Some(Err(SyntaxError { place, reason: Reason::OpenParenthesis }))
            }
            _ => taken,
        }
    }

    fn step(&mut self, byte: u8) -> Taken {
        if self.bytes == 0 {
            self.line.begins_blank = matches!(byte, b' ' | b'\t');
        }
        self.bytes += 1;
        if self.bytes > LINE_MAX && !matches!(self.state, State::Lost | State::Comment) {
            return self.fail(self.at, Reason::Long, byte);
        }
        if std::mem::take(&mut self.escapes) {
            return match byte {
                b'\n' => self.fail(self.at, Reason::Escape, byte),
                byte => {
                    self.word.raw.push(byte);
                    None
                }
            };
        }
        match self.state {
            State::Lost | State::Comment if byte == b'\n' => self.end_line(),
            State::Lost => None,
            State::Comment => {
                // One inside parentheses is about a word, and not about the record.
                if self.open.is_empty() && self.line.comment.len() < COMMENT_MAX {
                    self.line.comment.push(byte);
                }
                None
            }
            State::Quoted | State::WordQuoted if byte == b'\n' => self.fail(self.word.place, Reason::OpenQuote, byte),
            State::Quoted if byte == b'"' => {
                self.end_word();
                None
            }
            State::WordQuoted if byte == b'"' => {
                self.state = State::Word;
                self.push(byte)
            }
            State::Quoted | State::WordQuoted => self.push(byte),
            State::Word | State::Between => self.step_unquoted(byte),
        }
    }

    fn step_unquoted(&mut self, byte: u8) -> Taken {
        if self.state == State::Word && matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';') {
            self.end_word();
        }
        match byte {
            b' ' | b'\t' | b'\r' => None,
            b'\n' => self.end_line(),
            b';' => {
                self.state = State::Comment;
                self.line.comment.clear();
                None
            }
            b'(' if self.open.len() < DEPTH_MAX => {
                self.open.push(self.at);
                None
            }
            b'(' => self.fail(self.at, Reason::OpenParenthesis, byte),
            b')' => match self.open.pop() {
                Some(_) => None,
                None => self.fail(self.at, Reason::StrayParenthesis, byte),
            },
            b'"' if self.state == State::Word => {
                self.state = State::WordQuoted;
                self.push(byte)
            }
            b'"' => {
                self.state = State::Quoted;
                self.word = Word { raw: Vec::new(), is_quoted: true, place: self.at };
                None
            }
            byte => {
                if self.state == State::Between {
                    self.state = State::Word;
                    self.word = Word { raw: Vec::new(), is_quoted: false, place: self.at };
                }
                self.push(byte)
            }
        }
    }

    fn push(&mut self, byte: u8) -> Taken {
        self.escapes = byte == b'\\';
        self.word.raw.push(byte);
        None
    }

    fn end_word(&mut self) {
        self.state = State::Between;
        self.line.words.push(std::mem::take(&mut self.word));
    }

    fn end_line(&mut self) -> Taken {
        self.state = State::Between;
        if !self.open.is_empty() {
            return None;
        }
        let line = self.begin_line();
        (!line.words.is_empty()).then_some(Ok(line))
    }

    /// The line that ends; all is as in front of one.
    fn begin_line(&mut self) -> Line {
        (self.state, self.escapes, self.bytes) = (State::Between, false, 0);
        self.open.clear();
        std::mem::take(&mut self.line)
    }

    /// What is left of the line is passed over. Parentheses do not count any more: one that is never closed would take the
    /// whole file with it.
    fn fail(&mut self, place: Place, reason: Reason, byte: u8) -> Taken {
        self.begin_line();
        if byte != b'\n' {
            (self.state, self.bytes) = (State::Lost, 1);
        }
        Some(Err(SyntaxError { place, reason }))
    }
}
