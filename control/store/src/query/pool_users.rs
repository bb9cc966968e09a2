//! What leads to a pool: load balancers and applications, of all zones.

use bartizan_names::PoolId;
use rusqlite::types::Value;
use rusqlite::{Connection, named_params};
use serde_json::Value as Json;

use super::keys::{key, keys};
use crate::error::ReadError;
use crate::key::Key;
use crate::listing::{Column, Listing, Row};

/// Of both kinds: one table. The pools of each are in `pool_use`.
pub(crate) const POOL_USERS: Listing = Listing {
    table: "pool_user",
    columns: &[Column::text("pools", |_, document| Some(pools(document).map_or(Value::Null, Value::Text))).or_null()],
    indexes: &[],
    added: Some(added),
};

fn added(connection: &Connection, row: &Row, id: i64) -> rusqlite::Result<()> {
    if let Some(pools @ Value::Text(_)) = row.value("pools") {
        let sql = "INSERT INTO pool_use SELECT value, ?1 FROM json_each(?2)";
        connection.prepare_cached(sql)?.execute((id, pools))?;
    }
    Ok(())
}

/// The ids of the pools that a document leads to, each once, as JSON; none if it leads to none. What is no id is none of a pool's
/// either: nobody asks for it.
fn pools(document: &Json) -> Option<String> {
    let one = |pointer: &str| document.pointer(pointer).into_iter();
    let lists = ["/region_pools", "/country_pools", "/pop_pools"];
    let by_place = lists.into_iter().filter_map(|pointer| document.pointer(pointer)?.as_object());
    let lists = by_place.flat_map(|lists| lists.values()).chain(document.pointer("/default_pools"));
    let all = one("/fallback_pool").chain(one("/origin_pool")).chain(lists.filter_map(Json::as_array).flatten());
    let mut pools: Vec<&str> = all.filter_map(Json::as_str).collect();
    pools.sort_unstable();
    pools.dedup();
    (!pools.is_empty()).then(|| Json::from(pools).to_string())
}

const PIECE: &str = "SELECT object.key FROM (
        SELECT id FROM pool_use WHERE pool = :pool LIMIT :limit
    ) AS piece CROSS JOIN object ON object.id = piece.id";

/// The keys of those that lead to a pool, up to so many.
pub(crate) fn pool_users(connection: &Connection, pool: PoolId, limit: usize) -> Result<Vec<Key>, ReadError> {
    let mut select = connection.prepare_cached(PIECE)?;
    keys(select.query_map(named_params! {":pool": pool.to_string(), ":limit": limit as i64}, key)?)
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AppId, LoadBalancerId, Timestamp, ZoneId};

    use super::*;
    use crate::change::{ChangeSet, Meta, Op, Value};
    use crate::{Store, schema};

    #[test]
    fn what_leads_to_a_pool_is_found_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [one, two, three, four] = [1, 2, 3, 4].map(|byte| PoolId::from_bytes([byte; 16]));
        let balancer =
            |byte| Key::load_balancer(ZoneId::from_bytes([byte; 16]), LoadBalancerId::from_bytes([byte; 16]));
        let app = Key::app(ZoneId::from_bytes([7; 16]), AppId::from_bytes([7; 16]));
        let leads = format!(
            r#"{{"fallback_pool":"{one}","default_pools":["{one}","{two}"],"region_pools":{{}},"pop_pools":{{"LHR":["{three}"]}}}}"#
        );
        let put = |key: &Key, json: String| Op::Put { key: key.clone(), value: Value::of(key.kind(), json) };
        let mut number = 0;
        let mut commit = |ops| {
            number += 1;
            let meta = Meta {
                at: Timestamp::from_unix_micros(1),
                actor: "test".to_owned(),
                interface: "test".to_owned(),
                client: None,
                request_id: [number; 16],
            };
            store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
        };
        let users = |pool| {
            let mut users = store.read().unwrap().pool_users(pool, 9).unwrap();
            users.sort_unstable();
            users
        };
        commit(vec![
            put(&balancer(1), leads),
            put(&balancer(2), format!(r#"{{"fallback_pool":"{two}"}}"#)),
            put(&app, format!(r#"{{"origin_pool":"{two}"}}"#)),
        ]);
        assert_eq!(users(one), [balancer(1)]);
        assert_eq!(users(two), [balancer(1), balancer(2), app.clone()]);
        assert_eq!(users(three), [balancer(1)]);
        assert_eq!(users(four), []);
        assert_eq!(store.read().unwrap().pool_users(two, 1).unwrap().len(), 1);
        // One that leads elsewhere since, one that does so no more, and one that is gone.
        commit(vec![
            put(&balancer(1), format!(r#"{{"fallback_pool":"{four}"}}"#)),
            put(&app, "{}".to_owned()),
            Op::Del { key: balancer(2) },
        ]);
        for (pool, expect) in [(one, vec![]), (two, vec![]), (three, vec![]), (four, vec![balancer(1)])] {
            assert_eq!(users(pool), expect, "{pool}");
        }
        let connection = schema::open_reader(dir.path(), schema::Access::Shared).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {PIECE}")).unwrap();
        let all: &[(&str, &dyn rusqlite::ToSql)] = &[(":pool", &"a"), (":limit", &1)];
        let steps = explain.query_map(all, |row| row.get::<_, String>(3)).unwrap();
        let plan = steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
        assert!(plan.contains("pool_use USING PRIMARY KEY (pool=?)"), "{plan}");
    }
}
