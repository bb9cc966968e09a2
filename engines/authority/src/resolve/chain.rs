//! The way of an answer along CNAMEs.

use bartizan_signer::Lasting;
use bartizan_wire::dns::Owner;

use crate::reply::Spot;
use crate::zones::Location;

/// CNAMEs followed inside our own zones (RFC 1034 §4.3.2, step 3a). Beyond it the answer is what was found so far.
/// Eight is enough for two hand-overs between networks, and makes a loop cheap (RFC 1034 §3.6.2).
pub(super) const CHAIN_MAX: usize = 8;

/// The name asked for, and the targets of the CNAMEs of an answer, in order.
#[derive(Clone, Copy)]
pub(super) struct Chain<'n> {
    question: &'n [u8],
    targets: [&'n [u8]; CHAIN_MAX],
    len: usize,
}

impl<'n> Chain<'n> {
    pub(super) fn of(question: &'n [u8]) -> Chain<'n> {
        Chain { question, targets: [&[]; CHAIN_MAX], len: 0 }
    }

    /// Whether no CNAME was followed yet.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whose records come next.
    pub(super) fn name(&self) -> &'n [u8] {
        self.targets[..self.len].last().unwrap_or(&self.question)
    }

    /// The same, as an answer has it.
    pub(super) fn owner(&self) -> Owner<'n> {
        self.owner_above(self.name().len())
    }

    /// The last `bytes` of the name whose records come next.
    pub(super) fn owner_above(&self, bytes: usize) -> Owner<'n> {
        let name = self.name();
        let skipped = name.len().saturating_sub(bytes);
        if self.is_empty() { Owner::Question(skipped) } else { Owner::Name(&name[skipped..]) }
    }

    /// Where its records stand, which lie at `location`.
    pub(super) fn spot(&self, location: Location<'_>) -> Spot<'n> {
        let lasting = location.node.lasting();
        Spot { zone: Some(location.zone), name: self.name(), owner: self.owner(), lasting }
    }

    /// Where those of a name of `zone` at or above it stand, which has so many bytes.
    pub(super) fn spot_above(&self, zone: u32, bytes: usize) -> Spot<'n> {
        let name = self.name();
        let name = &name[name.len().saturating_sub(bytes)..];
        Spot { zone: Some(zone), name, owner: self.owner_above(bytes), lasting: Lasting::Yes }
    }

    /// Goes on to `target`, unless the chain was there already, or is too long.
    pub(super) fn follow(&mut self, target: &'n [u8]) -> bool {
        if self.len == CHAIN_MAX || target == self.question || self.targets[..self.len].contains(&target) {
            return false;
        }
        self.targets[self.len] = target;
        self.len += 1;
        true
    }
}
