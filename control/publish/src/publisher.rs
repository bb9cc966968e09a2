//! The publisher: what is in force now, and how the next change gets there.

use bartizan_names::PopId;
use bartizan_seal::Key as SealKey;
use bartizan_store::{Epoch, ReadError, Rev, Store, TailError};

use crate::bundle::Bundle;
use crate::documents::{Documents, Review};
use crate::part::{Edge, Parts};
use crate::problems::Problems;
use crate::reading::{Reading, Touched};

/// Changes read from the log in one go. A step through more is taken in several, each a bundle of its own.
const CHANGES_MAX: usize = 4_096;

/// Why no bundle could be built. What is in force stays in force, all of it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error("the change log cannot be read")]
    Tail(#[source] TailError),
}

/// Follows the store and builds bundles. One a process.
pub struct Publisher {
    store: Store,
    edge: Edge,
    parts: Parts,
    problems: Problems,
    documents: Documents,
    /// The epoch of the log to which the revision `applied` belongs.
    epoch: Epoch,
    applied: Rev,
    /// What the last step numbered the parts that it changed with: its revision, or the number behind the last one where a
    /// state took over that has fewer revisions.
    generation: Rev,
    bundle: Bundle,
}

impl Publisher {
    /// Reads the whole state and builds the first bundle of this PoP.
    pub fn load(store: Store, seal: SealKey, pop: PopId) -> Result<Publisher, PublishError> {
        let edge = Edge { seal, pop };
        Publisher::load_beside(&Parts::empty(&edge), Rev::ZERO, store, edge)
    }

    /// The same where something is in force already: what cannot be read stays as it is there.
    fn load_beside(last: &Parts, generation: Rev, store: Store, edge: Edge) -> Result<Publisher, PublishError> {
        let snapshot = store.read()?;
        let mut parts = Parts::empty(&edge);
        let mut problems = Problems::default();
        let mut reading = Reading::new(&snapshot, &problems);
        let (epoch, applied) = (snapshot.epoch()?, snapshot.head());
        let generation = applied.max(generation);
        parts.load(last, &mut reading, generation)?;
        reading.settle(&Touched::default(), &mut problems);
        let bundle = parts.bundle(applied);
        drop(snapshot);
        let documents = Documents::begin();
        Ok(Publisher { store, edge, parts, problems, documents, epoch, applied, generation, bundle })
    }

    /// The bundle in force.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The revision up to which changes are in force. What is committed behind it waits.
    pub fn applied(&self) -> Rev {
        self.applied
    }

    /// The newest revision of the store.
    pub fn head(&self) -> Rev {
        *self.store.watch().borrow()
    }

    /// What could not be put in force, and is not yet as it was asked for.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// What the API cannot read, as far as it was looked at, but for what is one of [`Publisher::problems`].
    pub fn unreadable(&self) -> &Problems {
        self.documents.unreadable()
    }

    /// Looks at the next of all objects, whether the API can read them. For idle moments, until it is done.
    pub fn review(&mut self) -> Review {
        if self.documents.is_reviewed() {
            return Review::Done;
        }
        match self.store.read() {
            Ok(snapshot) => self.documents.review(&snapshot, &self.problems),
            Err(_) => Review::More,
        }
    }

    /// Begins to look at all objects anew: a disk spoils documents without a change.
    pub fn review_anew(&mut self) {
        self.documents.begin_again();
    }

    /// Applies what was committed since; none if nothing was. Called again until it says so.
    pub fn follow(&mut self) -> Result<Option<&Bundle>, PublishError> {
        let snapshot = self.store.read()?;
        // The file was damaged in the meantime: what was read of it may have been less than there is. Or it holds another
        // state altogether, which may have fewer revisions.
        if snapshot.epoch()? != self.epoch {
            drop(snapshot);
            return self.load_again();
        }
        if snapshot.head() <= self.applied {
            return Ok(None);
        }
        let changes = match snapshot.tail(self.applied, CHANGES_MAX) {
            Ok(changes) => changes,
            // We slept longer than the log reaches back.
            Err(TailError::Compacted { .. }) => {
                drop(snapshot);
                return self.load_again();
            }
            // To read it again is in vain, and what it says is in the state too.
            Err(TailError::Read(error)) if error.is_damage() => {
                drop(snapshot);
                tracing::error!(%error, "the change log is damaged; all of the state is loaded instead");
                return self.load_again();
            }
            Err(error) => return Err(PublishError::Tail(error)),
        };
        let mut touched = Touched::default();
        for op in changes.iter().flat_map(|change| &change.ops) {
            touched.note(op.key());
        }
        let at = changes.last().map_or(snapshot.head(), |change| change.rev);
        let mut reading = Reading::of_changes(&snapshot, &self.problems, &touched);
        let patches = self.parts.read(&mut reading, &touched)?;
        debug_assert!(at > self.applied, "a step goes forward");
        // From here on nothing can fail.
        self.generation = at.max(self.generation.next());
        self.parts.apply(patches, self.generation);
        reading.settle(&touched, &mut self.problems);
        self.applied = at;
        self.bundle = self.parts.bundle(at);
        self.documents.look_again(&snapshot, &touched, &self.problems);
        Ok(Some(&self.bundle))
    }

    /// Starts from the state, as a new PoP does, but for what was in force and cannot be read.
    fn load_again(&mut self) -> Result<Option<&Bundle>, PublishError> {
        let (store, edge) = (self.store.clone(), self.edge.clone());
        let loaded = Publisher::load_beside(&self.parts, self.generation.next(), store, edge)?;
        let mut documents = std::mem::replace(self, loaded).documents;
        // Until the look at all of them ends.
        documents.begin_again();
        self.documents = documents;
        Ok(Some(&self.bundle))
    }
}
