//! Rules of which it is not known whom they are for.
//!
//! A rule that cannot be read says nothing but that it is there. Left out it may let in whom it was made to keep out, so
//! everybody of its scope is held up whom no other rule names: that is the narrowest answer that is still closed. It is
//! no block: the edge does not know, and says so. Who is let in by a rule still comes in, since allow beats block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_names::{RuleId, ZoneId};

/// Mostly none. A clone shares them until one of both is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Rules>);

#[derive(Clone, Debug, Default)]
struct Rules {
    /// With the zone that a rule is of; none is for all of them.
    by_scope: BTreeSet<(Option<ZoneId>, RuleId)>,
    by_id: BTreeMap<RuleId, Option<ZoneId>>,
}

impl Unread {
    /// One that is for all zones, or else one of this zone.
    // Hot: once a connection, request or flow. No allocation.
    pub(crate) fn of(&self, zone: Option<ZoneId>) -> Option<RuleId> {
        if self.0.by_scope.is_empty() {
            return None;
        }
        self.first(None).or_else(|| self.first(Some(zone?)))
    }

    pub(crate) fn put(&mut self, id: RuleId, zone: Option<ZoneId>) {
        let rules = Arc::make_mut(&mut self.0);
        rules.by_scope.insert((zone, id));
        rules.by_id.insert(id, zone);
    }

    pub(crate) fn remove(&mut self, id: RuleId) {
        if let Some(zone) = self.0.by_id.get(&id).copied() {
            let rules = Arc::make_mut(&mut self.0);
            rules.by_scope.remove(&(zone, id));
            rules.by_id.remove(&id);
        }
    }

    fn first(&self, zone: Option<ZoneId>) -> Option<RuleId> {
        let least = RuleId::from_bytes([0; 16]);
        let (of, id) = self.0.by_scope.range((zone, least)..).next()?;
        (*of == zone).then_some(*id)
    }
}
