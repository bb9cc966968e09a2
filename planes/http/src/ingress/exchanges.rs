//! The exchanges of one connection that are under way, so that each can be told to end.

use std::task::{Context, Poll};

use bartizan_names::ZoneId;

use super::cancel::Cancel;

/// A place for each. Places are kept for later exchanges: HTTP/1.1 needs one, HTTP/2 as many as it had streams at once.
#[derive(Default)]
pub(crate) struct Exchanges {
    places: Vec<Option<UnderWay>>,
}

#[derive(Default)]
struct UnderWay {
    /// None as long as it is not known, or if there is none.
    zone: Option<ZoneId>,
    cancel: Cancel,
}

/// What is left of a connection's exchanges after those of some zones were told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether any was told.
    pub(crate) some_ended: bool,
    /// Whether any with a zone goes on.
    pub(crate) some_go_on: bool,
}

impl Exchanges {
    /// Gives the place of one more.
    pub(crate) fn begin(&mut self) -> usize {
        let place = self.places.iter().position(Option::is_none).unwrap_or_else(|| {
            self.places.reserve_exact(1);
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(UnderWay::default());
        place
    }

    pub(crate) fn finish(&mut self, place: usize) {
        self.places[place] = None;
    }

    pub(crate) fn concern(&mut self, place: usize, zone: ZoneId) {
        if let Some(exchange) = &mut self.places[place] {
            exchange.zone = Some(zone);
        }
    }

    /// Ready when the exchange is to end.
    pub(crate) fn poll_ended(&self, place: usize, cx: &Context<'_>) -> Poll<()> {
        self.places[place].as_ref().map_or(Poll::Pending, |exchange| exchange.cancel.poll(cx))
    }

    pub(crate) fn has_ended(&self, place: usize) -> bool {
        self.places[place].as_ref().is_some_and(|exchange| exchange.cancel.is_triggered())
    }

    /// Tells those with a zone that is refused to end.
    pub(crate) fn end_those(&self, refused: impl Fn(ZoneId) -> bool) -> Left {
        let mut left = Left { some_ended: false, some_go_on: false };
        for exchange in self.places.iter().flatten() {
            let Some(zone) = exchange.zone else { continue };
            if exchange.cancel.is_triggered() || refused(zone) {
                exchange.cancel.trigger();
                left.some_ended = true;
            } else {
                left.some_go_on = true;
            }
        }
        left
    }
}
