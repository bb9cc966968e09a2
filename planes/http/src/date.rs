//! The value of `Date`, formatted once a second (RFC 9110 §5.6.7).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// The clock of one worker.
pub(crate) struct Dates(RefCell<Stated>);

struct Stated {
    since: SystemTime,
    text: Rc<str>,
}

impl Default for Dates {
    fn default() -> Dates {
        Dates(RefCell::new(Stated { since: SystemTime::UNIX_EPOCH, text: Rc::from("") }))
    }
}

impl Dates {
    /// Now, to the second.
    // Hot: once an answer. No allocation but once a second.
    pub(crate) fn now(&self) -> Rc<str> {
        let now = SystemTime::now();
        let mut stated = self.0.borrow_mut();
        // An error means that the clock was set back.
        if !now.duration_since(stated.since).is_ok_and(|age| age < Duration::from_secs(1)) {
            let whole = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(whole);
            *stated = Stated { since, text: httpdate::fmt_http_date(since).into() };
        }
        Rc::clone(&stated.text)
    }
}
