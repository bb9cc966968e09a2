//! Records of a zone.

use bartizan_names::{Name, RecordId, ZoneId};
use bartizan_seal::sha256;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::Value as Json;

use super::anchors::{Anchors, Of, PLACE_BYTES_MAX, Place};
use super::filter::{Condition, Direction, Match, Text};
use super::sift::{KEPT_MAX, Sieve};
use super::{Listed, Page, object, tunnel_records};
use crate::change::Entry;
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, Row, folded, folded_owner, folded_tag, text};
use crate::{log, tables};

/// Beside it are the tags of records, their number in each zone, and those whose letters are to be read
/// (`schema/listings.sql`): triggers keep them when a record changes or goes.
pub(crate) const RECORDS: Listing = Listing {
    table: "record",
    columns: &[
        Column::bytes("zone", |key, _| Some(key.zone_id()?.as_bytes().to_vec().into())),
        Column::bytes("record", |key, _| Some(key.id_as::<RecordId>()?.as_bytes().to_vec().into())),
        Column::text("type", |_, record| Some(text(record, "/type")?.to_ascii_uppercase().into())),
        Column::text("owner", |_, record| Some(folded_owner(text(record, "/name")?).into())),
        Column::text("content", |_, record| Some(folded(text(record, "/content")?).into())),
        Column::number("ttl", |_, record| Some(record.pointer("/ttl")?.as_i64()?.into())),
        Column::number("proxied", |_, record| Some(i64::from(record.pointer("/proxied")?.as_bool()?).into())),
        Column::text("comment", |_, record| Some(comment(record).map_or(Value::Null, Value::Text))).or_null(),
        // Pairs of name and value, as JSON.
        Column::text("tags", |_, record| Some(tags(record).map_or(Value::Null, Value::Text))).or_null(),
    ],
    // The first three serve exact filters too.
    indexes: &[
        "record_owner ON record (zone, owner, record)",
        "record_type ON record (zone, type, record)",
        "record_content ON record (zone, content, record)",
        "record_ttl ON record (zone, ttl, record)",
        "record_proxied ON record (zone, proxied, record)",
        "record_comment ON record (zone, comment) WHERE comment IS NOT NULL",
        tunnel_records::INDEX,
    ],
    added: Some(added),
};

fn added(connection: &Connection, row: &Row, id: i64) -> rusqlite::Result<()> {
    let (zone, tags) = (row.value("zone"), row.value("tags"));
    connection
        .prepare_cached("INSERT INTO record_count VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1")?
        .execute([zone])?;
    connection.prepare_cached("INSERT OR IGNORE INTO record_unread VALUES (?)")?.execute([id])?;
    // Few records have tags, and to read none of them costs as much as to read some.
    if let Some(tags @ Value::Text(_)) = tags {
        let sql = "INSERT INTO record_tag SELECT ?1, value ->> 0, value ->> 1, ?2 FROM json_each(?3)";
        connection.prepare_cached(sql)?.execute((zone, id, tags))?;
    }
    Ok(())
}

fn comment(record: &Json) -> Option<String> {
    text(record, "/comment").filter(|comment| !comment.is_empty()).map(folded)
}

fn tags(record: &Json) -> Option<String> {
    let tags = record.pointer("/tags")?.as_array()?.iter().filter_map(Json::as_str);
    let mut tags: Vec<(String, String)> = tags.map(folded_tag).collect();
    tags.sort_unstable();
    tags.dedup();
    serde_json::to_string(&tags).ok().filter(|_| !tags.is_empty())
}

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
    /// Whether each row must be looked at, as no index gives them.
    pub fn is_search(&self) -> bool {
        let mut tests = self.name.iter().chain(&self.content).chain(&self.comment);
        self.search.is_some() || tests.any(Text::is_inside)
    }

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

/// Zones up to this size are searched record by record: that takes some milliseconds, and other zones cost nothing.
const LOOKED_THROUGH_MAX: u64 = 10_000;

/// How a zone's texts are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Record by record.
    LookThrough,
    /// Only those that have all the letters.
    ByLetters,
}

pub(crate) fn records(
    connection: &Connection,
    anchors: &Anchors,
    query: &RecordQuery,
) -> Result<Page<Entry>, ReadError> {
    let how = if count(connection, query.zone)? > LOOKED_THROUGH_MAX { Search::ByLetters } else { Search::LookThrough };
    let apex = match how {
        Search::ByLetters => apex(connection, query.zone)?,
        Search::LookThrough => None,
    };
    let query = match (&query.search, &apex) {
        // What is a part of the zone's own name is in every owner's.
        (Some(text), Some(apex)) if apex.contains(&folded(text)) => &RecordQuery { search: None, ..query.clone() },
        _ => query,
    };
    let listed = listed(query, how, apex.as_deref());
    if let (Search::ByLetters, Some(text)) = (how, &query.search)
        && filters(query).is_empty()
        && folded(text).chars().count() < LETTERS
    {
        return search_the_first(connection, query, &listed, text, SEARCHED_FIRST_MAX);
    }
    if query.is_search() && listed.offset() + u64::from(listed.per_page) <= KEPT_MAX {
        return sift(connection, query, &listed, listed.table, &listed.condition);
    }
    let filtered = !filters(query).is_empty() || query.search.is_some();
    let total = if filtered { listed.total(connection)? } else { count(connection, query.zone)? };
    if listed.offset() < SKIPPED_MAX {
        return listed.page(connection, total);
    }
    page_behind(connection, anchors, query, listed, total)
}

/// Rows in front of a page that are counted off for it in passing.
const SKIPPED_MAX: u64 = 1_000;

/// A page that begins far behind in a list, from the nearest place that is known.
fn page_behind(
    connection: &Connection,
    anchors: &Anchors,
    query: &RecordQuery,
    listed: Listed,
    total: u64,
) -> Result<Page<Entry>, ReadError> {
    let of = of(connection, query)?;
    let (column, offset) = (query.order.column(), listed.offset());
    let Listed { table, condition, order, per_page, .. } = listed;
    let (skipped, condition) = match anchors.before(of, offset) {
        Some((rows, Place { column: value, tie })) => {
            let is_behind = match query.direction {
                Direction::Ascending => ">",
                Direction::Descending => "<",
            };
            let behind = Condition::new(&format!("({column}, record) {is_behind} (?, ?)"), [value, tie]);
            (offset - rows, condition.and(behind))
        }
        None => (offset, condition),
    };
    let sql = format!(
        "SELECT id, {column}, record FROM {table} WHERE {} ORDER BY {order} LIMIT {per_page} OFFSET {skipped}",
        condition.sql
    );
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&condition.values))?;
    let (mut ids, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        ids.push(row.get(0)?);
        if ids.len() == per_page as usize {
            last = Some(Place { column: row.get(1)?, tie: row.get(2)? });
        }
    }
    if let Some(place) =
        last.filter(|place| !matches!(&place.column, Value::Text(text) if text.len() > PLACE_BYTES_MAX))
    {
        anchors.note(of, offset + u64::from(per_page), place);
    }
    super::read(connection, ids.into_iter().map(Ok), total)
}

/// Which list this is a page of, and in which state.
fn of(connection: &Connection, query: &RecordQuery) -> Result<Of, ReadError> {
    let list = RecordQuery { page: 1, per_page: 1, ..query.clone() };
    let state = (log::epoch(connection)?, tables::zone_touched(connection, query.zone)?);
    let mut of: Of = [0; 16];
    of.copy_from_slice(&sha256(format!("{list:?} {state:?}").as_bytes())[..16]);
    Ok(of)
}

/// Letters of an entry in the index of letters: for shorter texts it is of no help.
const LETTERS: usize = 3;

/// Rows that are looked at for a text that is too short for the index of letters: some tens of milliseconds. A person who
/// typed a letter or two sees what begins the list, and goes on typing.
const SEARCHED_FIRST_MAX: u64 = 50_000;

/// Looks through the first rows of the list alone.
fn search_the_first(
    connection: &Connection,
    query: &RecordQuery,
    listed: &Listed,
    text: &str,
    max: u64,
) -> Result<Page<Entry>, ReadError> {
    let Listed { table, order, .. } = listed;
    let sql = format!("(SELECT * FROM {table} WHERE zone = ? ORDER BY {order} LIMIT {max})");
    let looked_through = search(text);
    let zone = Value::from(query.zone.as_bytes().to_vec());
    let values = std::iter::once(zone).chain(looked_through.values).collect();
    let condition = Condition { sql: looked_through.sql, values };
    let found = sift(connection, query, listed, &sql, &condition)?;
    let is_all = count(connection, query.zone)? <= max;
    Ok(Page { looked_at: (!is_all).then_some(max), ..found })
}

/// Looks at each row once, for the total and for the page. `rows` is a table or what stands for one; the values of the
/// condition are those of both.
fn sift(
    connection: &Connection,
    query: &RecordQuery,
    listed: &Listed,
    rows: &str,
    condition: &Condition,
) -> Result<Page<Entry>, ReadError> {
    let column = query.order.column();
    let sql = format!("SELECT id, {column}, record FROM {rows} WHERE {}", condition.sql);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&condition.values))?;
    let mut sieve = Sieve::new(listed.offset(), listed.per_page, query.direction);
    while let Some(row) = rows.next()? {
        sieve.take(row)?;
    }
    let (total, ids) = sieve.end();
    super::read(connection, ids.into_iter().map(Ok), total)
}

pub(super) fn listed(query: &RecordQuery, how: Search, apex: Option<&str>) -> Listed {
    let in_apex = |text: &str| apex.is_some_and(|apex| apex.contains(text));
    let letters = match how {
        Search::ByLetters => letters(query, &in_apex),
        Search::LookThrough => None,
    };
    let zone = match &letters {
        None => Condition::equal("zone", query.zone.as_bytes().to_vec()),
        // The plus keeps the engine from going through the zone by one of its indexes.
        Some(letters) => having(letters).and(Condition::equal("+zone", query.zone.as_bytes().to_vec())),
    };
    let filtered = Condition::combine(&zone, filters(query), query.matching);
    let condition = match &query.search {
        Some(text) => filtered.and(search(text)),
        None => filtered,
    };
    let (column, direction) = (query.order.column(), query.direction.sql());
    Listed {
        table: RECORDS.table,
        condition,
        // One direction for both, so that an index serves it read backwards too.
        order: format!("{column} {direction}, record {direction}"),
        page: query.page,
        per_page: query.per_page,
    }
}

/// The groups of three letters that every record that passes the filters must have; none if the filters do not say.
fn letters(query: &RecordQuery, in_apex: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut parts: Vec<String> = query.search.iter().map(|text| folded(text)).collect();
    if query.matching == Match::All {
        let tests = query.name.iter().chain(&query.content).chain(&query.comment);
        parts.extend(tests.filter_map(|test| match test {
            Text::Contains(text) | Text::EndsWith(text) => Some(folded(text)),
            // Those have indexes of their own.
            Text::Exact(_) | Text::OneOf(_) | Text::StartsWith(_) => None,
        }));
    }
    let mut groups: Vec<String> = parts
        .iter()
        .flat_map(|part| {
            let letters: Vec<char> = part.chars().collect();
            letters.windows(LETTERS).map(String::from_iter).collect::<Vec<_>>()
        })
        // Every record of the zone has these; and a NUL would end the text in which they are asked for.
        .filter(|group| !in_apex(group) && !group.contains('\0'))
        .map(|group| format!("\"{}\"", group.replace('"', "\"\"")))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(GROUPS_MAX);
    (!groups.is_empty()).then(|| groups.join(" AND "))
}

/// How many groups of letters are searched for. More of them would hardly leave out more records.
const GROUPS_MAX: usize = 32;

/// The records that have the letters, and those whose letters are not read yet.
fn having(letters: &str) -> Condition {
    Condition::new(
        "id IN (SELECT rowid FROM record_text WHERE record_text MATCH ? UNION ALL SELECT id FROM record_unread)",
        [letters.to_owned().into()],
    )
}

/// The name of the zone, as owners spell it.
fn apex(connection: &Connection, zone: ZoneId) -> Result<Option<String>, ReadError> {
    let name = connection
        .prepare_cached("SELECT zone.name FROM object CROSS JOIN zone ON zone.id = object.id WHERE object.key = ?")?
        .query_row([Key::zone(zone).as_str()], |row| row.get(0));
    Ok(name.optional()?)
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
    let test = test.map(folded);
    match &test {
        // Old clients give an SRV record's weight, port and target here, and its priority elsewhere.
        Text::Exact(_) | Text::OneOf(_) => {
            let old_form = Condition::text("substr(content, instr(content, ' ') + 1)", test.clone());
            let same = Condition::text("content", test);
            let sql = format!("{} OR (type = 'SRV' AND {})", same.sql, old_form.sql);
            Condition { sql, values: [same.values, old_form.values].concat() }
        }
        _ => Condition::text("content", test),
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

/// The owner of a record as it is listed, whether or not its document can be read.
pub(crate) fn owner_of(connection: &Connection, key: &Key) -> Result<Option<String>, ReadError> {
    let owner = connection
        .prepare_cached("SELECT owner FROM record WHERE id = (SELECT id FROM object WHERE key = ?)")?
        .query_row([key.as_str()], |row| row.get(0));
    Ok(owner.optional()?)
}

/// The ids and owners of the records of one type in a zone, at most `max` of them.
pub(crate) fn owners_of_type(
    connection: &Connection,
    zone: ZoneId,
    kind: &str,
    max: u32,
) -> Result<Vec<(RecordId, String)>, ReadError> {
    let mut select = connection
        .prepare_cached("SELECT record, owner FROM record WHERE zone = ? AND type = ? ORDER BY record LIMIT ?")?;
    let rows = select.query_map((zone.as_bytes(), kind, max), |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?)))?;
    rows.map(|row| row.map(|(id, owner)| (RecordId::from_bytes(id), owner)).map_err(ReadError::from)).collect()
}

pub(crate) fn records_at(connection: &Connection, zone: ZoneId, owner: &Name) -> Result<Vec<Entry>, ReadError> {
    let mut select = connection.prepare_cached("SELECT id FROM record WHERE zone = ? AND owner = ? ORDER BY record")?;
    let ids = select.query_map((zone.as_bytes(), owner.to_string()), |row| row.get(0))?;
    ids.map(|id| object(connection, id?)).collect()
}

#[cfg(test)]
mod tests {
    use bartizan_names::Timestamp;
    use rusqlite::{TransactionBehavior, params_from_iter};

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::rebuild;
    use crate::{Store, schema};

    const ZONE: ZoneId = ZoneId::from_bytes([1; 16]);

    fn op(zone: ZoneId, number: u8, name: &str, content: &str, comment: &str) -> Op {
        let json = format!(
            r#"{{"name":"{name}","type":"TXT","content":"{content}","proxied":false,"ttl":1,"comment":"{comment}"}}"#
        );
        let key = Key::record(zone, RecordId::from_bytes([number; 16]));
        Op::Put { key, value: Value { format: 1, json: json.into() } }
    }

    fn ids(connection: &Connection, query: &RecordQuery, how: Search) -> Vec<i64> {
        let listed = listed(query, how, Some("x.test"));
        let mut select = connection.prepare(&listed.ids()).unwrap();
        let ids = select.query_map(params_from_iter(&listed.condition.values), |row| row.get(0)).unwrap();
        ids.collect::<Result<_, _>>().unwrap()
    }

    /// In one look at each row, what the engine finds in two.
    #[test]
    fn pages_of_a_search() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let records = (0..60_u8).map(|number| {
            op(
                ZONE,
                number,
                &format!("n{}.x.test", number % 7),
                &format!("c{}", number % 11),
                ["", "note"][usize::from(number % 2)],
            )
        });
        commit(&store, records.collect());
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let orders =
            [RecordOrder::Type, RecordOrder::Name, RecordOrder::Content, RecordOrder::Ttl, RecordOrder::Proxied];
        for order in orders {
            for direction in [Direction::Ascending, Direction::Descending] {
                for (search, per_page, total) in [("n", 7, 60), ("n3", 3, 9), ("note", 60, 30), ("nothing", 5, 0)] {
                    for page in [1, 2, 3, 9] {
                        let search = Some(search.to_owned());
                        let query = RecordQuery { order, direction, search, page, per_page, ..RecordQuery::all(ZONE) };
                        let found = super::records(&connection, &Anchors::default(), &query).unwrap();
                        let listed = listed(&query, Search::LookThrough, None);
                        let expect = listed.page(&connection, listed.total(&connection).unwrap()).unwrap();
                        assert_eq!(found, expect, "{query:?}");
                        assert_eq!(found.total, total, "{query:?}");
                    }
                }
            }
        }
    }

    /// What stands behind so many rows of the list is not looked at, in whichever order it is.
    #[test]
    fn a_letter_is_searched_in_the_first_rows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name = |number: u8| format!("{}{number:02}.x.test", if number.is_multiple_of(2) { "a" } else { "b" });
        commit(&store, (0..40).map(|number| op(ZONE, number, &name(number), "c", "")).collect());
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        // By name, the twenty with an a stand in front.
        for (order, direction, max, page, expect) in [
            (RecordOrder::Name, Direction::Ascending, 30, 1, (10, 10, Some(30))),
            (RecordOrder::Name, Direction::Ascending, 30, 2, (10, 0, Some(30))),
            (RecordOrder::Name, Direction::Descending, 30, 1, (20, 15, Some(30))),
            (RecordOrder::Name, Direction::Descending, 30, 2, (20, 5, Some(30))),
            (RecordOrder::Name, Direction::Ascending, 40, 1, (20, 15, None)),
            (RecordOrder::Type, Direction::Ascending, 10, 1, (5, 5, Some(10))),
            (RecordOrder::Type, Direction::Ascending, 10, 9, (5, 0, Some(10))),
        ] {
            let query = RecordQuery { order, direction, page, per_page: 15, ..RecordQuery::all(ZONE) };
            let listed = listed(&query, Search::ByLetters, Some("x.test"));
            let found = search_the_first(&connection, &query, &listed, "B", max).unwrap();
            let seen = (found.total, found.items.len() as u64, found.looked_at);
            assert_eq!(seen, expect, "{query:?} {max}");
        }
    }

    /// From the places that are known, what is there without them; and they hold for the state in which they were noted.
    #[test]
    fn pages_far_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let some = |numbers: std::ops::Range<u16>| -> Vec<Op> {
            let name = |number: u16| format!("n{}.x.test", number % 300);
            let record = |number: u16| {
                let mut id = [7; 16];
                id[..2].copy_from_slice(&number.to_be_bytes());
                let json = format!(
                    r#"{{"name":"{}","type":"A","content":"192.0.2.1","proxied":false,"ttl":1}}"#,
                    name(number)
                );
                Op::Put {
                    key: Key::record(ZONE, RecordId::from_bytes(id)),
                    value: Value { format: 1, json: json.into() },
                }
            };
            numbers.map(record).collect()
        };
        commit(&store, some(100..2_500));
        let anchors = Anchors::default();
        let look = || {
            let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
            for order in [RecordOrder::Type, RecordOrder::Name] {
                for direction in [Direction::Ascending, Direction::Descending] {
                    for (per_page, pages) in [(100, 9..27), (300, 4..10), (7, 300..303), (100, 20..22)] {
                        for page in pages {
                            let query = RecordQuery { order, direction, page, per_page, ..RecordQuery::all(ZONE) };
                            let found = super::records(&connection, &anchors, &query).unwrap();
                            let listed = listed(&query, Search::LookThrough, None);
                            let expect = listed.page(&connection, listed.total(&connection).unwrap()).unwrap();
                            assert_eq!(found, expect, "{query:?}");
                        }
                    }
                }
            }
            let query = RecordQuery { page: 20, ..RecordQuery::all(ZONE) };
            anchors.before(super::of(&connection, &query).unwrap(), 1_900).map(|(rows, _)| rows)
        };
        assert_eq!(look(), Some(1_900));
        commit(&store, some(0..100));
        assert_eq!(look(), Some(1_900));
    }

    fn commit(store: &Store, ops: Vec<Op>) {
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: bartizan_seal::random(),
        };
        store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
    }

    /// Also while some records wait for their letters to be read.
    #[test]
    fn both_ways_of_searching_find_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        commit(
            &store,
            vec![
                op(ZONE, 1, "www.x.test", "v=spf1 -all", "The Office"),
                op(ZONE, 2, "office.x.test", "office 100%", ""),
                op(ZONE, 3, "ww.x.test", "Über", "wwe ww"),
                op(ZoneId::from_bytes([2; 16]), 4, "www.x.test", "office", ""),
            ],
        );
        let mut connection = schema::open_writer(dir.path()).unwrap();
        let mut look = || {
            let mut some = 0;
            for text in [
                "www",
                "OFFICE",
                "ffice",
                "x.test",
                "ww.x.tes",
                "t\nv",
                "über",
                "0%",
                "ww",
                "\"",
                "ww\" OR \"spf",
                "a\0b",
            ] {
                for query in [
                    RecordQuery { search: Some(text.to_owned()), ..RecordQuery::all(ZONE) },
                    RecordQuery { name: vec![Text::Contains(text.to_owned())], ..RecordQuery::all(ZONE) },
                    RecordQuery { content: vec![Text::EndsWith(text.to_owned())], ..RecordQuery::all(ZONE) },
                    RecordQuery {
                        comment: vec![Text::Contains(text.to_owned())],
                        search: Some("ffi".to_owned()),
                        matching: Match::Any,
                        ..RecordQuery::all(ZONE)
                    },
                ] {
                    let expect = ids(&connection, &query, Search::LookThrough);
                    assert_eq!(ids(&connection, &query, Search::ByLetters), expect, "{query:?}");
                    some += expect.len();
                }
            }
            assert!(some > 10, "{some}");
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            assert_eq!(rebuild::read_records(&transaction, 2_000).unwrap(), rebuild::Reading::Finished);
            transaction.commit().unwrap();
        };
        look();
        look();
        commit(
            &store,
            vec![
                op(ZONE, 1, "www.x.test", "changed", ""),
                Op::Del { key: Key::record(ZONE, RecordId::from_bytes([2; 16])) },
            ],
        );
        look();
        look();
    }
}
