//! One consistent state of the store, and a change to it: what all resources read and write by.
//!
//! A change is a closure over a [`Change`]: it reads, decides, and says what to put. What it decided by is guarded, so it
//! lands as one revision on the state that it saw, or the closure runs again on a newer one ([`crate::writes`]).
//!
//! Nothing here knows a kind of object: what a resource keeps, and by which rules, is in the resource's own file. Names
//! that must be unique have keys of their own, which name who holds them: two who take the same name at once meet there.

use std::collections::HashSet;
use std::mem::{self, Discriminant};
use std::ops::Deref;
use std::sync::Arc;

use bartizan_certs::Certs;
use bartizan_names::Timestamp;
use bartizan_store::{Entry, Guard, Key, Kind, Op, Prefix, Rev, Scope, Snapshot, Value};
use bartizan_v4::StoredHolder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Fault};
use crate::reply::Page;

/// Objects of a kind that is read whole: accounts, users and tokens are few. A longer list is cut.
const ALL_MAX: usize = 1_000;

/// One consistent state of the store.
pub(crate) struct View(pub(crate) Snapshot);

impl View {
    pub(crate) fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.0.get(key)?.as_ref().map(document).transpose()
    }

    /// What is there, as it is kept.
    pub(crate) fn value(&self, key: &Key) -> Result<Option<Value>, Error> {
        Ok(self.0.get(key)?.map(|entry| entry.value))
    }

    /// As [`View::find`], and none if what is there cannot be read.
    pub(crate) fn if_readable<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        match self.find(key) {
            Err(error) if error.fault == Fault::Damaged => Ok(None),
            found => found,
        }
    }

    /// Whether an object is there, whatever it looks like.
    pub(crate) fn has(&self, key: &Key) -> Result<bool, Error> {
        Ok(self.0.rev(key)?.is_some())
    }

    /// All objects of a kind of which there are few.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, Error> {
        Ok(Listed::read(&self.0.list_kind(kind, ALL_MAX)?).documents)
    }

    /// A page of the objects whose keys begin alike, in the order of their keys.
    pub(crate) fn page<T: DeserializeOwned>(&self, prefix: &Prefix, page: Page) -> Result<Listed<T>, Error> {
        let mut listed = Listed { total: self.0.count(prefix)?, ..Listed::none() };
        // By their keys, so that one which cannot be read does not end the list.
        for key in self.0.keys_page(prefix, page.before(), page.size as usize)? {
            match self.find(&key) {
                Ok(document) => listed.documents.extend(document),
                Err(error) if error.fault == Fault::Damaged => listed.left_out += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// Up to `limit` keys that begin alike, in their order, behind `after` if that is given.
    pub(crate) fn keys(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, Error> {
        Ok(self.0.keys(prefix, after, limit)?)
    }

    /// The id of whoever holds a name that must be unique.
    pub(crate) fn holder(&self, name: &Key) -> Result<Option<String>, Error> {
        Ok(self.find::<StoredHolder>(name)?.map(|holder| holder.by))
    }
}

/// What of a list can be read: one bad document does not take the others with it.
pub(crate) struct Listed<T> {
    pub(crate) documents: Vec<T>,
    /// How many are left out of it, because they cannot be read.
    pub(crate) left_out: u64,
    /// How many there are in all, of which these are a page.
    pub(crate) total: u64,
    /// How many were looked at, if not all.
    pub(crate) looked_at: Option<u64>,
}

impl<T> Listed<T> {
    /// Nothing is there.
    pub(crate) fn none() -> Listed<T> {
        Listed { documents: Vec::new(), left_out: 0, total: 0, looked_at: None }
    }

    pub(crate) fn try_map<U>(self, f: impl FnMut(T) -> Result<U, Error>) -> Result<Listed<U>, Error> {
        let Listed { documents, left_out, total, looked_at } = self;
        Ok(Listed { documents: documents.into_iter().map(f).collect::<Result<_, _>>()?, left_out, total, looked_at })
    }
}

impl<T: DeserializeOwned> Listed<T> {
    /// A whole list.
    fn read(entries: &[Entry]) -> Listed<T> {
        let mut listed = Listed::none();
        entries.iter().for_each(|entry| listed.add(entry));
        listed
    }

    /// A page of a listing.
    pub(crate) fn page(page: &bartizan_store::Page<Entry>) -> Result<Listed<T>, Error> {
        refuse_cut(page)?;
        let listed = Listed::read(&page.items);
        Ok(Listed { left_out: listed.left_out + page.skipped, total: page.total, looked_at: page.looked_at, ..listed })
    }

    fn add(&mut self, entry: &Entry) {
        self.total += 1;
        match document(entry) {
            Ok(document) => self.documents.push(document),
            Err(_) => self.left_out += 1,
        }
    }
}

impl Listed<Arc<str>> {
    /// A page of documents as they are kept, for those who send them so: each was read as a `T` and let go again.
    pub(crate) fn kept<T: DeserializeOwned>(page: bartizan_store::Page<Entry>) -> Result<Listed<Arc<str>>, Error> {
        refuse_cut(&page)?;
        let mut kept =
            Listed { left_out: page.skipped, total: page.total, looked_at: page.looked_at, ..Listed::none() };
        for entry in page.items {
            match document::<T>(&entry) {
                Ok(_) => kept.documents.push(entry.value.json),
                Err(_) => kept.left_out += 1,
            }
        }
        Ok(kept)
    }
}

/// A page that is too large is refused. If it were cut, a client that goes on to the next page would miss the objects that
/// were left off.
fn refuse_cut(page: &bartizan_store::Page<Entry>) -> Result<(), Error> {
    match page.left_off {
        0 => Ok(()),
        cut => Err(Fault::LargePage.because(format!("{cut} objects of it are left over"))),
    }
}

pub(crate) fn document<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_str(&entry.value.json).map_err(|error| damaged(&entry.key, &error))
}

/// The fault of a document that is there and says nothing that can be used.
pub(crate) fn damaged(key: &Key, reason: &dyn std::fmt::Display) -> Error {
    // The publisher says so, once. Whoever asks for it time and again shall not fill the log.
    tracing::debug!(%key, %reason, "an object in the store cannot be read");
    Fault::Damaged.because(key)
}

fn value(kind: Kind, document: &impl Serialize) -> Result<Value, Error> {
    let json = serde_json::to_string(document).map_err(|error| Error::internal(&error))?;
    Ok(Value::of(kind, json))
}

/// A change on its way: the state that it starts from, and what it does to it.
pub(crate) struct Change {
    view: View,
    now: Timestamp,
    certs: Certs,
    guards: Vec<Guard>,
    /// Which of them there are already: a change may have ten thousand.
    guarded: HashSet<(Discriminant<Guard>, Key)>,
    ops: Vec<Op>,
    afterwards: Vec<Afterwards>,
}

/// What is done when a change has landed, and not at all if it does not.
pub(crate) type Afterwards = Box<dyn FnOnce()>;

impl Deref for Change {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Change {
    pub(crate) fn new(view: View, now: Timestamp, certs: Certs) -> Change {
        Change {
            view,
            now,
            certs,
            guards: Vec::new(),
            guarded: HashSet::new(),
            ops: Vec::new(),
            afterwards: Vec::new(),
        }
    }

    /// What to commit. Lets go of the state that it was made from: the store's writer may wait for those who look at
    /// one.
    pub(crate) fn into_steps(self) -> (Vec<Guard>, Vec<Op>, Vec<Afterwards>) {
        (self.guards, self.ops, self.afterwards)
    }

    /// What it is so far.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Nothing of it is to be done: it was only asked what would be.
    pub(crate) fn abandon(&mut self) {
        self.guards.clear();
        self.ops.clear();
        self.afterwards.clear();
    }

    pub(crate) fn afterwards(&mut self, work: impl FnOnce() + 'static) {
        self.afterwards.push(Box::new(work));
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
        let value = value(key.kind(), document)?;
        self.ops.push(Op::Put { key, value });
        Ok(())
    }

    /// Puts `document` under an id that was made for it: nobody else can know it, and so nobody is in the way.
    pub(crate) fn put_new(&mut self, key: Key, document: &impl Serialize) -> Result<(), Error> {
        let value = value(key.kind(), document)?;
        self.ops.push(Op::Put { key, value });
        Ok(())
    }

    /// The same for a document that is text by now.
    pub(crate) fn put_new_text(&mut self, key: Key, document: &str) {
        let value = Value::of(key.kind(), document);
        self.ops.push(Op::Put { key, value });
    }

    /// Puts `document`, if the object is still as it was when that was decided: `seen` is the revision that put it last, none
    /// if it was not there.
    pub(crate) fn put_seen(&mut self, key: Key, seen: Option<Rev>, document: &impl Serialize) -> Result<(), Error> {
        self.add(seen.map_or_else(|| Guard::Absent(key.clone()), |rev| Guard::At(key.clone(), rev)));
        let value = value(key.kind(), document)?;
        self.ops.push(Op::Put { key, value });
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
        let guard = match self.view.0.rev(key)? {
            Some(rev) => Guard::At(key.clone(), rev),
            None => Guard::Absent(key.clone()),
        };
        self.add(guard);
        Ok(())
    }

    /// The object must still be there, in whatever shape, or come with this change: what is put lies in it, and goes with
    /// it.
    pub(crate) fn require(&mut self, key: Key) {
        let comes = self.ops.iter().any(|op| matches!(op, Op::Put { key: put, .. } if *put == key));
        if !comes {
            self.add(Guard::Exists(key));
        }
    }

    /// The owner of what is put must still be there: nothing is made in what is being deleted.
    pub(crate) fn require_owner(&mut self, scope: Scope) {
        match scope {
            Scope::Edge => {}
            Scope::User(id) => self.require(Key::user(id)),
            Scope::Account(id) => self.require(Key::account(id)),
            Scope::Zone(id) => self.require(Key::zone(id)),
        }
    }

    fn add(&mut self, guard: Guard) {
        // All look at one state, so two of a sort on one key are equal.
        if self.guarded.insert((mem::discriminant(&guard), guard.key().clone())) {
            self.guards.push(guard);
        }
    }

    /// Lets `by` hold a name that must be unique in place of `old`; whoever finds it taken is told `taken`.
    pub(crate) fn move_name(
        &mut self,
        old: Option<Key>,
        name: Key,
        by: impl ToString,
        taken: impl Into<Error>,
    ) -> Result<(), Error> {
        match old {
            Some(old) if old == name => return Ok(()),
            Some(old) => self.delete(old)?,
            None => {}
        }
        self.take_name(name, by, taken)
    }

    /// Lets `by` hold a name that must be unique, whoever held it before.
    pub(crate) fn claim_name(&mut self, name: Key, by: impl ToString) -> Result<(), Error> {
        debug_assert_eq!(name.kind(), Kind::Unique);
        self.put(name, &StoredHolder { by: by.to_string() })
    }

    /// Lets `by` hold a name that must be unique; whoever finds it taken is told `taken`.
    pub(crate) fn take_name(&mut self, name: Key, by: impl ToString, taken: impl Into<Error>) -> Result<(), Error> {
        debug_assert_eq!(name.kind(), Kind::Unique);
        match self.holder(&name)? {
            Some(_) => Err(taken.into()),
            None => self.claim_name(name, by),
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::PopId;
    use bartizan_store::{ChangeSet, Meta, Store};
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn pages_of_keys() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let put = |number: u8| Op::Put {
            key: Key::pop(PopId::from_bytes([number; 16])),
            // One of them cannot be read.
            value: Value { format: if number == 4 { 9 } else { 1 }, json: number.to_string().into() },
        };
        let meta = Meta {
            at: Timestamp::from_unix_micros(1),
            actor: "test".to_owned(),
            interface: "test".to_owned(),
            client: None,
            request_id: [1; 16],
        };
        store.commit(ChangeSet { guards: Vec::new(), ops: (1..=5).map(put).collect(), meta }).unwrap();
        let view = View(store.read().unwrap());
        let all = Prefix::of(Scope::Edge, Kind::Pop);
        for (number, documents, left_out) in
            [(1, json!([1, 2]), 0), (2, json!([3]), 1), (3, json!([5]), 0), (4, json!([]), 0), (u32::MAX, json!([]), 0)]
        {
            let listed: Listed<Json> = view.page(&all, Page { number, size: 2 }).unwrap();
            assert_eq!((json!(listed.documents), listed.left_out, listed.total), (documents, left_out, 5), "{number}");
        }
    }
}
