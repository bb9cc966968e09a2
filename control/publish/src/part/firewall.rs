//! Access rules, of all scopes.
//!
//! A rule that cannot be read keeps its last value. If it was never in force, as much of it is used as can be read: in a
//! mode that this version does not know it blocks, and if nothing says whom it is for it holds up its whole scope
//! ([`firewall::Edit::put_unread`]). Without it, those would come in whom it was made to keep out.

use bartizan_firewall::{self as firewall, Firewall, Level};
use bartizan_live::Generation;
use bartizan_model::{AccessRule, parse_mode, target_of_kind};
use bartizan_names::{AccessMode, AccessTarget, RuleId, ZoneId};
use bartizan_store::{Key, Kind, ReadError, Scope, Snapshot};
use serde_json::Value as Json;

use crate::part::{Edge, Part};
use crate::reading::{Found, Reading, Touched, document};

pub(super) struct FirewallPart {
    pub(super) firewall: Generation<Firewall>,
}

/// What becomes of a rule.
pub(super) enum Change {
    Put(firewall::Rule),
    /// It is there, and nobody knows whom it is for.
    Unread(Option<ZoneId>),
    Remove,
}

impl Part for FirewallPart {
    const KINDS: &'static [Kind] = &[Kind::AccessRule];

    type Patch = Vec<(RuleId, Change)>;

    fn empty(_: &Edge) -> FirewallPart {
        FirewallPart { firewall: Generation { number: 0, value: Firewall::empty() } }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = Vec::new();
        for key in touched.of(Kind::AccessRule) {
            let Some(id) = key.id_as() else { continue };
            let change = match reading.get(key, |entry| Ok(AccessRule::parse(&document(entry)?)?))? {
                Found::Value(AccessRule { mode, target, .. }) => Change::Put(of(key, id, mode, target)),
                Found::Nothing => Change::Remove,
                Found::Bad => match self.firewall.value.get(id) {
                    Some(before) => Change::Put(before),
                    None => stand_in(reading.snapshot, key, id),
                },
            };
            patch.push((id, change));
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        if patch.is_empty() {
            return;
        }
        let mut edit = self.firewall.value.edit();
        for (id, change) in patch {
            match change {
                Change::Put(rule) => edit.put(&rule),
                Change::Unread(zone) => edit.put_unread(id, zone),
                Change::Remove => edit.remove(id),
            }
        }
        self.firewall = Generation { number: at, value: edit.finish() };
    }
}

/// What stands in for a rule that cannot be read and was never in force.
fn stand_in(snapshot: &Snapshot, key: &Key, id: RuleId) -> Change {
    let entry = snapshot.get(key).ok().flatten();
    let document = entry.and_then(|entry| serde_json::from_str(&entry.value.json).ok()).unwrap_or(Json::Null);
    let text = |pointer: &str| document.pointer(pointer).and_then(Json::as_str);
    let mode = parse_mode(text("/mode").map(str::to_owned).as_ref());
    let whom = text("/configuration/target").zip(text("/configuration/value"));
    match (mode, whom.and_then(|(kind, value)| target_of_kind(kind, value).ok())) {
        (mode, Some(target)) => Change::Put(of(key, id, mode.unwrap_or(AccessMode::Block), target)),
        // It only lets in: without it nobody more comes in.
        (Ok(AccessMode::Whitelist), None) => Change::Remove,
        (_, None) => Change::Unread(key.zone_id()),
    }
}

/// An access rule as the firewall knows it: whose it is stands in its key.
fn of(key: &Key, id: RuleId, mode: AccessMode, target: AccessTarget) -> firewall::Rule {
    let level = match key.scope() {
        Scope::User(_) | Scope::Edge => Level::User,
        Scope::Account(_) => Level::Account,
        Scope::Zone(_) => Level::Zone,
    };
    firewall::Rule { id, level, zone: key.zone_id(), mode, target }
}
