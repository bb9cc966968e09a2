//! Listings: filters, order, totals and pages, as SQL over the indexes of the listing tables.

mod filter;
mod records;
mod tunnels;
mod zones;

pub use filter::{Direction, Match, Text};
pub use records::{Presence, RecordOrder, RecordQuery, TagFilter};
pub(crate) use records::{records, records_at};
pub use tunnels::TunnelQuery;
pub(crate) use tunnels::tunnels;
pub(crate) use zones::zones;
pub use zones::{ZoneOrder, ZoneQuery};

use rusqlite::{Connection, params_from_iter};

use crate::change::Entry;
use crate::error::ReadError;
use crate::snapshot;
use filter::Condition;

/// One page of a listing, and how many there are on all pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}

/// A page as asked for: which rows of `table`, in which order.
struct Listed<'q> {
    table: &'static str,
    condition: &'q Condition,
    order: &'q str,
    page: u32,
    per_page: u32,
}

impl Listed<'_> {
    /// The ids first and then their objects: rows that are skipped are then skipped in the index alone.
    fn items(&self, connection: &Connection) -> Result<Vec<Entry>, ReadError> {
        let Listed { table, condition, order, .. } = self;
        let offset = i64::from(self.page.max(1) - 1).saturating_mul(i64::from(self.per_page));
        let sql = format!(
            "SELECT id FROM {table} WHERE {} ORDER BY {order} LIMIT {} OFFSET {offset}",
            condition.sql, self.per_page
        );
        let mut select = connection.prepare_cached(&sql)?;
        let ids = select.query_map(params_from_iter(&condition.values), |row| row.get(0))?;
        ids.map(|id| object(connection, id?)).collect()
    }

    fn total(&self, connection: &Connection) -> Result<u64, ReadError> {
        let sql = format!("SELECT count(*) FROM {} WHERE {}", self.table, self.condition.sql);
        let count: i64 =
            connection.prepare_cached(&sql)?.query_row(params_from_iter(&self.condition.values), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }
}

fn object(connection: &Connection, id: i64) -> Result<Entry, ReadError> {
    connection
        .prepare_cached("SELECT key, rev, format, json FROM object WHERE id = ?")?
        .query_row([id], |row| Ok(snapshot::entry(row)))?
}
