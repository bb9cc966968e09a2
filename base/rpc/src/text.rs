//! Texts of the other side, for people.

use std::ops::RangeInclusive;

/// The most bytes that are kept of a text.
const SHORT_BYTES_MAX: usize = 256;

/// What turns, hides or joins others and is not seen itself: Unicode's category Cf, with the two that end a line or a
/// paragraph (Zl, Zp) and the place that is kept between the first and the last of its block.
const FORMAT: [RangeInclusive<char>; 20] = [
    '\u{ad}'..='\u{ad}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0001}'..='\u{e0001}',
    '\u{e0020}'..='\u{e007f}',
];

/// Whether a character is a thing to be seen, or room between such. Others are commands to a terminal, or make what is
/// seen another text than what is there.
pub fn is_plain(char: char) -> bool {
    !char.is_control() && !FORMAT.iter().any(|range| range.contains(&char))
}

/// What somebody else wrote, cut after so many bytes; what is not UTF-8 is replaced. Without control and format
/// characters: it is printed on terminals, which obey them, and into logs, where a line feed would begin a line.
pub fn plain_text(text: &[u8], bytes_max: usize) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(bytes_max)]);
    text.chars().filter(|&char| is_plain(char)).collect()
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
            ("gpj.\u{202e}exe\u{2028}\u{feff}\u{e0041}".as_bytes(), "gpj.exe"),
            (b"\xFF", "\u{fffd}"),
            (b"123456789012345678901", "12345678901234567890"),
        ] {
            assert_eq!(plain_text(text, 20), expect);
        }
    }
}
