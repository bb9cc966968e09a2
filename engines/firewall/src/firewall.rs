//! All rules in force, and changes of them.

use std::sync::Arc;

use bartizan_live::Shards;
use bartizan_names::{AccessTarget, RuleId, ZoneId};

use crate::leaf::{Marks, Written};
use crate::rule::{Rule, Source, Verdict};
use crate::rule_index::{RuleIndex, TreeKey, ZoneStart, zone_start};
use crate::scope::{Found, Scope};
use crate::unread::Unread;

/// All rules in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Firewall(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    everywhere: Scope,
    /// Zones with rules of their own, each part ascending by id.
    zones: Shards<ZoneRules>,
    index: RuleIndex,
    unread: Unread,
}

#[derive(Clone, Debug)]
struct ZoneRules {
    zone: ZoneId,
    rules: Scope,
}

impl Firewall {
    /// No rule: every source may connect.
    pub fn empty() -> Firewall {
        Firewall(Arc::new(Rules {
            everywhere: Scope::empty(),
            zones: Shards::empty(),
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
        self.0.visit(zone, source, |found| deciding.weigh(found));
        self.0.doubt(deciding.verdict(), Some(zone))
    }

    /// The same by the rules for all zones only. The rules of a zone may give another verdict there.
    pub fn decide_everywhere(&self, source: &Source) -> Verdict {
        let mut deciding = Deciding(None);
        self.0.everywhere.visit(None, source, |found| deciding.weigh(found));
        self.0.doubt(deciding.verdict(), None)
    }

    /// Whether both are one value, so that nothing has to be decided anew. Equal rules may still be two values.
    pub fn is_same(&self, other: &Firewall) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All rules that match, the deciding one first. The order: strongest mode; most specific target (an address or a
    /// longer prefix, a shorter one, network, country); narrowest level (zone, account, user); smaller id.
    pub fn explain(&self, zone: ZoneId, source: &Source) -> Vec<Rule> {
        let mut all = Vec::new();
        self.0.visit(zone, source, |found| all.push(found));
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
    fn visit<'r>(&'r self, zone: ZoneId, source: &Source, mut found: impl FnMut(Found<'r>)) {
        self.everywhere.visit(None, source, &mut found);
        let part = self.zones.part(part_of(zone_start(Some(zone))));
        if let Ok(at) = part.binary_search_by_key(&zone, |rules| rules.zone) {
            part[at].rules.visit(Some(zone), source, found);
        }
    }

    /// The verdict beside rules that nobody can read. Each may be a block, which any rule that was found goes before.
    fn doubt(&self, verdict: Verdict, zone: Option<ZoneId>) -> Verdict {
        match verdict {
            Verdict::Allow(None) => self.unread.of(zone).map_or(verdict, Verdict::Unknown),
            _ => verdict,
        }
    }

    /// The rule with this id among those of everywhere, or of zones whose id begins so.
    fn rule_at(&self, start: ZoneStart, key: TreeKey, id: RuleId) -> Option<Rule> {
        // It matches what it was made for.
        let source = key.source();
        let mut rule = None;
        let mut look = |found: Found<'_>| {
            if found.id() == id {
                rule = Some(found.rule(&source));
            }
        };
        if start == ZoneStart::default() {
            self.everywhere.visit(None, &source, &mut look);
        }
        for part in self.zones.part(part_of(start)).iter().filter(|part| zone_start(Some(part.zone)) == start) {
            part.rules.visit(Some(part.zone), &source, &mut look);
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
        let scope = match rule.zone {
            None => &mut self.rules.everywhere,
            Some(zone) => self.scope_of(zone),
        };
        scope.put(key, marks, rule.id);
        self.rules.index.put(rule.id, zone_start(rule.zone), key);
    }

    /// Puts a rule in force of which nobody knows whom it is for, in place of the one with the same id. It may be there
    /// to keep out anybody, so it holds up everybody of its scope whom no other rule lets in.
    pub fn put_unread(&mut self, id: RuleId, zone: Option<ZoneId>) {
        self.remove(id);
        self.rules.unread.put(id, zone);
    }

    /// Forgets a rule, if it is there.
    pub fn remove(&mut self, id: RuleId) {
        self.rules.unread.remove(id);
        let candidates: Vec<(ZoneStart, TreeKey)> = self.rules.index.candidates(id).collect();
        for (zone, key) in candidates {
            if self.remove_from(zone, key, id) {
                self.rules.index.remove(id, zone, key);
                return;
            }
        }
    }

    pub fn finish(self) -> Firewall {
        Firewall(Arc::new(self.rules))
    }

    /// The rules of a zone, which may have none yet.
    fn scope_of(&mut self, zone: ZoneId) -> &mut Scope {
        let part = self.rules.zones.part_mut(part_of(zone_start(Some(zone))));
        let at = part.binary_search_by_key(&zone, |rules| rules.zone).unwrap_or_else(|at| {
            part.insert(at, ZoneRules { zone, rules: Scope::empty() });
            debug_assert!(part.is_sorted_by_key(|rules| rules.zone), "zones are found by halves");
            at
        });
        &mut part[at].rules
    }

    /// Takes the rule out of the scopes of zones whose id begins so. Says whether it was in one.
    fn remove_from(&mut self, start: ZoneStart, key: TreeKey, id: RuleId) -> bool {
        if start == ZoneStart::default() && self.rules.everywhere.remove(key, id).is_some() {
            return true;
        }
        let part = self.rules.zones.part_mut(part_of(start));
        for at in 0..part.len() {
            if zone_start(Some(part[at].zone)) == start && part[at].rules.remove(key, id).is_some() {
                if part[at].rules.is_empty() {
                    part.remove(at);
                }
                return true;
            }
        }
        false
    }
}

/// The part in which the rules of a zone are.
fn part_of([first, second, ..]: ZoneStart) -> u16 {
    u16::from_be_bytes([first, second])
}
