//! A new TCP connection to an origin: one address, or the fastest of several (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::dead::Dead;
use crate::counters::OriginFailure;
use crate::limits::{ADDRESSES_MAX, ATTEMPT_DELAY};

async fn connect(address: SocketAddr, dead: &Dead) -> Result<TcpStream, OriginFailure> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        dead.mark_dead(address);
        failure_of(&error)
    })?;
    dead.mark_alive(address);
    // Without it a small write waits for the acknowledgement of the one before (Nagle, RFC 9293 §3.7.4).
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Families take turns, IPv6 first (RFC 8305 §4), so that a broken family costs one delay only.
pub(super) fn order(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = |address: &SocketAddr| matches!(address.ip().to_canonical(), IpAddr::V6(_));
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_v6);
    let turns = v6.len().max(v4.len());
    let taken = |list: &[SocketAddr], turn: usize| list.get(turn).copied();
    (0..turns).flat_map(|turn| [taken(&v6, turn), taken(&v4, turn)]).flatten().take(ADDRESSES_MAX).collect()
}

/// The first connection that succeeds. The next address is tried when one has failed or its head start is over
/// (RFC 8305 §5).
pub(super) async fn race(addresses: Vec<SocketAddr>, dead: &Dead) -> Result<TcpStream, OriginFailure> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.into_iter().map(|address| connect(address, dead));
    let mut failure = OriginFailure::Unresolved;
    loop {
        if attempts.is_empty() {
            let Some(attempt) = waiting.next() else { return Err(failure) };
            attempts.push(attempt);
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(reason) => {
                    failure = reason;
                    attempts.extend(waiting.next());
                }
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {
                attempts.extend(waiting.next());
            }
        }
    }
}

pub(crate) fn failure_of(error: &io::Error) -> OriginFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => OriginFailure::Refused,
        io::ErrorKind::TimedOut => OriginFailure::TimedOut,
        _ => OriginFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        for (addresses, expect) in [
            ("", ""),
            ("192.0.2.1:1 192.0.2.2:1", "192.0.2.1:1 192.0.2.2:1"),
            ("192.0.2.1:1 [2001:db8::1]:1", "[2001:db8::1]:1 192.0.2.1:1"),
            ("192.0.2.1:1 192.0.2.2:1 [2001:db8::1]:1", "[2001:db8::1]:1 192.0.2.1:1 192.0.2.2:1"),
        ] {
            let addresses = addresses.split_whitespace().map(|address| address.parse().unwrap()).collect();
            let ordered: Vec<String> = order(addresses).iter().map(ToString::to_string).collect();
            assert_eq!(ordered.join(" "), expect);
        }
        let many = (0..100).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        assert_eq!(order(many).len(), ADDRESSES_MAX);
    }
}
