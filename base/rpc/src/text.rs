//! Texts of the other side, for people.

/// The most bytes that are kept of a text.
const SHORT_BYTES_MAX: usize = 256;

/// What somebody else wrote, cut after so many bytes; what is not UTF-8 is replaced. Without control characters: it is
/// printed on terminals, which take them for commands, and into logs, where a line feed would begin a line.
pub fn plain_text(text: &[u8], bytes_max: usize) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(bytes_max)]);
    text.chars().filter(|char| !char.is_control()).collect()
}

/// A text of a message.
pub(crate) fn short_text(text: capnp::text::Reader<'_>) -> String {
    plain_text(text.as_bytes(), SHORT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_on_one_line() {
        for (text, expect) in [
            (&b"as it is: \xC3\xA9"[..], "as it is: \u{e9}"),
            (b"two\nlines\r\n", "twolines"),
            (b"\x1b[31mred\x07", "[31mred"),
            (b"\xC2\x9B2J and \x7F", "2J and "),
            (b"\xFF", "\u{fffd}"),
            (b"123456789012345678901", "12345678901234567890"),
        ] {
            assert_eq!(plain_text(text, 20), expect);
        }
    }
}
