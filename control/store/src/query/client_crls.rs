//! Lists of revoked certificates that are fetched: which are due, and which have failed for long.

use bartizan_names::Timestamp;
use rusqlite::Connection;

use super::keys::{until, until_behind};
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, time};

pub(crate) const CLIENT_CRLS: Listing = Listing {
    table: "client_crl",
    columns: &[
        Column::number("next_on", |_, document| time(document, "/next_on")).or_null(),
        Column::number("failing_since", |_, document| time(document, "/failing_since")).or_null(),
    ],
    indexes: &["client_crl_due ON client_crl (next_on)", "client_crl_failing ON client_crl (failing_since)"],
    added: None,
};

const DUE: &str = "SELECT object.key FROM (
        SELECT id FROM client_crl WHERE next_on <= :at ORDER BY next_on LIMIT :limit OFFSET :behind
    ) AS due CROSS JOIN object ON object.id = due.id";

const FAILING: &str = "SELECT object.key FROM (
        SELECT id FROM client_crl WHERE failing_since <= :at ORDER BY failing_since LIMIT :limit
    ) AS failing CROSS JOIN object ON object.id = failing.id";

/// The oldest first, behind so many that are older.
pub(crate) fn client_crls_due(
    connection: &Connection,
    at: Timestamp,
    behind: usize,
    limit: usize,
) -> Result<Vec<Key>, ReadError> {
    until_behind(connection, DUE, at, behind, limit)
}

/// Those that fail since then, or for longer: the longest first.
pub(crate) fn client_crls_failing(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Key>, ReadError> {
    until(connection, FAILING, since, limit)
}

#[cfg(test)]
mod tests {
    use bartizan_names::{ClientRootId, ZoneId};

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::key::Scope;
    use crate::{Store, schema};

    #[test]
    fn what_is_due_and_what_fails_is_found_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let second = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let zone = Scope::Zone(ZoneId::from_bytes([1; 16]));
        let key = |number: u8| Key::client_crl(zone, ClientRootId::from_random([number; 16]));
        let rows = [(1, 50, None), (2, 51, Some(7)), (3, 3, Some(9)), (4, 4, None)];
        let put = |(number, next, failing): (u8, u64, Option<u64>)| {
            let failing = failing.map_or("null".to_owned(), |at| format!("\"{}\"", second(at)));
            let json = format!(r#"{{"next_on":"{}","failing_since":{failing}}}"#, second(next));
            Op::Put { key: key(number), value: Value::of(key(number).kind(), json) }
        };
        let meta = Meta {
            at: second(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: rows.into_iter().map(put).collect(), meta }).unwrap();
        let snapshot = store.read().unwrap();
        assert_eq!(snapshot.client_crls_due(second(50), 0, 9).unwrap(), [key(3), key(4), key(1)]);
        assert_eq!(snapshot.client_crls_due(second(50), 1, 1).unwrap(), [key(4)]);
        assert_eq!(snapshot.client_crls_failing(second(8), 9).unwrap(), [key(2)]);
        assert_eq!(snapshot.client_crls_failing(second(9), 9).unwrap(), [key(2), key(3)]);
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        for (sql, index) in [(DUE, "client_crl_due (next_on<?)"), (FAILING, "client_crl_failing (failing_since<?)")] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let behind = sql.contains(":behind").then_some((":behind", &0 as &dyn rusqlite::ToSql));
            let all: Vec<_> = [(":at", &1 as &dyn rusqlite::ToSql), (":limit", &1)].into_iter().chain(behind).collect();
            let steps = explain.query_map(&*all, |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            assert!(plan.contains(index) && !plan.contains("TEMP"), "{plan}");
        }
    }
}
