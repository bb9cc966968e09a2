//! Prefixes of one kind, found by an address: a B-tree, shared between generations but for the path to what changed.
//!
//! ```text
//! Inner: starts of its children ──► Inner … ──► Leaf: entries in order
//!   └── spanning: entries whose addresses lie in more than one child
//! ```
//! A search costs time where memory is not in a cache. With a million rules all nodes above the leaves take some
//! hundred KB, which stay in the caches of a core; a leaf is one wait for memory, and the id of a matching rule another
//! one.
//!
//! A prefix covers the addresses from its first to its last. So a prefix that covers an address is in the leaf of that
//! address, or is spanning in a node above. Each border between two children is spanned by at most one prefix of each
//! length (times the rules that have the same prefix), so there are few spanning entries.

use std::sync::Arc;

use bartizan_names::RuleId;

use crate::bits::Bits;
use crate::leaf::{Entry, Hit, Leaf, Marks};

/// Children of a node. A change copies as many pointers for each level; a million rules have three or four levels.
const FAN_OUT: usize = 128;

/// Many rules may have the same prefix.
#[derive(Clone, Debug)]
pub(crate) struct Tree<K>(Node<K>);

#[derive(Debug)]
enum Node<K> {
    Leaf(Leaf<K>),
    Inner(Arc<Inner<K>>),
}

#[derive(Clone, Debug)]
struct Inner<K> {
    /// The least key that may be in each child but the first.
    starts: Vec<K>,
    children: Vec<Node<K>>,
    /// After a child was removed, some of these lie in one child only.
    spanning: Leaf<K>,
    /// Entries at and below.
    count: usize,
}

/// What a node that was split gives to the one above.
struct Split<K> {
    right: Node<K>,
    /// Where `right` begins.
    start: K,
    /// Entries on both sides of `start`.
    spanning: Vec<Entry<K>>,
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
                Node::Inner(inner) => {
                    inner.spanning.visit(key, &mut found);
                    node = &inner.children[inner.child_of(key)];
                }
            }
        }
    }

    pub(crate) fn put(&mut self, entry: Entry<K>) {
        if let Some(split) = self.0.put(entry) {
            let left = std::mem::replace(&mut self.0, Node::Leaf(Leaf::empty()));
            let root = Inner::new(vec![split.start], vec![left, split.right], split.spanning);
            self.0 = Node::Inner(Arc::new(root));
        }
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
            Node::Inner(inner) => Node::Inner(Arc::clone(inner)),
        }
    }
}

impl<K: Bits> Node<K> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.count,
        }
    }

    fn put(&mut self, entry: Entry<K>) -> Option<Split<K>> {
        match self {
            Node::Leaf(leaf) => {
                leaf.put(entry);
                if leaf.len() > K::LEAF_MAX { split(leaf) } else { None }
            }
            Node::Inner(inner) => Arc::make_mut(inner).put(entry),
        }
    }

    fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        let inner = match self {
            Node::Leaf(leaf) => return leaf.remove(key, length, id),
            Node::Inner(inner) => inner,
        };
        let marks = Arc::make_mut(inner).remove(key, length, id)?;
        // Half a leaf, so that a rule that comes and goes does not build a node each time.
        if inner.count <= K::LEAF_MAX / 2 {
            let mut entries = Vec::with_capacity(inner.count);
            inner.collect(&mut entries);
            *self = Node::Leaf(Leaf::of(entries));
        }
        Some(marks)
    }
}

impl<K: Bits> Inner<K> {
    fn new(starts: Vec<K>, children: Vec<Node<K>>, spanning: Vec<Entry<K>>) -> Inner<K> {
        let count = spanning.len() + children.iter().map(Node::len).sum::<usize>();
        debug_assert_eq!(starts.len() + 1, children.len(), "each child but the first has a start");
        debug_assert!(starts.is_sorted_by(|left, right| left < right), "children are ascending");
        Inner { starts, children, spanning: Leaf::of(spanning), count }
    }

    /// Which child has the entries around `key`. There is one start less than there are children.
    fn child_of(&self, key: K) -> usize {
        self.starts.partition_point(|start| *start <= key)
    }

    fn put(&mut self, entry: Entry<K>) -> Option<Split<K>> {
        self.count += 1;
        let at = self.child_of(entry.key);
        if self.child_of(entry.last()) != at {
            self.spanning.put(entry);
            return None;
        }
        let split = self.children[at].put(entry)?;
        self.starts.insert(at, split.start);
        self.children.insert(at + 1, split.right);
        split.spanning.into_iter().for_each(|entry| self.spanning.put(entry));
        (self.children.len() > FAN_OUT).then(|| self.split())
    }

    /// Keeps the first half of the children.
    fn split(&mut self) -> Split<K> {
        let middle = self.children.len() / 2;
        let children = self.children.split_off(middle);
        let starts = self.starts.split_off(middle);
        let start = self.starts[middle - 1];
        self.starts.truncate(middle - 1);
        let Sides { left, spanning, right } = Sides::of(self.spanning.entries(), start);
        *self = Inner::new(std::mem::take(&mut self.starts), std::mem::take(&mut self.children), left);
        Split { right: Node::Inner(Arc::new(Inner::new(starts, children, right))), start, spanning }
    }

    fn remove(&mut self, key: K, length: u8, id: RuleId) -> Option<Marks> {
        let at = self.child_of(key);
        let marks = self.spanning.remove(key, length, id).or_else(|| self.children[at].remove(key, length, id))?;
        self.count -= 1;
        debug_assert_eq!(self.count, self.spanning.len() + self.children.iter().map(Node::len).sum::<usize>());
        if self.children[at].len() == 0 && self.children.len() > 1 {
            self.children.remove(at);
            // The child in front grows to where this one ended; the second becomes the first.
            self.starts.remove(at.saturating_sub(1));
        }
        Some(marks)
    }

    fn collect(&self, entries: &mut Vec<Entry<K>>) {
        entries.extend(self.spanning.entries());
        for child in &self.children {
            match child {
                Node::Leaf(leaf) => entries.extend(leaf.entries()),
                Node::Inner(inner) => inner.collect(entries),
            }
        }
    }
}

/// Keeps the first half of a leaf, if it can be cut: many rules for one prefix cannot.
fn split<K: Bits>(leaf: &mut Leaf<K>) -> Option<Split<K>> {
    let entries: Vec<Entry<K>> = leaf.entries().collect();
    let start = entries[cut(&entries)?].key;
    let Sides { left, spanning, right } = Sides::of(entries.into_iter(), start);
    *leaf = Leaf::of(left);
    Some(Split { right: Node::Leaf(Leaf::of(right)), start, spanning })
}

/// Before which of these entries a cut is best: somewhere in the middle half where few prefixes span it, else anywhere.
fn cut<K: Bits>(entries: &[Entry<K>]) -> Option<usize> {
    let (middle, quarter) = (entries.len() / 2, entries.len() / 4);
    let spanning = |at: usize| entries[..at].iter().filter(|entry| entry.last() >= entries[at].key).count();
    (1..entries.len())
        .filter(|at| entries[at - 1].key < entries[*at].key)
        .min_by_key(|at| (at.abs_diff(middle) > quarter, spanning(*at), at.abs_diff(middle)))
}

/// Entries by where they lie in respect to a cut.
struct Sides<K> {
    left: Vec<Entry<K>>,
    spanning: Vec<Entry<K>>,
    right: Vec<Entry<K>>,
}

impl<K: Bits> Sides<K> {
    fn of(entries: impl Iterator<Item = Entry<K>>, start: K) -> Sides<K> {
        let mut sides = Sides { left: Vec::new(), spanning: Vec::new(), right: Vec::new() };
        for entry in entries {
            let side = match (entry.key >= start, entry.last() >= start) {
                (true, _) => &mut sides.right,
                (false, true) => &mut sides.spanning,
                (false, false) => &mut sides.left,
            };
            side.push(entry);
        }
        sides
    }
}
