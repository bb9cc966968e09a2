//! The publisher: what is in force now, and how the next change gets there.

use std::time::Duration;

use bartizan_net::give_back_memory;
use bartizan_store::{Epoch, Kind, ReadError, Rev, Store, TailError};

use crate::bundle::Bundle;
use crate::documents::{Documents, ReadToken, Review};
use crate::part::{Edge, Parts};
use crate::problems::Problems;
use crate::reading::{Reading, Touched};
use crate::remedy::Changes;
use crate::unit::Copier;

/// How many changes of the log one step takes. More of them are several steps, and each makes a bundle.
const CHANGES_MAX: usize = 4_096;

/// Why no bundle could be built. What is in force stays in force, all of it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error("the change log cannot be read")]
    Tail(#[source] TailError),
}

/// Follows the store and builds bundles. A process has one.
pub struct Publisher {
    store: Store,
    edge: Edge,
    parts: Parts,
    problems: Problems,
    documents: Documents,
    copier: Copier,
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
    pub fn load(store: Store, edge: Edge) -> Result<Publisher, PublishError> {
        Publisher::load_beside(&Parts::empty(&edge), Rev::ZERO, store, edge)
    }

    /// Lets the API say which tokens can be read.
    #[must_use]
    pub fn with_tokens_read_by(mut self, read_token: ReadToken) -> Publisher {
        self.documents.read_token = read_token;
        self
    }

    /// Keeps a copy of the records beside the store as long as there are so many names, so that the next start is a fast one.
    /// It is made in idle moments ([`Publisher::review`]).
    #[must_use]
    pub fn with_copy_from(mut self, names_min: usize) -> Publisher {
        self.copier.copy_from(names_min);
        self
    }

    /// The same where something is in force already: what cannot be read keeps the value that it has there.
    fn load_beside(last: &Parts, generation: Rev, store: Store, edge: Edge) -> Result<Publisher, PublishError> {
        let pause = store.pause();
        let snapshot = store.read()?;
        let mut parts = Parts::empty(&edge);
        let mut problems = Problems::default();
        let mut reading = Reading::new(&snapshot, &problems);
        let (epoch, applied) = (snapshot.epoch()?, snapshot.head());
        let generation = applied.max(generation);
        let copier = parts.load(last, &mut reading, store.folder(), generation)?;
        reading.settle(&Touched::default(), &mut problems);
        let bundle = parts.bundle(applied);
        snapshot.forget_pages();
        drop((snapshot, pause));
        // All that was read on the way.
        give_back_memory();
        let documents = Documents::begin();
        Ok(Publisher { store, edge, parts, problems, documents, copier, epoch, applied, generation, bundle })
    }

    /// The bundle in force.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The newest revision that is in force. What was committed after it still waits.
    pub fn applied(&self) -> Rev {
        self.applied
    }

    /// The newest revision of the store.
    pub fn head(&self) -> Rev {
        *self.store.watch().borrow()
    }

    /// What cannot be put in force as it was asked for.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Whether anything can be changed, by which both are told.
    pub fn changes(&self) -> Changes {
        Changes::of(&self.store)
    }

    /// What the API cannot read, as far as it was looked at. What is in [`Publisher::problems`] is not repeated here.
    pub fn unreadable(&self) -> &Problems {
        self.documents.unreadable()
    }

    /// Looks at the next objects of all that there are: whether the API can read them. To be called in idle moments until it
    /// is done.
    pub fn review(&mut self) -> Review {
        if !self.documents.is_reviewed() {
            let looked = self.store.read().map(|snapshot| self.documents.review(&snapshot, &self.problems));
            if looked.unwrap_or(Review::More) == Review::More {
                return Review::More;
            }
        }
        // At once: nobody may call again until something changes.
        self.copier.tend(&self.store, self.bundle.zones.value.name_count(), self.applied);
        Review::Done
    }

    /// How long what is done in idle moments can wait when [`Publisher::review`] has nothing more to do; none: until something
    /// changes.
    pub fn rests_for(&self) -> Option<Duration> {
        self.copier.rests_for(self.bundle.zones.value.name_count(), self.applied)
    }

    /// Begins to look at all objects anew: a disk spoils documents without a change.
    pub fn review_anew(&mut self) {
        self.documents.begin_again();
    }

    /// Applies what was committed since the last call; none if there is nothing. To be called again until it says so.
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
            // The log does not reach back to where we are.
            Err(TailError::Compacted { .. }) => {
                drop(snapshot);
                return self.load_again();
            }
            // It would fail again, and what it says is in the state too.
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
        self.copier.note(touched.of(Kind::Name).count());
        debug_assert!(at > self.applied, "a step goes forward");
        // From here on nothing can fail.
        self.generation = at.max(self.generation.next());
        self.parts.apply(patches, self.generation);
        reading.settle(&touched, &mut self.problems);
        self.applied = at;
        self.bundle = self.parts.bundle(at);
        self.documents.look_again(&snapshot, &changes, &self.problems);
        Ok(Some(&self.bundle))
    }

    /// Reads the whole state, as a new PoP does; but what cannot be read keeps the value that is in force.
    fn load_again(&mut self) -> Result<Option<&Bundle>, PublishError> {
        let (store, edge) = (self.store.clone(), self.edge.clone());
        let mut loaded = Publisher::load_beside(&self.parts, self.generation.next(), store, edge)?;
        loaded.copier.succeed(&self.copier);
        let mut documents = std::mem::replace(self, loaded).documents;
        // It keeps what it knows until it has looked at all objects again.
        documents.begin_again();
        self.documents = documents;
        Ok(Some(&self.bundle))
    }
}
