//! All rules in force, and changes of them.

use std::sync::Arc;

use bartizan_live::Shards;
use bartizan_names::{AccessTarget, AccountId, RuleId, ZoneId};

use crate::leaf::{Marks, Written};
use crate::rule::{Coverage, Rule, Source, Verdict};
use crate::rule_index::{RuleIndex, ScopeStart, TreeKey, scope_start};
use crate::scope::{Found, Scope};
use crate::scopes::{Scopes, part_of};
use crate::unread::Unread;

/// All rules in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Firewall(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    everywhere: Scope,
    accounts: Scopes,
    zones: Scopes,
    /// In which account a zone is, each part ascending by zone. Without those of accounts whose rules are for everything.
    homes: Shards<(ZoneId, AccountId)>,
    index: RuleIndex,
    unread: Unread,
}

impl Firewall {
    /// No rule: every source may connect.
    pub fn empty() -> Firewall {
        Firewall(Arc::new(Rules {
            everywhere: Scope::empty(),
            accounts: Scopes::empty(),
            zones: Scopes::empty(),
            homes: Shards::empty(),
            index: RuleIndex::empty(),
            unread: Unread::default(),
        }))
    }

    /// Begins a change. Nothing of it is seen before [`Edit::finish`], and never in `self`.
    pub fn edit(&self) -> Edit {
        Edit { rules: Rules::clone(&self.0) }
    }

    /// The verdict for a source that connects to something of this zone.
    // Hot: once a connection, request or flow. No allocation.
    pub fn decide(&self, zone: ZoneId, source: &Source) -> Verdict {
        let mut deciding = Deciding(None);
        let account = self.0.home_of(zone);
        self.0.visit(zone, account, source, |found| deciding.weigh(found));
        let scopes = [Some(Coverage::Everywhere), account.map(Coverage::Account), Some(Coverage::Zone(zone))];
        self.0.doubt(deciding.verdict(), scopes.into_iter().flatten())
    }

    /// The same by the rules for everything only. Those of an account and of a zone may give another verdict there.
    pub fn decide_everywhere(&self, source: &Source) -> Verdict {
        let mut deciding = Deciding(None);
        self.0.everywhere.visit(Coverage::Everywhere, source, |found| deciding.weigh(found));
        self.0.doubt(deciding.verdict(), [Coverage::Everywhere])
    }

    /// Whether both are one value, so that nothing has to be decided anew. Equal rules may still be two values.
    pub fn is_same(&self, other: &Firewall) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All rules that match, the deciding one first. The order: strongest mode; most specific target (an address or a
    /// longer prefix, a shorter one, network, country); narrowest level (zone, account, user); smaller id.
    pub fn explain(&self, zone: ZoneId, source: &Source) -> Vec<Rule> {
        let mut all = Vec::new();
        self.0.visit(zone, self.0.home_of(zone), source, |found| all.push(found));
        all.sort_unstable_by(|one, other| other.full_rank().cmp(&one.full_rank()));
        all.iter().map(|found| found.rule(source)).collect()
    }

    /// The rule with this id, if it is known whom it is for.
    pub fn get(&self, id: RuleId) -> Option<Rule> {
        self.0.index.candidates(id).find_map(|(start, key)| self.0.rule_at(start, key, id))
    }

    /// Rules in force, without those that cannot be read.
    pub fn len(&self) -> usize {
        self.0.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Firewall {
    fn default() -> Firewall {
        Firewall::empty()
    }
}

/// The strongest of the rules seen so far.
struct Deciding<'f>(Option<Found<'f>>);

impl<'f> Deciding<'f> {
    fn weigh(&mut self, found: Found<'f>) {
        self.0 = Some(self.0.map_or(found, |other| other.stronger(found)));
    }

    fn verdict(self) -> Verdict {
        self.0.map_or(Verdict::Allow(None), |found| Verdict::of(found.marks().mode(), found.id()))
    }
}

impl Rules {
    /// The account of a zone, if it has rules that are for its zones alone.
    fn home_of(&self, zone: ZoneId) -> Option<AccountId> {
        let part = self.homes.part(part_of(zone.as_bytes()));
        part.binary_search_by_key(&zone, |(zone, _)| *zone).ok().map(|at| part[at].1)
    }

    fn visit<'r>(
        &'r self,
        zone: ZoneId,
        account: Option<AccountId>,
        source: &Source,
        mut found: impl FnMut(Found<'r>),
    ) {
        self.everywhere.visit(Coverage::Everywhere, source, &mut found);
        if let Some(account) = account
            && let Some(rules) = self.accounts.get(account.as_bytes())
        {
            rules.visit(Coverage::Account(account), source, &mut found);
        }
        if let Some(rules) = self.zones.get(zone.as_bytes()) {
            rules.visit(Coverage::Zone(zone), source, found);
        }
    }

    /// The verdict beside rules of these scopes that nobody can read. Each may be a block, which any rule that was found goes
    /// before.
    fn doubt(&self, verdict: Verdict, scopes: impl IntoIterator<Item = Coverage>) -> Verdict {
        match verdict {
            Verdict::Allow(None) => self.unread.of(scopes).map_or(verdict, Verdict::Unknown),
            _ => verdict,
        }
    }

    /// The rule with this id among those of everywhere, or of accounts and zones whose ids begin so.
    fn rule_at(&self, start: ScopeStart, key: TreeKey, id: RuleId) -> Option<Rule> {
        // It matches what it was made for.
        let source = key.source();
        let mut rule = None;
        let mut look = |found: Found<'_>| {
            if found.id() == id {
                rule = Some(found.rule(&source));
            }
        };
        if start == ScopeStart::default() {
            self.everywhere.visit(Coverage::Everywhere, &source, &mut look);
        }
        for (owner, rules) in self.accounts.beginning(start) {
            rules.visit(Coverage::Account(AccountId::from_bytes(*owner)), &source, &mut look);
        }
        for (owner, rules) in self.zones.beginning(start) {
            rules.visit(Coverage::Zone(ZoneId::from_bytes(*owner)), &source, &mut look);
        }
        rule
    }
}

/// Changes that are being collected.
pub struct Edit {
    rules: Rules,
}

impl Edit {
    /// Puts a rule in force, in place of the one with the same id.
    pub fn put(&mut self, rule: &Rule) {
        self.remove(rule.id);
        let key = TreeKey::of(&rule.target);
        let written = if matches!(rule.target, AccessTarget::Ip(_)) { Written::Address } else { Written::Prefix };
        let marks = Marks::new(rule.mode, rule.level, written);
        let scope = match rule.coverage {
            Coverage::Everywhere => &mut self.rules.everywhere,
            Coverage::Account(account) => self.rules.accounts.of(*account.as_bytes()),
            Coverage::Zone(zone) => self.rules.zones.of(*zone.as_bytes()),
        };
        scope.put(key, marks, rule.id);
        self.rules.index.put(rule.id, scope_start(rule.coverage), key);
    }

    /// Puts a rule in force of which nobody knows whom it is for, in place of the one with the same id. It may be there
    /// to keep out anybody, so it holds up everybody of its scope whom no other rule lets in.
    pub fn put_unread(&mut self, id: RuleId, coverage: Coverage) {
        self.remove(id);
        self.rules.unread.put(id, coverage);
    }

    /// Says in which account a zone is: the rules of that one are for it too.
    pub fn put_zone(&mut self, zone: ZoneId, account: AccountId) {
        let part = self.rules.homes.part_mut(part_of(zone.as_bytes()));
        match part.binary_search_by_key(&zone, |(zone, _)| *zone) {
            Ok(at) => part[at].1 = account,
            Err(at) => part.insert(at, (zone, account)),
        }
        debug_assert!(part.is_sorted_by_key(|(zone, _)| *zone), "zones are found by halves");
    }

    /// The zone is gone, or the rules of its account are for everything.
    pub fn remove_zone(&mut self, zone: ZoneId) {
        let part = self.rules.homes.part_mut(part_of(zone.as_bytes()));
        if let Ok(at) = part.binary_search_by_key(&zone, |(zone, _)| *zone) {
            part.remove(at);
        }
    }

    /// Forgets a rule, if it is there.
    pub fn remove(&mut self, id: RuleId) {
        self.rules.unread.remove(id);
        let candidates: Vec<(ScopeStart, TreeKey)> = self.rules.index.candidates(id).collect();
        for (start, key) in candidates {
            if self.remove_from(start, key, id) {
                self.rules.index.remove(id, start, key);
                return;
            }
        }
    }

    pub fn finish(self) -> Firewall {
        Firewall(Arc::new(self.rules))
    }

    /// Takes the rule out of the scopes that begin so. Says whether it was in one.
    fn remove_from(&mut self, start: ScopeStart, key: TreeKey, id: RuleId) -> bool {
        let Rules { everywhere, accounts, zones, .. } = &mut self.rules;
        (start == ScopeStart::default() && everywhere.remove(key, id).is_some())
            || accounts.remove(start, key, id)
            || zones.remove(start, key, id)
    }
}
