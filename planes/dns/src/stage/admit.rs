//! Who may ask.

use std::ops::ControlFlow;

use crate::pipeline::{End, Exchange, Silence, Transport};

/// Ports at which a service of old answers whatever comes, or sends text at once: echo (RFC 862), discard, daytime,
/// quote of the day, character generator (RFC 864), time. With a forged query from one of them, its answers to our
/// answers would never end. No client asks from a port below 1024 that it has not chosen on purpose, nor from 0.
const TALKATIVE: [u16; 7] = [0, 7, 9, 13, 17, 19, 37];

/// One bit a port, so that it costs a shift for each query.
const TALKATIVE_BITS: u64 = {
    let (mut bits, mut at) = (0, 0);
    while at < TALKATIVE.len() {
        bits |= 1 << TALKATIVE[at];
        at += 1;
    }
    bits
};

/// Says nothing to ports where no client is. A connection proves that there is one.
#[inline]
pub(crate) fn port(exchange: &Exchange<'_>) -> ControlFlow<End> {
    let port = u32::from(exchange.client.port());
    let is_talkative = TALKATIVE_BITS.checked_shr(port).is_some_and(|bits| bits & 1 != 0);
    if is_talkative && exchange.transport == Transport::Udp {
        return ControlFlow::Break(End::Silent(Silence::Port));
    }
    ControlFlow::Continue(())
}
