//! Access rules of a scope.

use bartizan_names::RuleId;
use rusqlite::Connection;

use super::filter::{Condition, Direction, Match, Text};
use super::{Listed, Page};
use crate::change::Entry;
use crate::error::ReadError;
use crate::key::Scope;
use crate::listing::{Column, Listing, folded, text};

pub(crate) const ACCESS_RULES: Listing = Listing {
    table: "access_rule",
    columns: &[
        // As keys begin.
        Column::text("scope", |key, _| Some(key.scope().to_string().into())),
        Column::bytes("rule", |key, _| Some(key.id_as::<RuleId>()?.as_bytes().to_vec().into())),
        Column::text("target", |_, rule| Some(folded(text(rule, "/configuration/target")?).into())),
        Column::text("value", |_, rule| Some(folded(text(rule, "/configuration/value")?).into())),
        Column::text("mode", |_, rule| Some(folded(text(rule, "/mode")?).into())),
        Column::text("notes", |_, rule| Some(folded(text(rule, "/notes")?).into())),
    ],
    // They serve the filters too.
    indexes: &[
        "access_rule_target ON access_rule (scope, target, value, rule)",
        "access_rule_value ON access_rule (scope, value, rule)",
        "access_rule_mode ON access_rule (scope, mode, rule)",
    ],
    added: None,
};

/// Which access rules of a scope, and which page of them. Case does not count.
#[derive(Clone, Debug)]
pub struct AccessRuleQuery {
    pub scope: Scope,
    pub mode: Option<String>,
    pub target: Option<String>,
    /// The whole value, as documents spell it.
    pub value: Option<String>,
    /// A part of the notes.
    pub notes: Option<String>,
    pub matching: Match,
    pub order: AccessRuleOrder,
    pub direction: Direction,
    /// From 1.
    pub page: u32,
    pub per_page: u32,
}

impl AccessRuleQuery {
    /// The first hundred rules of a scope by what they are for.
    pub fn all(scope: Scope) -> AccessRuleQuery {
        AccessRuleQuery {
            scope,
            mode: None,
            target: None,
            value: None,
            notes: None,
            matching: Match::All,
            order: AccessRuleOrder::Target,
            direction: Direction::Ascending,
            page: 1,
            per_page: 100,
        }
    }
}

/// The order of access rules; equal ones stand in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessRuleOrder {
    /// And those with one target by their values.
    #[default]
    Target,
    Value,
    Mode,
}

pub(crate) fn access_rules(connection: &Connection, query: &AccessRuleQuery) -> Result<Page<Entry>, ReadError> {
    let listed = listed(query);
    listed.page(connection, listed.total(connection)?)
}

pub(super) fn listed(query: &AccessRuleQuery) -> Listed {
    let scope = Condition::equal("scope", query.scope.to_string());
    let condition = Condition::combine(&scope, filters(query), query.matching);
    let columns: &[&str] = match query.order {
        AccessRuleOrder::Target => &["target", "value", "rule"],
        AccessRuleOrder::Value => &["value", "rule"],
        AccessRuleOrder::Mode => &["mode", "rule"],
    };
    let order: Vec<String> = columns.iter().map(|column| format!("{column} {}", query.direction.sql())).collect();
    Listed { table: ACCESS_RULES.table, condition, order: order.join(", "), page: query.page, per_page: query.per_page }
}

fn filters(query: &AccessRuleQuery) -> Vec<Condition> {
    let equal = |column, text: &Option<String>| text.as_ref().map(|text| Condition::equal(column, folded(text)));
    let mut filters = Vec::new();
    filters.extend(equal("mode", &query.mode));
    filters.extend(equal("target", &query.target));
    filters.extend(equal("value", &query.value));
    filters.extend(query.notes.as_ref().map(|text| Condition::text("notes", Text::Contains(folded(text)))));
    filters
}
