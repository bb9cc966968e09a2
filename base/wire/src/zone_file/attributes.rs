//! What a record has beside its data, as the vendor of the dialect writes it behind a record:
//! `; a comment cf_tags=cf-proxied:true,name:value`.
//!
//! Tags are separated by commas. A value with a comma, a quote, `=` or a backslash is a JSON string. A comment that has
//! `cf_tags=` itself is followed by another one. What the vendor has no word for is a tag of ours, `bartizan-…`.

use std::iter::Peekable;
use std::str::Chars;

/// The mark in front of the tags.
const MARK: &str = "cf_tags=";

const PROXIED: &str = "cf-proxied";
const FLATTENS: &str = "cf-flatten-cname";
const ORIGIN_PORT: &str = "bartizan-origin-port";

/// A comment that is not the text of a line: it has control characters, or spaces at its ends.
const COMMENT: &str = "bartizan-comment";

/// What stands in the comment behind a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub comment: String,
    pub proxied: Option<bool>,
    pub flattens: bool,
    /// The port of a proxied record's origin.
    pub origin_port: Option<u16>,
    /// `name:value`, or a name alone.
    pub tags: Vec<String>,
}

impl Attributes {
    pub fn read(text: &str) -> Attributes {
        let (comment, tags) = match text.rfind(MARK) {
            // The mark is a word of its own.
            Some(at) if text[..at].chars().next_back().is_none_or(char::is_whitespace) => {
                (&text[..at], &text[at + MARK.len()..])
            }
            _ => (text, ""),
        };
        let mut attributes = Attributes { comment: comment.trim().to_owned(), ..Attributes::default() };
        for (name, value) in pairs(tags.trim()) {
            match name.to_ascii_lowercase().as_str() {
                PROXIED => attributes.proxied = Some(!value.eq_ignore_ascii_case("false")),
                FLATTENS => attributes.flattens = !value.eq_ignore_ascii_case("false"),
                ORIGIN_PORT => attributes.origin_port = value.parse().ok(),
                COMMENT => attributes.comment = value,
                _ if value.is_empty() => attributes.tags.push(name),
                _ => attributes.tags.push(format!("{name}:{value}")),
            }
        }
        attributes
    }

    /// The comment behind a record; empty if there is nothing to be said.
    pub fn write(&self) -> String {
        let is_line = self.comment.trim() == self.comment && !self.comment.contains(char::is_control);
        let mut tags: Vec<String> = self.tags.iter().map(|tag| written(tag)).collect();
        tags.extend(self.flattens.then(|| FLATTENS.to_owned()));
        tags.extend(self.proxied.map(|proxied| format!("{PROXIED}:{proxied}")));
        tags.extend(self.origin_port.map(|port| format!("{ORIGIN_PORT}:{port}")));
        tags.extend((!is_line).then(|| format!("{COMMENT}:{}", json(&self.comment))));
        let comment = if is_line { self.comment.as_str() } else { "" };
        if tags.is_empty() && !comment.contains(MARK) {
            return comment.to_owned();
        }
        let space = if comment.is_empty() { "" } else { " " };
        format!("{comment}{space}{MARK}{}", tags.join(","))
    }
}

/// A tag as it is written. In the dialect a name has no character that separates tags; one that has is quoted whole.
fn written(tag: &str) -> String {
    let must_quote = |text: &str| text.contains(is_special) || text.trim() != text;
    let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
    match value {
        _ if must_quote(name) => json(tag),
        "" => name.to_owned(),
        value if must_quote(value) => format!("{name}:{}", json(value)),
        value => format!("{name}:{value}"),
    }
}

fn is_special(char: char) -> bool {
    matches!(char, '"' | '=' | ',' | '\\') || char.is_control()
}

/// A JSON string (RFC 8259 §7).
fn json(text: &str) -> String {
    let mut json = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            char if char.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => json.push(char),
        }
    }
    json.push('"');
    json
}

/// Names and values, separated by commas.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let (mut name, mut value, mut is_in_value) = (String::new(), String::new(), false);
        while let Some(char) = rest.next_if(|char| *char != ',') {
            match char {
                '"' => unquote(&mut rest, if is_in_value { &mut value } else { &mut name }),
                ':' if !is_in_value => is_in_value = true,
                char if is_in_value => value.push(char),
                char => name.push(char),
            }
        }
        rest.next();
        // One that is quoted whole has its value inside.
        if !is_in_value && let Some((front, behind)) = name.clone().split_once(':') {
            (name, value) = (front.to_owned(), behind.to_owned());
        }
        if !name.is_empty() {
            pairs.push((name, value));
        }
    }
    pairs
}

/// The rest of a JSON string. What is wrong in it is passed over: it is a comment.
fn unquote(rest: &mut Peekable<Chars<'_>>, to: &mut String) {
    while let Some(char) = rest.next() {
        match char {
            '"' => return,
            '\\' => match rest.next() {
                Some('n') => to.push('\n'),
                Some('r') => to.push('\r'),
                Some('t') => to.push('\t'),
                Some('b') => to.push('\x08'),
                Some('f') => to.push('\x0c'),
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    to.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                Some(other) => to.push(other),
                None => return,
            },
            char => to.push(char),
        }
    }
}
