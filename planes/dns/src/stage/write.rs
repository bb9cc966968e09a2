//! The answer's beginning and its end.

use bartizan_authority::Verdict;
use bartizan_wire::dns::{Added, Answer, Authoritative, ExtendedError, Head, Rcode, TCP_ANSWER_MAX};

use crate::pipeline::{End, Exchange, Transport};

/// Begins the answer. None if there is no room for the smallest one.
#[inline]
pub(crate) fn begin<'a>(exchange: &'a mut Exchange<'_>, head: &'a Head<'a>, added: &'a Added) -> Option<Answer<'a>> {
    let limit = match exchange.transport {
        Transport::Udp => head.udp_limit(),
        Transport::Tcp | Transport::Tls | Transport::Https => TCP_ANSWER_MAX,
    };
    Answer::start_with(head, added, exchange.reply, limit)
}

/// Ends the answer.
#[inline]
pub(crate) fn end(answer: &mut Answer<'_>, verdict: Verdict, transport: Transport) -> End {
    let Verdict { mut rcode, mut authoritative, mut error, .. } = verdict;
    if answer.is_truncated() && transport != Transport::Udp {
        // The set is larger than a message can be, unless another reason is told: too many signatures were asked for. TC
        // asks for TCP (RFC 2181 §9): over TCP it would make the client ask again, over and over.
        answer.clear();
        (rcode, authoritative) = (Rcode::SERVFAIL, Authoritative::No);
        error = error.or(Some(ExtendedError::OTHER));
    }
    if let Some(error) = error {
        answer.explain(error);
    }
    let truncated = answer.is_truncated();
    End::Reply { len: answer.finish(rcode, authoritative), rcode, truncated }
}
