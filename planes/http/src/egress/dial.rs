//! A new connection to an origin: resolve its name, race its addresses (RFC 8305), begin TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bartizan_exchange::Io;
use bartizan_names::OriginHost;
use bartizan_routes::{Origin, OriginScheme};
use bartizan_tls::{ClientConfig, Roots, TlsError, client_config};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use crate::limits::{ADDRESSES_MAX, ATTEMPT_DELAY, CONNECT_TIME};
use crate::page::Problem;

/// The TLS settings for origins. Made once; remembers sessions for resumption.
#[derive(Clone)]
pub(crate) struct OriginTls {
    unverified: Arc<ClientConfig>,
    /// None where the system has no roots: then no origin can be verified.
    verified: Option<Arc<ClientConfig>>,
}

impl OriginTls {
    /// Trusts the system's roots, and those in `extra` (PEM).
    pub(crate) fn load(extra: Option<String>) -> Result<OriginTls, TlsError> {
        let alpn: &[&[u8]] = &[b"http/1.1"];
        let roots = extra.map_or(Roots::System, Roots::SystemAnd);
        let verified = match client_config(&roots, alpn) {
            Ok(config) => Some(config),
            Err(TlsError::NoSystemRoots) => {
                tracing::warn!("this machine has no root certificates; origins under \"strict\" will not be reached");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(OriginTls { unverified: client_config(&Roots::Unverified, alpn)?, verified })
    }
}

/// Connects to one of the addresses of `origin`. Its certificate must be for `host`.
pub(crate) async fn connect(
    origin: &Origin,
    scheme: OriginScheme,
    host: &str,
    tls: &OriginTls,
) -> Result<Box<dyn Io>, Problem> {
    let config = match scheme {
        OriginScheme::Http => None,
        OriginScheme::HttpsUnverified => Some(&tls.unverified),
        OriginScheme::HttpsVerified => Some(tls.verified.as_ref().ok_or(Problem::OriginTls)?),
    };
    let connecting = async {
        let addresses = resolve(origin, origin.port(scheme)).await;
        let stream = race(order(addresses)).await?;
        let _ = stream.set_nodelay(true);
        let Some(config) = config else { return Ok::<Box<dyn Io>, Problem>(Box::new(stream)) };
        let stream = bartizan_tls::connect(config, host, stream).await.map_err(|error| {
            tracing::debug!(host, %error, "no TLS with the origin");
            Problem::OriginTls
        })?;
        Ok(Box::new(stream))
    };
    tokio::time::timeout(CONNECT_TIME, connecting).await.unwrap_or(Err(Problem::OriginConnectTimedOut))
}

/// All addresses; those that cannot be resolved are left out.
async fn resolve(origin: &Origin, port: u16) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for host in &origin.hosts {
        match host {
            OriginHost::Address(address) => addresses.push(SocketAddr::new(*address, port)),
            OriginHost::Name(name) => match tokio::net::lookup_host((name.to_string(), port)).await {
                Ok(found) => addresses.extend(found),
                Err(error) => tracing::debug!(%name, %error, "origin not resolved"),
            },
        }
    }
    addresses
}

/// Families take turns, IPv6 first (RFC 8305 §4), so that a broken family costs one delay only.
fn order(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = |address: &SocketAddr| matches!(address.ip().to_canonical(), IpAddr::V6(_));
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_v6);
    let turns = v6.len().max(v4.len());
    let taken = |list: &[SocketAddr], turn: usize| list.get(turn).copied();
    (0..turns).flat_map(|turn| [taken(&v6, turn), taken(&v4, turn)]).flatten().take(ADDRESSES_MAX).collect()
}

/// The first connection that succeeds. The next address is tried when one has failed or its head start is over
/// (RFC 8305 §5).
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, Problem> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.into_iter();
    let mut worst = Problem::OriginUnresolved;
    loop {
        if attempts.is_empty() {
            let Some(address) = waiting.next() else { return Err(worst) };
            attempts.push(TcpStream::connect(address));
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    worst = problem_of(&error);
                    attempts.extend(waiting.next().map(TcpStream::connect));
                }
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {
                attempts.extend(waiting.next().map(TcpStream::connect));
            }
        }
    }
}

fn problem_of(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Problem::OriginRefused,
        io::ErrorKind::TimedOut => Problem::OriginConnectTimedOut,
        _ => Problem::OriginUnreachable,
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
        let many = (0..100).map(|port| SocketAddr::new(IpAddr::from([192, 0, 2, 1]), port)).collect();
        assert_eq!(order(many).len(), ADDRESSES_MAX);
    }
}
