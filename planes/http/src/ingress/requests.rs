//! The requests of one connection that are under way, so that each can be told to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bartizan_names::ZoneId;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::deadline::Deadline;
use super::interim::Interims;
use crate::past::Past;
use crate::record::Record;

/// One for each. They are used again: HTTP/1.1 needs one, HTTP/2 as many as it had streams at once.
#[derive(Default)]
pub(crate) struct Requests {
    slots: Vec<Rc<UnderWay>>,
}

/// What a request's own task and the rest of its connection share.
#[derive(Default)]
pub(crate) struct UnderWay {
    in_use: Cell<bool>,
    /// None while it is not known, or if the request is for no zone.
    zone: Cell<Option<ZoneId>>,
    /// Meaningful with a zone. Its memory is used again.
    host: RefCell<String>,
    pub(crate) cancel: Cancel,
    pub(crate) record: Record,
    /// Time limits of an HTTP/2 stream for the visitor to send its body, and to take its answer.
    pub(crate) reading: Deadline,
    pub(crate) writing: Deadline,
    /// The time limit of the origin.
    pub(crate) answering: Deadline,
    /// Whether the visitor failed to deliver the body.
    pub(crate) body_broke: Cell<bool>,
    /// Whether it has sent more of it than the zone takes.
    pub(crate) body_is_over: Cell<bool>,
    /// Whether all of the answer was handed over.
    pub(crate) answered: Cell<bool>,
    pub(crate) interims: Interims,
    /// How its body may go to the origin without a copy.
    pub(crate) past: Past,
}

/// What is left of a connection's requests after those of some zones were told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether any was told.
    pub(crate) some_ended: bool,
    /// Whether one with a zone goes on.
    pub(crate) some_go_on: bool,
}

impl Requests {
    /// Takes a slot for one more.
    // Hot: once a request. No allocation but for more at once than ever before.
    pub(crate) fn begin(&mut self) -> Rc<UnderWay> {
        // One that its task still looks at is not free yet.
        let is_free = |slot: &&Rc<UnderWay>| !slot.in_use.get() && Rc::strong_count(slot) == 1 && slot.record.is_free();
        let free = self.slots.iter().find(is_free);
        let slot = match free {
            Some(slot) => Rc::clone(slot),
            None => {
                let slot = Rc::new(UnderWay::default());
                self.slots.reserve_exact(1);
                self.slots.push(Rc::clone(&slot));
                slot
            }
        };
        slot.begin();
        slot
    }

    /// Ends every wait that has lasted too long.
    pub(crate) fn expire(&self, now: Instant) {
        for slot in self.slots.iter().filter(|slot| slot.in_use.get()) {
            slot.reading.expire(now);
            slot.writing.expire(now);
            slot.answering.expire(now);
        }
    }

    /// Tells those that are refused, by their zone and host, to end.
    pub(crate) fn end_those(&self, refused: impl Fn(ZoneId, &str) -> bool) -> Left {
        let mut left = Left { some_ended: false, some_go_on: false };
        for request in self.slots.iter().filter(|slot| slot.in_use.get()) {
            let Some(zone) = request.zone.get() else { continue };
            if request.cancel.is_triggered() || refused(zone, &request.host.borrow()) {
                request.cancel.trigger();
                left.some_ended = true;
            } else {
                left.some_go_on = true;
            }
        }
        left
    }
}

impl UnderWay {
    fn begin(&self) {
        self.in_use.set(true);
        self.zone.set(None);
        self.cancel.reset();
        self.record.begin(Instant::now());
        self.reading.rest();
        self.writing.rest();
        self.answering.rest();
        self.body_broke.set(false);
        self.body_is_over.set(false);
        self.answered.set(false);
        self.interims.forget();
    }

    pub(crate) fn finish(&self) {
        self.past.close();
        self.in_use.set(false);
    }

    // Hot: once a request. No allocation but for a longer name than its slot ever had.
    pub(crate) fn concern(&self, zone: ZoneId, host: &str) {
        self.zone.set(Some(zone));
        let mut own = self.host.borrow_mut();
        own.clear();
        own.push_str(host);
    }
}
