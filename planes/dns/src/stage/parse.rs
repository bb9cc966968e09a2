//! Whether a packet is a question at all.

use std::ops::ControlFlow;

use bartizan_wire::dns::{self, Answer, Authoritative, Fault, Query, Rcode, Tsig, TsigError, parse};

use crate::pipeline::{End, Exchange, Now, Silence};

/// Reads the query. What is none, or cannot be answered whatever it asks, ends here.
pub(crate) fn query<'b>(exchange: &mut Exchange<'b>, now: Now) -> ControlFlow<End, Query<'b>> {
    match parse(exchange.query) {
        Ok(query) => match query.tsig {
            None => ControlFlow::Continue(query),
            // No key is configured, so it is one that we do not know (RFC 8945 §5.2.1).
            Some(tsig) => ControlFlow::Break(refuse(exchange, &query.head, Rcode::NOTAUTH, Some((tsig, now.unix)))),
        },
        Err(Fault::Reply(head, rcode)) => ControlFlow::Break(refuse(exchange, &head, rcode, None)),
        Err(Fault::Silent(dns::Silence::Short)) => ControlFlow::Break(End::Silent(Silence::Short)),
        Err(Fault::Silent(dns::Silence::Response)) => ControlFlow::Break(End::Silent(Silence::Response)),
    }
}

/// An answer that only says what is wrong.
fn refuse(exchange: &mut Exchange<'_>, head: &dns::Head<'_>, rcode: Rcode, tsig: Option<(Tsig<'_>, u64)>) -> End {
    let room = exchange.reply.len();
    let Some(mut answer) = Answer::start(head, exchange.reply, room) else { return End::Silent(Silence::Short) };
    if let Some((tsig, now)) = tsig {
        // Two names of full length do not fit behind a third one in 512 bytes. Then the code says it alone.
        answer.refuse_tsig(tsig, TsigError::BadKey, now);
    }
    End::Reply { len: answer.finish(rcode, Authoritative::No), rcode, truncated: false }
}
