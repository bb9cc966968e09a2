//! What zones have brought for TLS with their origins, by when it runs out.

use bartizan_names::Timestamp;
use rusqlite::Connection;

use super::keys::until;
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, time};

/// Of authorities, and of certificates that origins are shown: one table.
pub(crate) const ORIGIN_TLS: Listing = Listing {
    table: "origin_tls",
    columns: &[Column::number("expires_on", |_, document| time(document, "/expires_on")).or_null()],
    indexes: &["origin_tls_ending ON origin_tls (expires_on)"],
    added: None,
};

const ENDING: &str = "SELECT object.key FROM (
        SELECT id FROM origin_tls WHERE expires_on <= :at ORDER BY expires_on LIMIT :limit
    ) AS ending CROSS JOIN object ON object.id = ending.id";

/// Those that have run out by then: the first one first.
pub(crate) fn origin_tls_ending(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    until(connection, ENDING, at, limit)
}

#[cfg(test)]
mod tests {
    use bartizan_names::{CertificateId, ZoneId};

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::{Store, schema};

    #[test]
    fn what_ends_is_found_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let second = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let (zone, id) = (ZoneId::from_bytes([1; 16]), CertificateId::from_bytes([2; 16]));
        let keys = [Key::origin_root(zone, id), Key::origin_client(zone, id), Key::origin_host_client(zone, id)];
        let put = |(key, at): (&Key, u64)| {
            let json = format!(r#"{{"expires_on":"{}"}}"#, second(at));
            Op::Put { key: key.clone(), value: Value::of(key.kind(), json) }
        };
        let meta = |number: u8| Meta {
            at: second(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [number; 16],
        };
        let ops = keys.iter().zip([30, 10, 20]).map(put).collect();
        store.commit(ChangeSet { guards: Vec::new(), ops, meta: meta(1) }).unwrap();
        let ending = |at: u64, limit: usize| store.read().unwrap().origin_tls_ending(second(at), limit).unwrap();
        assert_eq!(ending(9, 9), []);
        assert_eq!(ending(20, 9), [keys[1].clone(), keys[2].clone()]);
        assert_eq!(ending(99, 1), [keys[1].clone()]);
        let gone = vec![Op::Del { key: keys[1].clone() }];
        store.commit(ChangeSet { guards: Vec::new(), ops: gone, meta: meta(2) }).unwrap();
        assert_eq!(ending(99, 9), [keys[2].clone(), keys[0].clone()]);
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {ENDING}")).unwrap();
        let all: &[(&str, &dyn rusqlite::ToSql)] = &[(":at", &1), (":limit", &1)];
        let steps = explain.query_map(all, |row| row.get::<_, String>(3)).unwrap();
        let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
        assert!(plan.contains("origin_tls_ending (expires_on<?)") && !plan.contains("TEMP"), "{plan}");
    }
}
