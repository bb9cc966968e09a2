//! Certificates that others issued: by ACME, and brought by people. Those to which somebody has to look, and how each is.

use bartizan_names::{CertificateId, Timestamp, ZoneId};
use rusqlite::types::Value;
use rusqlite::{Connection, named_params, params_from_iter};
use serde_json::Value as Json;

use super::filter::Condition;
use super::keys::{key, keys, until, until_behind};
use super::zones::{VisibleZones, visible};
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
        Column::text("zone", |key, _| Some(key.zone_id()?.to_string().into())),
        Column::text("state", |_, document| Some(text(document, "/state").unwrap_or_default().to_owned().into())),
        NEXT_ON,
        // Null: nothing was issued, or its end was seen.
        Column::number("ends_on", |_, document| {
            let has_ended = document.pointer("/has_ended").and_then(Json::as_bool).unwrap_or(false);
            if has_ended { Some(Value::Null) } else { time(document, "/held/not_after") }
        })
        .or_null(),
        // 1: somebody asked for these very names.
        Column::number("is_ordered", |_, document| {
            Some(document.pointer("/is_ordered").and_then(Json::as_bool).map_or(0, i64::from).into())
        }),
    ],
    indexes: &[
        "acme_certificate_due ON acme_certificate (next_on)",
        "acme_certificate_due_of_zone ON acme_certificate (zone, next_on)",
        "acme_certificate_ending ON acme_certificate (ends_on)",
        "acme_certificate_ordered ON acme_certificate (zone) WHERE is_ordered = 1",
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

/// In whose zones they are looked for: those that somebody sees, and does not see.
#[derive(Clone, Debug, Default)]
pub struct InZones {
    pub only: VisibleZones,
    pub except: Vec<ZoneId>,
}

/// A window of those that are due: the keys alone, which say whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeDue {
    /// The oldest, behind so many that are older.
    Oldest {
        behind: usize,
    },
    Newest,
    /// The oldest of one zone.
    Of(ZoneId),
}

const ACME_DUE: &str = "SELECT object.key FROM (
        SELECT id FROM acme_certificate WHERE next_on <= :at ORDER BY next_on LIMIT :limit OFFSET :behind
    ) AS due CROSS JOIN object ON object.id = due.id";

const ACME_DUE_NEWEST: &str = "SELECT object.key FROM (
        SELECT id FROM acme_certificate WHERE next_on <= :at ORDER BY next_on DESC LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const ACME_DUE_OF_ZONE: &str = "SELECT object.key FROM (
        SELECT id FROM acme_certificate WHERE zone = :zone AND next_on <= :at ORDER BY next_on LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const ACME_ENDED: &str = "SELECT object.key FROM (
        SELECT id FROM acme_certificate WHERE ends_on <= :at ORDER BY ends_on LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const ACME_ORDERED: &str = "SELECT count(*) FROM acme_certificate WHERE zone = :zone AND is_ordered = 1";

const CUSTOM_DUE: &str = "SELECT object.key FROM (
        SELECT id FROM custom_certificate WHERE next_on <= :at ORDER BY next_on LIMIT :limit
    ) AS due CROSS JOIN object ON object.id = due.id";

const PIECE: &str = "SELECT object.key FROM (
        SELECT id, place FROM acme_certificate WHERE place > :after ORDER BY place LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.place";

const PIECE_OF_STATE: &str = "SELECT object.key FROM (
        SELECT id, place FROM acme_certificate WHERE state = :state AND place > :after ORDER BY place LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.place";

pub(crate) fn acme_due(
    connection: &Connection,
    which: AcmeDue,
    at: Timestamp,
    limit: usize,
) -> Result<Vec<Key>, ReadError> {
    match which {
        AcmeDue::Oldest { behind } => until_behind(connection, ACME_DUE, at, behind, limit),
        AcmeDue::Newest => until(connection, ACME_DUE_NEWEST, at, limit),
        AcmeDue::Of(zone) => {
            let (at, limit) = (signed(at.unix_micros()), limit as i64);
            let mut select = connection.prepare_cached(ACME_DUE_OF_ZONE)?;
            keys(select.query_map(named_params! {":at": at, ":limit": limit, ":zone": zone.to_string()}, key)?)
        }
    }
}

pub(crate) fn acme_ended(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    until(connection, ACME_ENDED, at, limit)
}

pub(crate) fn acme_ordered(connection: &Connection, zone: ZoneId) -> Result<u64, ReadError> {
    let mut select = connection.prepare_cached(ACME_ORDERED)?;
    Ok(select.query_row(named_params! {":zone": zone.to_string()}, |row| row.get::<_, i64>(0))?.cast_unsigned())
}

pub(crate) fn custom_due(connection: &Connection, at: Timestamp, limit: usize) -> Result<Vec<Key>, ReadError> {
    until(connection, CUSTOM_DUE, at, limit)
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

/// The same in some zones alone: by these, so that it costs what they have, however much there is of others.
pub(crate) fn acme_in(connection: &Connection, query: &AcmeQuery, zones: &InZones) -> Result<Vec<Key>, ReadError> {
    let Condition { sql, values } = in_zones(query, zones);
    let mut select = connection.prepare_cached(&sql)?;
    keys(select.query_map(params_from_iter(values), key)?)
}

fn in_zones(AcmeQuery { state, after, limit }: &AcmeQuery, zones: &InZones) -> Condition {
    let Condition { sql: seen, mut values } = visible(Some(&zones.only), &zones.except);
    let after = after.map(|(zone, id)| format!("{zone}/{id}")).unwrap_or_default();
    values.push(after.into());
    let state = state.as_ref().map_or("", |state| {
        values.push(state.clone().into());
        "AND +state = ?"
    });
    values.push((*limit as i64).into());
    let sql = format!(
        "SELECT object.key FROM (
            SELECT id, place FROM acme_certificate
            WHERE zone IN (SELECT zone FROM zone WHERE {seen}) AND +place > ? {state} ORDER BY +place LIMIT ?
        ) AS piece CROSS JOIN object ON object.id = piece.id ORDER BY piece.place"
    );
    Condition { sql, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    use bartizan_names::AccountId;

    use crate::kind::Kind;

    const OLDEST: AcmeDue = AcmeDue::Oldest { behind: 0 };
    use crate::change::{self, ChangeSet, Meta, Op};
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
            (r#"{"is_ordered":true,"held":{"not_after":"AT"}}"#.replace("AT", &second(70).to_string()), false),
            (r#"{"has_ended":true,"held":{"not_after":"AT"}}"#.replace("AT", &second(60).to_string()), false),
        ];
        let zone = ZoneId::from_bytes([1; 16]);
        let id = |number: usize| CertificateId::from_bytes([number as u8; 16]);
        let acme_key = |number: usize| Key::acme_certificate(zone, id(number));
        let custom_key = |number: usize| Key::custom_certificate(zone, id(number));
        let ops = rows.iter().enumerate().flat_map(|(number, (json, _))| {
            [acme_key(number), custom_key(number)].map(|key| {
                let value = change::Value::of(key.kind(), json.clone());
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
        let mut found = snapshot.acme_due(OLDEST, second(50), 10).unwrap();
        found.sort_unstable();
        assert_eq!(found, due.iter().map(|number| acme_key(*number)).collect::<Vec<_>>());
        let mut found = snapshot.custom_due(second(50), 10).unwrap();
        found.sort_unstable();
        assert_eq!(found, due.iter().map(|number| custom_key(*number)).collect::<Vec<_>>());
        assert_eq!(snapshot.acme_due(OLDEST, second(50), 1).unwrap(), [acme_key(2)], "the oldest first");
        for (which, expect) in [
            (AcmeDue::Oldest { behind: 1 }, [acme_key(0)].as_slice()),
            (AcmeDue::Oldest { behind: 2 }, &[]),
            (AcmeDue::Newest, &[acme_key(0), acme_key(2)]),
            (AcmeDue::Of(zone), &[acme_key(2), acme_key(0)]),
            (AcmeDue::Of(ZoneId::from_bytes([9; 16])), &[]),
        ] {
            assert_eq!(snapshot.acme_due(which, second(50), 10).unwrap(), expect, "{which:?}");
        }
        assert_eq!(snapshot.acme_ended(second(70), 10).unwrap(), [acme_key(6)], "and not the one whose end was seen");
        assert_eq!(snapshot.acme_ended(second(69), 10).unwrap(), []);
        assert_eq!(snapshot.acme_ordered(zone).unwrap(), 1);

        let piece = |state: Option<&str>, after: Option<usize>, limit| {
            let after = after.map(|number| (zone, id(number)));
            snapshot.acme_certificates(&AcmeQuery { state: state.map(str::to_owned), after, limit }).unwrap()
        };
        assert_eq!(piece(None, None, 2), [acme_key(0), acme_key(1)]);
        assert_eq!(piece(None, Some(3), 9), [4, 5, 6, 7].map(acme_key));
        assert_eq!(piece(Some("failing"), None, 9), [acme_key(2), acme_key(4)]);
        assert_eq!(piece(Some("failing"), Some(2), 9), [acme_key(4)]);

        // In the zones of an account alone.
        let account = AccountId::from_bytes([7; 16]);
        let of_account = r#"{"name":"a.test","status":"active","account":{"id":"ACCOUNT"}}"#;
        let place = Op::Put {
            key: Key::zone(zone),
            value: change::Value::of(Kind::Zone, of_account.replace("ACCOUNT", &account.to_string())),
        };
        let meta = Meta {
            at: second(2),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [2; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: vec![place], meta }).unwrap();
        let snapshot = store.read().unwrap();
        let of = |number: u8| VisibleZones { of: vec![AccountId::from_bytes([number; 16])], zones: Vec::new() };
        let alone = VisibleZones { of: Vec::new(), zones: vec![zone] };
        for (only, except, state, after, limit, expect) in [
            (of(7), vec![], None, None, 2, &[0, 1][..]),
            (of(7), vec![], Some("failing"), None, 9, &[2, 4]),
            (of(7), vec![], Some("failing"), Some(2), 9, &[4]),
            (of(7), vec![zone], None, None, 9, &[]),
            (of(8), vec![], None, None, 9, &[]),
            (alone, vec![], None, Some(5), 9, &[6, 7]),
            (VisibleZones::default(), vec![], None, None, 9, &[]),
        ] {
            let after = after.map(|number| (zone, id(number)));
            let query = AcmeQuery { state: state.map(str::to_owned), after, limit };
            let zones = InZones { only, except };
            let found = snapshot.acme_certificates_in(&query, &zones).unwrap();
            assert_eq!(found, expect.iter().map(|number| acme_key(*number)).collect::<Vec<_>>(), "{zones:?} {query:?}");
        }

        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let all = Condition {
            values: Vec::new(),
            ..in_zones(&AcmeQuery::default(), &InZones { only: of(7), except: vec![] })
        };
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", all.sql)).unwrap();
        let steps = explain.query_map(["a", "b", "9"], |row| row.get::<_, String>(3)).unwrap();
        let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
        assert!(plan.contains("acme_certificate_due_of_zone (zone=?)") && !plan.contains("SCAN acme"), "{plan}");
        for (sql, parameters, index) in [
            (ACME_DUE, &[(":at", &1 as &dyn rusqlite::ToSql), (":behind", &0)][..], "acme_certificate_due (next_on<?)"),
            (ACME_DUE_NEWEST, &[(":at", &1)], "acme_certificate_due (next_on<?)"),
            (ACME_DUE_OF_ZONE, &[(":at", &1), (":zone", &"a")], "acme_certificate_due_of_zone (zone=? AND next_on<?)"),
            (ACME_ENDED, &[(":at", &1)], "acme_certificate_ending (ends_on<?)"),
            (ACME_ORDERED, &[(":zone", &"a")], "acme_certificate_ordered (zone=?)"),
            (CUSTOM_DUE, &[(":at", &1)], "custom_certificate_due (next_on<?)"),
            (PIECE, &[(":after", &"a")], "acme_certificate_place (place>?)"),
            (PIECE_OF_STATE, &[(":state", &"a"), (":after", &"a")], "acme_certificate_state (state=? AND place>?)"),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let limit = sql.contains(":limit").then_some((":limit", &1 as &dyn rusqlite::ToSql));
            let all: Vec<_> = parameters.iter().copied().chain(limit).collect();
            let steps = explain.query_map(&*all, |row| row.get::<_, String>(3)).unwrap();
            let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            // A piece is put in order again behind the join: it is small.
            let is_sorted = plan.contains("TEMP") && sql.contains(" AS due ");
            assert!(plan.contains(index) && !is_sorted, "{plan}");
        }
    }
}
