//! Certificates that others issued: by ACME, and brought by people. Those to which somebody has to look, and how each is.

use bartizan_names::{CertificateId, Timestamp, ZoneId};
use rusqlite::{Connection, named_params};

use super::dnssec::{key, keys};
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, text, time};
use crate::tables::signed;

/// Null: nothing is to be done. Also of one that does not say it.
const NEXT_ON: Column = Column::number("next_on", |_, document| time(document, "/next_on")).or_null();

pub(crate) const ACME_CERTIFICATES: Listing = Listing {
    table: "acme_certificate",
    columns: &[
        Column::text("place", |key, _| Some(format!("{}/{}", key.zone_id()?, key.id()).into())),
        Column::text("state", |_, document| Some(text(document, "/state").unwrap_or_default().to_owned().into())),
        NEXT_ON,
    ],
    indexes: &[
        "acme_certificate_due ON acme_certificate (next_on)",
        "acme_certificate_place ON acme_certificate (place)",
        "acme_certificate_state ON acme_certificate (state, place)",
    ],
    added: None,
};

pub(crate) const CUSTOM_CERTIFICATES: Listing = Listing {
    table: "custom_certificate",
    columns: &[NEXT_ON],
    indexes: &["custom_certificate_due ON custom_certificate (next_on)"],
    added: None,
};

/// Which certificates of ACME, in the order of their zones and ids.
#[derive(Clone, Debug, Default)]
pub struct AcmeQuery {
    /// Those that are so.
    pub state: Option<String>,
    /// Behind this one.
    pub after: Option<(ZoneId, CertificateId)>,
    pub limit: usize,
}

const ACME_DUE: &str = "SELECT object.key FROM (
        SELECT id FROM acme_certificate WHERE next_on <= :at ORDER BY next_on LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const CUSTOM_DUE: &str = "SELECT object.key FROM (
        SELECT id FROM custom_certificate WHERE next_on <= :at ORDER BY next_on LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const PIECE: &str = "SELECT object.key FROM (
        SELECT id, place FROM acme_certificate WHERE place > :after ORDER BY place LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.place";

const PIECE_OF_STATE: &str = "SELECT object.key FROM (
        SELECT id, place FROM acme_certificate WHERE state = :state AND place > :after ORDER BY place LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.place";

pub(crate) fn acme_due(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    due(connection, ACME_DUE, at, limit)
}

pub(crate) fn custom_due(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    due(connection, CUSTOM_DUE, at, limit)
}

fn due(connection: &Connection, sql: &str, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(sql)?;
    keys(select.query_map(named_params! {":at": signed(at.unix_micros()), ":limit": limit as i64}, key)?)
}

pub(crate) fn acme(connection: &Connection, query: &AcmeQuery) -> Result<Vec<Key>, ReadError> {
    let AcmeQuery { state, after, limit } = query;
    let after = after.map(|(zone, id)| format!("{zone}/{id}")).unwrap_or_default();
    let limit = *limit as i64;
    match state {
        None => {
            let mut select = connection.prepare_cached(PIECE)?;
            keys(select.query_map(named_params! {":after": after, ":limit": limit}, key)?)
        }
        Some(state) => {
            let mut select = connection.prepare_cached(PIECE_OF_STATE)?;
            keys(select.query_map(named_params! {":state": state, ":after": after, ":limit": limit}, key)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::{Store, schema};

    #[test]
    fn certificates_are_found_by_what_is_to_be_done_and_by_how_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let second = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let document = |state: &str, at: u64| format!(r#"{{"state":"{state}","next_on":"{}"}}"#, second(at));
        let rows = [
            (document("active", 50), true),
            (document("active", 51), false),
            (document("failing", 3), true),
            (r#"{"state":"off","next_on":null}"#.to_owned(), false),
            (r#"{"state":"failing"}"#.to_owned(), false),
            ("{}".to_owned(), false),
        ];
        let zone = ZoneId::from_bytes([1; 16]);
        let id = |number: usize| CertificateId::from_bytes([number as u8; 16]);
        let acme_key = |number: usize| Key::acme_certificate(zone, id(number));
        let custom_key = |number: usize| Key::custom_certificate(zone, id(number));
        let ops = rows.iter().enumerate().flat_map(|(number, (json, _))| {
            [acme_key(number), custom_key(number)].map(|key| {
                let value = Value::of(key.kind(), json.clone());
                Op::Put { key, value }
            })
        });
        let meta = Meta {
            at: second(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: ops.collect(), meta }).unwrap();
        let snapshot = store.read().unwrap();
        let due: Vec<usize> = (0..).zip(&rows).filter(|(_, (_, due))| *due).map(|(number, _)| number).collect();
        let mut found = snapshot.acme_due(second(50), 10).unwrap();
        found.sort_unstable();
        assert_eq!(found, due.iter().map(|number| acme_key(*number)).collect::<Vec<_>>());
        let mut found = snapshot.custom_due(second(50), 10).unwrap();
        found.sort_unstable();
        assert_eq!(found, due.iter().map(|number| custom_key(*number)).collect::<Vec<_>>());
        assert_eq!(snapshot.acme_due(second(50), 1).unwrap(), [acme_key(2)], "the oldest first");

        let piece = |state: Option<&str>, after: Option<usize>, limit| {
            let after = after.map(|number| (zone, id(number)));
            snapshot.acme_certificates(&AcmeQuery { state: state.map(str::to_owned), after, limit }).unwrap()
        };
        assert_eq!(piece(None, None, 2), [acme_key(0), acme_key(1)]);
        assert_eq!(piece(None, Some(3), 9), [acme_key(4), acme_key(5)]);
        assert_eq!(piece(Some("failing"), None, 9), [acme_key(2), acme_key(4)]);
        assert_eq!(piece(Some("failing"), Some(2), 9), [acme_key(4)]);

        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        for (sql, parameters, index) in [
            (ACME_DUE, &[(":at", &1 as &dyn rusqlite::ToSql)][..], "acme_certificate_due (next_on<?)"),
            (CUSTOM_DUE, &[(":at", &1)], "custom_certificate_due (next_on<?)"),
            (PIECE, &[(":after", &"a")], "acme_certificate_place (place>?)"),
            (PIECE_OF_STATE, &[(":state", &"a"), (":after", &"a")], "acme_certificate_state (state=? AND place>?)"),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let all: Vec<_> = parameters.iter().copied().chain([(":limit", &1 as &dyn rusqlite::ToSql)]).collect();
            let steps = explain.query_map(&*all, |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            // A piece is put in order again behind the join: it is small.
            let is_sorted = plan.contains("TEMP") && sql.contains(" AS due ");
            assert!(plan.contains(index) && !is_sorted, "{plan}");
        }
    }
}
