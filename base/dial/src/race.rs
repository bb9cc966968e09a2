//! A new TCP connection to an origin: one address, or the fastest of several (RFC 8305).

use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use crate::Failure;
use crate::dead::Dead;
use crate::limits::{ADDRESSES_MAX, ATTEMPT_DELAY};

async fn connect(address: SocketAddr, dead: &Dead) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        dead.mark_dead(address);
        Failure::from(&error)
    })?;
    dead.mark_alive(address);
    // Without it a small write waits for the acknowledgement of the one before (Nagle, RFC 9293 §3.7.4).
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Families take turns, IPv6 first (RFC 8305 §4), so that a broken family costs one delay only.
pub(crate) fn order(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = |address: &SocketAddr| matches!(address.ip().to_canonical(), IpAddr::V6(_));
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_v6);
    let turns = v6.len().max(v4.len());
    let taken = |list: &[SocketAddr], turn: usize| list.get(turn).copied();
    (0..turns).flat_map(|turn| [taken(&v6, turn), taken(&v4, turn)]).flatten().take(ADDRESSES_MAX).collect()
}

/// The first connection that succeeds. The next address is tried when one has failed or its head start is over
/// (RFC 8305 §5).
pub(crate) async fn race(addresses: Vec<SocketAddr>, dead: &Dead) -> Result<TcpStream, Failure> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.into_iter().map(|address| connect(address, dead));
    let mut failure = Failure::Unresolved;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

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

    /// Where one address refuses or is silent, the next is tried: what answers wins.
    #[tokio::test]
    async fn the_first_address_that_answers_wins() {
        let answers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refuses = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        // A queue for one connection, and it is full: further SYNs are dropped (listen(2)).
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let [answers, silent] = [&answers, &silent].map(|listener| listener.local_addr().unwrap());
        let _first = TcpStream::connect(silent).await.unwrap();
        for (addresses, expect) in [
            (&[][..], "unresolved"),
            (&[answers], "answers"),
            (&[refuses, answers], "answers"),
            (&[silent, silent, answers], "answers"),
            (&[silent, refuses, answers], "answers"),
            (&[refuses, refuses], "refused"),
        ] {
            let dead = Dead::default();
            let racing = race(addresses.to_vec(), &dead);
            let got = match tokio::time::timeout(Duration::from_secs(30), racing).await.unwrap() {
                Ok(stream) if stream.peer_addr().unwrap() == answers => "answers",
                Ok(_) => "another",
                Err(Failure::Unresolved) => "unresolved",
                Err(Failure::Refused) => "refused",
                Err(_) => "failed",
            };
            assert_eq!(got, expect, "{addresses:?}");
        }
    }
}
