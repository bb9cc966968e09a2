//! Records of all zones that lead to one tunnel.

use bartizan_names::{RecordId, ZoneId};
use rusqlite::{Connection, named_params};

use super::keys::{key, keys};
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::folded;

/// The index of the names of tunnels (`records.rs`): few contents end like that, so that all other records cost nothing here.
pub(super) const INDEX: &str =
    "record_tunnel ON record (content, zone, record) WHERE substr(content, -17) = '.cfargotunnel.com'";

/// Which records, and how many of them.
#[derive(Clone, Debug)]
pub struct TunnelRecordQuery {
    /// What the records of the tunnel say: its name below `cfargotunnel.com`.
    pub target: String,
    /// Behind this one, in the order of zones and records.
    pub after: Option<(ZoneId, RecordId)>,
    pub limit: usize,
}

const PIECE: &str = "SELECT object.key FROM (
        SELECT id, zone, record FROM record
        WHERE content = :target AND substr(content, -17) = '.cfargotunnel.com' AND (zone, record) > (:zone, :record)
        AND +type = 'CNAME' ORDER BY zone, record LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.zone, piece.record";

/// The keys of a piece of them.
pub(crate) fn tunnel_records(connection: &Connection, query: &TunnelRecordQuery) -> Result<Vec<Key>, ReadError> {
    let (zone, record) = match &query.after {
        Some((zone, record)) => (zone.as_bytes().as_slice(), record.as_bytes().as_slice()),
        // In front of every id.
        None => ([].as_slice(), [].as_slice()),
    };
    let (target, limit) = (folded(&query.target), query.limit as i64);
    let mut select = connection.prepare_cached(PIECE)?;
    keys(select.query_map(named_params! {":target": target, ":zone": zone, ":record": record, ":limit": limit}, key)?)
}

#[cfg(test)]
mod tests {
    use bartizan_names::Timestamp;

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::kind::Kind;
    use crate::{Store, schema};

    #[test]
    fn those_of_one_tunnel_in_all_zones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let place = |zone: u8, record: u8| (ZoneId::from_bytes([zone; 16]), RecordId::from_bytes([record; 16]));
        let rows = [
            (place(1, 1), "CNAME", "one.cfargotunnel.com"),
            (place(1, 2), "CNAME", "two.cfargotunnel.com"),
            (place(1, 3), "TXT", "one.cfargotunnel.com"),
            (place(3, 1), "CNAME", "ONE.cfargotunnel.com"),
            (place(2, 1), "CNAME", "one.cfargotunnel.com"),
            (place(2, 2), "CNAME", "one.cfargotunnel.com.example.com"),
            (place(2, 9), "CNAME", "one.cfargotunnel.com"),
        ];
        let op = |((zone, record), kind, content): &((ZoneId, RecordId), &str, &str)| {
            let json = format!(r#"{{"name":"a.test","type":"{kind}","content":"{content}","proxied":true,"ttl":1}}"#);
            Op::Put { key: Key::record(*zone, *record), value: Value::of(Kind::Record, json) }
        };
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: rows.iter().map(op).collect(), meta }).unwrap();
        let snapshot = store.read().unwrap();
        let found = |after, limit| {
            let query = TunnelRecordQuery { target: "one.cfargotunnel.com".to_owned(), after, limit };
            let keys = snapshot.tunnel_records(&query).unwrap();
            keys.iter().map(|key| (key.zone_id().unwrap(), key.id_as().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(found(None, 9), [place(1, 1), place(2, 1), place(2, 9), place(3, 1)]);
        assert_eq!(found(None, 2), [place(1, 1), place(2, 1)]);
        assert_eq!(found(Some(place(2, 1)), 9), [place(2, 9), place(3, 1)]);
        // Past a zone, whatever is in it.
        assert_eq!(found(Some((place(2, 1).0, place(255, 255).1)), 9), [place(3, 1)]);

        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {PIECE}")).unwrap();
        let values = named_params! {":target": "a", ":zone": [0_u8; 16], ":record": [0_u8; 16], ":limit": 1};
        let steps = explain.query_map(values, |row| row.get::<_, String>(3)).unwrap();
        let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
        assert!(plan.contains("record_tunnel (content=? AND (zone,record)>(?,?))"), "{plan}");
        // It comes in the order of the index, and the outer order is that of what comes.
        assert_eq!(plan.matches("TEMP").count(), 0, "{plan}");
    }
}
