//! `/bartizan/firewall/test`: what the firewall makes of an address, and which rules say so.
//!
//! The firewall that is asked is the one in force, by the plane that it is in force in; the rules that it names are looked
//! up here.

use std::net::IpAddr;

use axum::extract::State;
use bartizan_model::Application;
use bartizan_names::{Name, ZoneId};
use bartizan_observed::{FirewallAnswer, FirewallQuestion, Verdict};
use bartizan_store::{Key, Kind, Scope};
use bartizan_v4::{AccessRule, Account, FirewallTest, StoredRuleScope, StoredUser};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access_rules::{Knowledge, sent};
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Query;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::View;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::AccountFirewallRead, api, routes!(test)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// Of the source.
    address: String,
    /// The name of an application: the rules of its zone count too.
    app: Option<String>,
}

/// What becomes of a source, by the rules in force now.
#[utoipa::path(
    get,
    path = "/bartizan/firewall/test",
    tag = "IP access rules",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<FirewallTest>))
)]
async fn test(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<FirewallTest>, Error> {
    let address: IpAddr =
        params.address.trim().parse().map_err(|_| Fault::BadQuery.because("address is not an IP address"))?;
    let name = match params.app {
        Some(text) => Some(Name::typed(text.trim()).map_err(|_| Fault::BadQuery.because("app is not a name"))?),
        None => None,
    };
    let asked = api.clone();
    let knowledge = Knowledge::of(&api);
    let result = api
        .read(move |view| {
            let apps = match &name {
                Some(name) => {
                    view.apps_named(name)?.into_iter().filter(|app| view.zone(&caller, app.zone).is_ok()).collect()
                }
                None => Vec::new(),
            };
            if name.is_some() && apps.is_empty() {
                return Err(Fault::AppUnknown.into());
            }
            let zone = apps.first().map(|app| app.zone);
            let answer = asked.observed().firewall.ask(FirewallQuestion { address: address.to_canonical(), zone });
            told(view, &answer, &apps, knowledge)
        })
        .await?;
    Ok(Reply::of(result))
}

fn told(
    view: &View,
    answer: &FirewallAnswer,
    apps: &[Application],
    knowledge: Knowledge,
) -> Result<FirewallTest, Error> {
    let scopes = scopes(view, apps.first().map(|app| app.zone))?;
    let unread = answer.rules.first().filter(|_| answer.verdict == Verdict::Unknown);
    let mut rules = Vec::new();
    for id in answer.rules.iter().filter(|id| Some(*id) != unread) {
        // One that went since it was put in force is not shown.
        let found = scopes.iter().find_map(|scope| view.access_rule(*scope, *id).transpose());
        let Some(rule) = found.transpose()? else { continue };
        let owner = match rule.scope {
            StoredRuleScope::User(id) => view.user(id)?.email,
            StoredRuleScope::Organization(id) => view.account(id)?.name,
            StoredRuleScope::Zone(id) => {
                view.find::<bartizan_v4::Zone>(&Key::zone(id))?.ok_or(Fault::ZoneUnknown)?.name
            }
        };
        rules.push(sent(rule, owner, knowledge));
    }
    let open = !apps.is_empty() && apps.iter().all(|app| !app.ip_firewall);
    let verdict = if open { Verdict::Allow } else { answer.verdict };
    Ok(FirewallTest {
        verdict: verdict.as_str().to_owned(),
        reason: match unread {
            _ if open => "access rules are not in force here: the application has ip_firewall off".to_owned(),
            Some(id) => {
                format!("rule {id} cannot be read: nobody comes in whom no other rule lets in; delete or replace it")
            }
            None => reason(verdict, rules.first(), !apps.is_empty()),
        },
        rules,
        country: answer.country.map(|country| country.to_string()),
        asn: answer.asn.map(|asn| asn.to_string()),
    })
}

/// The scopes whose rules may have matched: every user, every account, and the zone that was asked about.
fn scopes(view: &View, zone: Option<ZoneId>) -> Result<Vec<Scope>, Error> {
    let mut scopes: Vec<Scope> = zone.map(Scope::Zone).into_iter().collect();
    scopes.extend(view.all::<Account>(Kind::Account)?.iter().map(|account| Scope::Account(account.id)));
    scopes.extend(view.all::<StoredUser>(Kind::User)?.iter().map(|user| Scope::User(user.id)));
    Ok(scopes)
}

fn reason(verdict: Verdict, deciding: Option<&AccessRule>, on_app: bool) -> String {
    let Some(rule) = deciding else { return "no rule matches".to_owned() };
    let scope = if rule.scope.kind == "organization" { "account" } else { &rule.scope.kind };
    let whom = format!("the {scope} rule for {} {} ({})", rule.configuration.target, rule.configuration.value, rule.id);
    match verdict {
        Verdict::Allow => format!("allowed by {whom}"),
        Verdict::Unknown => format!("{whom} cannot be read"),
        Verdict::Block => format!("blocked by {whom}"),
        // Other protocols than HTTP have no page on which to ask.
        Verdict::Challenge if on_app => format!("refused by {whom}: a challenge cannot be shown here"),
        Verdict::Challenge => format!("challenged by {whom}"),
    }
}
