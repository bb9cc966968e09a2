//! Words and names in the text of a record's data.

use bartizan_names::Name;

use crate::txt::{self, TxtError};

/// How names in a text are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Names<'n> {
    /// As clients of the API write them: whole, with a final dot or without; `@` is the zone's own name.
    Whole { apex: &'n Name },
    /// As master files have them (RFC 1035 §5.1): below the origin, unless they end in a dot; `@` is the origin.
    Relative { origin: &'n Name },
}

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without a final dot, as the API shows targets.
    Content,
    /// Whole, with a final dot, so that they mean the same under every origin.
    Master,
}

impl Names<'_> {
    pub(crate) fn read(self, text: &str) -> Option<Name> {
        let (Names::Whole { apex: here } | Names::Relative { origin: here }) = self;
        match (text, self) {
            ("", _) => None,
            ("@", _) => Some(here.clone()),
            (text, Names::Relative { origin }) if !is_absolute(text) => {
                let name = Name::typed(text).ok()?;
                let (_root, front) = name.as_wire().split_last()?;
                Name::from_wire(&[front, origin.as_wire()].concat()).ok()
            }
            (text, _) => Name::typed(text).ok(),
        }
    }
}

impl Style {
    pub(crate) fn name(self, name: &Name) -> String {
        let special: &[char] = match self {
            // A quote would hide the white space behind it.
            Style::Content => &['"'],
            // RFC 1035 §5.1.
            Style::Master => &['"', ';', '(', ')', '@', '$'],
        };
        let mut text = String::new();
        for char in name.to_string().chars() {
            text.extend(special.contains(&char).then_some('\\'));
            text.push(char);
        }
        match self {
            // Alone it stands for the apex.
            Style::Content if text == "@" => r"\@".to_owned(),
            Style::Master if !name.is_root() => text + ".",
            _ => text,
        }
    }
}

/// Whether a dot ends the text, and not an escaped one.
fn is_absolute(text: &str) -> bool {
    text.strip_suffix('.').is_some_and(|front| front.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
}

/// The words of a text: separated by white space, which does not count in quotes and behind a backslash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    pub(crate) fn of(text: &'t str) -> Words<'t> {
        Words(text.trim())
    }

    pub(crate) fn next(&mut self) -> Option<&'t str> {
        let mut quoted = false;
        let mut escaped = false;
        let end = self.0.bytes().position(|byte| {
            let ends = byte.is_ascii_whitespace() && !quoted && !escaped;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// All that is left, which is then taken.
    pub(crate) fn rest(&mut self) -> &'t str {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn count_left(mut self) -> usize {
        std::iter::from_fn(|| self.next()).count()
    }
}

/// A character-string as text has it: in quotes, or bare with escapes (RFC 1035 §5.1).
pub(crate) fn string(word: &str) -> Option<Vec<u8>> {
    if word.starts_with('"') {
        return quoted(word);
    }
    txt::unescaped(word).ok()
}

/// The character-strings of a text, each in quotes or bare.
pub(crate) fn strings(text: &str) -> Result<Vec<Vec<u8>>, TxtError> {
    let mut words = Words::of(text);
    let mut strings = Vec::new();
    while let Some(word) = words.next() {
        match word.starts_with('"') {
            true => strings.extend(txt::quoted(word)?),
            false => strings.push(txt::unescaped(word)?),
        }
    }
    txt::bounded(&strings)
}

/// A text as clients send it where it is one field: in quotes with escapes, or as it is.
pub(crate) fn verbatim(text: &str) -> Option<Vec<u8>> {
    if text.starts_with('"') { quoted(text) } else { Some(text.as_bytes().to_vec()) }
}

/// The text that [`verbatim`] reads: bare where that reads back, else in quotes.
pub(crate) fn show_verbatim(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with('"') => text.to_owned(),
        _ => txt::quote(bytes),
    }
}

fn quoted(text: &str) -> Option<Vec<u8>> {
    txt::one_quoted(text).ok().filter(|(_, rest)| rest.is_empty()).map(|(bytes, _)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_white_space() {
        for (text, expect) in [
            ("", &[][..]),
            (" a\tb  c ", &["a", "b", "c"]),
            (r#"1 "a b" c"#, &["1", r#""a b""#, "c"]),
            (r#"alpn="h3, h2" x"#, &[r#"alpn="h3, h2""#, "x"]),
            (r#""a \" b" c"#, &[r#""a \" b""#, "c"]),
            (r"a\ b c", &[r"a\ b", "c"]),
            (r#""no end"#, &[r#""no end"#]),
        ] {
            let mut words = Words::of(text);
            assert_eq!(words.count_left(), expect.len(), "{text}");
            assert_eq!(std::iter::from_fn(|| words.next()).collect::<Vec<_>>(), expect, "{text}");
        }
    }

    #[test]
    fn names_are_whole_or_relative() {
        let example = Name::parse("example.com").unwrap();
        for (text, whole, relative) in [
            ("a.b", Some("a.b"), Some("a.b.example.com")),
            ("A.b.", Some("a.b"), Some("a.b")),
            ("@", Some("example.com"), Some("example.com")),
            (".", Some("."), Some(".")),
            (r"a\.", Some(r"a\."), Some(r"a\..example.com")),
            (r"a\\.", Some(r"a\\"), Some(r"a\\")),
            ("", None, None),
            ("a..b", None, None),
        ] {
            let shown = |names: Names<'_>| names.read(text).map(|name| name.to_string());
            assert_eq!(shown(Names::Whole { apex: &example }).as_deref(), whole, "{text}");
            assert_eq!(shown(Names::Relative { origin: &example }).as_deref(), relative, "{text}");
        }
    }
}
