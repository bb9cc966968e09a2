//! How objects of a kind are found by more than their key: a table with a row for each object.
//!
//! A kind declares its columns and indexes once, beside what is asked of them (`query/`), and says so in the table of kinds.
//! A row comes from the object alone, its key and its JSON, so that any copy of the objects can make its listings anew.

use std::collections::HashMap;
use std::sync::LazyLock;

use bartizan_names::{Name, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::key::Key;
use crate::kind::Kind;
use crate::tables::signed;

/// The listing of a kind.
pub(crate) struct Listing {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [Column],
    /// What comes behind `CREATE INDEX`: one for each order in which objects are listed.
    pub(crate) indexes: &'static [&'static str],
    /// Puts down what goes with a new row beside it.
    pub(crate) added: Option<Added>,
}

/// Takes the row of a new object, and the object's id in the file.
type Added = fn(&Connection, &Row, i64) -> rusqlite::Result<()>;

/// A column of a listing.
pub(crate) struct Column {
    name: &'static str,
    sql: &'static str,
    read: Read,
}

/// The value of an object; none if it does not have what the listing needs.
type Read = fn(&Key, &Json) -> Option<Value>;

impl Column {
    pub(crate) const fn text(name: &'static str, read: Read) -> Column {
        Column { name, sql: "TEXT NOT NULL", read }
    }

    pub(crate) const fn bytes(name: &'static str, read: Read) -> Column {
        Column { name, sql: "BLOB NOT NULL", read }
    }

    pub(crate) const fn number(name: &'static str, read: Read) -> Column {
        Column { name, sql: "INTEGER NOT NULL", read }
    }

    /// With a value for objects that have none.
    pub(crate) const fn or_null(self) -> Column {
        let sql = match self.sql.as_bytes() {
            [b'T', ..] => "TEXT",
            [b'B', ..] => "BLOB",
            _ => "INTEGER",
        };
        Column { sql, ..self }
    }
}

impl Listing {
    /// The SQL that makes it.
    pub(crate) fn layout(&self) -> String {
        let Listing { table, columns, indexes, .. } = self;
        let columns: String = columns.iter().map(|column| format!(", {} {}", column.name, column.sql)).collect();
        let indexes: String = indexes.iter().map(|index| format!("CREATE INDEX {index};\n")).collect();
        // `id` is the object's.
        format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY{columns}) STRICT;\n{indexes}")
    }

    pub(crate) fn delete(&self, connection: &Connection, id: i64) -> rusqlite::Result<()> {
        let sql = format!("DELETE FROM {} WHERE id = ?", self.table);
        connection.prepare_cached(&sql)?.execute([id]).map(drop)
    }

    /// The statements that put a row for a new object and for one that had one: of both the id is the first value.
    fn puts(&self) -> Puts {
        let Listing { table, columns, .. } = self;
        let (mut names, mut places, mut set) = (String::new(), String::new(), Vec::new());
        for (Column { name, .. }, number) in columns.iter().zip(2..) {
            names += &format!(", {name}");
            places += ", ?";
            set.push(format!("{name} = ?{number}"));
        }
        Puts {
            new: format!("INSERT INTO {table} (id{names}) VALUES (?{places})"),
            old: format!("UPDATE {table} SET {} WHERE id = ?1", set.join(", ")),
        }
    }
}

struct Puts {
    new: String,
    old: String,
}

/// By the names of the tables: they are wanted for each object of an import.
static PUTS: LazyLock<HashMap<&'static str, Puts>> = LazyLock::new(|| {
    let listings = Kind::ALL.iter().filter_map(|kind| kind.declaration().listing);
    listings.map(|listing| (listing.table, listing.puts())).collect()
});

/// Whether an object was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    New,
    Old,
}

/// The row of an object.
#[derive(Debug)]
pub(crate) struct Row {
    kind: Kind,
    values: Vec<Value>,
}

impl Row {
    /// None for kinds that nobody lists by anything but their key; an error says why the document has no row.
    pub(crate) fn of(key: &Key, format: u16, json: &str) -> Result<Option<Row>, String> {
        let declaration = key.kind().declaration();
        let Some(listing) = declaration.listing else { return Ok(None) };
        let json = declaration.documents.upgrade(format, json)?;
        let json: Json = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let values = listing.columns.iter().map(|column| {
            (column.read)(key, &json)
                .ok_or_else(|| format!("the {} of this {} is missing or invalid", column.name, listing.table))
        });
        Ok(Some(Row { kind: key.kind(), values: values.collect::<Result<_, _>>()? }))
    }

    pub(crate) fn put(&self, connection: &Connection, id: i64, age: Age) -> rusqlite::Result<()> {
        let Some(listing) = self.kind.declaration().listing else { return Ok(()) };
        debug_assert_eq!(self.values.len(), listing.columns.len());
        let (puts, first) = (&PUTS[listing.table], Value::from(id));
        let execute = |sql: &str| {
            let values = std::iter::once(&first).chain(&self.values);
            connection.prepare_cached(sql)?.execute(params_from_iter(values))
        };
        // One that could not be listed before has no row.
        if age == Age::Old && execute(&puts.old)? > 0 {
            return Ok(());
        }
        execute(&puts.new)?;
        listing.added.map_or(Ok(()), |added| added(connection, self, id))
    }

    /// What is in a column.
    pub(crate) fn value(&self, column: &str) -> Option<&Value> {
        let at = self.kind.declaration().listing?.columns.iter().position(|one| one.name == column)?;
        self.values.get(at)
    }
}

/// The text at a place of a document (RFC 6901).
pub(crate) fn text<'d>(document: &'d Json, pointer: &str) -> Option<&'d str> {
    document.pointer(pointer)?.as_str()
}

/// The time at a place of a document, in microseconds; null where there is none.
pub(crate) fn time(document: &Json, pointer: &str) -> Option<Value> {
    match document.pointer(pointer) {
        None | Some(Json::Null) => Some(Value::Null),
        Some(time) => Some(signed(Timestamp::deserialize(time).ok()?.unix_micros()).into()),
    }
}

/// How texts are compared: case does not count, and a tab is a space, because clients write one for the other.
///
/// Letter by letter, unlike `str::to_lowercase`, which looks at a sigma's neighbours: a part of a folded text shall be the
/// folded part of the text.
pub(crate) fn folded(text: &str) -> String {
    text.chars().map(|char| if char == '\t' { ' ' } else { char }).flat_map(char::to_lowercase).collect()
}

/// `name:value`, or a name alone.
pub(crate) fn folded_tag(text: &str) -> (String, String) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (folded(name), folded(value))
}

/// The owner as keys spell it: in lower case, because the case of names does not count (RFC 4343 §3).
pub(crate) fn folded_owner(text: &str) -> String {
    Name::parse(text).map_or_else(|_| folded(text), |name| name.to_string())
}
