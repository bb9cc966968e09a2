//! DNS names in the form in which they are compared and stored: lower-case wire bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::idn;

/// A name's length on the wire, the root's zero octet included (RFC 1035 §2.3.4).
pub const NAME_WIRE_MAX: usize = 255;

/// A label's length (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Why bytes or text are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a label is empty")]
    EmptyLabel,
    #[error("a label is longer than 63 octets")]
    LongLabel,
    #[error("the name is longer than 255 octets")]
    LongName,
    #[error("the name has a bad escape or a character outside ASCII")]
    BadText,
    #[error("the bytes are not one whole uncompressed name")]
    BadWire,
}

/// An absolute name as wire bytes in lower case, the root's zero octet included.
///
/// Equality is equality of bytes (RFC 4343: ASCII case does not count). Order is that of the bytes,
/// which is *not* DNSSEC's canonical order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Reads presentation format, with or without the final dot. `\.`, `\\` and `\DDD` are escapes (RFC 1035 §5.1).
    pub fn parse(text: &str) -> Result<Name, NameError> {
        if text == "." {
            return Ok(Name::root());
        }
        let mut wire = vec![0];
        let mut length_at = 0;
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let octet = match byte {
                b'.' => {
                    end_label(&mut wire, length_at)?;
                    if bytes.peek().is_none() {
                        return Name::from_wire(&wire);
                    }
                    length_at = wire.len() - 1;
                    continue;
                }
                b'\\' => escaped(&mut bytes)?,
                0x21..=0x7e => byte,
                _ => return Err(NameError::BadText),
            };
            wire.push(octet);
        }
        end_label(&mut wire, length_at)?;
        Name::from_wire(&wire)
    }

    /// As [`Name::parse`], also of a name in the letters of any script, as people write it (RFC 5890 §2.3.2.1).
    pub fn typed(text: &str) -> Result<Name, NameError> {
        Name::parse(&idn::to_ascii(text)?)
    }

    /// Reads one whole uncompressed name and nothing behind it; upper case becomes lower case.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        let mut rest = wire;
        loop {
            match rest.split_first() {
                Some((0, [])) => break,
                Some((0, _)) | None => return Err(NameError::BadWire),
                Some((&length, tail)) => {
                    if usize::from(length) > LABEL_MAX {
                        return Err(NameError::LongLabel);
                    }
                    rest = tail.get(usize::from(length)..).ok_or(NameError::BadWire)?;
                }
            }
        }
        if wire.len() > NAME_WIRE_MAX {
            return Err(NameError::LongName);
        }
        // A length octet is at most 63 and so no letter: lower-casing all bytes leaves lengths alone.
        Ok(Name(wire.to_ascii_lowercase().into()))
    }

    /// The wire bytes, lower case, ending in the root's zero octet.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The labels from left to right, without the root's.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.0)
    }

    /// Whether the leftmost label is `*` (RFC 4592 §2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name without its leftmost label; none for the root.
    pub fn parent(&self) -> Option<Name> {
        match self.0[0] {
            0 => None,
            length => Some(Name(self.0[usize::from(length) + 1..].into())),
        }
    }

    /// Whether `self` is `apex` or lies below it.
    pub fn is_at_or_below(&self, apex: &Name) -> bool {
        self.wire_below(apex).is_some()
    }

    /// The wire bytes of the labels in front of `apex`, without a final zero; empty at the apex itself.
    pub fn wire_below(&self, apex: &Name) -> Option<&[u8]> {
        let cut = self.0.len().checked_sub(apex.0.len())?;
        if self.0[cut..] != *apex.0 {
            return None;
        }
        // The suffix must begin at a label's start, not in the middle of one.
        let mut at = 0;
        while at < cut {
            at += usize::from(self.0[at]) + 1;
        }
        (at == cut).then(|| &self.0[..cut])
    }

    /// `label` put in front of this name.
    pub fn child(&self, label: &[u8]) -> Result<Name, NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        let length = u8::try_from(label.len()).map_err(|_| NameError::LongLabel)?;
        let mut wire = Vec::with_capacity(label.len() + 1 + self.0.len());
        wire.push(length);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        Name::from_wire(&wire)
    }

    /// Whether every label is made of letters, digits, hyphens and underscores, and may so be a host on the web.
    /// A leftmost `*` is allowed.
    pub fn is_host(&self) -> bool {
        !self.is_root()
            && self.labels().enumerate().all(|(index, label)| {
                (index == 0 && label == b"*")
                    || label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            })
    }
}

/// Writes the length of the label that began at `length_at`, and opens the next one.
fn end_label(wire: &mut Vec<u8>, length_at: usize) -> Result<(), NameError> {
    match wire.len() - length_at - 1 {
        0 => Err(NameError::EmptyLabel),
        length if length > LABEL_MAX => Err(NameError::LongLabel),
        length => {
            wire[length_at] = length as u8; // at most 63
            wire.push(0);
            Ok(())
        }
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadText)?;
    if !first.is_ascii_digit() {
        return if first.is_ascii() { Ok(first) } else { Err(NameError::BadText) };
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::BadText)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadText)
}

impl fmt::Display for Name {
    /// Presentation format without the final dot, as the v4 dialect prints names; the root is `.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        Name::parse(&<std::borrow::Cow<'de, str>>::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// See [`Name::labels`].
#[derive(Clone)]
pub struct Labels<'n>(&'n [u8]);

impl<'n> Iterator for Labels<'n> {
    type Item = &'n [u8];

    fn next(&mut self) -> Option<&'n [u8]> {
        let (&length, rest) = self.0.split_first().filter(|(length, _)| **length != 0)?;
        let (label, rest) = rest.split_at(usize::from(length));
        self.0 = rest;
        Some(label)
    }
}

/// The apex of a zone we serve: never the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName(Name);

impl ZoneName {
    /// None for the root and for a wildcard: neither can be a zone of ours.
    pub fn new(name: Name) -> Option<ZoneName> {
        (!name.is_root() && !name.is_wildcard()).then_some(ZoneName(name))
    }

    pub fn as_name(&self) -> &Name {
        &self.0
    }

    /// Whether `owner` is this apex or lies below it.
    pub fn contains(&self, owner: &Name) -> bool {
        owner.is_at_or_below(&self.0)
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        for (text, wire, printed) in [
            (".", &b"\0"[..], "."),
            ("a", b"\x01a\0", "a"),
            ("A.Example.", b"\x01a\x07example\0", "a.example"),
            (r"a\.b.c", b"\x03a.b\x01c\0", r"a\.b.c"),
            (r"\000\255\032.c", b"\x03\x00\xff \x01c\0", r"\000\255\032.c"),
            ("*.c", b"\x01*\x01c\0", "*.c"),
        ] {
            assert_eq!(name(text).as_wire(), wire, "{text}");
            assert_eq!(Name::from_wire(wire).unwrap().to_string(), printed, "{text}");
            assert_eq!(name(printed), name(text), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_name() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for (text, error) in [
            ("", NameError::EmptyLabel),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            ("a b", NameError::BadText),
            ("ä.b", NameError::BadText),
            (r"a\25", NameError::BadText),
            (r"a\256", NameError::BadText),
            (long_label.as_str(), NameError::LongLabel),
            (long_name.as_str(), NameError::LongName),
        ] {
            assert_eq!(Name::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn wire_that_is_no_name() {
        for wire in [&b""[..], b"\x01", b"\x01a", b"\x01a\0\0", b"\xc0\x0c", b"\x40"] {
            assert!(Name::from_wire(wire).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn below_respects_labels() {
        for (owner, apex, below) in [
            ("a.example", "example", Some(&b"\x01a"[..])),
            ("example", "example", Some(b"")),
            ("anexample", "example", None),
            ("example", "a.example", None),
            ("a.b", ".", Some(b"\x01a\x01b")),
        ] {
            assert_eq!(name(owner).wire_below(&name(apex)), below, "{owner} {apex}");
        }
        // `\001b` inside a label looks like a label of its own when read from the wrong place.
        assert!(!Name::from_wire(b"\x03a\x01b\0").unwrap().is_at_or_below(&name("b")));
    }
}
