//! Access rules of a zone, and those of its account and of the token's user, which hold in it as well.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::anyhow;
use bartizan_model::{parse_mode, parse_new_target, target_configuration};
use bartizan_v4::Patch;
use bartizan_v4::access_rule::RuleConfigurationBody;
use serde_json::{Value, json};

use super::{Report, Step, of_their_token};
use crate::output::one_line;
use crate::tunnel;
use crate::url::segment;
use crate::zone::text;

const RULES: &str = "firewall/access_rules/rules";

/// Modes by target and value, of the rules of one scope here.
type Known = BTreeMap<(String, String), String>;

/// Rules that hold in more than one zone, and what became of them here.
#[derive(Default)]
pub struct Wider {
    /// By the path that they were read from.
    read: BTreeMap<String, Vec<Value>>,
    /// By their ids there: none, or why they are not in force here.
    done: BTreeMap<String, Option<String>>,
    /// By the path of their list here; of a zone that is not here, by its id there.
    known: BTreeMap<String, Known>,
}

/// Whose a rule is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Zone,
    Account,
    User,
}

impl Whose {
    fn of(rule: &Value) -> Option<Whose> {
        match rule["scope"]["type"].as_str() {
            Some("zone") => Some(Whose::Zone),
            Some("organization" | "account") => Some(Whose::Account),
            Some("user") => Some(Whose::User),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Whose::Zone => "access rule",
            Whose::Account => "access rule of the account",
            Whose::User => "access rule of the user",
        }
    }
}

/// All rules that hold in a zone there. The vendor shows those of the account and of the user with every zone; other edges
/// show them where they were made. Those that may not be read there may block somebody: it is an error.
pub async fn read(step: &Step<'_>, wider: &mut Wider, report: &mut Report) -> anyhow::Result<Vec<Value>> {
    let (zone, there) = (step.theirs, step.there);
    let path = format!("/zones/{}/{RULES}", segment(text(zone, "id")));
    let mut rules = there.list(&path).await.map_err(of_their_token)?;
    if step.words.zone_rules_only {
        report.lines.push("access rules of the account and of the user stay there (--zone-rules-only)".to_owned());
        return Ok(rules);
    }
    let account = segment(text(&zone["account"], "id"));
    for (path, what) in [(format!("/accounts/{account}"), "account"), ("/user".to_owned(), "user")] {
        let read = match wider.read.get(&path) {
            Some(read) => read,
            None => match there.list(&format!("{path}/{RULES}")).await {
                Ok(read) => wider.read.entry(path).or_insert(read),
                Err(error) => return Err(error.context(format!("those of the {what} cannot be read there"))),
            },
        };
        for rule in read {
            if !rules.iter().any(|other| other["id"] == rule["id"]) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(rules)
}

/// Puts rules into the scopes that they have there. What does not come is told as a failure.
pub async fn put(step: &Step<'_>, rules: &[Value], wider: &mut Wider, report: &mut Report) -> anyhow::Result<()> {
    let mut new = BTreeMap::<&str, usize>::new();
    for rule in rules {
        let what = one_line(&format!("{} {}", text(rule, "mode"), text(&rule["configuration"], "value")));
        let Some(whose) = Whose::of(rule) else {
            let scope = one_line(&rule["scope"]["type"].to_string());
            report.failed = true;
            report.lines.push(format!("no counterpart: the access rule {what} of the scope {scope}"));
            continue;
        };
        let id = text(rule, "id");
        let before = if whose == Whose::Zone { None } else { wider.done.get(id).cloned() };
        let failed = match before {
            Some(failed) => failed,
            None if rule["paused"] == true => {
                report.lines.push(format!("left out: the {} {what} is paused there", whose.words()));
                None
            }
            None => match put_one(step, rule, whose, wider, report).await {
                Ok(Fate::Same) => None,
                Ok(Fate::New) => {
                    *new.entry(whose.words()).or_default() += 1;
                    None
                }
                Ok(Fate::Foretold) => {
                    report.lines.push(format!("+ {}: {what}", whose.words()));
                    None
                }
                Err(error) => Some(format!("{error:#}")),
            },
        };
        if let Some(reason) = &failed {
            report.fail(&format!("{} {what}", whose.words()), &anyhow!("{reason}"));
        }
        wider.done.insert(id.to_owned(), failed);
    }
    for (words, count) in new {
        report.lines.push(match (count, words.split_once(' ')) {
            (2.., Some((access, rest))) => format!("{count} {access} {} are new", rest.replacen("rule", "rules", 1)),
            _ => format!("1 {words} is new"),
        });
    }
    Ok(())
}

enum Fate {
    New,
    Foretold,
    Same,
}

async fn put_one(
    step: &Step<'_>,
    rule: &Value,
    whose: Whose,
    wider: &mut Wider,
    report: &mut Report,
) -> anyhow::Result<Fate> {
    let scope = match (whose, &step.ours) {
        (Whose::Zone, Some(ours)) => Some(format!("/zones/{}", segment(text(ours, "id")))),
        // It is not here yet.
        (Whose::Zone, None) => None,
        (Whose::Account, Some(ours)) => Some(format!("/accounts/{}", segment(text(&ours["account"], "id")))),
        (Whose::Account, None) => Some(format!("/accounts/{}", segment(&tunnel::account(step.here).await?))),
        (Whose::User, _) => Some("/user".to_owned()),
    };
    let mode = parse_mode(rule["mode"].as_str().map(str::to_owned).as_ref())?;
    let given = |member| Patch::Value(text(&rule["configuration"], member).to_owned());
    let body = RuleConfigurationBody { target: given("target"), value: given("value") };
    let configuration = target_configuration(&parse_new_target(Some(&body))?);
    let path = scope.map(|scope| format!("{scope}/{RULES}"));
    let known = match (wider.known.entry(path.clone().unwrap_or_else(|| step.their_id())), &path) {
        (Entry::Occupied(known), _) => known.into_mut(),
        (Entry::Vacant(unknown), Some(path)) => unknown.insert(step.here.list(path).await?.iter().map(known).collect()),
        (Entry::Vacant(unknown), None) => unknown.insert(Known::new()),
    };
    let target = (configuration.target.clone(), configuration.value.clone());
    if let Some(here) = known.get(&target) {
        return match here == mode.as_str() {
            true => Ok(Fate::Same),
            // Somebody here wanted it so, or it is from before: a person must say which holds.
            false => Err(anyhow!(
                "it is {here} here, and stays so; delete the rule here to have that of there, or change it there"
            )),
        };
    }
    let Some(path) = path.filter(|_| !step.output.is_dry_run()) else {
        known.insert(target, mode.as_str().to_owned());
        return Ok(Fate::Foretold);
    };
    let body = json!({ "mode": mode.as_str(), "configuration": configuration, "notes": rule["notes"] });
    let made = step.here.post(&path, &body).await?;
    known.insert(target, mode.as_str().to_owned());
    if made["bartizan"]["enforced"] == false {
        let value = one_line(&configuration.value);
        report.lines.push(format!("the access rule for {value} matches nobody yet: the edge cannot tell who that is"));
    }
    Ok(Fate::New)
}

fn known(rule: &Value) -> ((String, String), String) {
    let of = |member| text(&rule["configuration"], member).to_owned();
    ((of("target"), of("value")), text(rule, "mode").to_owned())
}
