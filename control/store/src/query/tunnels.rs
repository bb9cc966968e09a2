//! Tunnels of an account.

use bartizan_names::{AccountId, Timestamp, TunnelId};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::filter::{Condition, Match, Text};
use super::{Listed, Page};
use crate::change::Entry;
use crate::error::ReadError;
use crate::listing::{Column, Listing, text, time};
use crate::tables::signed;

pub(crate) const TUNNELS: Listing = Listing {
    table: "tunnel",
    columns: &[
        Column::text("tunnel", |key, _| Some(key.id().to_owned().into())),
        // As given: names of tunnels differ by case.
        Column::text("name", |_, tunnel| Some(text(tunnel, "/name")?.to_owned().into())),
        Column::text("account", |_, tunnel| Some(text(tunnel, "/account_tag")?.to_lowercase().into())),
        Column::number("created_at", |_, tunnel| time(tunnel, "/created_at").filter(|time| *time != Value::Null)),
        // Null: in force.
        Column::number("deleted_at", |_, tunnel| time(tunnel, "/deleted_at")).or_null(),
    ],
    indexes: &["tunnel_account ON tunnel (account, created_at, tunnel)", "tunnel_name ON tunnel (account, name)"],
    added: None,
};

/// Which tunnels of an account, and which page of them. All filters must hold; the case of names counts.
#[derive(Clone, Debug)]
pub struct TunnelQuery {
    pub account: AccountId,
    pub name: Option<String>,
    pub include_prefix: Option<String>,
    pub exclude_prefix: Option<String>,
    pub is_deleted: Option<bool>,
    /// Made by then, and not deleted by then.
    pub existed_at: Option<Timestamp>,
    pub uuid: Option<TunnelId>,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

impl TunnelQuery {
    /// The first hundred tunnels of an account, deleted ones too.
    pub fn all(account: AccountId) -> TunnelQuery {
        TunnelQuery {
            account,
            name: None,
            include_prefix: None,
            exclude_prefix: None,
            is_deleted: None,
            existed_at: None,
            uuid: None,
            page: 1,
            per_page: 100,
        }
    }
}

/// The newest first.
pub(crate) fn tunnels(connection: &Connection, query: &TunnelQuery) -> Result<Page<Entry>, ReadError> {
    let account = Condition::equal("account", query.account.to_string());
    let condition = Condition::combine(&account, filters(query), Match::All);
    let listed = Listed {
        table: TUNNELS.table,
        condition,
        order: "created_at DESC, tunnel DESC".to_owned(),
        page: query.page,
        per_page: query.per_page,
    };
    listed.page(connection, listed.total(connection)?)
}

fn filters(query: &TunnelQuery) -> Vec<Condition> {
    let prefix = |prefix: &String| Condition::text("name", Text::StartsWith(prefix.clone()));
    let mut filters = Vec::new();
    filters.extend(query.name.as_ref().map(|name| Condition::equal("name", name.clone())));
    filters.extend(query.include_prefix.as_ref().map(prefix));
    filters.extend(query.exclude_prefix.as_ref().map(|text| {
        let Condition { sql, values } = prefix(text);
        Condition { sql: format!("NOT ({sql})"), values }
    }));
    filters.extend(
        query
            .is_deleted
            .map(|deleted| Condition::new(if deleted { "deleted_at IS NOT NULL" } else { "deleted_at IS NULL" }, [])),
    );
    filters.extend(query.existed_at.map(|at| {
        let at = signed(at.unix_micros());
        Condition::new("created_at <= ? AND (deleted_at IS NULL OR deleted_at > ?)", [at.into(), at.into()])
    }));
    filters.extend(query.uuid.map(|id| Condition::equal("tunnel", id.to_string())));
    filters
}
