//! What is known of a request when it is over: what the end stage is told.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bartizan_exchange::Meter;
use bartizan_names::{TunnelId, ZoneId};
use bartizan_routes::Target;
use http::StatusCode;
use tokio::time::Instant;

use crate::page::Problem;
use crate::ray::Ray;

/// Written while a request is under way. It lies in a slot of its connection that is used again, so none is allocated for
/// a request.
#[derive(Default)]
pub(crate) struct Record {
    began: Cell<Option<Instant>>,
    zone: Cell<Option<ZoneId>>,
    sent_to: Cell<Option<SentTo>>,
    problem: Cell<Option<Problem>>,
    ray: Cell<Option<Ray>>,
    /// The status of the answer, and when its head was there.
    answered: Cell<Option<(StatusCode, Instant)>>,
    received: Rc<Meter>,
    sent: Rc<Meter>,
}

/// Where a request was sent to, whatever became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentTo {
    Origin,
    Tunnel(TunnelId),
}

impl fmt::Display for SentTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SentTo::Origin => f.write_str("origin"),
            SentTo::Tunnel(tunnel) => write!(f, "tunnel {tunnel}"),
        }
    }
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) how: End,
    /// Its number.
    pub(crate) ray: Option<Ray>,
    /// None if it was over before there was an answer.
    pub(crate) status: Option<StatusCode>,
    /// Why the answer is none of an origin.
    pub(crate) problem: Option<Problem>,
    /// The zone of its host, also if that did not let it in.
    pub(crate) zone: Option<ZoneId>,
    /// None if nobody but the edge had to do with it.
    pub(crate) sent_to: Option<SentTo>,
    /// Bytes of its body that went on, and of the answer's that were handed to the visitor's connection; after a 101
    /// those of the other protocol.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// From its head until the head of the answer was there, if it ever was, and until it was over.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) whole: Duration,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of the answer was handed to the visitor's connection.
    Answered,
    /// Its connection was switched to another protocol, which is over.
    Upgraded,
    /// The visitor was too slow, in sending its body or in taking the answer.
    TooSlow,
    /// The firewall lets the visitor in no more.
    Blocked,
    /// The answer broke off at the origin.
    Broken,
    /// The visitor left before it had all of the answer, or the plane ended.
    Left,
}

impl Record {
    pub(crate) fn begin(&self, now: Instant) {
        self.began.set(Some(now));
        self.ray.set(None);
        self.zone.set(None);
        self.sent_to.set(None);
        self.problem.set(None);
        self.answered.set(None);
        self.received.reset();
        self.sent.reset();
    }

    /// Whether no body of the last request is left that would count for the next.
    pub(crate) fn is_free(&self) -> bool {
        Rc::strong_count(&self.received) == 1 && Rc::strong_count(&self.sent) == 1
    }

    pub(crate) fn note_zone(&self, zone: ZoneId) {
        self.zone.set(Some(zone));
    }

    pub(crate) fn note_target(&self, target: &Target) {
        self.sent_to.set(match target {
            Target::Origin(_) => Some(SentTo::Origin),
            Target::Tunnel(tunnel) => Some(SentTo::Tunnel(*tunnel)),
            Target::Unknown => None,
        });
    }

    pub(crate) fn note_problem(&self, problem: Problem) {
        self.problem.set(Some(problem));
    }

    pub(crate) fn note_ray(&self, ray: Ray) {
        self.ray.set(Some(ray));
    }

    pub(crate) fn note_answer(&self, status: StatusCode) {
        self.answered.set(Some((status, Instant::now())));
    }

    pub(crate) fn problem(&self) -> Option<Problem> {
        self.problem.get()
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.answered.get().map(|(status, _)| status)
    }

    /// What is taken of the request's body.
    pub(crate) fn received(&self) -> &Rc<Meter> {
        &self.received
    }

    /// What is taken of the answer's body.
    pub(crate) fn sent(&self) -> &Rc<Meter> {
        &self.sent
    }

    pub(crate) fn close(&self, how: End, now: Instant) -> Ended {
        let began = self.began.get().unwrap_or(now);
        Ended {
            how,
            ray: self.ray.get(),
            status: self.status(),
            problem: self.problem.get(),
            zone: self.zone.get(),
            sent_to: self.sent_to.get(),
            received: self.received.bytes(),
            sent: self.sent.bytes(),
            first_byte: self.answered.get().map(|(_, at)| at - began),
            whole: now - began,
        }
    }
}
