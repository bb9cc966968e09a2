//! Whether an answer may be sent to an address that nothing proves.

use std::net::IpAddr;
use std::ops::ControlFlow;

use bartizan_authority::{Subject, Verdict};
use bartizan_dns_guard::{self as guard, Answered, Kind, Limits, Proof, Rates};
use bartizan_signer::{Origin, Source};
use bartizan_wire::dns::{Answer, Authoritative, Rcode};

use crate::pipeline::{End, Exchange, Silence, Transport};

/// Where an answer goes, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Addressee {
    client: IpAddr,
    /// What proves it.
    origin: Origin,
    /// It showed a cookie of its own.
    has_cookie: bool,
    query_bytes: usize,
}

impl Addressee {
    #[inline]
    pub(crate) fn of(exchange: &Exchange<'_>, cookie: Option<Proof>) -> Addressee {
        let origin = match (exchange.transport, cookie) {
            (Transport::Tcp | Transport::Tls | Transport::Https, _) => Origin::Connected,
            (Transport::Udp, Some(Proof::Proven)) => Origin::Proven,
            (Transport::Udp, _) => Origin::Claimed,
        };
        Addressee {
            client: exchange.client.ip(),
            origin,
            has_cookie: cookie.is_some(),
            query_bytes: exchange.query.len(),
        }
    }

    /// Whose ration of new signatures its answer takes from.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        Source::of(self.client, self.origin)
    }

    /// Whether it is no victim of whoever sent the query.
    fn is_proven(&self) -> bool {
        self.origin != Origin::Claimed
    }
}

/// By which limit an answer is counted, and as one of whose.
#[inline]
pub(crate) fn counted_as(subject: Subject) -> (Kind, u64) {
    match subject {
        Subject::Name(name) => (Kind::Answer, name),
        Subject::Wildcard(zone) => (Kind::Wildcard, zone),
        Subject::Denial(zone) => (Kind::Denial, zone),
        Subject::Referral(cut) => (Kind::Referral, cut),
        Subject::Nothing => (Kind::Error, 0),
    }
}

/// The limits, and who was answered how often. `clock` is in nanoseconds.
pub(crate) struct Counted<'w> {
    pub(crate) limits: &'w Limits,
    pub(crate) rates: &'w mut Rates,
    pub(crate) clock: u64,
}

impl Counted<'_> {
    /// Loads what is known of who asks, with where the name lies that is asked for, of a batch all at once.
    ///
    /// Hot: once a batch. No allocation.
    pub(crate) fn load<'e, 'b: 'e>(&self, asked: impl Iterator<Item = (&'e Exchange<'b>, u64)>) {
        let over_udp = asked.filter(|(exchange, _)| exchange.transport == Transport::Udp);
        self.rates.load(self.limits, over_udp.map(|(exchange, name)| (exchange.client.ip(), name)));
    }

    /// Leaves an answer as it is, makes a short one of it, or sends none.
    ///
    /// Hot: once a query. No allocation.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        to: Addressee,
        answer: &mut Answer<'_>,
        verdict: Verdict,
    ) -> ControlFlow<End, Verdict> {
        if to.is_proven() {
            return ControlFlow::Continue(verdict);
        }
        let (kind, subject) = counted_as(verdict.subject);
        let answered = Answered { kind, subject, excess: answer.byte_count().saturating_sub(to.query_bytes) };
        match self.rates.judge(self.limits, to.client, answered, self.clock) {
            guard::Verdict::Send => ControlFlow::Continue(verdict),
            guard::Verdict::Drop => ControlFlow::Break(End::Silent(Silence::Rate)),
            // It has a valid one now, and is answered when it asks again (RFC 7873 §5.2.3).
            guard::Verdict::Slip if to.has_cookie => {
                answer.clear();
                let (rcode, authoritative) = (Rcode::BADCOOKIE, Authoritative::No);
                ControlFlow::Continue(Verdict { rcode, authoritative, error: None, ..verdict })
            }
            guard::Verdict::Slip => {
                answer.cut();
                ControlFlow::Continue(Verdict { rcode: Rcode::NOERROR, error: None, ..verdict })
            }
        }
    }

    /// The same for what ended before it was a question. It is no longer than its query, so a short answer is this one.
    pub(crate) fn admit_fault(&mut self, exchange: &Exchange<'_>, end: End) -> End {
        let to = Addressee::of(exchange, None);
        if to.is_proven() || matches!(end, End::Silent(_)) {
            return end;
        }
        let answered = Answered { kind: Kind::Error, subject: 0, excess: 0 };
        match self.rates.judge(self.limits, to.client, answered, self.clock) {
            guard::Verdict::Send | guard::Verdict::Slip => end,
            guard::Verdict::Drop => End::Silent(Silence::Rate),
        }
    }
}
