//! Every port of `up`, bound before anything is started: a taken one is an error that names the holder. Without a default
//! one that an edge can be without it starts all the same, and says so; also without what nobody asked for, such as UDP beside
//! HTTPS.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use bartizan_dial::Listener;
use bartizan_net::{BindError, Protocol, Sharing};
use rustix::io::Errno;

use crate::failure::{Cause, Failure};
use crate::hand_over::OfBefore;
use crate::holder::{self, Transport};
use crate::host;
use crate::settings::{Addresses as Wanted, Settings};

/// How often a free port is drawn anew when its number is taken for the other transport.
const DRAWS_MAX: usize = 16;

/// All sockets of an edge. Where several threads read, there is a socket for each, in the inner list.
pub struct Listeners {
    pub api: Vec<TcpListener>,
    pub dns_udp: Vec<UdpSocket>,
    pub dns_tcp: Vec<TcpListener>,
    pub dns_tls: Vec<TcpListener>,
    /// A list for each address.
    pub http: Vec<Vec<TcpListener>>,
    pub https: Vec<Vec<TcpListener>>,
    pub http3: Vec<UdpSocket>,
    pub tunnel: Vec<UdpSocket>,
    /// On the same ports.
    pub tunnel_tcp: Vec<TcpListener>,
    pub left_out: Vec<LeftOut>,
}

/// An address that an edge can be without, and is.
#[derive(Debug)]
pub struct LeftOut {
    /// What would have been there.
    pub service: &'static str,
    pub address: SocketAddr,
    /// Who is there, or what else is in the way, in words.
    pub reason: String,
    /// What helps.
    pub remedy: &'static str,
}

/// What an edge is without a service whose ports are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None: what its first page tells to do would lead to another process.
    Must,
    /// One that lacks this service alone, where its ports are those by default. Whoever names one wants it.
    May(Optional),
    /// One that lacks this service alone, whatever is in its way: it is beside another service, whose ports were named.
    Beside(Optional),
}

/// A service that an edge can be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optional {
    pub service: &'static str,
    /// What whoever misses it can do.
    remedy: &'static str,
}

impl Need {
    /// The service that an edge is without if it cannot have its port.
    pub const fn without(self, wanted: &Wanted) -> Option<Optional> {
        match (self, wanted) {
            (Need::May(optional), Wanted::Default(_)) | (Need::Beside(optional), _) => Some(optional),
            (Need::Must | Need::May(_), _) => None,
        }
    }
}

/// Resolvers that find nobody there ask without TLS (RFC 7858 §3.1), and no page of ours leads there.
pub const DNS_TLS: Need = Need::May(Optional {
    service: "DNS over TLS",
    remedy: "end what has the port and start the edge again, or name another one: --dns-tls ADDR:PORT",
});

/// Browsers that find nobody there go on with HTTP/2.
pub const HTTP3: Need = Need::Beside(Optional {
    service: "HTTP/3",
    remedy: "nothing else is missing, and browsers use HTTP/2; to have it, free this port for UDP and start the edge again, or \
             have HTTPS on another one: --https ADDR:PORT",
});

/// Connectors that find nobody there use QUIC.
pub const TUNNEL_TCP: Need = Need::Beside(Optional {
    service: "tunnels over HTTP/2",
    remedy: "connectors use QUIC, and only those that cannot miss it; to have it, free this port for TCP and start the edge \
             again, or have tunnels on another one: --tunnel ADDR:PORT",
});

/// Where an edge listens, with the port numbers that port 0 became.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub api: Vec<SocketAddr>,
    pub dns: Vec<SocketAddr>,
    pub dns_tls: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    /// Ports of HTTPS, over UDP.
    pub http3: Vec<SocketAddr>,
    pub tunnel: Vec<SocketAddr>,
    /// Ports of tunnels, over TCP.
    pub tunnel_tcp: Vec<SocketAddr>,
}

impl Addresses {
    /// Those that no origin may have.
    pub fn listeners(&self) -> Vec<Listener> {
        use bartizan_names::Protocol::{Tcp, Udp};
        let of = |protocol, all: &[SocketAddr]| -> Vec<Listener> {
            all.iter().map(|address| Listener { protocol, address: *address }).collect()
        };
        let tcp = [&self.api, &self.dns, &self.dns_tls, &self.http, &self.https, &self.tunnel_tcp]
            .into_iter()
            .flat_map(|all| of(Tcp, all));
        tcp.chain([&self.dns, &self.http3, &self.tunnel].into_iter().flat_map(|all| of(Udp, all))).collect()
    }

    pub fn all(&self) -> Vec<SocketAddr> {
        let all = [&self.api, &self.dns, &self.dns_tls, &self.http, &self.https, &self.http3, &self.tunnel];
        all.into_iter().flatten().copied().collect()
    }
}

impl Listeners {
    pub fn addresses(&self) -> io::Result<Addresses> {
        let first = |listeners: &[Vec<TcpListener>]| -> io::Result<Vec<SocketAddr>> {
            listeners.iter().filter_map(|group| group.first()).map(TcpListener::local_addr).collect()
        };
        Ok(Addresses {
            api: self.api.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
            dns: self.dns_tcp.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
            dns_tls: self.dns_tls.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
            http: first(&self.http)?,
            https: first(&self.https)?,
            http3: self.http3.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?,
            tunnel: self.tunnel.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?,
            tunnel_tcp: self.tunnel_tcp.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
        })
    }
}

/// Binds everything, or nothing, but for what an edge can be without.
pub fn bind(settings: &Settings) -> anyhow::Result<Listeners> {
    use Need::Must;
    let workers = settings.workers;
    let exclusive = |address| bartizan_net::tcp(address, Sharing::Exclusive);
    let of_http =
        [&settings.https, &settings.http].into_iter().flat_map(Wanted::all).map(|address| (*address, workers));
    let handed_over: Vec<_> = of_http.chain(settings.tunnel.all().iter().map(|address| (*address, 1))).collect();
    let before = RefCell::new(OfBefore::find(&settings.data, &handed_over));
    let shared = |address| match before.borrow_mut().take(address, workers) {
        Some(kept) => Ok(kept),
        None => bartizan_net::tcp_shared(address, workers),
    };
    let shared = &shared;
    let alone = |address| match before.borrow_mut().take(address, 1).and_then(|mut kept| kept.pop()) {
        Some(kept) => Ok(kept),
        None => bartizan_net::tcp(address, Sharing::Exclusive),
    };
    let left_out = &mut Vec::new();
    let (mut https, mut http3) = (Vec::new(), Vec::new());
    for (tcp, udp) in each("https", &settings.https, Must, left_out, |address| https_and_http3(address, shared))? {
        https.push(tcp);
        let wanted = &settings.https;
        http3.extend(without_if_it_can_be(udp, "https", wanted, HTTP3, left_out)?);
    }
    let mut dns_udp = Vec::new();
    let mut dns_tcp = Vec::new();
    for (udp, tcp) in each("dns", &settings.dns, Must, left_out, |address| dns(address, workers))? {
        dns_udp.extend(udp);
        dns_tcp.push(tcp);
    }
    let (mut tunnel, mut tunnel_tcp) = (Vec::new(), Vec::new());
    for (udp, tcp) in each("tunnel", &settings.tunnel, Must, left_out, |address| tunnels(address, alone))? {
        tunnel.push(udp);
        tunnel_tcp.extend(without_if_it_can_be(tcp, "tunnel", &settings.tunnel, TUNNEL_TCP, left_out)?);
    }
    let listeners = Listeners {
        api: each("api", &settings.api, Must, left_out, exclusive)?,
        dns_udp,
        dns_tcp,
        dns_tls: each("dns-tls", &settings.dns_tls, DNS_TLS, left_out, exclusive)?,
        http: each("http", &settings.http, Must, left_out, shared)?,
        https,
        http3,
        tunnel,
        tunnel_tcp,
        left_out: std::mem::take(left_out),
    };
    before.into_inner().end();
    Ok(listeners)
}

/// UDP and TCP on one port: with port 0, one that is free for both.
fn dns(address: SocketAddr, workers: usize) -> Result<(Vec<UdpSocket>, TcpListener), BindError> {
    let mut draws = 0;
    loop {
        let tcp = bartizan_net::tcp(address, Sharing::Exclusive)?;
        let bound = tcp.local_addr().map_err(|source| BindError { protocol: Protocol::Tcp, address, source })?;
        match bartizan_net::udp_shared(bound, workers) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(_) if address.port() == 0 && draws < DRAWS_MAX => draws += 1,
            Err(error) => return Err(error),
        }
    }
}

/// TCP for workers, and UDP on the same port: with port 0, one that is free for both.
type Https = (Vec<TcpListener>, Result<UdpSocket, BindError>);

fn https_and_http3(
    address: SocketAddr,
    listen: impl Fn(SocketAddr) -> Result<Vec<TcpListener>, BindError>,
) -> Result<Https, BindError> {
    let mut draws = 0;
    loop {
        let tcp = listen(address)?;
        let bound = tcp.first().map_or(Ok(address), TcpListener::local_addr);
        let bound = bound.map_err(|source| BindError { protocol: Protocol::Tcp, address, source })?;
        match bartizan_net::udp(bound, Sharing::Exclusive) {
            Err(_) if address.port() == 0 && draws < DRAWS_MAX => draws += 1,
            udp => return Ok((tcp, udp)),
        }
    }
}

/// UDP, and TCP on the same port: with port 0, one that is free for both.
type Tunnels = (UdpSocket, Result<TcpListener, BindError>);

fn tunnels(
    address: SocketAddr,
    listen: impl Fn(SocketAddr) -> Result<TcpListener, BindError>,
) -> Result<Tunnels, BindError> {
    let mut draws = 0;
    loop {
        let udp = bartizan_net::udp(address, Sharing::Exclusive)?;
        let bound = udp.local_addr().map_err(|source| BindError { protocol: Protocol::Udp, address, source })?;
        match listen(bound) {
            Err(_) if address.port() == 0 && draws < DRAWS_MAX => draws += 1,
            tcp => return Ok((udp, tcp)),
        }
    }
}

/// A socket; none where the edge can be without it, as nobody asked for what another process has.
fn without_if_it_can_be<S>(
    bound: Result<S, BindError>,
    flag: &str,
    wanted: &Wanted,
    need: Need,
    left_out: &mut Vec<LeftOut>,
) -> Result<Option<S>, Failure> {
    let is_default = matches!(wanted, Wanted::Default(_));
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if is_default && error.source.kind() == ErrorKind::AddrNotAvailable => {
            tracing::debug!(address = %error.address, "this machine has no such address: left out");
            Ok(None)
        }
        Err(error) => {
            let is_taken = error.source.kind() == ErrorKind::AddrInUse;
            let Some(Optional { service, remedy }) =
                need.without(wanted).filter(|_| is_taken || matches!(need, Need::Beside(_)))
            else {
                return Err(explain(flag, &error));
            };
            let reason = if is_taken { format!("taken by {}", holder_of(&error)) } else { error.source.to_string() };
            left_out.push(LeftOut { service, address: error.address, reason, remedy });
            Ok(None)
        }
    }
}

/// A socket on each address. Of the defaults one that this machine does not have is left out, and where the edge can be
/// without, one that is taken.
fn each<S>(
    flag: &str,
    wanted: &Wanted,
    need: Need,
    left_out: &mut Vec<LeftOut>,
    bind: impl Fn(SocketAddr) -> Result<S, BindError>,
) -> anyhow::Result<Vec<S>> {
    let mut sockets = Vec::new();
    for address in wanted.all() {
        sockets.extend(without_if_it_can_be(bind(*address), flag, wanted, need, left_out)?);
    }
    if sockets.is_empty() && need == Need::Must {
        return Err(Failure::new(Cause::Failed, format!("this machine has none of the addresses for --{flag}"))
            .remedy(format!("name one: --{flag} ADDR:PORT"))
            .into());
    }
    Ok(sockets)
}

fn holder_of(error: &BindError) -> String {
    let transport = match error.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    };
    holder::of(error.address, transport).unwrap_or_else(|| "a process of another user".to_owned())
}

/// What is wrong with an address, who is to blame, and what to do.
fn explain(flag: &str, error: &BindError) -> Failure {
    let BindError { protocol, address, source } = error;
    match source.kind() {
        ErrorKind::AddrInUse => {
            let holder = holder_of(error);
            Failure::new(Cause::Failed, format!("{protocol} {address} (--{flag}) is taken by {holder}"))
                .remedy(format!("stop it, or listen elsewhere: --{flag} {}:PORT", address.ip()))
        }
        ErrorKind::PermissionDenied => {
            Failure::new(Cause::Failed, format!("{protocol} {address} (--{flag}) needs privileges"))
                .remedy(format!("run as root, or take a port from 1024 up: --{flag} {}:PORT", address.ip()))
        }
        ErrorKind::AddrNotAvailable => {
            Failure::new(Cause::Failed, format!("this machine has no address {} (--{flag})", address.ip()))
                .remedy("`ip address` shows the ones it has")
        }
        _ => {
            let failure =
                Failure::new(Cause::Failed, format!("cannot listen on {protocol} {address} (--{flag}): {source}"));
            let is_short_of_files = source.raw_os_error() == Some(Errno::MFILE.raw_os_error());
            if is_short_of_files { failure.remedy(host::more_files()) } else { failure }
        }
    }
}

/// What helps whoever misses a service that an edge can be without.
#[cfg(test)]
pub fn remedies() -> impl Iterator<Item = &'static str> {
    [DNS_TLS, HTTP3, TUNNEL_TCP].into_iter().filter_map(|need| match need {
        Need::Must => None,
        Need::May(optional) | Need::Beside(optional) => Some(optional.remedy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Optional = Optional { service: "a service", remedy: "name another one" };

    #[test]
    fn what_helps_is_told() {
        let address = "192.0.2.1:80".parse().unwrap();
        for (error, expect) in [
            (Errno::MFILE, "ulimit -Hn"),
            (Errno::ACCESS, "run as root"),
            (Errno::ADDRNOTAVAIL, "`ip address`"),
            (Errno::IO, "cannot listen on TCP 192.0.2.1:80 (--http)"),
        ] {
            let error = BindError { protocol: Protocol::Tcp, address, source: error.into() };
            let told = explain("http", &error).to_string();
            assert!(told.contains(expect), "{told}");
        }
    }

    /// UDP beside HTTPS was not asked for, whether or not HTTPS was.
    #[test]
    fn nothing_stands_in_the_way_of_https_but_its_own_port() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let wanted = Wanted::Asked(vec![address]);
        for errno in [Errno::ADDRINUSE, Errno::ACCESS, Errno::IO] {
            let mut left_out = Vec::new();
            let error = BindError { protocol: Protocol::Udp, address, source: errno.into() };
            let udp = without_if_it_can_be(Err::<UdpSocket, _>(error), "https", &wanted, HTTP3, &mut left_out);
            assert!(udp.is_ok_and(|socket| socket.is_none()), "{errno}");
            let [LeftOut { service: "HTTP/3", remedy, .. }] = &left_out[..] else { panic!("{errno}: {left_out:?}") };
            assert!(remedy.contains("--https ADDR:PORT"), "{remedy}");
        }
    }

    /// What was asked for must work; of what was not, as much as an edge cannot be without.
    #[test]
    fn a_taken_port_names_its_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let me = format!("(pid {})", std::process::id());
        let exclusive = |address| bartizan_net::tcp(address, Sharing::Exclusive);
        for (wanted, need, is_error) in [
            (Wanted::Asked(vec![address]), Need::Must, true),
            (Wanted::Default(vec![address]), Need::Must, true),
            (Wanted::Asked(vec![address]), Need::May(SERVICE), true),
            (Wanted::Default(vec![address]), Need::May(SERVICE), false),
            (Wanted::Asked(vec![address]), Need::Beside(SERVICE), false),
            (Wanted::Default(vec![address]), Need::Beside(SERVICE), false),
        ] {
            let mut left_out = Vec::new();
            match each("api", &wanted, need, &mut left_out, exclusive) {
                Ok(sockets) => {
                    assert!(!is_error && sockets.is_empty(), "{wanted:?}");
                    let [LeftOut { service: "a service", address: at, reason, .. }] = &left_out[..] else { panic!() };
                    assert!(*at == address && reason.starts_with("taken by ") && reason.ends_with(&me), "{reason}");
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(is_error && left_out.is_empty(), "{wanted:?}");
                    assert!(error.contains(&format!("TCP {address} (--api) is taken by ")), "{error}");
                    assert!(error.contains(&me), "{error}");
                }
            }
        }
    }
}
