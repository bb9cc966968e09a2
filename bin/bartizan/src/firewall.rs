//! `bartizan firewall`: thin clients of the access rules.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::account;
use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bad, good, one_line, quoted, table};
use crate::url::with_query;
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum FirewallAction {
    /// Refuse a source: an address, a prefix, a network (AS64500) or a country (DK)
    Block {
        /// An address, a prefix, a network or a country
        source: String,
        #[command(flatten)]
        scope: Scope,
        /// Why
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// Let a source in whatever else is blocked
    Allow {
        /// An address, a prefix, a network or a country
        source: String,
        #[command(flatten)]
        scope: Scope,
        /// Why
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// The rules
    List {
        #[command(flatten)]
        scope: Scope,
    },
    /// Remove a rule, by its source or its id
    Remove {
        /// The source that the rule is for, or the rule's id
        source: String,
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        consent: Consent,
    },
    /// Which rule decides for an address, and why
    Test {
        /// Of a client
        address: String,
        /// For this application
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
    },
}

#[derive(Args)]
pub struct Scope {
    /// Only in this zone; otherwise everywhere
    #[arg(long, value_name = "ZONE", conflicts_with = "account")]
    pub zone: Option<String>,
    /// In all zones of this account; those of the edge's own hold everywhere
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
}

pub async fn run(action: FirewallAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        FirewallAction::Block { source, scope, notes } => put("block", &source, &scope, &notes, api, output).await,
        FirewallAction::Allow { source, scope, notes } => put("whitelist", &source, &scope, &notes, api, output).await,
        FirewallAction::List { scope } => {
            let rules = api.list(&base(&scope, api).await?).await?;
            output.result(&Value::Array(rules.clone()), || {
                let rows: Vec<_> = rules.iter().map(row).collect();
                table(&["rule", "source", "scope", "id", "notes"], &rows)
            })
        }
        FirewallAction::Remove { source, scope, consent } => remove(&source, &scope, &consent, api, output).await,
        FirewallAction::Test { address, app } => test(&address, app.as_deref(), api, output).await,
    }
}

impl Scope {
    /// What says the same on a command line, after a space.
    fn words(&self) -> String {
        match (&self.zone, &self.account) {
            (Some(zone), _) => format!(" --zone {}", quoted(zone)),
            (None, Some(account)) => format!(" --account {}", quoted(account)),
            (None, None) => String::new(),
        }
    }
}

/// The rules of one zone, of all zones of an account, or of this user: they hold everywhere.
async fn base(scope: &Scope, api: &Api) -> anyhow::Result<String> {
    let owner = match (&scope.zone, &scope.account) {
        (Some(zone), _) => format!("/zones/{}", text(&zone::by_name_or_id(api, zone).await?, "id")),
        (None, Some(account)) => account::path_of(api, Some(account)).await?,
        (None, None) => "/user".to_owned(),
    };
    Ok(format!("{owner}/firewall/access_rules/rules"))
}

/// What people type, as the dialect's target and value: an address, a prefix, `AS64500`, or a country's two letters.
fn configuration(source: &str) -> anyhow::Result<Value> {
    if let Ok(address) = source.parse::<std::net::IpAddr>() {
        let target = if address.is_ipv4() { "ip" } else { "ip6" };
        return Ok(json!({ "target": target, "value": address }));
    }
    if let Some((address, length)) = source.split_once('/')
        && address.parse::<std::net::IpAddr>().is_ok()
        && length.parse::<u8>().is_ok()
    {
        return Ok(json!({ "target": "ip_range", "value": source }));
    }
    let upper = source.to_ascii_uppercase();
    if upper.strip_prefix("AS").is_some_and(|number| number.parse::<u32>().is_ok()) {
        return Ok(json!({ "target": "asn", "value": upper }));
    }
    if upper.len() == 2 && upper.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(json!({ "target": "country", "value": upper }));
    }
    Err(Failure::new(Cause::Usage, format!("{source:?} is no source"))
        .remedy("an address, a prefix (192.0.2.0/24), a network (AS64500) or a country (two letters)")
        .into())
}

async fn put(mode: &str, source: &str, scope: &Scope, notes: &str, api: &Api, output: Output) -> anyhow::Result<()> {
    let body = json!({ "mode": mode, "configuration": configuration(source)?, "notes": notes });
    let rule = api.post(&base(scope, api).await?, &body).await.map_err(|error| {
        // The dialect's words for it are a constant that programs compare.
        match error.downcast_ref::<Failure>() {
            Some(Failure { cause: Cause::Conflict, .. }) => {
                let (source, here) = (quoted(source), scope.words());
                Failure::new(Cause::Conflict, format!("there is a rule for {source} here already"))
                    .remedy(format!(
                        "`bartizan firewall list{here}` shows it; `bartizan firewall remove {source}{here}` makes room"
                    ))
                    .into()
            }
            _ => error,
        }
    })?;
    output.result(&rule, || {
        let why = if is_in_force(&rule) { "" } else { NOT_IN_FORCE };
        format!("{}{why}", row(&rule).join("  ").trim_end())
    })
}

async fn remove(source: &str, scope: &Scope, consent: &Consent, api: &Api, output: Output) -> anyhow::Result<()> {
    let base = base(scope, api).await?;
    // The API compares what people type in the one spelling that it keeps.
    let rules = match configuration(source) {
        Ok(wanted) => api.list(&with_query(&base, &[("configuration.value", text(&wanted, "value"))])).await?,
        Err(_) => {
            let rules = api.list(&base).await?;
            rules.into_iter().filter(|rule| text(rule, "id").eq_ignore_ascii_case(source)).collect()
        }
    };
    let Some(rule) = rules.first() else {
        return Err(Failure::new(Cause::NotFound, format!("no rule for {source}"))
            .remedy("`bartizan firewall list` shows them; --zone and --account for those of one zone or account")
            .into());
    };
    let what = row(rule).join("  ").trim_end().to_owned();
    consent.ask(&format!("remove the rule {what}?"), &what, output)?;
    let gone = api.delete(&format!("{base}/{}", text(rule, "id"))).await?;
    output.result(&gone, || format!("removed: {what}"))
}

/// Which rule decides for an address, and why.
async fn test(address: &str, app: Option<&str>, api: &Api, output: Output) -> anyhow::Result<()> {
    let mut parameters = vec![("address", address)];
    parameters.extend(app.map(|app| ("app", app)));
    let verdict = api.get(&with_query("/bartizan/firewall/test", &parameters)).await?;
    output.result(&verdict, || {
        let (word, shown) = match text(&verdict, "verdict") {
            "allow" => ("allowed", good("allowed")),
            "challenge" => ("challenged", bad("challenged")),
            "unknown" => ("held up", bad("held up")),
            _ => ("blocked", bad("blocked")),
        };
        // The reason begins with the same word where a rule decides.
        let reason = text(&verdict, "reason");
        let mut lines = vec![match reason.strip_prefix(word) {
            Some(by) => format!("{address} is {shown}{by}"),
            None => format!("{address} is {shown}: {reason}"),
        }];
        lines.extend(
            verdict["rules"].as_array().into_iter().flatten().map(|rule| format!("  {}", row(rule).join("  "))),
        );
        lines.join("\n")
    })
}

/// Why a rule that this edge takes may match nobody.
const NOT_IN_FORCE: &str = "\n  stored, but not in force: this edge cannot tell whom it is for; `bartizan up --geo FILE` \
                            gives it a database of networks and countries";

fn is_in_force(rule: &Value) -> bool {
    rule["bartizan"]["enforced"] != false
}

fn row(rule: &Value) -> Vec<String> {
    let mode = match text(rule, "mode") {
        "whitelist" => "allow",
        other => other,
    };
    let mode = if is_in_force(rule) { mode.to_owned() } else { format!("{mode}, not in force") };
    vec![
        mode,
        text(&rule["configuration"], "value").to_owned(),
        text(&rule["scope"], "type").to_owned(),
        text(rule, "id").to_owned(),
        one_line(text(rule, "notes")),
    ]
}

#[cfg(test)]
mod tests {
    use super::configuration;

    #[test]
    fn sources_as_people_type_them() {
        for (source, expect) in [
            ("192.0.2.1", Some(("ip", "192.0.2.1"))),
            ("2001:db8::1", Some(("ip6", "2001:db8::1"))),
            ("192.0.2.0/24", Some(("ip_range", "192.0.2.0/24"))),
            ("as64500", Some(("asn", "AS64500"))),
            ("dk", Some(("country", "DK"))),
            ("example", None),
            ("192.0.2.0/x", None),
        ] {
            let got = configuration(source).ok();
            let got = got.as_ref().map(|body| (body["target"].as_str().unwrap(), body["value"].as_str().unwrap()));
            assert_eq!(got, expect, "{source}");
        }
    }
}
