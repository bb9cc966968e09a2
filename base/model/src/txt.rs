//! TXT in text: RFC 1035 §5.1 quoting, or plain text as most API clients send it.

use std::collections::HashSet;

/// A character-string's length (RFC 1035 §3.3).
const STRING_MAX: usize = 255;

/// Bytes of one TXT record, the length octets not counted. A 4096-bit DKIM key takes about 800; five times that leaves
/// room, and more only serves those who amplify.
pub const TXT_MAX: usize = 4096;

/// The text is no TXT content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxtError {
    #[error("the text is empty; an empty string is written as two quotes")]
    Empty,
    #[error("the text has more than {TXT_MAX} bytes")]
    Long,
    #[error("a quoted string does not end, has a bad escape, or is followed by something that is not quoted")]
    Quoting,
}

/// The character-strings of a TXT record. Text that begins with a quote is one or more quoted strings (`\"`, `\\` and
/// `\DDD` are escapes); any other text is taken byte for byte. Strings longer than 255 bytes are cut into several.
pub(crate) fn parse(text: &str) -> Result<Vec<Vec<u8>>, TxtError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(TxtError::Empty);
    }
    let given = if trimmed.starts_with('"') { quoted(trimmed)? } else { vec![trimmed.as_bytes().to_vec()] };
    bounded(&given)
}

/// The strings of a record as they were given: cut where they are too long for one, and refused where they are too long
/// for all.
pub(crate) fn bounded(given: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, TxtError> {
    if given.is_empty() {
        return Err(TxtError::Empty);
    }
    if given.iter().map(Vec::len).sum::<usize>() > TXT_MAX {
        return Err(TxtError::Long);
    }
    Ok(given.iter().flat_map(|string| cut(string)).collect())
}

/// Pieces of at most 255 bytes; the empty string is one empty piece.
fn cut(string: &[u8]) -> Vec<Vec<u8>> {
    if string.is_empty() {
        return vec![Vec::new()];
    }
    string.chunks(STRING_MAX).map(<[u8]>::to_vec).collect()
}

/// The texts by which clients ask for what `text` is as a TXT content: as it is; bare; as one quoted string, with letters
/// outside ASCII as they are or as escapes; and as quoted strings of at most 255 bytes each. A text that is no TXT content
/// has its one spelling.
pub fn txt_spellings(text: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned()];
    if let Ok(strings) = parse(text) {
        let whole = strings.concat();
        spellings.push(quote(&whole));
        spellings.push(cut(&whole).iter().map(|string| quote(string)).collect::<Vec<_>>().join(" "));
        if let Ok(bare) = std::str::from_utf8(&whole) {
            spellings.push(format!("\"{}\"", bare.replace('\\', r"\\").replace('"', r#"\""#)));
            spellings.push(bare.to_owned());
        }
    }
    let mut seen = HashSet::new();
    spellings.retain(|spelling| seen.insert(spelling.clone()));
    spellings
}

/// One or more quoted strings.
pub(crate) fn quoted(text: &str) -> Result<Vec<Vec<u8>>, TxtError> {
    let mut strings = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (string, after) = one_quoted(rest)?;
        strings.push(string);
        rest = after.trim_start();
    }
    Ok(strings)
}

/// Reads one quoted string from the front; gives it and what is left.
pub(crate) fn one_quoted(text: &str) -> Result<(Vec<u8>, &str), TxtError> {
    let body = text.strip_prefix('"').ok_or(TxtError::Quoting)?;
    let mut string = Vec::new();
    let mut bytes = body.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((string, &body[at + 1..])),
            b'\\' => string.push(escaped(&mut bytes)?),
            byte => string.push(byte),
        }
    }
    Err(TxtError::Quoting)
}

fn escaped(bytes: &mut impl Iterator<Item = (usize, u8)>) -> Result<u8, TxtError> {
    let (_, first) = bytes.next().ok_or(TxtError::Quoting)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let (_, digit) = bytes.next().filter(|(_, byte)| byte.is_ascii_digit()).ok_or(TxtError::Quoting)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| TxtError::Quoting)
}

/// A bare string with escapes, as master files have it.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>, TxtError> {
    let mut string = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((_, byte)) = bytes.next() {
        string.push(if byte == b'\\' { escaped(&mut bytes)? } else { byte });
    }
    Ok(string)
}

/// The strings of a record on the wire.
pub(crate) fn from_wire(mut wire: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = wire.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        strings.push(string.to_vec());
        wire = rest;
    }
    let bytes: usize = strings.iter().map(Vec::len).sum();
    (!strings.is_empty() && bytes <= TXT_MAX).then_some(strings)
}

/// A string on the wire. It has at most 255 bytes.
pub(crate) fn length_and_bytes(string: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(string.len() + 1);
    wire.push(string.len() as u8);
    wire.extend(string);
    wire
}

/// One string in quotes, with escapes where they are needed.
pub(crate) fn quote(string: &[u8]) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    text.push('"');
    for &byte in string {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_strings() {
        for (text, expect) in [
            ("v=spf1 -all", Ok(vec!["v=spf1 -all"])),
            (r#""v=spf1 -all""#, Ok(vec!["v=spf1 -all"])),
            (r#""a" "b""#, Ok(vec!["a", "b"])),
            (r#""a""b""#, Ok(vec!["a", "b"])),
            (r#""say \"x\" \\ \065;""#, Ok(vec![r#"say "x" \ A;"#])),
            (r#"plain \" stays"#, Ok(vec![r#"plain \" stays"#])),
            ("  trimmed ", Ok(vec!["trimmed"])),
            (r#""""#, Ok(vec![""])),
            ("ü", Ok(vec!["ü"])),
            (r#""ü""#, Ok(vec!["ü"])),
            ("", Err(TxtError::Empty)),
            (r#"""#, Err(TxtError::Quoting)),
            (r#""a" b"#, Err(TxtError::Quoting)),
            (r#""\256""#, Err(TxtError::Quoting)),
            (r#""\2""#, Err(TxtError::Quoting)),
            (r#""a\"#, Err(TxtError::Quoting)),
        ] {
            let expect = expect.map(|strings| strings.iter().map(|string| string.as_bytes().to_vec()).collect());
            assert_eq!(parse(text), expect, "{text}");
        }
    }

    #[test]
    fn long_text_is_cut_and_bounded() {
        let lengths = |text: &str| parse(text).map(|strings| strings.iter().map(Vec::len).collect::<Vec<_>>());
        let many = "x".repeat(600);
        assert_eq!(lengths(&many), Ok(vec![255, 255, 90]));
        assert_eq!(parse(&many), parse(&format!("\"{many}\"")));
        assert_eq!(lengths(&"x".repeat(TXT_MAX)).map(|lengths| lengths.len()), Ok(17));
        assert_eq!(lengths(&"x".repeat(TXT_MAX + 1)), Err(TxtError::Long));
    }

    #[test]
    fn spellings_of_one_text() {
        for (text, expect) in [
            ("v=1", &["v=1", r#""v=1""#][..]),
            (r#""v=1""#, &[r#""v=1""#, "v=1"]),
            (r#""a" "b""#, &[r#""a" "b""#, r#""ab""#, "ab"]),
            (r#"say "x""#, &[r#"say "x""#, r#""say \"x\"""#]),
            ("ü", &["ü", r#""\195\188""#, r#""ü""#]),
            (r#""no end"#, &[r#""no end"#]),
            ("192.0.2.1", &["192.0.2.1", r#""192.0.2.1""#]),
        ] {
            assert_eq!(txt_spellings(text), expect, "{text}");
            let texts: Vec<_> = expect.iter().flat_map(|text| parse(text)).map(|strings| strings.concat()).collect();
            assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        }
        let long = "x".repeat(300);
        let cut = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
        assert!(txt_spellings(&long).contains(&cut) && txt_spellings(&cut).contains(&long));
    }

    #[test]
    fn quoting_reads_back() {
        for string in [&b""[..], b"plain", b"\"\\", b"\x00\xff~ "] {
            let text = quote(string);
            assert_eq!(one_quoted(&text), Ok((string.to_vec(), "")), "{text}");
        }
    }
}
