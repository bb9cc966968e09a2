//! Makes all addresses of a prefix this machine's own, without putting any on an interface ("AnyIP"): one local route
//! to the loopback interface for each prefix, by rtnetlink (RFC 3549; `rtnetlink(7)`).
//!
//! By hand rather than by the `ip` program, which small container images do not have: it is one message of 40 bytes.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use bartizan_names::Prefix;
use socket2::{Domain, Protocol, Socket, Type};

/// Our mark on routes in the routing table (`ip route` shows `proto 77`): routes of others are never removed.
const ORIGIN: u8 = 77;

/// The loopback interface of every network namespace.
const LOOPBACK: u32 = 1;

/// The kernel answers at once. If it takes longer than this, something is broken.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Prefixes shorter than these are a mistake that would cut this machine off.
const IPV4_LENGTH_MIN: u8 = 8;
const IPV6_LENGTH_MIN: u8 = 16;

const HEADER_BYTES: usize = 16;

/// A prefix's addresses could not be made our own.
#[derive(Debug, thiserror::Error)]
pub enum AnyIpError {
    #[error("{prefix} is too large to be this machine's own: at least /{IPV4_LENGTH_MIN}, in IPv6 /{IPV6_LENGTH_MIN}")]
    TooLarge { prefix: Prefix },
    #[error("a local route for {prefix} needs CAP_NET_ADMIN; by hand: ip route add local {prefix} dev lo")]
    Privileges { prefix: Prefix, source: io::Error },
    #[error("cannot change the local route for {prefix}")]
    Kernel { prefix: Prefix, source: io::Error },
}

/// Prefixes whose addresses are this machine's own. Dropping it leaves the routes, as a crash does.
#[derive(Debug)]
pub struct AnyIp {
    prefixes: Vec<Prefix>,
}

#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
}

impl AnyIp {
    /// Makes the addresses of all these prefixes our own, in the network namespace of this thread. It is no error if a
    /// route is there already: of an earlier process of ours, or of the operator.
    pub fn add(prefixes: &[Prefix]) -> Result<AnyIp, AnyIpError> {
        let needed: Vec<Prefix> = prefixes.iter().filter(|prefix| !is_loopback(prefix)).copied().collect();
        if let Some(&prefix) = needed.iter().find(|prefix| is_too_large(prefix)) {
            return Err(AnyIpError::TooLarge { prefix });
        }
        for &prefix in &needed {
            match change(Change::Add, prefix) {
                Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(explain(prefix, error)),
                _ => {}
            }
        }
        Ok(AnyIp { prefixes: needed })
    }

    /// Those that an earlier process of ours has made.
    pub fn left(prefixes: &[Prefix]) -> AnyIp {
        AnyIp { prefixes: prefixes.iter().filter(|prefix| !is_loopback(prefix)).copied().collect() }
    }

    /// Removes the routes that we, or an earlier process of ours, have made.
    pub fn remove(self) -> Result<(), AnyIpError> {
        for prefix in self.prefixes {
            match change(Change::Remove, prefix) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(explain(prefix, error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the prefix is this machine's own anyway (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
fn is_loopback(prefix: &Prefix) -> bool {
    match prefix.network() {
        IpAddr::V4(four) => four.is_loopback() && prefix.length() >= 8,
        IpAddr::V6(six) => six.is_loopback() && prefix.length() == 128,
    }
}

fn is_too_large(prefix: &Prefix) -> bool {
    prefix.length() < if prefix.is_ipv4() { IPV4_LENGTH_MIN } else { IPV6_LENGTH_MIN }
}

fn explain(prefix: Prefix, source: io::Error) -> AnyIpError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AnyIpError::Privileges { prefix, source },
        _ => AnyIpError::Kernel { prefix, source },
    }
}

fn change(change: Change, prefix: Prefix) -> io::Result<()> {
    let protocol = Some(Protocol::from(libc::NETLINK_ROUTE));
    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, protocol)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    // Without an address it goes to the kernel.
    socket.send(&message(change, prefix))?;
    let mut answer = [0; 1024];
    let len = socket.read(&mut answer)?;
    outcome(&answer[..len])
}

/// `RTM_NEWROUTE` or `RTM_DELROUTE`: header, `struct rtmsg`, destination, interface.
fn message(change: Change, prefix: Prefix) -> Vec<u8> {
    let (kind, how) = match change {
        Change::Add => (libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL),
        Change::Remove => (libc::RTM_DELROUTE, 0),
    };
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | how;
    let (family, destination) = match prefix.network() {
        IpAddr::V4(four) => (libc::AF_INET, four.octets().to_vec()),
        IpAddr::V6(six) => (libc::AF_INET6, six.octets().to_vec()),
    };
    let mut bytes = vec![0; 4];
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    // The first message of its socket; the kernel fills in the sender.
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    let any_source_and_service = [0, 0];
    bytes.extend([family as u8, prefix.length()]);
    bytes.extend(any_source_and_service);
    bytes.extend([libc::RT_TABLE_LOCAL, ORIGIN, libc::RT_SCOPE_HOST, libc::RTN_LOCAL]);
    bytes.extend(0_u32.to_ne_bytes());
    attribute(&mut bytes, libc::RTA_DST, &destination);
    attribute(&mut bytes, libc::RTA_OIF, &LOOPBACK.to_ne_bytes());
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes
}

/// All values here have a multiple of four bytes, so none is padded.
fn attribute(bytes: &mut Vec<u8>, kind: libc::c_ushort, value: &[u8]) {
    bytes.extend((value.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
}

/// Reads `NLMSG_ERROR`: zero, or an error number below zero.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes));
    let code = answer.get(HEADER_BYTES..).and_then(|rest| rest.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes));
    match (kind.map(i32::from), code) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is no acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_route_and_what_gets_none() {
        for (prefix, loopback, too_large) in [
            ("127.77.0.0/16", true, false),
            ("127.0.0.0/8", true, false),
            ("126.0.0.0/7", false, true),
            ("::1/128", true, false),
            ("10.77.0.0/16", false, false),
            ("0.0.0.0/0", false, true),
            ("2001:db8:77::/48", false, false),
            ("::/0", false, true),
        ] {
            let prefix: Prefix = prefix.parse().unwrap();
            assert_eq!((is_loopback(&prefix), is_too_large(&prefix)), (loopback, too_large), "{prefix}");
        }
    }

    #[test]
    fn answers_that_are_none() {
        for answer in [&[][..], &[0; 3], &[0xff; 64], &[0; 20]] {
            assert_eq!(outcome(answer).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
