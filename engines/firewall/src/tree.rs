//! Prefixes of one kind, found by an address: a radix tree with leaves of a few dozen entries, shared between generations
//! but for the path to what changed.
//!
//! ```text
//! Branch: 8 bits after the first `depth` ones ── slot 0..=255 ──► block of slots ──► Leaf, or (block of one slot) Branch
//!   └── short: entries that no single block holds
//! ```
//! - Blocks are halves of halves of the 256 slots: a full leaf splits its block in two, so that leaves stay half full. A
//!   block of one slot becomes a branch at its entries' first difference; bits in between are not looked at, for leaves
//!   compare whole prefixes.
//! - An entry lies in a block's leaf if it is at least as long as what all of the block's addresses share. Others are in
//!   `short`, of which each branch has few: less than 256 inside, and one for each length above (times the rules that
//!   have the same prefix).
//! - A lookup visits one node for each eight bits at most: 4 for IPv4, 16 for IPv6.

use std::sync::Arc;

use bartizan_names::RuleId;

use crate::bits::Bits;
use crate::leaf::{Entry, Hit, Leaf, Marks};

/// Bits that one branch looks at.
const STRIDE: u8 = 8;
const SLOTS: usize = 1 << STRIDE;

/// Many rules may have the same prefix.
#[derive(Clone, Debug)]
pub(crate) struct Tree<K>(Node<K>);

#[derive(Debug)]
enum Node<K> {
    Leaf(Leaf<K>),
    Branch(Arc<Branch<K>>),
}

#[derive(Clone, Debug)]
struct Branch<K> {
    /// What all entries below have in common: their first `depth` bits, a multiple of eight.
    region: K,
    depth: u8,
    /// Entries at and below.
    count: usize,
    blocks: Blocks,
    /// One for each block.
    children: Vec<Node<K>>,
    short: Leaf<K>,
}

impl<K: Bits> Tree<K> {
    pub(crate) fn empty() -> Tree<K> {
        Tree(Node::Leaf(Leaf::empty()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every entry that covers `key`.
    // Hot: once a connection. No allocation.
    pub(crate) fn visit<'t>(&'t self, key: K, mut found: impl FnMut(Hit<'t>)) {
        let mut node = &self.0;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.visit(key, found),
                Node::Branch(branch) => {
                    branch.short.visit(key, &mut found);
                    let Some(child) = branch.children.get(branch.blocks.of(key.octet_at(branch.depth))) else { return };
                    node = child;
                }
            }
        }
    }

    pub(crate) fn put(&mut self, entry: Entry<K>) {
        self.0.put(entry, 0);
    }

    /// Takes an entry out, if it is there.
    pub(crate) fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        self.0.remove(key, length, id)
    }
}

impl<K> Clone for Node<K> {
    fn clone(&self) -> Node<K> {
        match self {
            Node::Leaf(leaf) => Node::Leaf(leaf.clone()),
            Node::Branch(branch) => Node::Branch(Arc::clone(branch)),
        }
    }
}

impl<K: Bits> Node<K> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Branch(branch) => branch.count,
        }
    }

    /// `shared` bits are the same in all entries that may come here.
    fn put(&mut self, entry: Entry<K>, shared: u8) {
        match self {
            Node::Leaf(leaf) => {
                leaf.put(entry);
                if leaf.len() > K::LEAF_MAX {
                    let entries = leaf.entries().collect();
                    *self = Node::of(entries, shared);
                }
            }
            Node::Branch(branch) => {
                if let Some(depth) = branch.parting(&entry) {
                    let below = Arc::clone(branch);
                    *branch = Arc::new(Branch::above(below, depth));
                }
                Arc::make_mut(branch).put(entry);
            }
        }
    }

    fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        let branch = match self {
            Node::Leaf(leaf) => return leaf.remove(key, length, id),
            Node::Branch(branch) => branch,
        };
        let marks = Arc::make_mut(branch).remove(key, length, id)?;
        // Half a leaf, so that a rule that comes and goes does not build a branch each time.
        if branch.count <= K::LEAF_MAX / 2 {
            let mut entries = Vec::with_capacity(branch.count);
            branch.collect(&mut entries);
            *self = Node::Leaf(Leaf::of(entries));
        }
        Some(marks)
    }

    /// A node of these entries, which have the first `shared` bits in common, a multiple of eight.
    fn of(entries: Vec<Entry<K>>, shared: u8) -> Node<K> {
        let longest = entries.iter().max_by_key(|entry| entry.length);
        match longest.filter(|longest| entries.len() > K::LEAF_MAX && longest.length > shared) {
            // Whatever is left is many rules for one prefix.
            None => Node::Leaf(Leaf::of(entries)),
            Some(longest) => Node::Branch(Arc::new(Branch::of(*longest, entries))),
        }
    }
}

impl<K: Bits> Branch<K> {
    fn new(region: K, depth: u8) -> Branch<K> {
        let children = vec![Node::Leaf(Leaf::empty())];
        Branch { region: region.cut(depth), depth, count: 0, blocks: Blocks::ONE, children, short: Leaf::empty() }
    }

    /// Of many entries, the longest of which is known.
    fn of(longest: Entry<K>, entries: Vec<Entry<K>>) -> Branch<K> {
        let parting = entries
            .iter()
            .filter(|entry| !entry.covers(longest.key))
            .map(|entry| entry.key.common(longest.key))
            .min()
            .unwrap_or(K::WIDTH);
        // Less than the longest, so that this one at least goes down to a block.
        let depth = multiple_of_stride(parting.min(longest.length - 1));
        let mut branch = Branch::new(longest.key, depth);
        branch.count = entries.len();
        let (long, short) = entries.into_iter().partition(|entry| entry.length >= depth);
        branch.short = Leaf::of(short);
        branch.fill(0, long);
        branch
    }

    /// A branch at `depth` whose only content is `below`.
    fn above(below: Arc<Branch<K>>, depth: u8) -> Branch<K> {
        let mut branch = Branch::new(below.region, depth);
        let mut below = Arc::unwrap_or_clone(below);
        let (stays, moves): (Vec<_>, Vec<_>) = below.short.entries().partition(|entry| entry.length >= depth + STRIDE);
        branch.count = below.count;
        below.count -= moves.len();
        below.short = Leaf::of(stays);
        branch.short = Leaf::of(moves);
        let slot = below.region.octet_at(depth);
        while branch.blocks.size(slot) > 1 {
            branch.halve(slot);
        }
        branch.children[branch.blocks.of(slot)] = Node::Branch(Arc::new(below));
        branch
    }

    /// The depth of the branch that must stand above this one to hold `entry` too, if one must.
    fn parting(&self, entry: &Entry<K>) -> Option<u8> {
        let common = entry.key.common(self.region);
        (common < self.depth.min(entry.length)).then(|| multiple_of_stride(common))
    }

    fn put(&mut self, entry: Entry<K>) {
        self.count += 1;
        let slot = entry.key.octet_at(self.depth);
        if entry.length < self.shared(slot) {
            return self.short.put(entry);
        }
        let shared = self.depth + STRIDE;
        let size = self.blocks.size(slot);
        let child = &mut self.children[self.blocks.of(slot)];
        match child {
            Node::Leaf(leaf) if size > 1 => {
                leaf.put(entry);
                if leaf.len() > K::LEAF_MAX {
                    let entries = leaf.entries().collect();
                    self.fill(slot, entries);
                }
            }
            _ => child.put(entry, shared),
        }
    }

    /// Makes the block around `slot` hold these entries, in halves where they are too many.
    fn fill(&mut self, slot: u8, entries: Vec<Entry<K>>) {
        let size = self.blocks.size(slot);
        if size == 1 || entries.len() <= K::LEAF_MAX {
            let node = if size == 1 { Node::of(entries, self.depth + STRIDE) } else { Node::Leaf(Leaf::of(entries)) };
            let at = self.blocks.of(slot);
            self.children[at] = node;
            return;
        }
        // Before the block is halved: `slot` may lie in either half.
        let first = self.blocks.start(slot);
        self.halve(slot);
        let second = first + (size / 2) as u8;
        let shared = self.shared(slot);
        let (long, short): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.length >= shared);
        if !short.is_empty() {
            self.short = Leaf::of(self.short.entries().chain(short).collect());
        }
        let (upper, lower) = long.into_iter().partition(|entry| entry.key.octet_at(self.depth) >= second);
        self.fill(first, lower);
        self.fill(second, upper);
    }

    fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        let slot = key.octet_at(self.depth);
        let marks = if length < self.shared(slot) {
            self.short.remove(key, length, id)
        } else {
            let at = self.blocks.of(slot);
            self.children[at].remove(key, length, id)
        }?;
        self.count -= 1;
        Some(marks)
    }

    fn collect(&self, entries: &mut Vec<Entry<K>>) {
        entries.extend(self.short.entries());
        for child in &self.children {
            match child {
                Node::Leaf(leaf) => entries.extend(leaf.entries()),
                Node::Branch(branch) => branch.collect(entries),
            }
        }
    }

    /// Bits that all addresses of the block around `slot` share.
    fn shared(&self, slot: u8) -> u8 {
        self.depth + STRIDE - self.blocks.size(slot).ilog2() as u8
    }

    /// Splits the block around `slot`; its first half keeps the content.
    fn halve(&mut self, slot: u8) {
        let at = self.blocks.of(slot);
        self.blocks.halve(slot);
        self.children.insert(at + 1, Node::Leaf(Leaf::empty()));
    }
}

fn multiple_of_stride(bits: u8) -> u8 {
    bits / STRIDE * STRIDE
}

/// How the slots of a branch are divided: a bit for each slot at which a block begins.
#[derive(Clone, Copy, Debug)]
struct Blocks([u64; SLOTS / 64]);

impl Blocks {
    /// One block of all slots.
    const ONE: Blocks = Blocks([1, 0, 0, 0]);

    /// The number of the block that holds `slot`.
    fn of(self, slot: u8) -> usize {
        let (word, bit) = (usize::from(slot / 64), slot % 64);
        let before: u32 = self.0[..word].iter().map(|word| word.count_ones()).sum();
        let within = self.0[word] & (u64::MAX >> (63 - bit));
        // At least one: slot 0 begins a block.
        (before + within.count_ones()) as usize - 1
    }

    /// The first slot of the block that holds `slot`.
    fn start(self, slot: u8) -> u8 {
        let (word, bit) = (usize::from(slot / 64), slot % 64);
        let within = self.0[word] & (u64::MAX >> (63 - bit));
        let mut before = (0..word).rev().map(|word| (word, self.0[word]));
        let begin = std::iter::once((word, within)).chain(&mut before).find(|(_, starts)| *starts != 0);
        begin.map_or(0, |(word, starts)| (word as u32 * 64 + starts.ilog2()) as u8)
    }

    /// Slots of the block that holds `slot`: a power of two.
    fn size(self, slot: u8) -> usize {
        let (word, bit) = (usize::from(slot / 64), slot % 64);
        let within = self.0[word] & (u64::MAX << bit << 1);
        let after = (word + 1..self.0.len()).map(|word| (word, self.0[word]));
        let next = std::iter::once((word, within)).chain(after).find(|(_, starts)| *starts != 0);
        let end = next.map_or(SLOTS, |(word, starts)| word * 64 + starts.trailing_zeros() as usize);
        end - usize::from(self.start(slot))
    }

    /// Splits the block that holds `slot`, of more than one.
    fn halve(&mut self, slot: u8) {
        let middle = usize::from(self.start(slot)) + self.size(slot) / 2;
        self.0[middle / 64] |= 1 << (middle % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_halves_of_halves() {
        let mut blocks = Blocks::ONE;
        for (halved, expect) in [
            (200, "0+128 128+128"),
            (200, "0+128 128+64 192+64"),
            (0, "0+64 64+64 128+64 192+64"),
            (63, "0+32 32+32 64+64 128+64 192+64"),
            (63, "0+32 32+16 48+16 64+64 128+64 192+64"),
            (63, "0+32 32+16 48+8 56+8 64+64 128+64 192+64"),
            (63, "0+32 32+16 48+8 56+4 60+4 64+64 128+64 192+64"),
            (63, "0+32 32+16 48+8 56+4 60+2 62+2 64+64 128+64 192+64"),
            (63, "0+32 32+16 48+8 56+4 60+2 62+1 63+1 64+64 128+64 192+64"),
        ] {
            blocks.halve(halved);
            let mut found = Vec::new();
            for slot in 0..=u8::MAX {
                if blocks.start(slot) == slot {
                    found.push(format!("{slot}+{}", blocks.size(slot)));
                }
                assert_eq!(blocks.of(slot), found.len() - 1);
            }
            assert_eq!(found.join(" "), expect);
        }
    }
}
