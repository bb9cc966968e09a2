//! From logical lines to records: directives, and what a line leaves out and takes from the lines before.

use bartizan_names::Name;

use super::Entry;
use super::data::{self, bad_name, printable};
use super::error::{Reason, SyntaxError};
use super::lexer::{Lexer, Line, Word};

/// The longest time to live (RFC 2181 §8).
const TTL_MAX: u64 = i32::MAX as u64;

/// Reads a file as it comes.
#[derive(Debug)]
pub struct Reader {
    lexer: Lexer,
    origin: Name,
    /// Of `$TTL` (RFC 2308 §4).
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    last_owner: Option<Name>,
}

impl Reader {
    /// `origin` is what names are relative to until the file says otherwise.
    pub fn new(origin: Name) -> Reader {
        Reader { lexer: Lexer::default(), origin, default_ttl: None, last_ttl: None, last_owner: None }
    }

    /// Takes the next piece of the file, and gives what it completes to `each`, record by record.
    pub fn take(&mut self, piece: &[u8], each: &mut impl FnMut(Result<Entry, SyntaxError>)) {
        for &byte in piece {
            if let Some(line) = self.lexer.take(byte) {
                self.line(line, each);
            }
        }
    }

    /// The file is over.
    pub fn end(mut self, each: &mut impl FnMut(Result<Entry, SyntaxError>)) {
        if let Some(line) = self.lexer.end() {
            self.line(line, each);
        }
    }

    fn line(&mut self, line: Result<Line, SyntaxError>, each: &mut impl FnMut(Result<Entry, SyntaxError>)) {
        match line.and_then(|line| self.read(&line)) {
            Ok(Some(entry)) => each(Ok(entry)),
            Ok(None) => {}
            Err(error) => each(Err(error)),
        }
    }

    fn read(&mut self, line: &Line) -> Result<Option<Entry>, SyntaxError> {
        match line.words.split_first() {
            Some((word, rest)) if !line.begins_blank && !word.is_quoted && word.raw.starts_with(b"$") => {
                self.directive(word, rest).map(|()| None)
            }
            Some((first, _)) => self.record(line, first).map(Some),
            None => Ok(None),
        }
    }

    fn directive(&mut self, word: &Word, rest: &[Word]) -> Result<(), SyntaxError> {
        let fail = |reason| Err(SyntaxError { place: word.place, reason });
        match (word.raw.to_ascii_uppercase().as_slice(), rest) {
            (b"$ORIGIN", [name]) => self.origin = self.name(name)?,
            (b"$TTL", [time]) => self.default_ttl = Some(ttl(time)?),
            (b"$ORIGIN", _) => return fail(Reason::DirectiveWords("$ORIGIN")),
            (b"$TTL", _) => return fail(Reason::DirectiveWords("$TTL")),
            (b"$INCLUDE", _) => return fail(Reason::Include),
            _ => return fail(Reason::Directive(printable(&word.raw))),
        }
        Ok(())
    }

    fn name(&self, word: &Word) -> Result<Name, SyntaxError> {
        let text = printable(&word.raw);
        data::name(&text, &self.origin).map_err(|error| bad_name(word, text, error))
    }

    fn record(&mut self, line: &Line, first: &Word) -> Result<Entry, SyntaxError> {
        let mut words = line.words.as_slice();
        if !line.begins_blank {
            // Lines behind it that name none must not be taken for those of the name before.
            self.last_owner = None;
            self.last_owner = Some(self.name(first)?);
            words = &words[1..];
        }
        let owner = self.last_owner.clone().ok_or(SyntaxError { place: first.place, reason: Reason::NoOwner })?;
        let (mut own_ttl, mut has_class) = (None, false);
        let kind = loop {
            let Some((word, rest)) = words.split_first() else {
                return Err(SyntaxError { place: first.place, reason: Reason::NoType });
            };
            words = rest;
            // In either order, each once at most.
            if own_ttl.is_none() && word.raw.first().is_some_and(u8::is_ascii_digit) {
                own_ttl = Some(ttl(word)?);
            } else if !has_class && is_class(word)? {
                has_class = true;
            } else {
                break word;
            }
        };
        let name = mnemonic(kind)?;
        if words.is_empty() {
            return Err(SyntaxError { place: kind.place, reason: Reason::NoData(name) });
        }
        self.last_ttl = own_ttl.or(self.last_ttl);
        let comment = String::from_utf8_lossy(line.comment.trim_ascii());
        Ok(Entry {
            place: first.place,
            owner,
            ttl: own_ttl.or(self.default_ttl).or(self.last_ttl),
            kind: name,
            data: data::text(words),
            origin: self.origin.clone(),
            comment: (!comment.is_empty()).then(|| comment.into_owned()),
        })
    }
}

/// A type, be it known or not: letters, digits and hyphens, and a letter first.
fn mnemonic(word: &Word) -> Result<String, SyntaxError> {
    let is_one = !word.is_quoted
        && word.raw.first().is_some_and(u8::is_ascii_alphabetic)
        && word.raw.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if is_one {
        Ok(printable(&word.raw).to_ascii_uppercase())
    } else {
        Err(SyntaxError { place: word.place, reason: Reason::NoType })
    }
}

/// The one class that is served is IN, which is 1 (RFC 3597 §5).
fn is_class(word: &Word) -> Result<bool, SyntaxError> {
    let upper = word.raw.to_ascii_uppercase();
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    match upper.as_slice() {
        b"IN" | b"CLASS1" => Ok(true),
        b"CH" | b"CS" | b"HS" => Err(SyntaxError { place: word.place, reason: Reason::Class(printable(&upper)) }),
        other if other.strip_prefix(b"CLASS").is_some_and(is_number) => {
            Err(SyntaxError { place: word.place, reason: Reason::Class(printable(&upper)) })
        }
        _ => Ok(false),
    }
}

/// Seconds, or numbers with units; digits at the end are seconds.
fn ttl(word: &Word) -> Result<u32, SyntaxError> {
    let read = || {
        let (mut total, mut number) = (0_u64, None::<u64>);
        for &byte in &word.raw {
            let unit = match byte.to_ascii_lowercase() {
                digit @ b'0'..=b'9' => {
                    number = Some(number.unwrap_or(0) * 10 + u64::from(digit - b'0')).filter(|sum| *sum <= TTL_MAX);
                    number?;
                    continue;
                }
                b's' => 1,
                b'm' => 60,
                b'h' => 3_600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            total += number.take()? * unit;
            if total > TTL_MAX {
                return None;
            }
        }
        Some(total + number.unwrap_or(0)).filter(|total| *total <= TTL_MAX && !word.raw.is_empty())
    };
    let seconds = read().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| SyntaxError { place: word.place, reason: Reason::Ttl(printable(&word.raw)) })
}
