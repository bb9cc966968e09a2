//! Every port of `up`, bound before anything is started: a taken one is an error that names the holder.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use bartizan_dial::Listener;
use bartizan_net::{BindError, Protocol, Sharing};
use rustix::io::Errno;

use crate::failure::{Cause, Failure};
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
    pub tunnel: Vec<UdpSocket>,
}

/// Where an edge listens, with the port numbers that port 0 became.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub api: Vec<SocketAddr>,
    pub dns: Vec<SocketAddr>,
    pub dns_tls: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub tunnel: Vec<SocketAddr>,
}

impl Addresses {
    /// Those that no origin may have.
    pub fn listeners(&self) -> Vec<Listener> {
        use bartizan_names::Protocol::{Tcp, Udp};
        let of = |protocol, all: &[SocketAddr]| -> Vec<Listener> {
            all.iter().map(|address| Listener { protocol, address: *address }).collect()
        };
        let tcp =
            [&self.api, &self.dns, &self.dns_tls, &self.http, &self.https].into_iter().flat_map(|all| of(Tcp, all));
        tcp.chain([&self.dns, &self.tunnel].into_iter().flat_map(|all| of(Udp, all))).collect()
    }

    pub fn all(&self) -> Vec<SocketAddr> {
        let all = [&self.api, &self.dns, &self.dns_tls, &self.http, &self.https, &self.tunnel];
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
            tunnel: self.tunnel.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?,
        })
    }
}

/// Binds everything, or nothing.
pub fn bind(settings: &Settings) -> anyhow::Result<Listeners> {
    let workers = settings.workers;
    let mut dns_udp = Vec::new();
    let mut dns_tcp = Vec::new();
    for (udp, tcp) in each("dns", &settings.dns, |address| dns(address, workers))? {
        dns_udp.extend(udp);
        dns_tcp.push(tcp);
    }
    Ok(Listeners {
        api: each("api", &settings.api, |address| bartizan_net::tcp(address, Sharing::Exclusive))?,
        dns_udp,
        dns_tcp,
        dns_tls: each("dns-tls", &settings.dns_tls, |address| bartizan_net::tcp(address, Sharing::Exclusive))?,
        http: each("http", &settings.http, |address| bartizan_net::tcp_shared(address, workers))?,
        https: each("https", &settings.https, |address| bartizan_net::tcp_shared(address, workers))?,
        tunnel: each("tunnel", &settings.tunnel, |address| bartizan_net::udp(address, Sharing::Exclusive))?,
    })
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

/// A socket on each address; one of the defaults that this machine does not have is left out.
fn each<S>(flag: &str, wanted: &Wanted, bind: impl Fn(SocketAddr) -> Result<S, BindError>) -> anyhow::Result<Vec<S>> {
    let mut sockets = Vec::new();
    for address in wanted.all() {
        match bind(*address) {
            Ok(socket) => sockets.push(socket),
            Err(error)
                if matches!(wanted, Wanted::Default(_)) && error.source.kind() == ErrorKind::AddrNotAvailable =>
            {
                tracing::debug!(%address, "this machine has no such address: left out");
            }
            Err(error) => return Err(explain(flag, &error).into()),
        }
    }
    if sockets.is_empty() {
        return Err(Failure::new(Cause::Failed, format!("this machine has none of the addresses for --{flag}"))
            .remedy(format!("name one: --{flag} ADDR:PORT"))
            .into());
    }
    Ok(sockets)
}

/// What is wrong with an address, who is to blame, and what to do.
fn explain(flag: &str, error: &BindError) -> Failure {
    let BindError { protocol, address, source } = error;
    match source.kind() {
        ErrorKind::AddrInUse => {
            let transport = match protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
            };
            let holder = holder::of(*address, transport).unwrap_or_else(|| "a process of another user".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_taken_port_names_its_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error =
            each("api", &Wanted::Asked(vec![address]), |address| bartizan_net::tcp(address, Sharing::Exclusive))
                .unwrap_err()
                .to_string();
        assert!(error.contains(&format!("TCP {address} (--api) is taken by ")), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    }
}
