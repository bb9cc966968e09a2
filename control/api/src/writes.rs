//! The API's one way to commit: a change is tried, and when somebody else was faster it is tried again on what they left.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bartizan_certs::Certs;
use bartizan_clock::Clock;
use bartizan_names::{Timestamp, UserId};
use bartizan_store::{API, ChangeSet, CommitError, Meta, Store};

use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::numbers::Numbers;
use crate::transaction::{Change, View};

/// Tries of a change beside all others, before it asks for a turn of its own.
const TRIES_BESIDE_OTHERS: usize = 3;

/// Tries in its own turn. Nothing that goes through here can be in its way then: only the edge itself, seldom.
const TRIES_ALONE: usize = 5;

/// Who asks for a change, and through what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    /// Somebody who called the API.
    Caller(&'a Caller),
    /// Somebody who logs in, from there.
    Login(UserId, Option<IpAddr>),
    /// The edge itself, by this part of it.
    Edge(&'static str),
}

impl By<'_> {
    fn actor(&self) -> String {
        match self {
            By::Caller(caller) => caller.actor(),
            By::Login(user, _) => format!("user:{user}"),
            By::Edge(_) => "edge".to_owned(),
        }
    }

    /// Through which route, if it came by one.
    fn interface(&self) -> String {
        match self {
            By::Caller(caller) => match &caller.route {
                Some(route) => format!("{API} {route}"),
                None => API.to_owned(),
            },
            By::Login(..) => API.to_owned(),
            By::Edge(part) => (*part).to_owned(),
        }
    }

    fn client(&self) -> Option<IpAddr> {
        match self {
            By::Caller(caller) => caller.client(),
            By::Login(_, from) => from.map(|from| from.to_canonical()),
            By::Edge(_) => None,
        }
    }
}

/// Cheap to clone. All calls block.
#[derive(Clone)]
pub(crate) struct Writes {
    store: Store,
    certs: Certs,
    /// Shared by those who try beside each other, held alone by one who lost too many races.
    turns: Arc<RwLock<()>>,
    numbers: Arc<Numbers>,
}

impl Writes {
    pub(crate) fn new(store: Store, certs: Certs, numbers: Arc<Numbers>) -> Writes {
        Writes { store, certs, turns: Arc::default(), numbers }
    }

    /// The time of changes, and of all that is done without being asked for.
    pub(crate) fn clock(&self) -> &Clock {
        self.certs.clock()
    }

    /// How many operations whoever has very many should put into one change, so that others get their turn between.
    pub(crate) fn operations_in_a_turn(&self) -> usize {
        self.store.operations_in_a_turn()
    }

    /// The newest state.
    pub(crate) fn view(&self) -> Result<View, Error> {
        Ok(View(self.store.read()?))
    }

    /// Runs `plan` on the newest state and commits what it put together as one revision, in the name of `by`, who must
    /// still be let in when it lands.
    pub(crate) fn change<T>(&self, by: By<'_>, plan: impl Fn(&mut Change) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..TRIES_BESIDE_OTHERS {
            let _turn = self.turns.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = self.attempt(by, &plan)? {
                return Ok(result);
            }
        }
        let _turn = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES_ALONE {
            if let Some(result) = self.attempt(by, &plan)? {
                return Ok(result);
            }
        }
        Err(Fault::Busy.into())
    }

    /// None if somebody else was faster.
    fn attempt<T>(&self, by: By<'_>, plan: &impl Fn(&mut Change) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let (view, at) = (self.view()?, self.clock().now());
        let mut change = Change::new(view, at, self.certs.clone());
        if let By::Caller(caller) = by {
            change.admit(caller)?;
        }
        let result = plan(&mut change)?;
        if let By::Caller(Caller { dry_run: Some(dry_run), .. }) = by {
            dry_run.note(change.ops(), |key| change.value(key), |zone| change.account_of_zone(zone))?;
            let meta = meta(by, at);
            let (guards, ops, _) = change.into_steps();
            self.store.would_take(ChangeSet { guards, ops, meta })?;
            return Ok(Some(result));
        }
        let (guards, ops, afterwards) = change.into_steps();
        if ops.is_empty() {
            return Ok(Some(result));
        }
        let meta = meta(by, at);
        match self.store.commit(ChangeSet { guards, ops, meta }) {
            Ok(_) => {
                self.numbers.write_landed();
                afterwards.into_iter().for_each(|work| work());
                Ok(Some(result))
            }
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(error) => {
                let error = Error::from(error);
                if error.fault == Fault::DiskFull {
                    self.numbers.write_without_room();
                }
                Err(error)
            }
        }
    }
}

/// Who changes something, and when: an object whose own time says the same was made by it.
fn meta(by: By<'_>, at: Timestamp) -> Meta {
    Meta { at, actor: by.actor(), interface: by.interface(), client: by.client(), request_id: bartizan_seal::random() }
}

/// Runs what blocks where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::internal(&error)))
}
