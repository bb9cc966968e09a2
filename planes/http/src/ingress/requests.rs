//! The requests of one connection that are under way, so that each can be told to end.

use std::task::{Context, Poll};

use bartizan_names::ZoneId;

use super::cancel::Cancel;

/// A slot for each. Slots are used again: HTTP/1.1 needs one, HTTP/2 as many as it had streams at once.
#[derive(Default)]
pub(crate) struct Requests {
    slots: Vec<Option<UnderWay>>,
}

#[derive(Default)]
struct UnderWay {
    /// None while it is not known, or if the request is for no zone.
    zone: Option<ZoneId>,
    cancel: Cancel,
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
    pub(crate) fn begin(&mut self) -> usize {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.reserve_exact(1);
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(UnderWay::default());
        slot
    }

    pub(crate) fn finish(&mut self, slot: usize) {
        self.slots[slot] = None;
    }

    pub(crate) fn concern(&mut self, slot: usize, zone: ZoneId) {
        if let Some(request) = &mut self.slots[slot] {
            request.zone = Some(zone);
        }
    }

    /// Ready when the request is to end.
    pub(crate) fn poll_ended(&self, slot: usize, cx: &Context<'_>) -> Poll<()> {
        self.slots[slot].as_ref().map_or(Poll::Pending, |request| request.cancel.poll(cx))
    }

    pub(crate) fn has_ended(&self, slot: usize) -> bool {
        self.slots[slot].as_ref().is_some_and(|request| request.cancel.is_triggered())
    }

    /// Tells those with a zone that is refused to end.
    pub(crate) fn end_those(&self, refused: impl Fn(ZoneId) -> bool) -> Left {
        let mut left = Left { some_ended: false, some_go_on: false };
        for request in self.slots.iter().flatten() {
            let Some(zone) = request.zone else { continue };
            if request.cancel.is_triggered() || refused(zone) {
                request.cancel.trigger();
                left.some_ended = true;
            } else {
                left.some_go_on = true;
            }
        }
        left
    }
}
