//! Conditions put together from filters. Values never become part of the SQL text.

use rusqlite::types::Value;

/// How several filters combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    #[default]
    All,
    Any,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Ascending,
    Descending,
}

impl Direction {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        }
    }
}

/// A test of a text. Case does not count, and a tab equals a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Exact(String),
    /// Exactly one of some spellings of one thing.
    OneOf(Vec<String>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
}

impl Text {
    /// Whether it looks anywhere in a text but for the beginning of it.
    pub(crate) fn is_inside(&self) -> bool {
        matches!(self, Text::Contains(_) | Text::EndsWith(_))
    }

    /// The same test of the folded text.
    pub(super) fn map(&self, fold: impl Fn(&str) -> String) -> Text {
        match self {
            Text::Exact(text) => Text::Exact(fold(text)),
            Text::OneOf(texts) => Text::OneOf(texts.iter().map(|text| fold(text)).collect()),
            Text::Contains(text) => Text::Contains(fold(text)),
            Text::StartsWith(text) => Text::StartsWith(fold(text)),
            Text::EndsWith(text) => Text::EndsWith(fold(text)),
        }
    }
}

/// A piece of a WHERE clause with the values of its question marks, in order.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn new(sql: &str, values: impl IntoIterator<Item = Value>) -> Condition {
        Condition { sql: sql.to_owned(), values: values.into_iter().collect() }
    }

    pub(super) fn equal(column: &str, value: impl Into<Value>) -> Condition {
        Condition::new(&format!("{column} = ?"), [value.into()])
    }

    /// `text` is folded as the column is.
    pub(super) fn text(column: &str, text: Text) -> Condition {
        match text {
            Text::Exact(text) => Condition::equal(column, text),
            Text::OneOf(texts) => {
                let marks = vec!["?"; texts.len()].join(", ");
                Condition::new(&format!("{column} IN ({marks})"), texts.into_iter().map(Value::from))
            }
            // A range, so that an index serves it. No text is behind U+10FFFF.
            Text::StartsWith(text) => {
                let end = format!("{text}\u{10ffff}");
                Condition::new(&format!("{column} >= ? AND {column} < ?"), [text.into(), end.into()])
            }
            // instr and substr know no wildcards: nothing to escape.
            Text::Contains(text) => Condition::new(&format!("instr({column}, ?) > 0"), [text.into()]),
            Text::EndsWith(text) => Condition::new(
                &format!("length({column}) >= length(?) AND substr({column}, length({column}) - length(?) + 1) = ?"),
                [text.clone().into(), text.clone().into(), text.into()],
            ),
        }
    }

    pub(super) fn and(mut self, other: Condition) -> Condition {
        self.sql = format!("({}) AND ({})", self.sql, other.sql);
        self.values.extend(other.values);
        self
    }

    /// None if there are no conditions.
    pub(super) fn all(conditions: Vec<Condition>) -> Option<Condition> {
        conditions.into_iter().reduce(Condition::and)
    }

    /// None if there are no conditions.
    pub(super) fn any(conditions: Vec<Condition>) -> Option<Condition> {
        conditions.into_iter().reduce(|mut one, other| {
            one.sql = format!("({}) OR ({})", one.sql, other.sql);
            one.values.extend(other.values);
            one
        })
    }

    /// What must hold for all rows (`base`), together with the filters. `base` goes into every branch of an OR,
    /// because an index is only used for a branch that names its first column.
    pub(super) fn combine(base: &Condition, filters: Vec<Condition>, matching: Match) -> Condition {
        let filtered = match matching {
            Match::All => Condition::all(filters).map(|filters| base.clone().and(filters)),
            Match::Any => Condition::any(filters.into_iter().map(|filter| base.clone().and(filter)).collect()),
        };
        filtered.unwrap_or_else(|| base.clone())
    }
}
