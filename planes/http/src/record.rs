//! What is known of a request when it is over: what the end stage is told.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bartizan_exchange::Meter;
use bartizan_names::{TunnelId, ZoneId};
use bartizan_observed::HttpStage;
use bartizan_routes::Target;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};
use tokio::time::Instant;

use crate::arrived::Arrived;
use crate::page::Problem;
use crate::ray::Ray;
use crate::trace::Telling;

/// Written while a request is under way. It lies in a slot of its connection that is used again, so none is allocated for
/// a request.
#[derive(Default)]
pub(crate) struct Record {
    began: Cell<Option<Instant>>,
    asked: RefCell<Asked>,
    zone: Cell<Option<ZoneId>>,
    sent_to: Cell<Option<SentTo>>,
    problem: Cell<Option<Problem>>,
    ray: Cell<Option<Ray>>,
    /// The stage that answered; none while no stage has.
    stage: Cell<Option<&'static str>>,
    /// The status of the answer, and when its head was there.
    answered: Cell<Option<(StatusCode, Instant)>>,
    is_page: Cell<bool>,
    received: Rc<Meter>,
    sent: Rc<Meter>,
    /// Who wants to see it all, if anybody does.
    telling: RefCell<Option<Arc<Telling>>>,
}

/// What was asked for. The next request writes over the host's text, so that none is made for each.
#[derive(Default)]
struct Asked {
    method: Method,
    version: Version,
    host: String,
    /// None if nothing is noted.
    path: Option<PathAndQuery>,
}

/// The first line of a request, and its host in the form in which names are compared: without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine<'r> {
    pub(crate) method: &'r Method,
    pub(crate) host: &'r str,
    pub(crate) path: &'r PathAndQuery,
    pub(crate) version: Version,
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
pub(crate) struct Ended<'r> {
    pub(crate) how: End,
    /// None if it could not be read.
    pub(crate) asked: Option<RequestLine<'r>>,
    /// Its number.
    pub(crate) ray: Option<Ray>,
    /// None if it was over before there was an answer.
    pub(crate) status: Option<StatusCode>,
    /// Whether the answer is a page, which a person may look at.
    pub(crate) is_page: bool,
    /// Why the answer is none of an origin.
    pub(crate) problem: Option<Problem>,
    /// The zone of its host, also if that did not let it in.
    pub(crate) zone: Option<ZoneId>,
    /// None if nobody but the edge had to do with it.
    pub(crate) sent_to: Option<SentTo>,
    /// The stage of the pipeline that answered, or where it was sent to: `origin`, `tunnel`; `edge` where it could not be read.
    pub(crate) stage: &'static str,
    /// Bytes of its body that went on, and of the answer's that were handed to the visitor's connection; after a 101
    /// those of the other protocol.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// From its head until the head of the answer was there, if it ever was, and until it was over.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) whole: Duration,
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { how, ray, status, problem, stage, received, sent, first_byte, whole, .. } = self;
        match status {
            Some(status) => write!(f, "{} by {stage}", status.as_u16())?,
            None => write!(f, "no answer, in {stage}")?,
        }
        if let Some(problem) = problem {
            write!(f, " ({})", problem.code())?;
        }
        write!(f, ", {}; body {received} octets in, {sent} out", how.as_str())?;
        if let Some(first_byte) = first_byte {
            write!(f, "; head after {first_byte:.1?}")?;
        }
        write!(f, ", over after {whole:.1?}; ray {}", ray.as_ref().map_or("none", Ray::as_str))
    }
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

impl End {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            End::Answered => "answered",
            End::Upgraded => "upgraded",
            End::TooSlow => "too_slow",
            End::Blocked => "blocked",
            End::Broken => "broken",
            End::Left => "left",
        }
    }
}

impl Record {
    pub(crate) fn begin(&self, now: Instant) {
        self.began.set(Some(now));
        self.ray.set(None);
        self.zone.set(None);
        self.sent_to.set(None);
        self.problem.set(None);
        self.stage.set(None);
        self.answered.set(None);
        self.is_page.set(false);
        self.received.reset();
        self.sent.reset();
        self.telling.take();
    }

    /// From now on what is decided is told to `telling`.
    pub(crate) fn trace(&self, telling: Arc<Telling>) {
        self.telling.replace(Some(telling));
    }

    /// Tells it to who wants to see it.
    // Hot: some times a request.
    pub(crate) fn tell(&self, step: HttpStage, detail: impl FnOnce() -> String) {
        if let Some(telling) = &*self.telling.borrow() {
            telling.tell(step, detail());
        }
    }

    /// Whether no body of the last request is left that would count for the next.
    pub(crate) fn is_free(&self) -> bool {
        Rc::strong_count(&self.received) == 1 && Rc::strong_count(&self.sent) == 1
    }

    // Hot: once a request. No allocation but for a longer host than any before.
    pub(crate) fn note_asked(&self, arrived: &Arrived) {
        let Asked { method, version, host, path } = &mut *self.asked.borrow_mut();
        method.clone_from(&arrived.method);
        *version = arrived.version;
        host.clear();
        host.push_str(arrived.host.name());
        *path = Some(arrived.path.clone());
    }

    pub(crate) fn note_zone(&self, zone: ZoneId) {
        self.zone.set(Some(zone));
    }

    pub(crate) fn note_target(&self, target: &Target) {
        self.sent_to.set(match target {
            Target::Origin(_) | Target::Balancer(_) => Some(SentTo::Origin),
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

    pub(crate) fn note_stage(&self, stage: &'static str) {
        self.stage.set(Some(stage));
    }

    pub(crate) fn note_answer(&self, status: StatusCode, is_page: bool) {
        self.answered.set(Some((status, Instant::now())));
        self.is_page.set(is_page);
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

    /// Tells what became of it.
    pub(crate) fn close(&self, how: End, now: Instant, tell: impl FnOnce(&Ended<'_>)) {
        let began = self.began.get().unwrap_or(now);
        let asked = self.asked.borrow();
        let ended = Ended {
            how,
            asked: asked.path.as_ref().map(|path| RequestLine {
                method: &asked.method,
                host: &asked.host,
                path,
                version: asked.version,
            }),
            ray: self.ray.get(),
            status: self.status(),
            is_page: self.is_page.get(),
            problem: self.problem.get(),
            zone: self.zone.get(),
            sent_to: self.sent_to.get(),
            stage: self.stage.get().unwrap_or(match self.sent_to.get() {
                Some(SentTo::Origin) => "origin",
                Some(SentTo::Tunnel(_)) => "tunnel",
                None => "edge",
            }),
            received: self.received.bytes(),
            sent: self.sent.bytes(),
            first_byte: self.answered.get().map(|(_, at)| at - began),
            whole: now - began,
        };
        tell(&ended);
        if let Some(telling) = self.telling.take() {
            telling.tell(HttpStage::End, ended.to_string());
            telling.end();
        }
        drop(asked);
        // It shares the memory of its head, which a connection that waits is not to hold.
        self.asked.borrow_mut().path = None;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bartizan_exchange::{Body, Upgrade};
    use bartizan_firewall::Source;
    use bartizan_names::Host;
    use bartizan_routes::Scheme;
    use http::{HeaderMap, Version};

    use super::*;
    use crate::fields::Fields;

    fn arrived(method: &str, host: &str, path: &'static str) -> Arrived {
        Arrived {
            scheme: Scheme::Http,
            source: Source { address: Ipv4Addr::LOCALHOST.into(), country: None, asn: None },
            version: Version::HTTP_11,
            method: method.parse().unwrap(),
            host: Host::parse(host).unwrap(),
            path: PathAndQuery::from_static(path),
            fields: Fields::Map(HeaderMap::new()),
            body: Body::empty(),
            upgrade: Upgrade::None,
            by_connect: None,
        }
    }

    /// Each request's end tells of that one, and of none if it could not be read.
    #[test]
    fn the_end_knows_what_was_asked() {
        let record = Record::default();
        for (asked, expect) in [
            (Some(("GET", "A.test:8080", "/one?q")), "GET a.test /one?q"),
            (None, "-"),
            (Some(("PURGE", "[2001:DB8:0::1]", "/")), "PURGE [2001:db8::1] /"),
        ] {
            record.begin(Instant::now());
            if let Some((method, host, path)) = asked {
                record.note_asked(&arrived(method, host, path));
            }
            let mut said = String::new();
            record.close(End::Answered, Instant::now(), |ended| {
                said = ended
                    .asked
                    .map_or("-".to_owned(), |RequestLine { method, host, path, .. }| format!("{method} {host} {path}"));
            });
            assert_eq!(said, expect);
        }
    }
}
