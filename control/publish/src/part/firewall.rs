//! Access rules, of all scopes.
//!
//! Those of a user are for everything, as are those of the edge's own account; those of another account are for its zones.
//!
//! A rule that cannot be read keeps its last value. If it was never in force, as much of it is used as can be read: in a
//! mode that this version does not know it blocks, and if nothing says whom it is for it holds up its whole scope
//! ([`firewall::Edit::put_unread`]). Without it, those would come in whom it was made to keep out.

use bartizan_firewall::{self as firewall, Coverage, Firewall, Level};
use bartizan_live::Generation;
use bartizan_model::{AccessRule, parse_mode, target_of_kind};
use bartizan_names::{AccessMode, AccessTarget, AccountId, RuleId};
use bartizan_store::{Key, Kind, ReadError, Scope, Snapshot};
use serde_json::Value as Json;

use crate::part::{Edge, Part};
use crate::reading::{Found, Reading, Touched, document};
use crate::unit::{ServedZone, ZoneChange, ZoneChanges};

pub(super) struct FirewallPart {
    pub(super) firewall: Generation<Firewall>,
    /// The edge's own account.
    edge: AccountId,
}

/// What becomes of a rule.
pub(super) enum Change {
    Put(firewall::Rule),
    /// It is there, and nobody knows whom it is for.
    Unread(Coverage),
    Remove,
}

impl Part for FirewallPart {
    const KINDS: &'static [Kind] = &[Kind::AccessRule];

    type Patch = Vec<(RuleId, Change)>;

    fn empty(edge: &Edge) -> FirewallPart {
        FirewallPart { firewall: Generation { number: 0, value: Firewall::empty() }, edge: edge.account }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = Vec::new();
        for key in touched.of(Kind::AccessRule) {
            let Some(id) = key.id_as() else { continue };
            let change = match reading.get(key, |entry| Ok(AccessRule::parse(&document(entry)?)?))? {
                Found::Value(AccessRule { mode, target, .. }) => Change::Put(self.rule(key, id, mode, target)),
                Found::Nothing => Change::Remove,
                Found::Bad => match self.firewall.value.get(id) {
                    Some(before) => Change::Put(before),
                    None => self.stand_in(reading.snapshot, key, id),
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
                Change::Unread(coverage) => edit.put_unread(id, coverage),
                Change::Remove => edit.remove(id),
            }
        }
        self.firewall = Generation { number: at, value: edit.finish() };
    }
}

impl FirewallPart {
    /// Follows zones as they come and go: the rules of their accounts are for them.
    pub(super) fn follow(&mut self, zones: &ZoneChanges, at: u64) {
        let moved: Vec<_> = zones
            .by_id
            .iter()
            .map(|(zone, ZoneChange { before, after })| {
                let home = |served: &ServedZone| Some(served.zone.account).filter(|account| *account != self.edge);
                let [before, after] = [before, after].map(|served| served.as_deref().and_then(home));
                (*zone, before, after)
            })
            .filter(|(_, before, after)| before != after)
            .collect();
        if moved.is_empty() {
            return;
        }
        let mut edit = self.firewall.value.edit();
        for (zone, _, after) in moved {
            match after {
                Some(account) => edit.put_zone(zone, account),
                None => edit.remove_zone(zone),
            }
        }
        self.firewall = Generation { number: at, value: edit.finish() };
    }

    /// What stands in for a rule that cannot be read and was never in force.
    fn stand_in(&self, snapshot: &Snapshot, key: &Key, id: RuleId) -> Change {
        let entry = snapshot.get(key).ok().flatten();
        let document = entry.and_then(|entry| serde_json::from_str(&entry.value.json).ok()).unwrap_or(Json::Null);
        let text = |pointer: &str| document.pointer(pointer).and_then(Json::as_str);
        let mode = parse_mode(text("/mode").map(str::to_owned).as_ref());
        let whom = text("/configuration/target").zip(text("/configuration/value"));
        match (mode, whom.and_then(|(kind, value)| target_of_kind(kind, value).ok())) {
            (mode, Some(target)) => Change::Put(self.rule(key, id, mode.unwrap_or(AccessMode::Block), target)),
            // It only lets in: without it nobody more comes in.
            (Ok(AccessMode::Whitelist), None) => Change::Remove,
            (_, None) => Change::Unread(self.coverage(key).1),
        }
    }

    /// An access rule as the firewall knows it: whose it is stands in its key.
    fn rule(&self, key: &Key, id: RuleId, mode: AccessMode, target: AccessTarget) -> firewall::Rule {
        let (level, coverage) = self.coverage(key);
        firewall::Rule { id, level, coverage, mode, target }
    }

    fn coverage(&self, key: &Key) -> (Level, Coverage) {
        match key.scope() {
            Scope::User(_) | Scope::Edge => (Level::User, Coverage::Everywhere),
            Scope::Account(account) if account == self.edge => (Level::Account, Coverage::Everywhere),
            Scope::Account(account) => (Level::Account, Coverage::Account(account)),
            Scope::Zone(zone) => (Level::Zone, Coverage::Zone(zone)),
        }
    }
}
