//! The way of an answer along CNAMEs.

use bartizan_wire::dns::Owner;

/// CNAMEs followed inside our own zones (RFC 1034 §4.3.2, step 3a). Beyond it the answer is what was found so far.
/// Eight is enough for two hand-overs between networks, and makes a loop cheap (RFC 1034 §3.6.2).
const CHAIN_MAX: usize = 8;

/// The targets of the CNAMEs of an answer, in order.
#[derive(Default)]
pub(super) struct Chain<'z> {
    targets: [&'z [u8]; CHAIN_MAX],
    len: usize,
}

impl<'z> Chain<'z> {
    /// Whose records come next.
    pub(super) fn owner(&self) -> Owner<'z> {
        match self.targets[..self.len].last() {
            Some(target) => Owner::Name(target),
            None => Owner::Question(0),
        }
    }

    /// Goes on to `target`, unless the chain that began at `name` was there already, or is too long.
    pub(super) fn follow(&mut self, name: &[u8], target: &'z [u8]) -> bool {
        if self.len == CHAIN_MAX || target == name || self.targets[..self.len].contains(&target) {
            return false;
        }
        self.targets[self.len] = target;
        self.len += 1;
        true
    }
}
