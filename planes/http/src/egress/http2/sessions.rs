//! The connections of one worker that speak HTTP/2, by where they lead. Nothing is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bartizan_quotas::Whose;
use tokio::sync::Notify;

use super::session::Session;
use crate::egress::pool::Key;
use crate::limits::{IDLE_ORIGINS_MAX, SWEEPS_MAX};

#[derive(Default)]
pub(in crate::egress) struct Sessions {
    by_key: RefCell<HashMap<Key, Entry>>,
}

/// What is known of an origin that may speak HTTP/2.
#[derive(Default)]
struct Entry {
    sessions: Vec<Rc<Session>>,
    /// Whoever makes a connection, so that others need not.
    opening: Option<Rc<Notify>>,
    /// The last connection to it spoke HTTP/1.1: nobody waits for the next to say so too.
    is_http1: bool,
    /// How many looks have seen it without a session.
    sweeps: u64,
}

impl Entry {
    fn is_of_use(&self) -> bool {
        !self.sessions.is_empty() || self.opening.is_some() || self.sweeps < SWEEPS_MAX
    }
}

/// What to do for a connection.
pub(in crate::egress) enum Opening {
    /// Make one. Others wait for it until this is dropped.
    Ours(Making),
    /// Make one, for which nobody waits.
    Alone,
    /// Wait for this, and look again.
    Theirs(Rc<Notify>),
}

/// Whoever makes a connection.
pub(in crate::egress) struct Making {
    sessions: Rc<Sessions>,
    key: Key,
    bell: Rc<Notify>,
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(entry) = self.sessions.by_key.borrow_mut().get_mut(&self.key) {
            entry.opening = None;
        }
        self.bell.notify_waiters();
    }
}

impl Sessions {
    /// One that takes a request more.
    // Hot: once a request. No allocation.
    pub(in crate::egress) fn find(&self, key: &Key) -> Option<Rc<Session>> {
        let by_key = self.by_key.borrow();
        by_key.get(key)?.sessions.iter().find(|session| session.may_open()).map(Rc::clone)
    }

    /// What is to be done where none does.
    pub(in crate::egress) fn opening(self: &Rc<Self>, key: &Key) -> Opening {
        let mut by_key = self.by_key.borrow_mut();
        if !by_key.contains_key(key) && by_key.len() >= IDLE_ORIGINS_MAX {
            return Opening::Alone;
        }
        let entry = by_key.entry(key.clone()).or_default();
        match &entry.opening {
            _ if entry.is_http1 => Opening::Alone,
            Some(bell) => Opening::Theirs(Rc::clone(bell)),
            None => {
                let bell = Rc::new(Notify::new());
                entry.opening = Some(Rc::clone(&bell));
                Opening::Ours(Making { sessions: Rc::clone(self), key: key.clone(), bell })
            }
        }
    }

    pub(in crate::egress) fn put(&self, key: &Key, session: Rc<Session>) {
        let mut by_key = self.by_key.borrow_mut();
        let entry = by_key.entry(key.clone()).or_default();
        entry.sessions.retain(|session| !session.is_left());
        entry.sessions.push(session);
        (entry.is_http1, entry.sweeps) = (false, 0);
    }

    /// A connection there has spoken HTTP/1.1.
    pub(in crate::egress) fn note_http1(&self, key: &Key) {
        if let Some(entry) = self.by_key.borrow_mut().get_mut(key) {
            entry.is_http1 = true;
        }
    }

    /// Closes the one of these that has been idle for longest, to make room for another; says whether there was one.
    pub(in crate::egress) fn close_one(&self, whose: Whose) -> bool {
        // One that nobody is counted for is nobody's own.
        let is_whose =
            |session: &Session| session.source().map_or(whose == Whose::Anyones, |source| whose.includes(source));
        let by_key = self.by_key.borrow();
        let all = by_key.values().flat_map(|entry| &entry.sessions);
        let idle = all.filter(|session| !session.is_left() && session.is_idle() && is_whose(session));
        let oldest = idle.max_by_key(|session| session.sweeps());
        oldest.inspect(|session| session.want_no_more()).is_some()
    }

    /// Closes what has been idle for too long, and asks those that say nothing whether they are there.
    pub(in crate::egress) fn sweep(&self) {
        self.by_key.borrow_mut().retain(|_, entry| {
            entry.sessions.iter().for_each(|session| session.sweep());
            entry.sessions.retain(|session| !session.is_left());
            entry.sweeps = if entry.sessions.is_empty() { entry.sweeps + 1 } else { 0 };
            entry.is_of_use()
        });
    }
}
