//! `…/firewall/access_rules/rules`: who may come in, by address, range, network or country.
//!
//! Below `/user`, `/accounts/{account_id}` and `/zones/{zone_id}` alike: a plain resource. Those of an account are for all its
//! zones; those of the edge's own account, and of its users, for everything. A rule belongs to the scope in which it was made, and is seen and found there only. Its id follows from scope and target, so that a second rule for the
//! same is found without a search, and two who make it at once meet.

use bartizan_model::{
    AccessRule as Rule, parse_mode, parse_new_target, parse_target, target_configuration, target_of_kind,
};
use bartizan_names::{AccessMode, AccessTarget, CountryCode, RuleId, Timestamp};
use bartizan_store::{AccessRuleOrder, AccessRuleQuery, Key, Kind, Match, Scope};
use bartizan_v4::access_rule::{RuleConfiguration, RuleExtension, RuleScope};
use bartizan_v4::{AccessRule, AccessRuleBody, StoredAccessRule, StoredRuleScope};
use utoipa_axum::router::OpenApiRouter;

use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, direction};
use crate::resource::{self, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, Listed, View};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<AccessRules>(api)
}

struct AccessRules;

impl Resource for AccessRules {
    const KIND: Kind = Kind::AccessRule;
    const PLACES: &'static [Place] = &[
        Place::changed(Owner::User, Permission::AccountFirewallRead, Permission::AccountFirewallWrite),
        Place::changed(Owner::Account, Permission::AccountFirewallRead, Permission::AccountFirewallWrite),
        Place::changed(Owner::Zone, Permission::FirewallRead, Permission::FirewallWrite),
    ];
    const PATH: &'static str = "firewall/access_rules/rules";
    const ID: &'static str = "rule_id";
    const ONE: &'static str = "an access rule";
    const MANY: &'static str = "IP access rules";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Patch), Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 1, default: 20, max: 1_000 };
    const UNKNOWN: Fault = Fault::RuleUnknown;

    type Id = RuleId;
    type Params = Params;
    type Document = StoredAccessRule;
    type Sent = AccessRule;

    fn sent(here: &Here<'_>, view: &View, rule: StoredAccessRule) -> Result<AccessRule, Error> {
        let owner = match here.scope {
            Scope::User(user) => view.user(user)?.email,
            Scope::Account(account) => view.account(account)?.name,
            Scope::Zone(_) => here.zone()?.name.to_string(),
            Scope::Edge => String::new(),
        };
        Ok(sent(rule, owner, Knowledge::of(here.api)))
    }

    fn list(here: &Here<'_>, view: &View, params: Params, page: Page) -> Result<Listed<StoredAccessRule>, Error> {
        Listed::page(&view.0.access_rules(&params.query(here.scope, page))?)
    }
}

impl Editable for AccessRules {
    type Body = AccessRuleBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &AccessRuleBody) -> Result<StoredAccessRule, Error> {
        let mode = parse_mode(body.mode.value())?;
        let configuration = target_configuration(&parse_new_target(body.configuration.value())?);
        let notes = Rule::parse_notes(body.notes.value())?;
        let scope_of_rule = stored_scope(here.scope)?;
        let id = id_of(scope_of_rule, &configuration);
        if change.has(&Key::access_rule(here.scope, id))? {
            return Err(Error::from(Fault::RuleExists).at("/configuration/value"));
        }
        Ok(StoredAccessRule {
            id,
            notes,
            mode: mode.as_str().to_owned(),
            configuration,
            scope: scope_of_rule,
            created_on: change.now(),
            modified_on: change.now(),
        })
    }

    fn edit(
        _: &Here<'_>,
        _: &mut Change,
        old: &StoredAccessRule,
        body: &AccessRuleBody,
        _: Edit,
    ) -> Result<StoredAccessRule, Error> {
        if let Some(configuration) = body.configuration.value()
            && target_configuration(&parse_target(Some(configuration))?) != old.configuration
        {
            let detail = "the target of a rule does not change; delete the rule and make another one";
            return Err(Fault::RuleInvalid.because(detail).at("/configuration"));
        }
        let mut rule = old.clone();
        if !body.mode.is_absent() {
            parse_mode(body.mode.value())?.as_str().clone_into(&mut rule.mode);
        }
        if !body.notes.is_absent() {
            rule.notes = Rule::parse_notes(body.notes.value())?;
        }
        Ok(rule)
    }

    fn id(rule: &StoredAccessRule) -> RuleId {
        rule.id
    }

    fn stamp(rule: &mut StoredAccessRule, now: Timestamp) {
        rule.modified_on = now;
    }
}

impl View {
    pub(crate) fn access_rule(&self, scope: Scope, id: RuleId) -> Result<Option<StoredAccessRule>, Error> {
        self.find(&Key::access_rule(scope, id))
    }
}

/// Filters and order of a list. Texts are compared without regard to case.
#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub(crate) struct Params {
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
}

impl Params {
    fn query(self, scope: Scope, page: Page) -> AccessRuleQuery {
        AccessRuleQuery {
            scope,
            mode: self.mode,
            target: self.target,
            value: self.value.map(|text| normal_value(&text)),
            notes: self.notes,
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

/// Addresses and ranges in the one spelling that is kept (RFC 5952 §4, RFC 4632 §3.1).
fn normal_value(text: &str) -> String {
    let text = text.trim();
    let spellings = ["ip", "ip_range", "asn"].map(|target| target_of_kind(target, text).ok());
    spellings.into_iter().flatten().next().map_or_else(|| text.to_owned(), |target| target.to_string())
}

/// What this edge can tell about a source.
#[derive(Clone, Copy)]
pub(crate) struct Knowledge {
    networks: bool,
    tor: bool,
}

impl Knowledge {
    pub(crate) fn of(api: &Api) -> Knowledge {
        Knowledge { networks: api.facts().knows_networks, tor: api.facts().may_know_tor }
    }

    /// Whether a rule can match anybody here. One that cannot be read is in force in its own way.
    fn matches(self, RuleConfiguration { target, value }: &RuleConfiguration) -> bool {
        match target_of_kind(target, value) {
            Ok(target) if target.is_nobody() => false,
            Ok(AccessTarget::Asn(_)) => self.networks,
            Ok(AccessTarget::Country(CountryCode::TOR)) => self.tor,
            _ => true,
        }
    }
}

/// A rule as clients see it; `owner` is the e-mail address of the user, or the name of the account or zone, whose it is.
pub(crate) fn sent(rule: StoredAccessRule, owner: String, knowledge: Knowledge) -> AccessRule {
    let (id, email, name, kind) = match rule.scope {
        StoredRuleScope::User(id) => (id.to_string(), Some(owner), None, "user"),
        StoredRuleScope::Organization(id) => (id.to_string(), None, Some(owner), "organization"),
        StoredRuleScope::Zone(id) => (id.to_string(), None, Some(owner), "zone"),
    };
    let enforced = knowledge.matches(&rule.configuration);
    AccessRule {
        id: rule.id,
        notes: rule.notes,
        allowed_modes: AccessMode::ALL.iter().map(|mode| mode.as_str().to_owned()).collect(),
        mode: rule.mode,
        configuration: rule.configuration,
        scope: RuleScope { id, email, name, kind: kind.to_owned() },
        paused: false,
        created_on: rule.created_on,
        modified_on: rule.modified_on,
        bartizan: (!enforced).then_some(RuleExtension { enforced }),
    }
}

/// The scope of a rule as its document has it. The edge itself has none.
fn stored_scope(scope: Scope) -> Result<StoredRuleScope, Error> {
    match scope {
        Scope::User(id) => Ok(StoredRuleScope::User(id)),
        Scope::Account(id) => Ok(StoredRuleScope::Organization(id)),
        Scope::Zone(id) => Ok(StoredRuleScope::Zone(id)),
        Scope::Edge => Err(Fault::Internal.into()),
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
