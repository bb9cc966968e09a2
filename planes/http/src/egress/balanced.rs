//! Requests that a load balancer sends to one of several servers.
//!
//! ```text
//! choose ─► send ─┬─ answer ─► visitor, with a cookie where they stay with this server
//!                 └─ nothing was sent, or it does no harm to send it again ─► choose another one ─► send
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bartizan_exchange::{Body, BodyError, Frame};
use bartizan_names::{CountryCode, OriginFault};
use bartizan_observed::HttpStage;
use bartizan_routes::{Scheme, Server};
use bartizan_steering::{Affinity, Asked, Balancer, Chosen, Cookie, NodeTarget, Open, SameSite};
use futures_util::Stream;

use super::{Destination, Egress, Failed};
use crate::answered::Answered;
use crate::arrived::Arrived;
use crate::egress::patience::Patience;
use crate::fields::Fields;
use crate::page::Problem;

/// By which a visitor stays with a server, where the load balancer wants it.
const COOKIE: &[u8] = b"__cflb";

/// That a visitor is to stay with a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sticky {
    tag: u64,
    cookie: Cookie,
    secure: bool,
}

impl Sticky {
    /// The field that says so to the visitor's browser (RFC 6265 §4.1).
    pub(crate) fn set_cookie(&self) -> String {
        let Sticky { tag, cookie, secure } = self;
        let name = std::str::from_utf8(COOKIE).unwrap_or_default();
        let same_site = match cookie.same_site {
            SameSite::Lax => "Lax",
            SameSite::None => "None",
            SameSite::Strict => "Strict",
        };
        let secure = if *secure { "; Secure" } else { "" };
        let max_age = cookie.max_age.as_secs();
        format!("{name}={tag:016x}; Path=/; HttpOnly; SameSite={same_site}{secure}; Max-Age={max_age}")
    }
}

impl Egress {
    pub(super) async fn send_balanced(
        &self,
        balancer: &Balancer,
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Problem> {
        let record = to.request.record();
        let asked = asked(balancer, arrived, to);
        let chosen = balancer.choose(&asked).ok_or(Problem::NoServer)?;
        record.tell(HttpStage::Origin, || told(&chosen));
        let mut failed = match self.send_to_node((balancer, &chosen), to, (arrived, body), patience).await {
            Ok(answered) => return Ok(finish(answered, balancer, &chosen, arrived)),
            Err(failed) => failed,
        };
        if let Some(body) = failed.again.take()
            && let Some(other) = balancer.choose_other(&asked, &chosen)
        {
            record.tell(HttpStage::Origin, || format!("{}; once more: {}", failed.problem, told(&other)));
            self.count(failed.problem);
            self.counters.requests.retried.add(1);
            let sent = self.send_to_node((balancer, &other), to, (arrived, body), patience).await;
            return sent.map(|answered| finish(answered, balancer, &other, arrived)).map_err(|failed| failed.problem);
        }
        Err(failed.problem)
    }

    async fn send_to_node(
        &self,
        (balancer, chosen): (&Balancer, &Chosen),
        to: &Destination<'_>,
        (arrived, body): (&Arrived, Body),
        patience: &Patience,
    ) -> Result<Answered, Failed> {
        let node = chosen.node();
        let open = balancer.counts_requests(&chosen.pool).then(|| chosen.pool.marks.begin(chosen.index));
        let mut answered = match &node.target {
            NodeTarget::Host(hosts) => {
                let server = Server { hosts: Arc::clone(hosts), port: node.port };
                self.try_origin(&server, to, (arrived, body), patience).await?
            }
            NodeTarget::Tunnel(tunnel) => {
                // What has a body went with it.
                let may_repeat = body.length().is_nothing() && arrived.method.is_idempotent();
                let sent = Box::pin(self.send_to_tunnel(*tunnel, to, (arrived, body), patience)).await;
                sent.map_err(|problem| Failed::with(problem, may_repeat.then(Body::empty)))?
            }
        };
        if let Some(open) = open
            && !answered.body.is_here()
        {
            let length = answered.body.length();
            let body = std::mem::replace(&mut answered.body, Body::empty());
            answered.body = Body::frames(length, Counted { body, _open: open });
        }
        Ok(answered)
    }
}

/// What a load balancer goes by.
// Hot: once a request. No allocation.
fn asked(balancer: &Balancer, arrived: &Arrived, to: &Destination<'_>) -> Asked {
    let country: Option<CountryCode> = arrived.source.country;
    let asked = Asked::by(arrived.source.address, country, to.ray.number());
    match &balancer.affinity {
        Affinity::None => asked,
        Affinity::Cookie { .. } => match arrived.fields.values("cookie").find_map(tag_of) {
            None => asked,
            stays_with => Asked { stays_with, now: to.request.worker.dates.seconds(), ..asked },
        },
        Affinity::Header { names, all } => key_of(&arrived.fields, names, *all).map_or(asked, |key| asked.keyed(key)),
    }
}

/// What the values of these fields make of a visitor: none where they are not there, or `all` are wanted and are not.
fn key_of(fields: &Fields, names: &[Box<str>], all: bool) -> Option<u64> {
    let (mut key, mut has) = (0_u64, 0_u32);
    fields.each_end_to_end(|name, value| {
        if let Some(at) = names.iter().position(|one| one.as_bytes().eq_ignore_ascii_case(name)) {
            let mut hasher = DefaultHasher::new();
            (at, value).hash(&mut hasher);
            has |= 1 << at;
            key = key.wrapping_add(hasher.finish()); // in whatever order they come
        }
    });
    let enough = if all { has.count_ones() as usize == names.len() } else { has != 0 };
    enough.then_some(key)
}

/// The tag that a `Cookie` has.
fn tag_of(value: &[u8]) -> Option<u64> {
    value.split(|byte| *byte == b';').find_map(|pair| {
        let tag = pair.trim_ascii().strip_prefix(COOKIE)?.strip_prefix(b"=")?;
        let is_ours = tag.len() == 16 && tag.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(tag).ok().filter(|_| is_ours)?;
        u64::from_str_radix(digits, 16).ok()
    })
}

fn finish(mut answered: Answered, balancer: &Balancer, chosen: &Chosen, arrived: &Arrived) -> Answered {
    if let Affinity::Cookie { cookie, .. } = balancer.affinity
        && !chosen.stayed
    {
        // A browser takes `SameSite=None` with `Secure` alone.
        let secure = cookie.secure.unwrap_or(arrived.scheme == Scheme::Https) || cookie.same_site == SameSite::None;
        answered.sticky = Some(Sticky { tag: chosen.node().tag, cookie, secure });
    }
    answered
}

fn told(chosen: &Chosen) -> String {
    let stays = if chosen.stayed { ", with which the visitor stays" } else { "" };
    format!("the server {} of the pool {}{stays}", chosen.node().name, chosen.pool.id)
}

/// Whether another server may be asked after this failure of one: it did not come to an answer.
pub(super) const fn is_of_node(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::Origin(
            OriginFault::Refused
                | OriginFault::Unreachable
                | OriginFault::Unresolved
                | OriginFault::ConnectTimedOut
                | OriginFault::Tls
                | OriginFault::Broken
        ) | Problem::TunnelNotConnected
    )
}

/// The body of an answer: as long as it comes, its request is under way.
struct Counted {
    body: Body,
    _open: Open,
}

impl Stream for Counted {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_frame(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_cookies() {
        for (value, expect) in [
            (&b"__cflb=00000000000000ff"[..], Some(255)),
            (b"a=1; __cflb=00000000000000ff;b=2", Some(255)),
            (b"x__cflb=00000000000000ff", None),
            (b"__cflb=ff", None),
            (b"__cflb=+0000000000000ff", None),
            (b"__cflb", None),
            (b"", None),
        ] {
            assert_eq!(tag_of(value), expect, "{:?}", String::from_utf8_lossy(value));
        }
    }
}
