//! Zones with DNSSEC: those of which something is to be done, and how far each is.

use bartizan_names::{Timestamp, ZoneId};
use rusqlite::types::Value;
use rusqlite::{Connection, named_params};

use super::keys::{key, keys, until};
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, text, time};

/// One whose document does not say how far it is stands there all the same, so that somebody looks at it.
pub(crate) const DNSSEC: Listing = Listing {
    table: "dnssec",
    columns: &[
        Column::text("zone", |key, _| Some(key.zone_id()?.to_string().into())),
        Column::text("state", |_, dnssec| Some(text(dnssec, "/state").unwrap_or_default().to_owned().into())),
        // Null: nothing is to be done before somebody else has done something.
        Column::number("due_at", |_, dnssec| Some(time(dnssec, "/due_on").unwrap_or(Value::Integer(0)))).or_null(),
    ],
    indexes: &["dnssec_zone ON dnssec (zone)", "dnssec_due ON dnssec (due_at)"],
    added: None,
};

/// Which zones, and how many of them.
#[derive(Clone, Debug)]
pub struct DnssecQuery {
    /// Behind this one.
    pub after: Option<ZoneId>,
    pub limit: usize,
}

const DUE: &str = "SELECT object.key FROM (SELECT id FROM dnssec WHERE due_at <= :at ORDER BY due_at LIMIT :limit)
    AS due CROSS JOIN object ON object.id = due.id";

const PIECE: &str =
    "SELECT object.key FROM (SELECT id, zone FROM dnssec WHERE zone > :after ORDER BY zone LIMIT :limit)
    AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.zone";

pub(crate) fn dnssec_due(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    until(connection, DUE, at, limit)
}

pub(crate) fn dnssec(connection: &Connection, query: &DnssecQuery) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(PIECE)?;
    let after = query.after.map(|zone| zone.to_string()).unwrap_or_default();
    let rows = select.query_map(named_params! {":after": after, ":limit": query.limit as i64}, key)?;
    keys(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::kind::Kind;
    use crate::{Store, schema};

    #[test]
    fn due_are_those_whose_time_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let second = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let due_on = |at: u64| format!(r#"{{"state":"on","due_on":"{}"}}"#, second(at));
        let rows = [
            (due_on(50), true),
            (due_on(51), false),
            (due_on(3), true),
            (r#"{"state":"on","due_on":null}"#.to_owned(), false),
            (r#"{"state":"on"}"#.to_owned(), false),
            // Somebody has to look at these.
            (r#"{"due_on":"x"}"#.to_owned(), true),
        ];
        let key = |number: usize| Key::dnssec(ZoneId::from_bytes([number as u8; 16]));
        let op = |(number, (json, _)): (usize, &(String, bool))| Op::Put {
            key: key(number),
            value: Value::of(Kind::Dnssec, json.clone()),
        };
        let meta = Meta {
            at: second(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: rows.iter().enumerate().map(op).collect(), meta }).unwrap();
        let snapshot = store.read().unwrap();
        let mut due = snapshot.dnssec_due(second(50), 10).unwrap();
        due.sort_unstable();
        let expect = (0..).zip(&rows).filter(|(_, (_, due))| *due).map(|(number, _)| key(number));
        assert_eq!(due, expect.collect::<Vec<_>>());
        assert_eq!(snapshot.dnssec_due(second(50), 2).unwrap(), [key(5), key(2)]);

        let piece = |after: Option<usize>, limit| {
            let after = after.map(|number| ZoneId::from_bytes([number as u8; 16]));
            snapshot.dnssec(&DnssecQuery { after, limit }).unwrap()
        };
        assert_eq!(piece(None, 2), [key(0), key(1)]);
        assert_eq!(piece(Some(1), 9), [key(2), key(3), key(4), key(5)]);
        assert_eq!(piece(Some(5), 9), []);

        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let plan = |sql: &str, first: (&str, &dyn rusqlite::ToSql)| {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = explain.query_map(&[first, (":limit", &1)], |row| row.get::<_, String>(3)).unwrap();
            steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
        };
        let due = plan(DUE, (":at", &1));
        assert!(due.contains("dnssec_due (due_at<?)") && !due.contains("TEMP"), "{due}");
        let piece = plan(PIECE, (":after", &"a"));
        assert!(piece.contains("dnssec_zone (zone>?)"), "{piece}");
    }
}
