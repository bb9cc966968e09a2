//! The value of `Date`, formatted once in a while (RFC 9110 §5.6.7).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of one worker, which goes on when it is told to: once in `expire_every`.
pub(crate) struct Dates {
    text: RefCell<Rc<str>>,
    unix: Cell<u64>,
}

impl Default for Dates {
    fn default() -> Dates {
        let now = SystemTime::now();
        Dates { text: RefCell::new(text(now)), unix: Cell::new(unix(now)) }
    }
}

impl Dates {
    // Hot: once an answer. No allocation, and no look at the clock.
    pub(crate) fn now(&self) -> Rc<str> {
        Rc::clone(&self.text.borrow())
    }

    pub(crate) fn go_on(&self) {
        let now = SystemTime::now();
        self.text.replace(text(now));
        self.unix.set(unix(now));
    }

    /// The same in seconds of Unix.
    pub(crate) fn unix(&self) -> u64 {
        self.unix.get()
    }
}

fn text(now: SystemTime) -> Rc<str> {
    httpdate::fmt_http_date(now).into()
}

fn unix(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
