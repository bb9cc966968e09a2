//! Listings: filters, order, totals and pages, as SQL over the indexes of the listing tables.

mod access_rules;
mod anchors;
mod certificates;
mod client_certificates;
mod client_crls;
mod dnssec;
mod filter;
mod keys;
mod origin_tls;
mod pool_users;
mod public_certificates;
mod records;
mod sift;
mod tunnel_records;
mod tunnels;
mod zones;

pub(crate) use access_rules::{ACCESS_RULES, access_rules};
pub use access_rules::{AccessRuleOrder, AccessRuleQuery};
pub(crate) use anchors::Anchors;
pub use certificates::renew_at;
pub(crate) use certificates::{CERTIFICATES, due};
pub use client_certificates::ClientCertificateQuery;
pub(crate) use client_certificates::{CLIENT_CERTIFICATES, client_certificates, client_certificates_in};
pub(crate) use client_crls::{CLIENT_CRLS, client_crls_due, client_crls_failing};
pub use dnssec::DnssecQuery;
pub(crate) use dnssec::{DNSSEC, dnssec, dnssec_due};
pub use filter::{Direction, Match, Text};
pub(crate) use origin_tls::{ORIGIN_TLS, origin_tls_ending};
pub(crate) use pool_users::{POOL_USERS, pool_users};
pub(crate) use public_certificates::{
    ACME_CERTIFICATES, CUSTOM_CERTIFICATES, acme, acme_due, acme_ended, acme_in, acme_ordered, custom_due,
};
pub use public_certificates::{AcmeDue, AcmeQuery, InZones};
pub use records::{Presence, RecordOrder, RecordQuery, TagFilter};
pub(crate) use records::{RECORDS, owner_of, owners_of_type, records, records_at};
pub use tunnel_records::TunnelRecordQuery;
pub(crate) use tunnel_records::tunnel_records;
pub use tunnels::TunnelQuery;
pub(crate) use tunnels::{TUNNELS, tunnels};
pub use zones::{VisibleZones, ZoneOrder, ZoneQuery};
pub(crate) use zones::{ZONES, zone_below, zones};

use rusqlite::{Connection, params_from_iter};

use crate::change::Entry;
use crate::damage::is_damage;
use crate::error::{Blame, ReadError, Unreadable};
use crate::snapshot;
use filter::Condition;

/// Bytes of the documents of one page. The largest page that the API allows has some 40 MB if its records are large; most
/// pages are far smaller.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// One page of a listing, and how many there are on all pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
    /// Objects that belong on this page and cannot be read; they are counted in `total`.
    pub skipped: u64,
    /// Objects at the end of this page that are left off, because all of it would be too large.
    pub left_off: u64,
    /// How many objects were looked at, if not all: `total` counts those among them.
    pub looked_at: Option<u64>,
}

/// A page as asked for: which rows of `table`, in which order.
struct Listed {
    table: &'static str,
    condition: Condition,
    order: String,
    page: u32,
    per_page: u32,
}

impl Listed {
    /// The page, out of `total`. Reads the ids first and then their objects, so that for the rows in front of the page only
    /// the index is read.
    fn page(&self, connection: &Connection, total: u64) -> Result<Page<Entry>, ReadError> {
        let mut select = connection.prepare_cached(&self.ids())?;
        let ids = select.query_map(params_from_iter(&self.condition.values), |row| row.get(0))?;
        read(connection, ids, total)
    }

    fn ids(&self) -> String {
        let Listed { table, condition, order, per_page, .. } = self;
        let offset = self.offset();
        format!("SELECT id FROM {table} WHERE {} ORDER BY {order} LIMIT {per_page} OFFSET {offset}", condition.sql)
    }

    fn offset(&self) -> u64 {
        // As far as the engine counts.
        (u64::from(self.page.max(1) - 1) * u64::from(self.per_page)).min(i64::MAX.cast_unsigned())
    }

    fn total(&self, connection: &Connection) -> Result<u64, ReadError> {
        let sql = format!("SELECT count(*) FROM {} WHERE {}", self.table, self.condition.sql);
        let count: i64 =
            connection.prepare_cached(&sql)?.query_row(params_from_iter(&self.condition.values), |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }
}

/// The objects of a page, out of `total`.
fn read(
    connection: &Connection,
    ids: impl Iterator<Item = rusqlite::Result<i64>>,
    total: u64,
) -> Result<Page<Entry>, ReadError> {
    let mut page = Page { items: Vec::new(), total, skipped: 0, left_off: 0, looked_at: None };
    let mut bytes = 0;
    for id in ids {
        let id = id?;
        if bytes >= PAGE_BYTES_MAX {
            page.left_off += 1;
            continue;
        }
        match object(connection, id) {
            Ok(entry) => {
                bytes += entry.value.json.len();
                page.items.push(entry);
            }
            Err(ReadError::Unreadable(_)) => page.skipped += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

fn object(connection: &Connection, id: i64) -> Result<Entry, ReadError> {
    let entry = connection
        .prepare_cached("SELECT key, rev, format, hash, json FROM object WHERE id = ?")?
        .query_row([id], |row| Ok(snapshot::entry(row)));
    match entry {
        Ok(entry) => Ok(entry?),
        Err(error) if is_damage(&error) || error == rusqlite::Error::QueryReturnedNoRows => {
            let (key, reason) = (format!("object {id} of the file"), error.to_string());
            Err(Unreadable { key, reason, blame: Blame::Disk }.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::ZoneId;

    use super::records::Search;
    use super::*;
    use crate::key::Scope;
    use crate::schema;

    /// How SQLite would answer `sql`.
    fn plan(connection: &Connection, listed: &Listed) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", listed.ids());
        let mut explain = connection.prepare(&sql).unwrap();
        let steps = explain.query_map(params_from_iter(&listed.condition.values), |row| row.get::<_, String>(3));
        steps.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    }

    #[test]
    fn exact_filters_and_orders_are_served_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        drop(schema::open_writer(dir.path()).unwrap());
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        type Change = fn(&mut RecordQuery);
        let rows: [(Change, &str); 14] = [
            (|_| {}, "record_type (zone=?)"),
            (|q| q.order = RecordOrder::Name, "record_owner (zone=?)"),
            (|q| q.order = RecordOrder::Content, "record_content (zone=?)"),
            (|q| q.order = RecordOrder::Ttl, "record_ttl (zone=?)"),
            (|q| q.order = RecordOrder::Proxied, "record_proxied (zone=?)"),
            (|q| q.direction = Direction::Descending, "record_type (zone=?)"),
            (|q| q.kind = Some("A".to_owned()), "record_type (zone=? AND type=?)"),
            (|q| q.name = vec![Text::Exact("a.test".to_owned())], "record_owner (zone=? AND owner=?)"),
            (|q| q.name = vec![Text::StartsWith("a".to_owned())], "record_owner (zone=? AND owner>? AND owner<?)"),
            (|q| q.content = vec![Text::Exact("a".to_owned())], "record_content (zone=? AND content=?)"),
            (
                |q| q.content = vec![Text::OneOf(vec!["a".to_owned(), "b".to_owned()])],
                "record_content (zone=? AND content=?)",
            ),
            (|q| q.comment = vec![Text::Exact("a".to_owned())], "record_comment (zone=? AND comment=?)"),
            (|q| q.tags = vec![TagFilter::Present("a".to_owned())], "PRIMARY KEY (zone=? AND name=?)"),
            (
                |q| {
                    q.name = vec![Text::Exact("a".to_owned())];
                    q.comment = vec![Text::Exact("a".to_owned())];
                    q.matching = Match::Any;
                },
                "MULTI-INDEX OR",
            ),
        ];
        for (change, index) in rows {
            let mut query = RecordQuery::all(ZoneId::from_bytes([1; 16]));
            change(&mut query);
            let plan = plan(&connection, &records::listed(&query, Search::LookThrough, None));
            assert!(plan.contains(index) && !plan.contains("SCAN"), "{query:?}\n{plan}");
        }
        let rows: [Change; 4] = [
            |q| q.search = Some("192.0".to_owned()),
            |q| q.name = vec![Text::Contains("www".to_owned())],
            |q| q.content = vec![Text::EndsWith("cdn".to_owned())],
            |q| (q.search, q.order) = (Some("spf".to_owned()), RecordOrder::Content),
        ];
        for change in rows {
            let mut query = RecordQuery::all(ZoneId::from_bytes([1; 16]));
            change(&mut query);
            let plan = plan(&connection, &records::listed(&query, Search::ByLetters, Some("x.test")));
            assert!(plan.contains("SEARCH record USING INTEGER PRIMARY KEY"), "{query:?}\n{plan}");
            assert!(plan.contains("record_text VIRTUAL TABLE INDEX"), "{query:?}\n{plan}");
        }
        for (status, common_name, index) in [
            (None, None, "client_certificate_issued (zone=?)"),
            (Some("revoked"), None, "client_certificate_status (zone=? AND status=?)"),
            (None, Some("sensor-7"), "client_certificate_name (zone=? AND common_name=?)"),
            (Some("active"), Some("sensor-7"), "client_certificate_name (zone=? AND common_name=?)"),
        ] {
            let (zone, status, common_name) =
                (ZoneId::from_bytes([1; 16]), status.map(str::to_owned), common_name.map(str::to_owned));
            let query = ClientCertificateQuery { zone, status, common_name, page: 1, per_page: 50 };
            let plan = plan(&connection, &client_certificates::listed(&query));
            assert!(plan.contains(index) && !plan.contains("SCAN"), "{query:?}\n{plan}");
        }
        type RuleChange = fn(&mut AccessRuleQuery);
        let rows: [(RuleChange, &str); 6] = [
            (|_| {}, "access_rule_target (scope=?)"),
            (|q| q.order = AccessRuleOrder::Value, "access_rule_value (scope=?)"),
            (|q| q.order = AccessRuleOrder::Mode, "access_rule_mode (scope=?)"),
            (|q| q.target = Some("ip".to_owned()), "access_rule_target (scope=? AND target=?)"),
            (|q| q.value = Some("DE".to_owned()), "access_rule_value (scope=? AND value=?)"),
            (
                |q| {
                    q.target = Some("ip".to_owned());
                    q.value = Some("192.0.2.1".to_owned());
                },
                "AND value=?)",
            ),
        ];
        for (change, index) in rows {
            let mut query = AccessRuleQuery::all(Scope::Zone(ZoneId::from_bytes([1; 16])));
            change(&mut query);
            let plan = plan(&connection, &access_rules::listed(&query));
            assert!(plan.contains(index) && !plan.contains("SCAN"), "{query:?}\n{plan}");
        }
    }
}
