//! Rules of which it is not known whom they are for.
//!
//! A rule that cannot be read says nothing but that it is there. Left out it may let in whom it was made to keep out, so
//! everybody of its scope is held up whom no other rule names: that is the narrowest answer that is still closed. It is
//! no block: the edge does not know, and says so. Who is let in by a rule still comes in, since allow beats block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_names::RuleId;

use crate::rule::Coverage;

/// Mostly none. A clone shares them until one of both is changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Rules>);

#[derive(Clone, Debug, Default)]
struct Rules {
    by_coverage: BTreeSet<(Coverage, RuleId)>,
    by_id: BTreeMap<RuleId, Coverage>,
}

impl Unread {
    /// The first one of these scopes.
    // Hot: once a connection, request or flow. No allocation.
    pub(crate) fn of(&self, scopes: impl IntoIterator<Item = Coverage>) -> Option<RuleId> {
        if self.0.by_coverage.is_empty() {
            return None;
        }
        scopes.into_iter().find_map(|coverage| self.first(coverage))
    }

    pub(crate) fn put(&mut self, id: RuleId, coverage: Coverage) {
        let rules = Arc::make_mut(&mut self.0);
        rules.by_coverage.insert((coverage, id));
        rules.by_id.insert(id, coverage);
    }

    pub(crate) fn remove(&mut self, id: RuleId) {
        if let Some(coverage) = self.0.by_id.get(&id).copied() {
            let rules = Arc::make_mut(&mut self.0);
            rules.by_coverage.remove(&(coverage, id));
            rules.by_id.remove(&id);
        }
    }

    fn first(&self, coverage: Coverage) -> Option<RuleId> {
        let least = RuleId::from_bytes([0; 16]);
        let (of, id) = self.0.by_coverage.range((coverage, least)..).next()?;
        (*of == coverage).then_some(*id)
    }
}
