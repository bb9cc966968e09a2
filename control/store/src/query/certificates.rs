//! Certificates that are to be renewed.

use bartizan_names::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::Value as Json;

use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, text, time};
use crate::tables::signed;

/// A certificate whose document does not say when it ends is due, so that somebody looks at it.
pub(crate) const CERTIFICATES: Listing = Listing {
    table: "certificate",
    columns: &[
        Column::text("issuer", |_, certificate| {
            Some(text(certificate, "/issuer").unwrap_or_default().to_owned().into())
        }),
        Column::number("renew_at", |_, certificate| Some(renewal(certificate).unwrap_or(0).into())),
        Column::number("not_before", |_, certificate| {
            Some(at(certificate, "/not_before").map_or(0, |at| signed(at.unix_micros())).into())
        }),
    ],
    indexes: &[
        "certificate_due ON certificate (issuer, renew_at)",
        "certificate_ahead ON certificate (issuer, not_before)",
    ],
    added: None,
};

fn renewal(certificate: &Json) -> Option<i64> {
    Some(signed(renew_at(at(certificate, "/not_before")?, at(certificate, "/not_after")?).unix_micros()))
}

fn at(certificate: &Json, pointer: &str) -> Option<Timestamp> {
    match time(certificate, pointer) {
        Some(Value::Integer(micros)) => Some(Timestamp::from_unix_micros(micros.cast_unsigned())),
        _ => None,
    }
}

/// When a certificate is to be renewed: as soon as less than a third of its life is left.
pub fn renew_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let (from, until) = (not_before.unix_micros(), not_after.unix_micros());
    Timestamp::from_unix_micros(until - until.saturating_sub(from) / 3)
}

/// Not `<>`, which no index serves; and in two halves, because the planner finds no index for all of it at once.
const DUE: &str = "SELECT object.key FROM (
        SELECT id FROM certificate WHERE issuer < ?1 OR issuer > ?1 OR (issuer = ?1 AND renew_at < ?2)
        UNION ALL
        SELECT id FROM certificate WHERE issuer = ?1 AND not_before > ?2 AND renew_at >= ?2
    ) AS due CROSS JOIN object ON object.id = due.id";

/// The keys of those that `issuer` did not issue, that are to be renewed before `at`, or that are not valid yet then.
pub(crate) fn due(connection: &Connection, issuer: &str, at: Timestamp) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(DUE)?;
    let keys = select.query_map((issuer, signed(at.unix_micros())), |row| row.get::<_, String>(0))?;
    // Keys that this version does not know are reported elsewhere.
    keys.filter_map(|key| key.map(|key| Key::stored(&key).ok()).transpose()).map(|key| Ok(key?)).collect()
}

#[cfg(test)]
mod tests {
    use bartizan_names::CertificateId;

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::key::Scope;
    use crate::kind::Kind;
    use crate::{Store, schema};

    #[test]
    fn due_are_those_of_others_those_ahead_and_those_in_their_last_third() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let hour = |hour: u64| Timestamp::from_unix_micros(hour * 3_600_000_000);
        let document = |issuer: &str, from: u64, until: u64| {
            let times = (hour(from).to_string(), hour(until).to_string());
            format!(r#"{{"issuer":"{issuer}","not_before":"{}","not_after":"{}"}}"#, times.0, times.1)
        };
        let rows = [
            (document("ours", 0, 90), false), // from 60 on
            (document("ours", 0, 75), false), // from 50 on, and not yet in that moment
            (document("ours", 0, 74), true),
            (document("ours", 0, 10), true),
            (document("ours", 50, 140), false), // valid from that moment on
            (document("ours", 51, 141), true),  // issued when the clock was ahead
            (document("a", 0, 90), true),
            (document("z", 0, 90), true),
            ("{}".to_owned(), true),
            (r#"{"issuer":"ours","not_before":"x"}"#.to_owned(), true),
        ];
        let key = |number: usize| Key::certificate(Scope::Edge, CertificateId::from_bytes([number as u8; 16]));
        let op = |(number, (json, _)): (usize, &(String, bool))| Op::Put {
            key: key(number),
            value: Value::of(Kind::Certificate, json.clone()),
        };
        let meta = Meta {
            at: hour(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: rows.iter().enumerate().map(op).collect(), meta }).unwrap();
        let mut due = store.read().unwrap().certificates_due("ours", hour(50)).unwrap();
        due.sort_unstable();
        let expect = (0..).zip(&rows).filter(|(_, (_, due))| *due).map(|(number, _)| key(number));
        assert_eq!(due, expect.collect::<Vec<_>>());

        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {DUE}")).unwrap();
        let steps = explain.query_map(("ours", 1), |row| row.get::<_, String>(3)).unwrap();
        let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
        for step in ["certificate_due (issuer=? AND renew_at<?)", "certificate_ahead (issuer=? AND not_before>?)"] {
            assert!(plan.contains(step) && !plan.contains("SCAN"), "{plan}");
        }
    }
}
