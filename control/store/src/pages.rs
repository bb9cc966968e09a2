//! The rows of a file by its pages alone, where the tree over them, or the schema that names it, cannot be read.
//!
//! Whatever became of the pages above it, a page with rows can be read by itself; whose it is, is told by the types of its
//! rows' columns. Pages that the file lists as free hold what was once there and are passed over: if that list is damaged
//! too, and the file has no map of its pages, a row may come back that was changed or deleted since, and who reads must
//! look for it. Why the engine's own recovery is not used is told in [`crate::raw`].
//!
//! The format is <https://www.sqlite.org/fileformat2.html>; section numbers are of this page.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::types::{Type, Value};

use crate::raw::{HEAD_BYTES, Head, u32_at};

/// What a tree has on its pages: a table has rows on its leaves, an index on the pages above them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Table,
    Index,
}

/// How a page is written that has rows.
struct Shape {
    head_bytes: usize,
    /// In front of each row, the number of the page that has those before it.
    child_bytes: usize,
}

impl Tree {
    /// By the first byte of a page (§1.6).
    fn shape(self, first: u8) -> Option<Shape> {
        match (self, first) {
            (Tree::Table, 13) | (Tree::Index, 10) => Some(Shape { head_bytes: 8, child_bytes: 0 }),
            (Tree::Index, 2) => Some(Shape { head_bytes: 12, child_bytes: 4 }),
            _ => None,
        }
    }
}

/// What the map of the pages has of each, and of a free one (§1.8).
const MAPPED: RangeInclusive<u8> = 1..=5;
const MAPPED_FREE: u8 = 2;

/// One row; the largest of ours is a change.
const ROW_BYTES_MAX: u64 = 64 << 20;

pub(crate) struct Pages {
    file: File,
    /// None: it is damaged.
    head: Option<Head>,
    page_bytes: usize,
    /// Without what is reserved at the end of each page.
    usable: usize,
    count: u32,
}

impl Pages {
    /// Where the file cannot say how large its pages are, they are taken to be of so many bytes.
    pub(crate) fn open(path: &Path, page_bytes: usize) -> io::Result<Pages> {
        let file = File::open(path)?;
        let mut head = [0; HEAD_BYTES];
        let head = file.read_exact_at(&mut head, 0).ok().and_then(|()| Head::read(head));
        let (page_bytes, usable) =
            head.as_ref().map_or((page_bytes, page_bytes), |head| (head.page_bytes(), head.usable()));
        let count = u32::try_from(file.metadata()?.len() / page_bytes as u64).unwrap_or(u32::MAX);
        Ok(Pages { file, head, page_bytes, usable, count })
    }

    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Hands every row of a tree of this kind to `f` whose columns are of these types, with its id, from pages in use. Of a
    /// table, the column that is the id is null; a type that is not given may be any.
    pub(crate) fn for_each_row(
        &self,
        tree: Tree,
        types: &[Option<Type>],
        f: &mut dyn FnMut(i64, Vec<Value>) -> rusqlite::Result<()>,
    ) -> Result<(), PagesError> {
        let free = self.free()?;
        for number in (1..=self.count).filter(|number| !free.contains(number)) {
            let page = self.page(number)?;
            let at = if number == 1 { HEAD_BYTES } else { 0 };
            let Some(shape) = page.get(at).and_then(|kind| tree.shape(*kind)) else { continue };
            let cells = u16_at(&page, at + 3).unwrap_or(0);
            for cell in 0..usize::from(cells) {
                let Some(begin) = u16_at(&page, at + shape.head_bytes + 2 * cell) else { break };
                let Some(cell) = page.get(usize::from(begin) + shape.child_bytes..) else { continue };
                if let Some((id, row)) = self.row(tree, cell, types) {
                    f(id, row)?;
                }
            }
        }
        Ok(())
    }

    /// Pages that are free: in the list of them, as far as it can be followed (§1.5), or by the map of the pages.
    fn free(&self) -> io::Result<HashSet<u32>> {
        let mut free = HashSet::new();
        let mut next = self.head.as_ref().map_or(0, Head::first_free);
        while next != 0 && next <= self.count && free.insert(next) {
            let trunk = self.page(next)?;
            let leaves = u32_at(&trunk, 4).unwrap_or(0) as usize;
            let leaves = (0..leaves.min(self.usable / 4)).filter_map(|leaf| u32_at(&trunk, 8 + 4 * leaf));
            free.extend(leaves);
            next = u32_at(&trunk, 0).unwrap_or(0);
        }
        self.add_mapped(&mut free)?;
        Ok(free)
    }

    /// Adds those that are free by the map, if the file has one (§1.8): it has a byte for what each page is for, and four
    /// for the page above it.
    fn add_mapped(&self, free: &mut HashSet<u32>) -> io::Result<()> {
        let has_none = self.head.as_ref().is_some_and(|head| head.auto_vacuum() == 0);
        let on_one = u32::try_from(self.usable / 5).unwrap_or(u32::MAX);
        let mut map = 2;
        while !has_none && map < self.count {
            let page = self.page(map)?;
            let (entries, _) = page.as_chunks::<5>();
            let mapped = (map + 1..=map.saturating_add(on_one).min(self.count)).zip(entries);
            // One that is damaged says nothing.
            if mapped.clone().all(|(_, entry)| MAPPED.contains(&entry[0])) {
                free.extend(mapped.filter(|(_, entry)| entry[0] == MAPPED_FREE).map(|(page, _)| page));
            }
            map = map.saturating_add(on_one).saturating_add(1);
        }
        Ok(())
    }

    fn page(&self, number: u32) -> io::Result<Vec<u8>> {
        let mut page = vec![0; self.page_bytes];
        self.file.read_exact_at(&mut page, u64::from(number - 1) * self.page_bytes as u64)?;
        Ok(page)
    }

    /// A cell: the size of the row, its id in a table, and the row itself or its beginning (§1.6). None if it has other
    /// columns, or cannot be read.
    fn row(&self, tree: Tree, cell: &[u8], types: &[Option<Type>]) -> Option<(i64, Vec<Value>)> {
        let mut rest = cell;
        let bytes = varint(&mut rest)?;
        let id = match tree {
            Tree::Table => varint(&mut rest)?.cast_signed(),
            Tree::Index => 0,
        };
        let bytes = usize::try_from(bytes).ok().filter(|_| bytes <= ROW_BYTES_MAX)?;
        let local = self.local(tree, bytes);
        let (begin, behind) = rest.split_at_checked(local)?;
        let columns = columns(begin, types)?;
        if local == bytes {
            return values(begin, &columns).map(|row| (id, row));
        }
        let mut row = Vec::with_capacity(bytes);
        row.extend_from_slice(begin);
        let mut next = u32_at(behind, 0)?;
        // §1.7: each of the other pages has the number of the next one in front.
        while row.len() < bytes {
            let page = self.page(Some(next).filter(|next| (1..=self.count).contains(next))?).ok()?;
            let part = page.get(4..self.usable)?;
            row.extend_from_slice(&part[..part.len().min(bytes - row.len())]);
            next = u32_at(&page, 0)?;
        }
        values(&row, &columns).map(|row| (id, row))
    }

    /// How much of a row of this size is on the page of its cell (§1.6).
    fn local(&self, tree: Tree, bytes: usize) -> usize {
        let max = match tree {
            Tree::Table => self.usable - 35,
            Tree::Index => (self.usable - 12) * 64 / 255 - 23,
        };
        if bytes <= max {
            return bytes;
        }
        let min = (self.usable - 12) * 32 / 255 - 23;
        let some = min + (bytes - min) % (self.usable - 4);
        if some <= max { some } else { min }
    }
}

/// The pages could not be read, or what reads them failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PagesError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Taker(#[from] rusqlite::Error),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// §1.6: seven bits in each of eight bytes at most, and eight in the ninth.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == 8 {
            return Some(number << 8 | u64::from(*byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Where the columns of a row begin, and how each is written (§2.1).
struct Columns {
    begin: usize,
    serials: Vec<u64>,
}

/// None unless they are of these types.
fn columns(row: &[u8], types: &[Option<Type>]) -> Option<Columns> {
    let mut rest = row;
    let begin = usize::try_from(varint(&mut rest)?).ok()?;
    let mut header = row.get(row.len() - rest.len()..begin)?;
    let mut serials = Vec::with_capacity(types.len());
    for wanted in types {
        let serial = varint(&mut header)?;
        if wanted.is_some_and(|wanted| of_serial(serial) != Some(wanted)) {
            return None;
        }
        serials.push(serial);
    }
    header.is_empty().then_some(Columns { begin, serials })
}

fn of_serial(serial: u64) -> Option<Type> {
    Some(match serial {
        0 => Type::Null,
        1..=6 | 8 | 9 => Type::Integer,
        7 => Type::Real,
        10 | 11 => return None,
        text if text % 2 == 1 => Type::Text,
        _ => Type::Blob,
    })
}

fn values(row: &[u8], columns: &Columns) -> Option<Vec<Value>> {
    let mut rest = row.get(columns.begin..)?;
    let mut take = |bytes: u64| {
        let (taken, left) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        rest = left;
        Some(taken)
    };
    let value = |serial: &u64| {
        Some(match *serial {
            0 => Value::Null,
            length @ 1..=4 => Value::Integer(integer(take(length)?)),
            5 => Value::Integer(integer(take(6)?)),
            6 => Value::Integer(integer(take(8)?)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            text if text >= 13 && text % 2 == 1 => {
                Value::Text(String::from_utf8(take((text - 13) / 2)?.to_owned()).ok()?)
            }
            blob if blob >= 12 => Value::Blob(take((blob - 12) / 2)?.to_owned()),
            _ => return None,
        })
    };
    columns.serials.iter().map(value).collect()
}

/// Big-endian, with a sign.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;

    /// Every size around the limits of what fits on a leaf, and every length of numbers.
    #[test]
    fn rows_are_read_as_the_engine_wrote_them() {
        for page_bytes in [512, 1024, 4096, 65536] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "page_size", page_bytes).unwrap();
            connection
                .execute_batch(
                    "CREATE TABLE other (a, b); CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c BLOB);
                     CREATE INDEX i ON t (b)",
                )
                .unwrap();
            connection.execute_batch("BEGIN").unwrap();
            let numbers =
                [0, 1, -1, 127, 128, -129, 40_000, -9_000_000, 1 << 31, -(1 << 40), 1 << 50, i64::MAX, i64::MIN];
            let mut wrote = Vec::new();
            for length in (0..200).chain(400..560).chain([4_000, 4_070, 8_200, 100_000]) {
                let id = 1_000_003 * i64::from(length) + 1;
                let (a, b, c) = (numbers[length as usize % 13], "ä".repeat(length as usize / 2), vec![7_u8; 3]);
                connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", params![id, a, b, c]).unwrap();
                connection.execute("INSERT INTO other VALUES (?, ?)", params![a, b]).unwrap();
                wrote.push((id, vec![Value::Null, Value::Integer(a), Value::Text(b), Value::Blob(c)]));
            }
            connection.execute("DELETE FROM t WHERE id > ?", [wrote[300].0]).unwrap();
            wrote.truncate(301);
            connection.execute_batch("COMMIT").unwrap();
            drop(connection);
            let pages = Pages::open(&path, 4096).unwrap();
            let read = |tree, types: &[Type]| {
                let types: Vec<_> = types.iter().copied().map(Some).collect();
                let mut read = Vec::new();
                let mut take = |id, row| {
                    read.push((id, row));
                    Ok(())
                };
                pages.for_each_row(tree, &types, &mut take).unwrap();
                read
            };
            let mut rows = read(Tree::Table, &[Type::Null, Type::Integer, Type::Text, Type::Blob]);
            rows.sort_by_key(|(id, _)| *id);
            assert!(rows == wrote, "{page_bytes}");
            let mut indexed = read(Tree::Index, &[Type::Text, Type::Integer]);
            indexed.sort_by_key(|(_, row)| if let Value::Integer(id) = row[1] { id } else { 0 });
            let expect = wrote.iter().map(|(id, row)| (0, vec![row[2].clone(), Value::Integer(*id)]));
            assert!(indexed.into_iter().eq(expect), "{page_bytes}");
        }
    }
}
