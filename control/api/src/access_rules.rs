//! `…/firewall/access_rules/rules`: who may come in, by address, range, network or country.
//!
//! Below `/user`, `/accounts/{account_id}` and `/zones/{zone_id}` alike; each handler is there once. A rule belongs to the
//! scope in which it was made, and is seen and found there only. Its id follows from scope and target, so that a second
//! rule for the same is found without a search, and two who make it at once meet.

use axum::extract::{FromRequestParts, RawPathParams, State};
use bartizan_model::{AccessMode, AccessRule as Rule, AccessTarget};
use bartizan_names::{RuleId, ZoneId};
use bartizan_store::{AccessRuleOrder, AccessRuleQuery, Key, Match, RuleScope as Scope};
use bartizan_v4::access_rule::{RuleConfiguration, RuleExtension, RuleScope};
use bartizan_v4::{AccessRule, AccessRuleBody, Deleted, Patch, StoredAccessRule, StoredRuleScope};
use http::request::Parts;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::accounts::AccountScope;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Query};
use crate::openapi::operations;
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply, direction};
use crate::state::Api;
use crate::transaction::{Change, View, documents};

const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: 1_000 };

/// Where the handlers are documented; the other two places are made from it.
const OF_ZONE: &str = "/zones/{zone_id}";
const OF_ZONE_ID: &str = "zone_id";

/// A place below which rules are: its path, and what of it is a parameter.
struct Place {
    path: &'static str,
    parameter: Option<&'static str>,
    read: Permission,
    write: Permission,
}

const PLACES: [Place; 3] = [
    Place {
        path: "/user",
        parameter: None,
        read: Permission::AccountFirewallRead,
        write: Permission::AccountFirewallWrite,
    },
    Place {
        path: "/accounts/{account_id}",
        parameter: Some("account_id"),
        read: Permission::AccountFirewallRead,
        write: Permission::AccountFirewallWrite,
    },
    Place {
        path: OF_ZONE,
        parameter: Some(OF_ZONE_ID),
        read: Permission::FirewallRead,
        write: Permission::FirewallWrite,
    },
];

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    PLACES.iter().fold(OpenApiRouter::new(), |router, place| {
        router
            .routes(needs(place.read, api, place.below(routes!(list))))
            .routes(needs(place.write, api, place.below(routes!(create))))
            .routes(needs(place.read, api, place.below(routes!(get))))
            .routes(needs(place.write, api, place.below(routes!(change))))
            .routes(needs(place.write, api, place.below(routes!(delete))))
    })
}

impl Place {
    /// The routes of a zone's rules, here.
    fn below(&self, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
        let (schemas, mut paths, methods) = routes;
        paths.paths = std::mem::take(&mut paths.paths)
            .into_iter()
            .map(|(path, mut item)| {
                operations(&mut item).for_each(|operation| self.rename_parameter(operation));
                (path.replacen(OF_ZONE, self.path, 1), item)
            })
            .collect();
        (schemas, paths, methods)
    }

    fn rename_parameter(&self, operation: &mut Operation) {
        let parameters = operation.parameters.take().unwrap_or_default();
        let renamed = parameters.into_iter().filter_map(|parameter| match (parameter, self.parameter) {
            (RefOr::T(parameter), None) if parameter.name == OF_ZONE_ID => None,
            (RefOr::T(mut parameter), Some(name)) if parameter.name == OF_ZONE_ID => {
                name.clone_into(&mut parameter.name);
                Some(RefOr::T(parameter))
            }
            (other, _) => Some(other),
        });
        operation.parameters = Some(renamed.collect());
    }
}

impl View {
    /// A rule of whatever scope.
    pub(crate) fn access_rule(&self, id: RuleId) -> Result<Option<StoredAccessRule>, Error> {
        self.find(&Key::access_rule(id))
    }

    fn access_rules(&self, query: &AccessRuleQuery) -> Result<(Vec<StoredAccessRule>, u64), Error> {
        let page = self.0.access_rules(query)?;
        Ok((documents(&page.items)?, page.total))
    }
}

impl Change {
    fn put_access_rule(&mut self, rule: &StoredAccessRule) -> Result<(), Error> {
        if let StoredRuleScope::Zone(zone) = rule.scope {
            self.require(Key::zone(zone));
        }
        self.put(Key::access_rule(rule.id), rule)
    }
}

/// The scope that a path names, and the rule where it names one.
#[derive(Clone, Copy)]
struct At {
    place: Asked,
    rule: Option<RuleId>,
}

#[derive(Clone, Copy)]
enum Asked {
    User,
    Account(AccountScope),
    Zone(ZoneId),
}

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At, Error> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Fault::BadId)?;
        let mut at = At { place: Asked::User, rule: None };
        for (name, text) in &params {
            match name {
                "account_id" => at.place = Asked::Account(text.parse().map_err(|_| Fault::BadId)?),
                OF_ZONE_ID => at.place = Asked::Zone(text.parse().map_err(|_| Fault::BadId)?),
                _ => at.rule = Some(text.parse().map_err(|_| Fault::BadId)?),
            }
        }
        Ok(at)
    }
}

impl At {
    /// The scope, if it is the caller's.
    fn scope(self, view: &View, caller: &Caller) -> Result<StoredRuleScope, Error> {
        match self.place {
            Asked::User => Ok(StoredRuleScope::User(caller.user)),
            Asked::Account(account) => account.of(caller).map(StoredRuleScope::Organization),
            Asked::Zone(zone) => Ok(StoredRuleScope::Zone(view.zone(caller.account, zone)?.id)),
        }
    }

    /// The rule that the path names. That it is there in another scope is not told.
    fn find(self, view: &View, caller: &Caller) -> Result<StoredAccessRule, Error> {
        let scope = self.scope(view, caller)?;
        let rule = match self.rule {
            Some(id) => view.access_rule(id)?,
            None => None,
        };
        rule.filter(|rule| rule.scope == scope).ok_or_else(|| Fault::RuleUnknown.into())
    }
}

/// Filters and order of a list. Texts are compared without regard to case.
#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct Params {
    mode: Option<String>,
    /// `ip`, `ip6`, `ip_range`, `asn` or `country`.
    #[serde(rename = "configuration.target")]
    target: Option<String>,
    #[serde(rename = "configuration.value")]
    value: Option<String>,
    /// A part of the notes.
    notes: Option<String>,
    /// `all` (the default) or `any`.
    #[serde(rename = "match")]
    combine: Option<String>,
    /// `configuration.target` (the default), `configuration.value` or `mode`.
    order: Option<String>,
    /// `asc` (the default) or `desc`.
    direction: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

impl Params {
    fn query(self, scope: StoredRuleScope, page: Page) -> AccessRuleQuery {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        AccessRuleQuery {
            scope: listed_scope(scope),
            mode: given(self.mode),
            target: given(self.target),
            value: given(self.value).map(|text| normal_value(&text)),
            notes: given(self.notes),
            matching: if self.combine.as_deref() == Some("any") { Match::Any } else { Match::All },
            order: match self.order.as_deref() {
                Some("configuration.value") => AccessRuleOrder::Value,
                Some("mode") => AccessRuleOrder::Mode,
                _ => AccessRuleOrder::Target,
            },
            direction: direction(self.direction.as_deref()),
            page: page.number,
            per_page: page.size,
        }
    }
}

/// Addresses and ranges in the one spelling that is kept.
fn normal_value(text: &str) -> String {
    let text = text.trim();
    let spellings = ["ip", "ip_range", "asn"].map(|target| AccessTarget::from_text(target, text).ok());
    spellings.into_iter().flatten().next().map_or_else(|| text.to_owned(), |target| target.to_string())
}

pub(crate) fn listed_scope(scope: StoredRuleScope) -> Scope {
    match scope {
        StoredRuleScope::User(id) => Scope::User(id),
        StoredRuleScope::Organization(id) => Scope::Account(id),
        StoredRuleScope::Zone(id) => Scope::Zone(id),
    }
}

/// The rules of a scope.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/firewall/access_rules/rules",
    tag = "IP access rules",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<AccessRule>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<AccessRule>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let knowledge = Knowledge::of(&api);
    let (rules, total) = api
        .read(move |view| {
            let (rules, total) = view.access_rules(&params.query(at.scope(view, &caller)?, page))?;
            let email = view.user(caller.user)?.email;
            Ok((rules.into_iter().map(|rule| sent(rule, &email, knowledge)).collect(), total))
        })
        .await?;
    Ok(Reply::page(rules, page, total))
}

/// Makes a rule.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/firewall/access_rules/rules",
    tag = "IP access rules",
    params(("zone_id" = String, Path)),
    request_body = AccessRuleBody,
    responses((status = 200, body = bartizan_v4::Envelope<AccessRule>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(body): Body<AccessRuleBody>,
) -> Result<Reply<AccessRule>, Error> {
    let mode = AccessMode::parse(body.mode.value())?;
    let target = AccessTarget::parse(body.configuration.value())?;
    let notes = Rule::parse_notes(body.notes.value())?;
    let knowledge = Knowledge::of(&api);
    let actor = caller.clone();
    let rule = api
        .change(&actor, move |change| {
            let scope = at.scope(change, &caller)?;
            let configuration = target.configuration();
            let id = id_of(scope, &configuration);
            if change.access_rule(id)?.is_some() {
                return Err(Error::from(Fault::RuleExists).at("/configuration/value"));
            }
            let rule = StoredAccessRule {
                id,
                notes: notes.clone(),
                mode: mode.as_str().to_owned(),
                configuration,
                scope,
                created_on: change.now(),
                modified_on: change.now(),
            };
            change.put_access_rule(&rule)?;
            let email = change.user(caller.user)?.email;
            Ok(sent(rule, &email, knowledge))
        })
        .await?;
    Ok(Reply::of(rule))
}

/// One rule.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/firewall/access_rules/rules/{rule_id}",
    tag = "IP access rules",
    params(("zone_id" = String, Path), ("rule_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<AccessRule>))
)]
async fn get(State(api): State<Api>, caller: Caller, at: At) -> Result<Reply<AccessRule>, Error> {
    let knowledge = Knowledge::of(&api);
    let rule = api
        .read(move |view| {
            let rule = at.find(view, &caller)?;
            Ok(sent(rule, &view.user(caller.user)?.email, knowledge))
        })
        .await?;
    Ok(Reply::of(rule))
}

/// Changes the mode or the notes of a rule: what the body leaves out stays.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/firewall/access_rules/rules/{rule_id}",
    tag = "IP access rules",
    params(("zone_id" = String, Path), ("rule_id" = String, Path)),
    request_body = AccessRuleBody,
    responses((status = 200, body = bartizan_v4::Envelope<AccessRule>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Body(patch): Body<AccessRuleBody>,
) -> Result<Reply<AccessRule>, Error> {
    let knowledge = Knowledge::of(&api);
    let actor = caller.clone();
    let rule = api
        .change(&actor, move |change| {
            let stored = change_of(at.find(change, &caller)?, &patch)?;
            let rule = match stored {
                Changed::No(rule) => rule,
                Changed::Yes(rule) => {
                    let rule = StoredAccessRule { modified_on: change.now(), ..rule };
                    change.put_access_rule(&rule)?;
                    rule
                }
            };
            let email = change.user(caller.user)?.email;
            Ok(sent(rule, &email, knowledge))
        })
        .await?;
    Ok(Reply::of(rule))
}

enum Changed {
    No(StoredAccessRule),
    Yes(StoredAccessRule),
}

fn change_of(stored: StoredAccessRule, patch: &AccessRuleBody) -> Result<Changed, Error> {
    if let Some(configuration) = patch.configuration.value()
        && AccessTarget::parse(Some(configuration))?.configuration() != stored.configuration
    {
        let detail = "the target of a rule does not change; delete the rule and make another one";
        return Err(Fault::RuleInvalid.because(detail).at("/configuration"));
    }
    let mut rule = stored.clone();
    if !patch.mode.is_absent() {
        AccessMode::parse(patch.mode.value())?.as_str().clone_into(&mut rule.mode);
    }
    match &patch.notes {
        Patch::Absent => {}
        notes => rule.notes = Rule::parse_notes(notes.value())?,
    }
    Ok(if rule == stored { Changed::No(stored) } else { Changed::Yes(rule) })
}

/// Deletes a rule.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/firewall/access_rules/rules/{rule_id}",
    tag = "IP access rules",
    params(("zone_id" = String, Path), ("rule_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(State(api): State<Api>, caller: Caller, at: At) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    let id = api
        .change(&actor, move |change| {
            let rule = at.find(change, &caller)?;
            change.delete(Key::access_rule(rule.id))?;
            Ok(rule.id)
        })
        .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// What this edge can tell about a source.
#[derive(Clone, Copy)]
pub(crate) struct Knowledge {
    networks: bool,
}

impl Knowledge {
    pub(crate) fn of(api: &Api) -> Knowledge {
        Knowledge { networks: api.facts().knows_networks }
    }
}

/// A rule as clients see it; `email` is that of the user whose rules they are.
pub(crate) fn sent(rule: StoredAccessRule, email: &str, knowledge: Knowledge) -> AccessRule {
    let (id, kind) = match rule.scope {
        StoredRuleScope::User(id) => (id.to_string(), "user"),
        StoredRuleScope::Organization(id) => (id.to_string(), "organization"),
        StoredRuleScope::Zone(id) => (id.to_string(), "zone"),
    };
    let email = (kind == "user").then(|| email.to_owned());
    let enforced = knowledge.networks || rule.configuration.target != "asn";
    AccessRule {
        id: rule.id,
        notes: rule.notes,
        allowed_modes: AccessMode::ALL.iter().map(|mode| mode.as_str().to_owned()).collect(),
        mode: rule.mode,
        configuration: rule.configuration,
        scope: RuleScope { id, email, kind: kind.to_owned() },
        paused: false,
        created_on: rule.created_on,
        modified_on: rule.modified_on,
        bartizan: (!enforced).then_some(RuleExtension { enforced }),
    }
}

fn id_of(scope: StoredRuleScope, configuration: &RuleConfiguration) -> RuleId {
    let scope = match scope {
        StoredRuleScope::User(id) => format!("user/{id}"),
        StoredRuleScope::Organization(id) => format!("organization/{id}"),
        StoredRuleScope::Zone(id) => format!("zone/{id}"),
    };
    let RuleConfiguration { target, value } = configuration;
    let hash = bartizan_seal::sha256(format!("access-rule/{scope}/{target}/{value}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    RuleId::from_bytes(id)
}
