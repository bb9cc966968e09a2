//! The value of `Date`, formatted once in a while (RFC 9110 §5.6.7).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of one worker, which goes on when it is told to: once in `expire_every`.
pub(crate) struct Dates(RefCell<Rc<str>>);

impl Default for Dates {
    fn default() -> Dates {
        Dates(RefCell::new(text()))
    }
}

impl Dates {
    // Hot: once an answer. No allocation, and no look at the clock.
    pub(crate) fn now(&self) -> Rc<str> {
        Rc::clone(&self.0.borrow())
    }

    pub(crate) fn go_on(&self) {
        self.0.replace(text());
    }

    /// In seconds of Unix, by a look at the clock: a certificate that was issued just now is valid.
    pub(crate) fn unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

fn text() -> Rc<str> {
    httpdate::fmt_http_date(SystemTime::now()).into()
}
