//! The connections of one worker that speak HTTP/2, by where they lead. Nothing is locked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bartizan_quotas::Whose;
use tokio::sync::Notify;

use super::session::Session;
use super::stream::Need;
use crate::egress::pool::Key;
use crate::limits::{IDLE_ORIGINS_MAX, ORIGIN_HTTP1_SWEEPS, ORIGIN_STREAMS_MAX, SWEEPS_MAX};
use crate::page::Problem;

#[derive(Default)]
pub(in crate::egress) struct Sessions {
    by_key: RefCell<HashMap<Key, Entry>>,
    /// How many of them want HTTP/1.1.
    http1: Cell<usize>,
}

/// What is known of an origin that may speak HTTP/2.
#[derive(Default)]
struct Entry {
    sessions: Vec<Rc<Session>>,
    /// Connections that are made, so that others need not make one.
    dials: Vec<Rc<Dial>>,
    /// Streams at a time that it said to take, when it last said so.
    streams: Option<u32>,
    /// The last connection to it spoke HTTP/1.1: nobody waits for the next to say so too.
    is_http1: bool,
    /// For how many looks it is asked in HTTP/1.1, as it wants.
    http1_sweeps: u64,
    /// How many looks have seen it without a session.
    sweeps: u64,
}

impl Entry {
    fn is_of_use(&self) -> bool {
        !self.sessions.is_empty() || !self.dials.is_empty() || self.http1_sweeps > 0 || self.sweeps < SWEEPS_MAX
    }
}

/// What to do for a connection.
pub(in crate::egress) enum Opening {
    /// Make one. Others wait for it.
    Ours(Making),
    /// Make one, for which nobody waits.
    Alone,
    /// Wait for this, and look again.
    Theirs(Rc<Dial>),
}

/// A connection that is made.
pub(in crate::egress) struct Dial {
    bell: Notify,
    /// How many more may wait for it: as many as it will take, by what is known.
    places: Cell<u32>,
    /// What came of it, where all that wait would fare no better.
    problem: Cell<Option<Problem>>,
}

impl Dial {
    /// Returns when something has come of it.
    pub(in crate::egress) async fn wait(&self) -> Result<(), Problem> {
        self.bell.notified().await;
        self.problem.get().map_or(Ok(()), Err)
    }
}

/// Whoever makes a connection. Dropped, those that wait look for themselves.
pub(in crate::egress) struct Making {
    sessions: Weak<Sessions>,
    key: Key,
    dial: Rc<Dial>,
}

impl Making {
    /// It is there, and takes so many requests at a time.
    pub(super) fn come_about(self, streams: u32) {
        self.with_entry(|entry| entry.streams = Some(streams));
    }

    /// Nothing came of it.
    pub(in crate::egress) fn fail(self, problem: Problem) {
        // Whether there is room is another question for each visitor.
        self.dial.problem.set(Some(problem).filter(|problem| !matches!(problem, Problem::NoRoom)));
    }

    fn with_entry(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(sessions) = self.sessions.upgrade()
            && let Some(entry) = sessions.by_key.borrow_mut().get_mut(&self.key)
        {
            change(entry);
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.with_entry(|entry| entry.dials.retain(|dial| !Rc::ptr_eq(dial, &self.dial)));
        self.dial.bell.notify_waiters();
    }
}

impl Sessions {
    /// One that takes a request more, which needs this.
    // Hot: once a request. No allocation.
    pub(in crate::egress) fn find(&self, key: &Key, need: Need) -> Option<Rc<Session>> {
        let by_key = self.by_key.borrow();
        by_key.get(key)?.sessions.iter().find(|session| session.takes(need)).map(Rc::clone)
    }

    /// What is to be done where none does. So many wait for one connection as it will take, and who needs one for itself waits for
    /// none.
    pub(in crate::egress) fn opening(self: &Rc<Self>, key: &Key, need: Need) -> Opening {
        let mut by_key = self.by_key.borrow_mut();
        if !by_key.contains_key(key) && by_key.len() >= IDLE_ORIGINS_MAX {
            return Opening::Alone;
        }
        let entry = by_key.entry(key.clone()).or_default();
        if entry.is_http1 || need == Need::Whole {
            return Opening::Alone;
        }
        if let Some(dial) = entry.dials.iter().find(|dial| dial.places.get() > 0) {
            dial.places.set(dial.places.get() - 1);
            return Opening::Theirs(Rc::clone(dial));
        }
        let places = Cell::new(entry.streams.unwrap_or(ORIGIN_STREAMS_MAX).saturating_sub(1));
        let dial = Rc::new(Dial { bell: Notify::new(), places, problem: Cell::new(None) });
        entry.dials.push(Rc::clone(&dial));
        Opening::Ours(Making { sessions: Rc::downgrade(self), key: key.clone(), dial })
    }

    pub(in crate::egress) fn put(&self, key: &Key, session: Rc<Session>) {
        let mut by_key = self.by_key.borrow_mut();
        let entry = by_key.entry(key.clone()).or_default();
        entry.sessions.retain(|session| !session.end_if_left());
        entry.sessions.push(session);
        (entry.is_http1, entry.sweeps) = (false, 0);
    }

    /// A connection there has spoken HTTP/1.1.
    pub(in crate::egress) fn note_http1(&self, key: &Key) {
        if let Some(entry) = self.by_key.borrow_mut().get_mut(key) {
            entry.is_http1 = true;
        }
    }

    /// The origin wants HTTP/1.1 (RFC 9113 §7).
    pub(in crate::egress) fn want_http1(&self, key: &Key) {
        if let Some(entry) = self.by_key.borrow_mut().get_mut(key)
            && std::mem::replace(&mut entry.http1_sweeps, ORIGIN_HTTP1_SWEEPS) == 0
        {
            self.http1.set(self.http1.get() + 1);
        }
    }

    /// Whether it has said so, some time ago.
    // Hot: once a request. No look where none has.
    pub(in crate::egress) fn wants_http1(&self, key: &Key) -> bool {
        self.http1.get() > 0 && self.by_key.borrow().get(key).is_some_and(|entry| entry.http1_sweeps > 0)
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

    /// Closes what has been idle for too long.
    pub(in crate::egress) fn sweep(&self) {
        let mut http1 = 0;
        self.by_key.borrow_mut().retain(|_, entry| {
            entry.sessions.iter().for_each(|session| session.sweep());
            entry.sessions.retain(|session| !session.end_if_left());
            entry.sweeps = if entry.sessions.is_empty() { entry.sweeps + 1 } else { 0 };
            entry.http1_sweeps = entry.http1_sweeps.saturating_sub(1);
            http1 += usize::from(entry.http1_sweeps > 0);
            entry.is_of_use()
        });
        self.http1.set(http1);
    }

    /// Asks origins that say nothing whether they are there.
    pub(in crate::egress) fn look(&self, now: Instant, times: (Duration, Duration)) {
        self.by_key.borrow().values().flat_map(|entry| &entry.sessions).for_each(|session| session.look(now, times));
    }
}
