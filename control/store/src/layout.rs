//! The layouts that a file may have: what their rows are like, and how one becomes an object of today.

use std::path::Path;

use rusqlite::types::{Type, Value};

use crate::key::Key;
use crate::pages::{Pages, PagesError, Tree};
use crate::raw::USUAL_PAGE_BYTES;
use crate::schema::{self, from_1};
use crate::state_hash::StateHash;

/// One layout; how it is laid out is in `schema/`.
pub(crate) struct Layout {
    pub(crate) number: u32,
    /// The columns of the table of objects. In a row the id is null.
    objects: &'static [(&'static str, Type)],
    /// The types of the columns of the log.
    pub(crate) changes: &'static [Option<Type>],
    /// What an object and its entry in the index of keys still have in common when it is one of today.
    pub(crate) named_by: &'static str,
    /// Its keys are those of today, and so its names, its log and its hashes are about the same objects.
    pub(crate) goes_on: bool,
    read: fn(&Row) -> Object,
}

const TEXT: Option<Type> = Some(Type::Text);
const BLOB: Option<Type> = Some(Type::Blob);
const INTEGER: Option<Type> = Some(Type::Integer);
const REV: Option<Type> = Some(Type::Null);

const OF_TODAY: Layout = Layout {
    number: schema::VERSION,
    objects: &[
        ("id", Type::Null),
        ("key", Type::Text),
        ("kind", Type::Integer),
        ("rev", Type::Integer),
        ("format", Type::Integer),
        ("hash", Type::Blob),
        ("json", Type::Text),
    ],
    changes: &[REV, BLOB, INTEGER, TEXT, TEXT, None, INTEGER, BLOB],
    named_by: "key",
    goes_on: true,
    read: Row::of_today,
};

/// Whose log is not compressed.
const THIRD: Layout = Layout { number: 3, ..OF_TODAY };

/// Without the audit.
const SECOND: Layout = Layout { number: 2, ..OF_TODAY };

const FIRST: Layout = Layout {
    number: 1,
    objects: &[
        ("id", Type::Null),
        ("key", Type::Text),
        ("kind", Type::Integer),
        ("rev", Type::Integer),
        ("format", Type::Integer),
        ("json", Type::Text),
    ],
    changes: &[REV, BLOB, INTEGER, TEXT, INTEGER, BLOB],
    named_by: "id",
    goes_on: false,
    read: Row::of_first,
};

/// Where a file does not say which it is, the later of two that fit.
const ALL: [&Layout; 4] = [&SECOND, &THIRD, &OF_TODAY, &FIRST];

/// Sizes that pages may have; where nothing speaks for another, the last.
const PAGE_BYTES: [usize; 8] = [512, 1024, 2048, 8192, 16_384, 32_768, 65_536, USUAL_PAGE_BYTES];

/// Whose file it is.
pub(crate) enum Owner {
    Us(Pages, &'static Layout),
    /// A version that knows more layouts.
    Newer(u32),
    Others,
    /// It is no database, or nothing of it can be read.
    Nobody,
}

impl Layout {
    /// By what the file says of itself or, if that is damaged, by its objects.
    pub(crate) fn of(path: &Path) -> Result<Owner, PagesError> {
        let pages = Pages::open(path, USUAL_PAGE_BYTES)?;
        let Some(head) = pages.head() else { return Layout::by_objects(path) };
        let is_marked = head.application_id() == schema::APPLICATION.unsigned_abs();
        Ok(match ALL.into_iter().find(|layout| layout.number == head.user_version()) {
            Some(layout) if is_marked => Owner::Us(pages, layout),
            None if is_marked && head.user_version() > schema::VERSION => Owner::Newer(head.user_version()),
            _ => Owner::Others,
        })
    }

    fn by_objects(path: &Path) -> Result<Owner, PagesError> {
        let mut best = (0, Owner::Nobody);
        for page_bytes in PAGE_BYTES {
            for layout in ALL {
                let pages = Pages::open(path, page_bytes)?;
                let mut found = 0;
                layout.each_object(&pages, &mut |row| {
                    found += u64::from(layout.read(&row).is_sure);
                    Ok(())
                })?;
                if found > 0 && found >= best.0 {
                    best = (found, Owner::Us(pages, layout));
                }
            }
        }
        Ok(best.1)
    }

    /// Reads them from their leaves.
    pub(crate) fn each_object(
        &self,
        pages: &Pages,
        f: &mut dyn FnMut(Row) -> rusqlite::Result<()>,
    ) -> Result<(), PagesError> {
        let types: Vec<_> = self.objects.iter().map(|(_, of)| Some(*of)).collect();
        pages.for_each_row(Tree::Table, &types, &mut |id, mut columns| {
            columns[0] = Value::Integer(id);
            Row::of(columns).map_or(Ok(()), &mut *f)
        })
    }

    /// Reads them by the engine.
    pub(crate) fn select_objects(&self) -> String {
        let columns: Vec<_> = self.objects.iter().map(|(name, _)| *name).collect();
        format!("SELECT {} FROM object NOT INDEXED ORDER BY id", columns.join(", "))
    }

    pub(crate) fn read(&self, row: &Row) -> Object {
        (self.read)(row)
    }
}

/// A row of a table of objects.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) kind: i64,
    pub(crate) rev: i64,
    pub(crate) format: i64,
    /// Schema 1 had none.
    pub(crate) hash: Option<Vec<u8>>,
    pub(crate) json: String,
}

/// What it is today.
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) hash: StateHash,
    /// It is what was committed, as far as its layout can tell.
    pub(crate) is_whole: bool,
    /// No other program has such a row.
    is_sure: bool,
}

impl Row {
    pub(crate) fn of(columns: Vec<Value>) -> Option<Row> {
        use Value::{Blob, Integer, Text};
        let mut columns = columns.into_iter();
        let (Integer(id), Text(key)) = (columns.next()?, columns.next()?) else { return None };
        let (Integer(kind), Integer(rev), Integer(format)) = (columns.next()?, columns.next()?, columns.next()?) else {
            return None;
        };
        let (hash, json) = match (columns.next()?, columns.next()) {
            (Blob(hash), Some(Text(json))) => (Some(hash), json),
            (Text(json), None) => (None, json),
            _ => return None,
        };
        Some(Row { id, key, kind, rev, format, hash, json })
    }

    fn hash_by(&self, key: &str) -> StateHash {
        StateHash::of(key, self.rev, self.format, &self.json)
    }

    fn of_today(&self) -> Object {
        let (kept, hash) = (StateHash::read(self.hash.as_deref().unwrap_or_default()), self.hash_by(&self.key));
        // What an older layout could not say whose it is.
        let as_it_came = kept == StateHash::default() && Key::stored(&self.key).is_err();
        Object {
            key: self.key.clone(),
            hash: if as_it_came { kept } else { hash },
            is_whole: kept == hash || as_it_came,
            is_sure: kept == hash,
        }
    }

    /// What has no key of today keeps its own, and is no part of the state.
    fn of_first(&self) -> Object {
        let new = from_1::new_key(&self.key, &self.json);
        let (key, hash) = match &new {
            Some(key) => (key.to_string(), self.hash_by(key.as_str())),
            None => (self.key.clone(), StateHash::default()),
        };
        Object { key, hash, is_whole: true, is_sure: new.is_some() }
    }
}
