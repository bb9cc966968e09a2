//! Records as lines of a master file.

use std::fmt::Write;

use bartizan_names::Name;

use super::data::printable;

/// Writes a record as one line. `data` is its text as master files have it, with whole names. `comment` stands behind it; a line break in it would begin another record, so it becomes a space.
pub fn write_entry(to: &mut String, owner: &Name, ttl: u32, kind: &str, data: &str, comment: &str) {
    write_name(to, owner);
    // A String takes any text.
    let _ = write!(to, "\t{ttl}\tIN\t{kind}\t");
    write_data(to, data);
    if !comment.is_empty() {
        to.push_str(" ; ");
        to.extend(comment.chars().map(|char| if char.is_control() { ' ' } else { char }));
    }
    to.push('\n');
}

/// Writes a whole name, with its final dot. What means something else in a file is escaped.
pub fn write_name(to: &mut String, name: &Name) {
    if name.is_root() {
        to.push('.');
    }
    for label in name.labels() {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => to.extend(['\\', char::from(byte)]),
                0x21..=0x7e => to.push(char::from(byte)),
                _ => {
                    let _ = write!(to, "\\{byte:03}");
                }
            }
        }
        to.push('.');
    }
}

/// Where it is not quoted, what would begin a comment or parentheses is escaped.
fn write_data(to: &mut String, data: &str) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for char in printable(data.as_bytes()).chars() {
        if !is_quoted && !is_escaped && matches!(char, ';' | '(' | ')') {
            to.push('\\');
        }
        is_quoted ^= char == '"' && !is_escaped;
        is_escaped = char == '\\' && !is_escaped;
        to.push(char);
    }
}
