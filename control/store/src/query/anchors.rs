//! Where pages ended that were asked for lately: the page behind one of them begins there, and the rows in front of it need not
//! be counted off. Whoever goes through a long list page by page would else have its beginning read again for each.
//!
//! A place holds for one list of one zone as its last change left it, so that a page is what it would be without.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rusqlite::types::Value;

/// Places that are remembered, of some hundred bytes each; the oldest goes first.
const PLACES_MAX: usize = 4_096;

/// Bytes of what rows are ordered by. A place that would take more is not remembered.
pub(super) const PLACE_BYTES_MAX: usize = 512;

/// Which list, in which state: a hash.
pub(super) type Of = [u8; 16];

/// The last row of a page: what the list is ordered by, and what equal rows are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) column: Value,
    pub(super) tie: Value,
}

#[derive(Default)]
pub(crate) struct Anchors(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By how many rows stand up to the end of the page.
    ends: BTreeMap<(Of, u64), Place>,
    order: VecDeque<(Of, u64)>,
}

impl Anchors {
    /// The nearest place in front of the row behind `offset` others, and how many rows stand up to there.
    pub(super) fn before(&self, of: Of, offset: u64) -> Option<(u64, Place)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (&(_, rows), place) = known.ends.range((of, 0)..=(of, offset)).next_back()?;
        Some((rows, place.clone()))
    }

    pub(super) fn note(&self, of: Of, rows: u64, place: Place) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.ends.insert((of, rows), place).is_none() {
            known.order.push_back((of, rows));
        }
        while known.order.len() > PLACES_MAX {
            if let Some(oldest) = known.order.pop_front() {
                known.ends.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> Place {
        Place { column: Value::Text(number.to_string()), tie: Value::Blob(Vec::new()) }
    }

    #[test]
    fn the_nearest_in_front() {
        let anchors = Anchors::default();
        for rows in [100, 200, 700] {
            anchors.note([1; 16], rows, place(rows));
        }
        anchors.note([2; 16], 150, place(150));
        for (of, offset, expect) in [
            (1, 99, None),
            (1, 100, Some(100)),
            (1, 699, Some(200)),
            (1, 9_999, Some(700)),
            (2, 9_999, Some(150)),
            (3, 9_999, None),
            (0, 9_999, None),
        ] {
            assert_eq!(anchors.before([of; 16], offset), expect.map(|rows| (rows, place(rows))), "{of} {offset}");
        }
    }

    #[test]
    fn so_many_and_no_more() {
        let anchors = Anchors::default();
        for rows in 0..=PLACES_MAX as u64 {
            anchors.note([1; 16], rows, place(rows));
            anchors.note([1; 16], rows, place(rows));
        }
        let known = anchors.0.lock().unwrap();
        assert_eq!((known.ends.len(), known.order.len()), (PLACES_MAX, PLACES_MAX));
        drop(known);
        assert_eq!(anchors.before([1; 16], 0), None);
    }
}
