//! YAML as far as zone files need it: maps, lists and texts. What a text means is for whoever reads it to say, so that no
//! country becomes a boolean and no version a number.

use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Maps and lists inside each other. A record has four.
const DEPTH_MAX: usize = 16;

/// A value, and the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub line: usize,
    pub value: Yaml,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// Nothing, written as such.
    Null,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

/// Why a file cannot be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for SyntaxError {}

impl Node {
    /// A member of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Yaml::Map(members) = &self.value else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub fn text(&self) -> Option<&str> {
        if let Yaml::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// One by one, be it a list or a value alone.
    pub fn each(&self) -> &[Node] {
        if let Yaml::List(nodes) = &self.value { nodes } else { std::slice::from_ref(self) }
    }
}

/// The one document of a file; none of an empty one.
pub fn read(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut open: Vec<Open> = Vec::new();
    let mut document = None;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| SyntaxError { line: error.marker().line(), reason: error.info().to_owned() })?;
        let line = span.start.line();
        let refused = |reason: &str| Err(SyntaxError { line, reason: reason.to_owned() });
        let value = match event {
            Event::Scalar(text, style, ..) => match (&*text, style) {
                ("" | "~" | "null" | "Null" | "NULL", ScalarStyle::Plain) => Yaml::Null,
                _ => Yaml::Text(text.into_owned()),
            },
            Event::Alias(_) => return refused("what another place says (an alias) is not read: write it out"),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH_MAX => {
                return refused("too many lists inside each other");
            }
            Event::SequenceStart(..) => {
                open.push(Open { line, value: Yaml::List(Vec::new()), key: None });
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open { line, value: Yaml::Map(Vec::new()), key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(ended) => {
                    add(&mut open, &mut document, Node { line: ended.line, value: ended.value })?;
                    continue;
                }
                None => continue,
            },
            Event::DocumentStart(_) if document.is_some() => return refused("a second document begins here"),
            _ => continue,
        };
        add(&mut open, &mut document, Node { line, value })?;
    }
    Ok(document.filter(|node| node.value != Yaml::Null))
}

/// A list or a map that has not ended.
struct Open {
    line: usize,
    value: Yaml,
    /// Of a map: that of the value to come.
    key: Option<String>,
}

fn add(open: &mut [Open], document: &mut Option<Node>, node: Node) -> Result<(), SyntaxError> {
    let refused = |line, reason: String| Err(SyntaxError { line, reason });
    match open.last_mut() {
        None => *document = Some(node),
        Some(Open { value: Yaml::Map(members), key, .. }) => match key.take() {
            Some(name) => members.push((name, node)),
            None => {
                let name = match node.value {
                    Yaml::Text(text) => text,
                    Yaml::Null => String::new(),
                    Yaml::List(_) | Yaml::Map(_) => return refused(node.line, "a key must be a text".to_owned()),
                };
                if members.iter().rev().take(KEYS_LOOKED_AT).any(|(known, _)| *known == name) {
                    return refused(node.line, format!("{name:?} is there twice"));
                }
                *key = Some(name);
            }
        },
        Some(Open { value: Yaml::List(nodes), .. }) => nodes.push(node),
        Some(_) => {}
    }
    Ok(())
}

/// Keys in front of one among which it is looked for: all of a record's. Names that stand twice in a large file are records
/// of one name.
const KEYS_LOOKED_AT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// As it would be written in one line.
    fn said(node: &Node) -> String {
        match &node.value {
            Yaml::Null => "~".to_owned(),
            Yaml::Text(text) => format!("{text:?}"),
            Yaml::List(nodes) => format!("[{}]", nodes.iter().map(said).collect::<Vec<_>>().join(",")),
            Yaml::Map(members) => {
                let members: Vec<_> = members.iter().map(|(key, node)| format!("{key:?}:{}", said(node))).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    #[test]
    fn documents() {
        for (text, expect) in [
            ("", Ok("")),
            ("---\n", Ok("")),
            ("# nothing\n", Ok("")),
            (
                "---\n'':\n- type: A\n  ttl: 60\n  values: [1.2.3.4, '5.6.7.8']\n",
                Ok(r#"{"":[{"type":"A","ttl":"60","values":["1.2.3.4","5.6.7.8"]}]}"#),
            ),
            ("? ''\n: type: NS\n", Ok(r#"{"":{"type":"NS"}}"#)),
            ("no: yes\non: 1.10\nx: ~\ny: 'null'\n", Ok(r#"{"no":"yes","on":"1.10","x":~,"y":"null"}"#)),
            (r#"{"a": {"b": ["c"]}}"#, Ok(r#"{"a":{"b":["c"]}}"#)),
            ("a: \"two\\x20words\"\nb: >-\n  folded\n  text\n", Ok(r#"{"a":"two words","b":"folded text"}"#)),
            ("a: &x 1\nb: *x\n", Err(2)),
            ("a: 1\na: 2\n", Err(2)),
            ("a: 1\n---\nb: 2\n", Err(2)),
            ("a: [1\n", Err(2)),
            (&"[".repeat(17), Err(1)),
        ] {
            let found = read(text).map(|node| node.as_ref().map(said).unwrap_or_default());
            assert_eq!(found.as_deref().map_err(|error| error.line), expect, "{text:?}: {found:?}");
        }
    }
}
