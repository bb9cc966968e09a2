//! Whose an object is, and who is behind what was done to it.

use bartizan_names::{AccountId, ZoneId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::change::Op;
use crate::key::Key;
use crate::kind::Kind;

/// In the place of an owner, of what is the edge's own: nobody's id is all zeros.
pub(super) const EDGE: [u8; 16] = [0; 16];

/// Who did it, and through what.
#[derive(Clone)]
pub(super) struct By {
    pub(super) writer: [u8; 16],
    pub(super) user: Option<[u8; 16]>,
    pub(super) token: Option<[u8; 16]>,
    pub(super) client: Option<String>,
    pub(super) request_id: [u8; 16],
}

/// Whose an object is, and who deals with it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) owner: [u8; 16],
    pub(super) by: By,
}

/// The account of a zone that comes with this change set, or is there.
pub(super) fn account_of(connection: &Connection, zone: ZoneId, ops: &[Op]) -> rusqlite::Result<Option<AccountId>> {
    let key = Key::zone(zone);
    let comes = ops.iter().find_map(|op| match op {
        Op::Put { key: put, value } if *put == key => serde_json::from_str::<serde_json::Value>(&value.json).ok(),
        _ => None,
    });
    if let Some(account) = comes.and_then(|zone| zone.pointer("/account/id")?.as_str()?.parse().ok()) {
        return Ok(Some(account));
    }
    let account: Option<String> = connection
        .prepare_cached("SELECT account FROM zone WHERE id = (SELECT id FROM object WHERE key = ?)")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?;
    Ok(account.and_then(|account| account.parse().ok()))
}

/// Who deleted a zone, and whose it was.
pub(super) fn deletion_of(connection: &Connection, zone: ZoneId) -> rusqlite::Result<Option<Place>> {
    connection
        .prepare_cached(
            "SELECT owner, writer, user, token, client, request_id FROM audit
             WHERE object = ? AND kind = ? ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![zone.to_string(), Kind::Zone.code()], |row| {
            let by = By {
                writer: row.get(1)?,
                user: row.get(2)?,
                token: row.get(3)?,
                client: row.get(4)?,
                request_id: row.get(5)?,
            };
            Ok(Place { owner: row.get(0)?, by })
        })
        .optional()
}
