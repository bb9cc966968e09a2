//! One consistent state of the store, and a change to it: what all resources read and write by.
//!
//! A change is a closure over a [`Change`]: it reads, decides, and says what to put. What it decided by is guarded, so it
//! lands as one revision on the state that it saw, or the closure runs again on a newer one ([`crate::writes`]).
//!
//! Nothing here knows a kind of object: what a resource keeps, and by which rules, is in the resource's own file. Names
//! that must be unique have keys of their own, which name who holds them: two who take the same name at once meet there.

use std::ops::Deref;

use bartizan_certs::Certs;
use bartizan_names::Timestamp;
use bartizan_store::{Entry, Guard, Key, Kind, Op, Prefix, Snapshot, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault};

/// The number of the shape in which documents are written today.
const FORMAT: u16 = 1;

/// Objects of a kind that is read whole: accounts, users and tokens are few. A longer list is cut.
const ALL_MAX: usize = 1_000;

/// One consistent state of the store.
pub(crate) struct View(pub(crate) Snapshot);

impl View {
    pub(crate) fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.0.get(key)?.as_ref().map(document).transpose()
    }

    /// All objects of a kind of which there are few.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, Error> {
        self.list(&Prefix::kind(kind), ALL_MAX)
    }

    /// Up to `limit` objects whose keys begin alike, in the order of their keys.
    pub(crate) fn list<T: DeserializeOwned>(&self, prefix: &Prefix, limit: usize) -> Result<Vec<T>, Error> {
        documents(&self.0.list(prefix, None, limit)?)
    }

    /// Up to `limit` keys that begin alike, in their order, behind `after` if that is given.
    pub(crate) fn keys(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, Error> {
        Ok(self.0.list(prefix, after, limit)?.into_iter().map(|entry| entry.key).collect())
    }

    /// The id of whoever holds a name that must be unique.
    pub(crate) fn holder(&self, name: &Key) -> Result<Option<String>, Error> {
        Ok(self.find::<Holder>(name)?.map(|holder| holder.by))
    }
}

/// What the key of a name that must be unique holds.
#[derive(Serialize, Deserialize)]
struct Holder {
    by: String,
}

pub(crate) fn document<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_str(&entry.value.json).map_err(|error| {
        tracing::error!(key = %entry.key, %error, "a document in the store cannot be read");
        Fault::Internal.into()
    })
}

pub(crate) fn documents<T: DeserializeOwned>(entries: &[Entry]) -> Result<Vec<T>, Error> {
    entries.iter().map(document).collect()
}

fn value(document: &impl Serialize) -> Result<Value, Error> {
    let json = serde_json::to_string(document).map_err(|error| Error::internal(&error))?;
    Ok(Value { format: FORMAT, json: json.into() })
}

/// A change on its way: the state that it starts from, and what it does to it.
pub(crate) struct Change {
    view: View,
    now: Timestamp,
    certs: Certs,
    guards: Vec<Guard>,
    ops: Vec<Op>,
}

impl Deref for Change {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Change {
    pub(crate) fn new(view: View, now: Timestamp, certs: Certs) -> Change {
        Change { view, now, certs, guards: Vec::new(), ops: Vec::new() }
    }

    /// What to commit. Lets go of the state that it was made from: the store's writer may wait for those who look at
    /// one.
    pub(crate) fn into_steps(self) -> (Vec<Guard>, Vec<Op>) {
        (self.guards, self.ops)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Who issues certificates for what the change makes.
    pub(crate) fn certs(&self) -> Certs {
        self.certs.clone()
    }

    /// Puts `document`, if nobody else changes the object meanwhile.
    pub(crate) fn put(&mut self, key: Key, document: &impl Serialize) -> Result<(), Error> {
        self.guard(&key)?;
        self.ops.push(Op::Put { key, value: value(document)? });
        Ok(())
    }

    /// Deletes an object, if nobody else changes it meanwhile.
    pub(crate) fn delete(&mut self, key: Key) -> Result<(), Error> {
        self.guard(&key)?;
        self.ops.push(Op::Del { key });
        Ok(())
    }

    /// Steps that need no guard: whatever is there, they are right.
    pub(crate) fn unguarded(&mut self, ops: impl IntoIterator<Item = Op>) {
        self.ops.extend(ops);
    }

    /// The object must be as this view has it.
    pub(crate) fn guard(&mut self, key: &Key) -> Result<(), Error> {
        let guard = match self.view.0.get(key)? {
            Some(entry) => Guard::At(key.clone(), entry.rev),
            None => Guard::Absent(key.clone()),
        };
        self.add(guard);
        Ok(())
    }

    /// The object must still be there, in whatever shape: what is put lies in it, and goes with it.
    pub(crate) fn require(&mut self, key: Key) {
        self.add(Guard::Exists(key));
    }

    fn add(&mut self, guard: Guard) {
        if !self.guards.contains(&guard) {
            self.guards.push(guard);
        }
    }

    /// Lets `by` hold a name that must be unique; whoever finds it taken is told `taken`.
    pub(crate) fn take_name(&mut self, name: Key, by: impl ToString, taken: impl Into<Error>) -> Result<(), Error> {
        match self.holder(&name)? {
            Some(_) => Err(taken.into()),
            None => self.put(name, &Holder { by: by.to_string() }),
        }
    }
}
