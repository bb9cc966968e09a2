//! Rows that no index gives in their order: each is looked at once, for the count and for the page, and no more are kept than
//! stand in front of the page's end.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::filter::Direction;

/// Rows that are kept at most. Pages behind so many are counted and read apart.
pub(super) const KEPT_MAX: u64 = 100_000;

/// Keeps the first rows of all that it is given.
pub(super) struct Sieve {
    direction: Direction,
    offset: usize,
    kept_max: usize,
    total: u64,
    /// The last of them on top.
    kept: BinaryHeap<Kept>,
}

struct Kept {
    direction: Direction,
    place: Place,
    tie: Box<[u8]>,
    id: i64,
}

/// What rows are ordered by, as the engine orders it.
enum Place {
    Number(i64),
    Text(Box<[u8]>),
}

impl Sieve {
    /// For a page of `limit` rows behind `offset` of them; together they are [`KEPT_MAX`] at most.
    pub(super) fn new(offset: u64, limit: u32, direction: Direction) -> Sieve {
        let offset = usize::try_from(offset.min(KEPT_MAX)).unwrap_or_default();
        let kept_max = offset + usize::try_from(limit).unwrap_or_default();
        Sieve { direction, offset, kept_max, total: 0, kept: BinaryHeap::new() }
    }

    /// A row of the columns id, what it is ordered by, and what equal ones are ordered by.
    pub(super) fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.total += 1;
        let (place, tie) = (row.get_ref(1)?, row.get_ref(2)?.as_blob()?);
        if self.kept.len() == self.kept_max {
            match self.kept.peek() {
                Some(last) if last.against(place, tie) == Ordering::Greater => drop(self.kept.pop()),
                _ => return Ok(()),
            }
        }
        let place = match place {
            ValueRef::Integer(number) => Place::Number(number),
            other => Place::Text(other.as_bytes()?.into()),
        };
        self.kept.push(Kept { direction: self.direction, place, tie: tie.into(), id: row.get(0)? });
        Ok(())
    }

    /// How many it was given, and the ids of the page.
    pub(super) fn end(self) -> (u64, Vec<i64>) {
        let page = self.kept.into_sorted_vec().into_iter().skip(self.offset);
        (self.total, page.map(|kept| kept.id).collect())
    }
}

impl Kept {
    fn against(&self, place: ValueRef<'_>, tie: &[u8]) -> Ordering {
        let places = match (&self.place, place) {
            (Place::Number(own), ValueRef::Integer(other)) => own.cmp(&other),
            (Place::Text(own), other) => (**own).cmp(other.as_bytes().unwrap_or_default()),
            // Numbers stand in front of texts.
            (Place::Number(_), _) => Ordering::Less,
        };
        directed(self.direction, places.then_with(|| (*self.tie).cmp(tie)))
    }
}

const fn directed(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Kept) -> Ordering {
        let place = match &other.place {
            Place::Number(number) => ValueRef::Integer(*number),
            Place::Text(text) => ValueRef::Text(text),
        };
        self.against(place, &other.tie)
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Kept) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}
