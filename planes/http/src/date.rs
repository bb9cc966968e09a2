//! The value of `Date`, formatted once in a while (RFC 9110 §5.6.7).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bartizan_clock::Clock;
use bartizan_names::Span;

/// The clock of one worker, which goes on when it is told to: once in `expire_every`.
pub(crate) struct Dates {
    clock: Clock,
    text: RefCell<Rc<str>>,
}

impl Dates {
    pub(crate) fn by(clock: Clock) -> Dates {
        let text = RefCell::new(text(&clock));
        Dates { clock, text }
    }

    // Hot: once an answer. No allocation, and no look at the clock.
    pub(crate) fn now(&self) -> Rc<str> {
        Rc::clone(&self.text.borrow())
    }

    pub(crate) fn go_on(&self) {
        self.text.replace(text(&self.clock));
    }

    /// By a look at the clock, in seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.clock.now().unix_seconds()
    }

    /// By a look at the clock: a certificate that was issued just now is valid.
    pub(crate) fn span(&self) -> Span {
        self.clock.span()
    }
}

fn text(clock: &Clock) -> Rc<str> {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(clock.now().unix_seconds())).into()
}
