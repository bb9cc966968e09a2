//! The rules of all scopes of one kind that have some: of accounts, or of zones.

use bartizan_live::Shards;
use bartizan_names::RuleId;

use crate::rule_index::{ScopeStart, TreeKey};
use crate::scope::Scope;

/// Found by the octets of their owners' ids.
#[derive(Clone, Debug)]
pub(crate) struct Scopes(Shards<Owned>);

#[derive(Clone, Debug)]
struct Owned {
    owner: [u8; 16],
    rules: Scope,
}

impl Scopes {
    pub(crate) fn empty() -> Scopes {
        Scopes(Shards::empty())
    }

    // Hot: once a connection. No allocation.
    pub(crate) fn get(&self, owner: &[u8; 16]) -> Option<&Scope> {
        let part = self.0.part(part_of(owner));
        part.binary_search_by_key(owner, |owned| owned.owner).ok().map(|at| &part[at].rules)
    }

    /// The rules of an owner, who may have none yet.
    pub(crate) fn of(&mut self, owner: [u8; 16]) -> &mut Scope {
        let part = self.0.part_mut(part_of(&owner));
        let at = part.binary_search_by_key(&owner, |owned| owned.owner).unwrap_or_else(|at| {
            part.insert(at, Owned { owner, rules: Scope::empty() });
            debug_assert!(part.is_sorted_by_key(|owned| owned.owner), "they are found by halves");
            at
        });
        &mut part[at].rules
    }

    /// Those whose owners' ids begin so.
    pub(crate) fn beginning(&self, start: ScopeStart) -> impl Iterator<Item = (&[u8; 16], &Scope)> {
        let part = self.0.part(part_of(&start)).iter();
        part.filter(move |owned| owned.owner.starts_with(&start)).map(|owned| (&owned.owner, &owned.rules))
    }

    /// Takes a rule out of one whose owner's id begins so. Says whether it was in one.
    pub(crate) fn remove(&mut self, start: ScopeStart, key: TreeKey, id: RuleId) -> bool {
        let part = self.0.part_mut(part_of(&start));
        for at in 0..part.len() {
            if part[at].owner.starts_with(&start) && part[at].rules.remove(key, id).is_some() {
                if part[at].rules.is_empty() {
                    part.remove(at);
                }
                return true;
            }
        }
        false
    }
}

/// The part in which what begins so is.
pub(crate) fn part_of(start: &[u8]) -> u16 {
    match start {
        [first, second, ..] => u16::from_be_bytes([*first, *second]),
        _ => 0,
    }
}
