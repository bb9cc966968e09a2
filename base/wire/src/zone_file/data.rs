//! Names and data as text.

use bartizan_names::{Name, NameError};

use super::error::{Reason, SyntaxError};
use super::lexer::Word;

/// The words behind a type, with one space between them. Nothing in them is understood.
pub(super) fn text(words: &[Word]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let quote = if word.is_quoted { "\"" } else { "" };
        text.extend([if index > 0 { " " } else { "" }, quote, &printable(&word.raw), quote]);
    }
    text
}

pub(super) fn bad_name(word: &Word, text: String, error: NameError) -> SyntaxError {
    SyntaxError { place: word.place, reason: Reason::Name { text, error } }
}

/// A name: `@` is the origin, and what has no final dot is relative to it.
pub(super) fn name(text: &str, origin: &Name) -> Result<Name, NameError> {
    if text == "@" {
        return Ok(origin.clone());
    }
    let name = Name::typed(text)?;
    if name.is_root() || is_whole(text) {
        return Ok(name);
    }
    let (_root, labels) = name.as_wire().split_last().ok_or(NameError::BadWire)?;
    Name::from_wire(&[labels, origin.as_wire()].concat())
}

/// Whether it ends in a dot that is no part of a label. There are four dots in names as people type them (UTS 46 §4.5).
fn is_whole(text: &str) -> bool {
    let Some(rest) = text.strip_suffix(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) else { return false };
    rest.bytes().rev().take_while(|byte| *byte == b'\\').count().is_multiple_of(2)
}

/// Text that is UTF-8 stays; what is not, and what controls something, becomes escapes.
pub(super) fn printable(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut is_escaped = false;
    // A backslash before it becomes that of the escape.
    let escape = |text: &mut String, code: u32, is_escaped: &mut bool| {
        let code = format!("\\{code:03}");
        text.push_str(if *is_escaped { &code[1..] } else { &code });
        *is_escaped = false;
    };
    for chunk in raw.utf8_chunks() {
        for char in chunk.valid().chars() {
            if matches!(char, '\0'..='\x1f' | '\x7f') {
                escape(&mut text, char.into(), &mut is_escaped);
            } else {
                text.push(char);
                is_escaped = char == '\\' && !is_escaped;
            }
        }
        for byte in chunk.invalid() {
            escape(&mut text, (*byte).into(), &mut is_escaped);
        }
    }
    text
}
