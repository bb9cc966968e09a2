//! Rules of which it is not known whom they are for.
//!
//! A rule that cannot be read says nothing but that it is there. Left out it may let in whom it was made to keep out, so
//! everybody of its scope is held up whom no other rule names: that is the narrowest answer that is still closed. It is
//! no block: the edge does not know, and says so. Who is let in by a rule still comes in, since allow beats block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_names::RuleId;

use crate::rule::Reach;

/// Mostly none. A clone shares them until one of both is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Rules>);

#[derive(Clone, Debug, Default)]
struct Rules {
    by_reach: BTreeSet<(Reach, RuleId)>,
    by_id: BTreeMap<RuleId, Reach>,
}

impl Unread {
    /// The first one of these scopes.
    // Hot: once a connection, request or flow. No allocation.
    pub(crate) fn of(&self, scopes: impl IntoIterator<Item = Reach>) -> Option<RuleId> {
        if self.0.by_reach.is_empty() {
            return None;
        }
        scopes.into_iter().find_map(|reach| self.first(reach))
    }

    pub(crate) fn put(&mut self, id: RuleId, reach: Reach) {
        let rules = Arc::make_mut(&mut self.0);
        rules.by_reach.insert((reach, id));
        rules.by_id.insert(id, reach);
    }

    pub(crate) fn remove(&mut self, id: RuleId) {
        if let Some(reach) = self.0.by_id.get(&id).copied() {
            let rules = Arc::make_mut(&mut self.0);
            rules.by_reach.remove(&(reach, id));
            rules.by_id.remove(&id);
        }
    }

    fn first(&self, reach: Reach) -> Option<RuleId> {
        let least = RuleId::from_bytes([0; 16]);
        let (of, id) = self.0.by_reach.range((reach, least)..).next()?;
        (*of == reach).then_some(*id)
    }
}
