//! Zones.

use std::fmt::Display;

use bartizan_names::{AccountId, ZoneId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::filter::{Condition, Direction, Match, Text};
use super::{Listed, Page};
use crate::change::Entry;
use crate::error::ReadError;
use crate::listing::{Column, Listing, folded, folded_owner, text};

pub(crate) const ZONES: Listing = Listing {
    table: "zone",
    columns: &[
        Column::text("zone", |key, _| Some(key.zone_id()?.to_string().into())),
        Column::text("name", |_, zone| Some(folded_owner(text(zone, "/name")?).into())),
        Column::text("account", |_, zone| Some(text(zone, "/account/id")?.to_lowercase().into())),
        Column::text("apex", |_, zone| Some(from_the_root(&folded_owner(text(zone, "/name")?)).into())),
        Column::text("status", |_, zone| Some(folded(text(zone, "/status")?).into())),
    ],
    indexes: &[
        "zone_name ON zone (name, zone)",
        "zone_apex ON zone (apex)",
        "zone_status ON zone (status, zone)",
        "zone_account ON zone (account, name)",
    ],
    added: None,
};

/// Which zones, and which page of them.
#[derive(Clone, Debug)]
pub struct ZoneQuery {
    pub name: Vec<Text>,
    pub account: Option<AccountId>,
    pub status: Option<String>,
    pub matching: Match,
    /// The zones that the caller may see; none: all. Always in addition to the filters.
    pub only: Option<VisibleZones>,
    /// And those of them that he may not see.
    pub except: Vec<ZoneId>,
    pub order: ZoneOrder,
    pub direction: Direction,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

/// Whole accounts, and single zones beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisibleZones {
    pub of: Vec<AccountId>,
    pub zones: Vec<ZoneId>,
}

impl ZoneQuery {
    /// Whether each row must be looked at, as no index gives them.
    pub fn is_search(&self) -> bool {
        self.name.iter().any(Text::is_inside)
    }
}

impl Default for ZoneQuery {
    /// The first twenty zones by name.
    fn default() -> ZoneQuery {
        ZoneQuery {
            name: Vec::new(),
            account: None,
            status: None,
            matching: Match::All,
            only: None,
            except: Vec::new(),
            order: ZoneOrder::Name,
            direction: Direction::Ascending,
            page: 1,
            per_page: 20,
        }
    }
}

/// The order of zones; equal ones stand in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZoneOrder {
    #[default]
    Name,
    Status,
}

pub(crate) fn zones(connection: &Connection, query: &ZoneQuery) -> Result<Page<Entry>, ReadError> {
    let mut filters: Vec<Condition> = query.name.iter().map(name).collect();
    filters.extend(query.account.map(|account| Condition::equal("account", account.to_string())));
    filters.extend(query.status.as_ref().map(|status| Condition::equal("status", folded(status))));
    let seen = visible(query.only.as_ref(), &query.except);
    let condition = Condition::combine(&seen, filters, query.matching);
    let column = match query.order {
        ZoneOrder::Name => "name",
        ZoneOrder::Status => "status",
    };
    let direction = query.direction.sql();
    let order = format!("{column} {direction}, zone {direction}");
    let listed = Listed { table: ZONES.table, condition, order, page: query.page, per_page: query.per_page };
    listed.page(connection, listed.total(connection)?)
}

/// A name of some zone below `name` that is another account's than `account`.
pub(crate) fn zone_below(connection: &Connection, name: &str, account: AccountId) -> Result<Option<String>, ReadError> {
    // All below, and nothing else: `/` follows the dot.
    let first = from_the_root(&folded_owner(name));
    let end = format!("{}/", first.trim_end_matches('.'));
    let sql = "SELECT name FROM zone WHERE apex > ? AND apex < ? AND account <> ? LIMIT 1";
    let mut select = connection.prepare_cached(sql)?;
    Ok(select.query_row((first, end, account.to_string()), |row| row.get(0)).optional()?)
}

/// The labels of a name from the top down, each with a dot: what is below a name begins with it.
fn from_the_root(name: &str) -> String {
    name.trim_end_matches('.').rsplit('.').flat_map(|label| [label, "."]).collect()
}

/// Those of the table that somebody sees.
pub(super) fn visible(only: Option<&VisibleZones>, except: &[ZoneId]) -> Condition {
    let only = only.map(|only| {
        let of_one = |account: &AccountId| Condition::equal("account", account.to_string());
        let of_accounts = match only.of.as_slice() {
            [] => None,
            // As the index has it.
            [one] => Some(of_one(one)),
            many => Some(among("account IN", many)),
        };
        let zones = (!only.zones.is_empty()).then(|| among("zone IN", &only.zones));
        let parts = [of_accounts, zones].into_iter().flatten().collect();
        Condition::any(parts).unwrap_or_else(|| Condition::new("FALSE", []))
    });
    let except = (!except.is_empty()).then(|| among("zone NOT IN", except));
    Condition::all([only, except].into_iter().flatten().collect()).unwrap_or_else(|| Condition::new("TRUE", []))
}

/// One value however many ids: the number of question marks is limited.
fn among(relation: &str, ids: &[impl Display]) -> Condition {
    let ids = serde_json::Value::from_iter(ids.iter().map(ToString::to_string));
    Condition::new(&format!("{relation} (SELECT value FROM json_each(?))"), [Value::from(ids.to_string())])
}

fn name(test: &Text) -> Condition {
    Condition::text(
        "name",
        match test {
            Text::Exact(text) => Text::Exact(folded_owner(text)),
            part => part.map(folded),
        },
    )
}
