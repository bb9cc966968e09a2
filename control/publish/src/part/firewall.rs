//! Access rules.

use bartizan_firewall::{self as firewall, Firewall};
use bartizan_live::Generation;
use bartizan_model::{self as model, AccessRule};
use bartizan_names::RuleId;
use bartizan_store::{Entry, Kind, ReadError};
use bartizan_v4::StoredRuleScope;

use crate::part::Part;
use crate::reading::{Fault, Found, Reading, Touched, document};

pub(super) struct FirewallPart {
    pub(super) firewall: Generation<Firewall>,
}

impl FirewallPart {
    pub(super) fn empty() -> FirewallPart {
        FirewallPart { firewall: Generation { number: 0, value: Firewall::empty() } }
    }

    fn has(&self, id: RuleId) -> bool {
        let mut without = self.firewall.value.edit();
        without.remove(id);
        without.finish().len() < self.firewall.value.len()
    }
}

impl Part for FirewallPart {
    const KINDS: &'static [Kind] = &[Kind::AccessRule];
    type Patch = Vec<(RuleId, Option<firewall::Rule>)>;

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = Vec::new();
        for key in touched.of(Kind::AccessRule) {
            let Some(id) = key.id_as() else { continue };
            match reading.get(key, |entry| Ok(rule(&AccessRule::parse(&document(entry)?)?)))? {
                Found::Value(rule) => patch.push((id, Some(rule))),
                Found::Nothing => patch.push((id, None)),
                // It stays as it was.
                Found::Bad if self.has(id) => {}
                Found::Bad => {
                    let entry = reading.snapshot.get(key).ok().flatten();
                    patch.extend(entry.and_then(|entry| strict(&entry).ok()).map(|rule| (id, Some(rule))));
                }
            }
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        let mut edit = self.firewall.value.edit();
        for (id, rule) in patch {
            match rule {
                Some(rule) => edit.put(&rule),
                None => edit.remove(id),
            }
        }
        self.firewall = Generation { number: at, value: edit.finish() };
    }
}

/// What stands in for a rule that cannot be read and was never in force.
fn strict(entry: &Entry) -> Result<firewall::Rule, Fault> {
    Ok(rule(&AccessRule::parse_strict(&document(entry)?)?))
}

/// An access rule as the firewall knows it.
fn rule(rule: &model::AccessRule) -> firewall::Rule {
    let (level, zone) = match rule.scope {
        StoredRuleScope::User(_) => (firewall::Level::User, None),
        StoredRuleScope::Organization(_) => (firewall::Level::Account, None),
        StoredRuleScope::Zone(zone) => (firewall::Level::Zone, Some(zone)),
    };
    firewall::Rule { id: rule.id, level, zone, mode: rule.mode, target: rule.target }
}
