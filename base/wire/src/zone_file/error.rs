//! Where a file is not as it must be, and why.

use std::fmt;

use bartizan_names::NameError;

use super::LINE_MAX;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
}

impl Default for Place {
    /// The first one.
    fn default() -> Place {
        Place { line: 1, column: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A fault in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SyntaxError {
    pub place: Place,
    pub reason: Reason,
}

/// What is wrong there, and what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("a quoted string must end on its line")]
    OpenQuote,
    #[error("this parenthesis is never closed")]
    OpenParenthesis,
    #[error("this parenthesis closes none")]
    StrayParenthesis,
    #[error("a backslash must stand before a character of its line")]
    Escape,
    #[error("a record has more than {LINE_MAX} bytes")]
    Long,
    #[error("a line that begins with a space is about the name of the line before, and there is none")]
    NoOwner,
    #[error("{text:?} is no name: {error}")]
    Name { text: String, error: NameError },
    #[error("{0:?} is no time to live: seconds, or numbers with units as in 1h30m")]
    Ttl(String),
    #[error("records are of class IN here, not {0}")]
    Class(String),
    #[error("a record has a type behind its name, time to live and class")]
    NoType,
    #[error("a record of type {0} says nothing")]
    NoData(String),
    #[error("$INCLUDE is not allowed: put the other file's records in its place")]
    Include,
    #[error("{0} is not understood; there are $ORIGIN and $TTL")]
    Directive(String),
    #[error("{0} takes one word behind it")]
    DirectiveWords(&'static str),
}
