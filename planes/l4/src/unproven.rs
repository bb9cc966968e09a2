//! Those that have not shown yet that somebody is behind them, oldest first: flows of one datagram, whose source may be
//! forged, and connections on which the client has said nothing. When there is no room they go first.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use bartizan_names::AppId;

/// More entries than twice what can be alive are gone through for those that are gone.
const SPARE: usize = 64;

pub(crate) trait Proving {
    fn app(&self) -> AppId;

    /// Whether its client has shown that it is there, or it has to go already.
    fn is_settled(&self) -> bool;
}

/// By application, so that a flood on one does not cost another its clients.
pub(crate) struct Unproven<T>(RefCell<HashMap<AppId, VecDeque<Weak<T>>>>);

impl<T: Proving> Unproven<T> {
    /// Adds a new one; `alive` is how many there are of all applications.
    pub(crate) fn push(&self, new: &Rc<T>, alive: usize) {
        let mut queues = self.0.borrow_mut();
        let queue = queues.entry(new.app()).or_default();
        // At least half of them go then, so that tidying is cheap on average.
        if queue.len() > 2 * alive + SPARE {
            queue.retain(|entry| unproven(entry).is_some());
        }
        queue.push_back(Rc::downgrade(new));
    }

    /// Takes out the oldest of an application.
    pub(crate) fn pop(&self, app: AppId) -> Option<Rc<T>> {
        let mut queues = self.0.borrow_mut();
        let queue = queues.get_mut(&app)?;
        while let Some(oldest) = queue.pop_front() {
            if let Some(found) = unproven(&oldest) {
                return Some(found);
            }
        }
        None
    }

    /// Takes out the oldest that is `wanted`, if it is among the first `looked_at`.
    pub(crate) fn pop_wanted(&self, app: AppId, looked_at: usize, wanted: impl Fn(&T) -> bool) -> Option<Rc<T>> {
        let mut queues = self.0.borrow_mut();
        let queue = queues.get_mut(&app)?;
        // Those that are settled would hide those that are not. Each is taken out once.
        while queue.front().is_some_and(|oldest| unproven(oldest).is_none()) {
            queue.pop_front();
        }
        let at = queue.iter().take(looked_at).position(|entry| unproven(entry).is_some_and(|found| wanted(&found)))?;
        queue.remove(at)?.upgrade()
    }

    /// Takes out the oldest of the application that has most of them.
    pub(crate) fn pop_any(&self) -> Option<Rc<T>> {
        loop {
            let queues = self.0.borrow();
            let (app, _) = queues.iter().filter(|(_, queue)| !queue.is_empty()).max_by_key(|(_, queue)| queue.len())?;
            let app = *app;
            drop(queues);
            // If that finds none, its queue is empty now.
            if let Some(found) = self.pop(app) {
                return Some(found);
            }
        }
    }

    /// Forgets applications that are no more.
    pub(crate) fn forget(&self, exists: impl Fn(AppId) -> bool) {
        self.0.borrow_mut().retain(|app, _| exists(*app));
    }
}

impl<T> Default for Unproven<T> {
    fn default() -> Unproven<T> {
        Unproven(RefCell::default())
    }
}

fn unproven<T: Proving>(entry: &Weak<T>) -> Option<Rc<T>> {
    entry.upgrade().filter(|found| !found.is_settled())
}
