//! Records of a zone.

use bartizan_names::{Name, ZoneId};
use rusqlite::{Connection, OptionalExtension};

use super::filter::{Condition, Direction, Match, Text};
use super::{Listed, Page, object};
use crate::change::Entry;
use crate::error::ReadError;
use crate::listing::{folded, folded_owner};

/// Which records of a zone, and which page of them.
#[derive(Clone, Debug)]
pub struct RecordQuery {
    pub zone: ZoneId,
    pub kind: Option<String>,
    pub proxied: Option<bool>,
    /// Whole names, without a final dot.
    pub name: Vec<Text>,
    /// An exact content of an SRV record may lack the priority.
    pub content: Vec<Text>,
    pub comment: Vec<Text>,
    pub commented: Option<Presence>,
    pub tags: Vec<TagFilter>,
    /// How the tag filters combine among themselves.
    pub tag_match: Match,
    /// How all other filters and the tags together combine.
    pub matching: Match,
    /// In the name, the content or the comment; always in addition to the filters.
    pub search: Option<String>,
    pub order: RecordOrder,
    pub direction: Direction,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

impl RecordQuery {
    /// The first hundred records of a zone, in the dialect's order.
    pub fn all(zone: ZoneId) -> RecordQuery {
        RecordQuery {
            zone,
            kind: None,
            proxied: None,
            name: Vec::new(),
            content: Vec::new(),
            comment: Vec::new(),
            commented: None,
            tags: Vec::new(),
            tag_match: Match::All,
            matching: Match::All,
            search: None,
            order: RecordOrder::Type,
            direction: Direction::Ascending,
            page: 1,
            per_page: 100,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Present,
    Absent,
}

/// A test of a record's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// A tag of this name is there, whatever its value.
    Present(String),
    Absent(String),
    /// A tag of this name whose value passes the test is there.
    Value {
        name: String,
        value: Text,
    },
}

/// The order of records; equal ones stand in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordOrder {
    #[default]
    Type,
    Name,
    Content,
    Ttl,
    Proxied,
}

impl RecordOrder {
    const fn column(self) -> &'static str {
        match self {
            RecordOrder::Type => "type",
            RecordOrder::Name => "owner",
            RecordOrder::Content => "content",
            RecordOrder::Ttl => "ttl",
            RecordOrder::Proxied => "proxied",
        }
    }
}

pub(crate) fn records(connection: &Connection, query: &RecordQuery) -> Result<Page<Entry>, ReadError> {
    let listed = listed(query);
    let filtered = !filters(query).is_empty() || query.search.is_some();
    let total = if filtered { listed.total(connection)? } else { count(connection, query.zone)? };
    listed.page(connection, total)
}

pub(super) fn listed(query: &RecordQuery) -> Listed {
    let zone = Condition::equal("zone", query.zone.as_bytes().to_vec());
    let filtered = Condition::combine(&zone, filters(query), query.matching);
    let condition = match &query.search {
        Some(text) => filtered.and(search(text)),
        None => filtered,
    };
    let (column, direction) = (query.order.column(), query.direction.sql());
    Listed {
        table: "record",
        condition,
        // One direction for both, so that an index serves it read backwards too.
        order: format!("{column} {direction}, record {direction}"),
        page: query.page,
        per_page: query.per_page,
    }
}

fn filters(query: &RecordQuery) -> Vec<Condition> {
    let mut filters = Vec::new();
    filters.extend(query.kind.as_ref().map(|kind| Condition::equal("type", kind.to_ascii_uppercase())));
    filters.extend(query.proxied.map(|proxied| Condition::equal("proxied", i64::from(proxied))));
    filters.extend(query.name.iter().map(name));
    filters.extend(query.content.iter().map(content));
    filters.extend(query.comment.iter().map(|test| Condition::text("comment", test.map(folded))));
    filters.extend(query.commented.map(|presence| match presence {
        Presence::Present => Condition::new("comment IS NOT NULL", []),
        Presence::Absent => Condition::new("comment IS NULL", []),
    }));
    let tags = query.tags.iter().map(|test| tag(query.zone, test)).collect();
    filters.extend(match query.tag_match {
        Match::All => Condition::all(tags),
        Match::Any => Condition::any(tags),
    });
    filters
}

fn name(test: &Text) -> Condition {
    Condition::text(
        "owner",
        match test {
            // A whole name has one spelling; a part of one only its case.
            Text::Exact(text) => Text::Exact(folded_owner(text)),
            part => part.map(folded),
        },
    )
}

fn content(test: &Text) -> Condition {
    let same = Condition::text("content", test.map(folded));
    match test {
        // Old clients give an SRV record's weight, port and target here, and its priority elsewhere.
        Text::Exact(text) => Condition::new(
            &format!("{} OR (type = 'SRV' AND substr(content, instr(content, ' ') + 1) = ?)", same.sql),
            [folded(text).into(), folded(text).into()],
        ),
        _ => same,
    }
}

fn tag(zone: ZoneId, test: &TagFilter) -> Condition {
    let having = |name: &str, value: Option<Condition>| {
        let tags = Condition::equal("zone", zone.as_bytes().to_vec()).and(Condition::equal("name", folded(name)));
        let tags = match value {
            Some(value) => tags.and(value),
            None => tags,
        };
        Condition { sql: format!("SELECT id FROM record_tag WHERE {}", tags.sql), values: tags.values }
    };
    let (relation, tags) = match test {
        TagFilter::Present(name) => ("IN", having(name, None)),
        TagFilter::Absent(name) => ("NOT IN", having(name, None)),
        TagFilter::Value { name, value } => ("IN", having(name, Some(Condition::text("value", value.map(folded))))),
    };
    Condition { sql: format!("id {relation} ({})", tags.sql), values: tags.values }
}

fn search(text: &str) -> Condition {
    let text = folded(text);
    Condition::new(
        "instr(owner, ?) > 0 OR instr(content, ?) > 0 OR instr(comment, ?) > 0",
        [text.clone().into(), text.clone().into(), text.into()],
    )
}

/// All records of a zone, counted when they were written.
fn count(connection: &Connection, zone: ZoneId) -> Result<u64, ReadError> {
    let count: Option<i64> = connection
        .prepare_cached("SELECT count FROM record_count WHERE zone = ?")?
        .query_row([zone.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(count.unwrap_or(0).cast_unsigned())
}

pub(crate) fn records_at(connection: &Connection, zone: ZoneId, owner: &Name) -> Result<Vec<Entry>, ReadError> {
    let mut select = connection.prepare_cached("SELECT id FROM record WHERE zone = ? AND owner = ? ORDER BY record")?;
    let ids = select.query_map((zone.as_bytes(), owner.to_string()), |row| row.get(0))?;
    ids.map(|id| object(connection, id?)).collect()
}
