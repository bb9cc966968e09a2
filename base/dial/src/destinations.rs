//! Which addresses may be dialled. It is asked about addresses, never about names, when they are dialled.
//!
//! Whoever has a zone or an application says where its origin is, by address or by a name whose answers he may change at
//! any time. Without a rule the edge would carry strangers to its own API, to its machine's metadata service, and to
//! itself in a circle.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bartizan_names::Protocol;

use crate::embedded::forms;

/// The rule. Cheap to clone. [`Destinations::all`] is the one without any.
#[derive(Clone, Default)]
pub struct Destinations(Option<Arc<Rules>>);

struct Rules {
    own: Own,
    private: Private,
}

/// What is the edge's own.
#[derive(Default)]
pub struct Own {
    pub listeners: Vec<Listener>,
    /// By which the world knows this edge, now. They may be translated on their way here (RFC 2663 §4), so each of them
    /// counts with the port of every listener.
    pub known: Option<Arc<Known>>,
    /// What comes and goes: pools and applications.
    pub serves: Option<Arc<Serves>>,
}

/// Where this process listens; the address may be the unspecified one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// Whether this edge is known by an address.
pub type Known = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Whether an application, or a whole pool of them, is at an address and port.
pub type Serves = dyn Fn(Protocol, SocketAddr) -> bool + Send + Sync;

/// Whether origins may have loopback and private addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Private {
    #[default]
    Allowed,
    Refused,
}

/// Makes the texts of each variant in one place, and their order, so that an array can be counted in.
macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $label:literal, $text:literal, $remedy:expr;)*) => {
        /// Why an address is not dialled.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum Refusal {
            $($(#[$doc])* #[error($text)] $variant,)*
        }

        impl Refusal {
            pub const ALL: &[Refusal] = &[$(Refusal::$variant,)*];

            /// As a label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Refusal::$variant => $label,)* }
            }

            /// What its owner can do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Refusal::$variant => $remedy,)* }
            }
        }
    };
}

const ELSEWHERE: &str = "name the address of the server that answers, not one with a special meaning";

refusals!(
    Own = "own", "it is this edge itself", "name the server behind the edge, at a port where the edge does not listen";
    /// 0.0.0.0/8 and `::`; the kernel takes the first of each for loopback. And port 0.
    Unspecified = "unspecified", "it is no address, or no port", ELSEWHERE;
    /// RFC 3927 and RFC 4291 §2.5.6: without an interface it means nothing.
    LinkLocal = "link_local", "it is a link-local address", ELSEWHERE;
    Multicast = "multicast", "it is a multicast address", ELSEWHERE;
    Broadcast = "broadcast", "it is the broadcast address", ELSEWHERE;
    /// Gives the credentials of a machine to whoever asks from there.
    Metadata = "metadata", "it is a cloud's metadata service", ELSEWHERE;
    /// By a setting.
    Private = "private", "it is a loopback or private address, or one of the edge's machine, which this edge is set not to dial",
        "start the edge with --private-origins allow, if its zones are yours alone";
);

impl Destinations {
    /// Everything may be dialled: for a connector, whose owner says what it serves.
    pub fn all() -> Destinations {
        Destinations(None)
    }

    pub fn new(own: Own, private: Private) -> Destinations {
        Destinations(Some(Arc::new(Rules { own, private })))
    }

    /// Whether an address may be dialled. Each form that it may arrive as must be allowed.
    pub fn judge(&self, protocol: Protocol, address: SocketAddr) -> Result<(), Refusal> {
        let Some(rules) = &self.0 else { return Ok(()) };
        if address.port() == 0 {
            return Err(Refusal::Unspecified);
        }
        forms(address.ip()).try_for_each(|ip| {
            is_special(ip).map_or(Ok(()), Err)?;
            // Before what is private: it is the more telling reason.
            if rules.own.has(protocol, SocketAddr::new(ip, address.port())) {
                return Err(Refusal::Own);
            }
            // What listens on all addresses of this machine is behind its own firewall, not before it; so is what its
            // router leads to by the address that the world has for it.
            let is_inside = || is_private(ip) || rules.own.is_known_by(ip) || is_of_this_machine(ip);
            if rules.private == Private::Refused && is_inside() { Err(Refusal::Private) } else { Ok(()) }
        })
    }

    /// Whether the world may be told that a name has this address, which somebody's name server said. One that has a meaning
    /// only here would tell about this machine's network, where others may not dial into it.
    pub fn may_be_told(&self, address: IpAddr) -> bool {
        let Some(rules) = &self.0 else { return true };
        forms(address).all(|ip| is_special(ip).is_none()) && (rules.private == Private::Allowed || !is_private(address))
    }

    /// Whether a listener of this process is there, so that what claims to come from there does not, or would be answered
    /// by ourselves.
    pub fn is_listener(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.0.as_ref().is_some_and(|rules| rules.own.listens_at(protocol, address))
    }
}

impl Own {
    fn has(&self, protocol: Protocol, address: SocketAddr) -> bool {
        self.listens_at(protocol, address) || self.serves.as_ref().is_some_and(|serves| serves(protocol, address))
    }

    fn is_known_by(&self, ip: IpAddr) -> bool {
        self.known.as_ref().is_some_and(|known| known(ip))
    }

    fn listens_at(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let mut at_port = self
            .listeners
            .iter()
            .filter(|listener| listener.protocol == protocol && listener.address.port() == address.port())
            .peekable();
        if at_port.peek().is_some() && self.is_known_by(address.ip()) {
            return true;
        }
        at_port.any(|listener| match listener.address.ip() {
            // A socket for `::` may take IPv4 as well (RFC 3493 §5.3).
            IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4() && is_of_this_machine(address.ip()),
            IpAddr::V6(any) if any.is_unspecified() => is_of_this_machine(address.ip()),
            one => one == address.ip(),
        })
    }
}

/// Whether a packet to `ip` stays here. Asked anew each time, since addresses come and go; no packet is sent. What cannot
/// be found out counts as here.
fn is_of_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let socket = match UdpSocket::bind((ip, 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return false,
        Err(_) => return true,
        Ok(socket) => socket,
    };
    drop(socket);
    // A machine may be set to let sockets have foreign addresses (ip_nonlocal_bind), and may have whole prefixes without
    // an interface that has their addresses: the kernel sends to those from the very address that a packet goes to.
    is_own_source(ip) || if_addrs::get_if_addrs().map_or(true, |all| all.iter().any(|interface| interface.ip() == ip))
}

fn is_own_source(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// Addresses that no origin has, whatever the settings are.
fn is_special(ip: IpAddr) -> Option<Refusal> {
    if METADATA.contains(&ip) || matches!(ip, IpAddr::V6(ip) if ip.segments()[..3] == [0xfd00, 0xec2, 0]) {
        return Some(Refusal::Metadata);
    }
    match ip {
        // RFC 1122 §3.2.1.3 (a): "this host on this network".
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some(Refusal::Unspecified),
        IpAddr::V4(ip) if ip.is_link_local() => Some(Refusal::LinkLocal),
        IpAddr::V4(ip) if ip.is_broadcast() => Some(Refusal::Broadcast),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(Refusal::Unspecified),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(Refusal::LinkLocal),
        ip if ip.is_multicast() => Some(Refusal::Multicast),
        _ => None,
    }
}

/// Those of common clouds that other rules do not cover; 169.254.169.254 is named for its reason. AWS has fd00:ec2::/48.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address is loopback or private in any form that it may arrive as: RFC 1918, RFC 6598 (shared by an access
/// network), RFC 4193 (unique local), RFC 3879 (site-local, retired). What is of the edge's own machine is not seen here.
pub fn is_private(address: IpAddr) -> bool {
    forms(address).any(|ip| match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.segments()[0] & 0xffc0 == 0xfec0,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    fn verdict(destinations: &Destinations, protocol: Protocol, address: &str) -> &'static str {
        match destinations.judge(protocol, address.parse().unwrap()) {
            Ok(()) => "allowed",
            Err(refusal) => refusal.as_str(),
        }
    }

    fn own(listeners: &[(Protocol, &str)]) -> Own {
        let listener =
            |(protocol, address): &(_, &str)| Listener { protocol: *protocol, address: address.parse().unwrap() };
        Own { listeners: listeners.iter().map(listener).collect(), ..Own::default() }
    }

    #[test]
    fn addresses_with_a_special_meaning() {
        for (address, when_allowed, when_refused) in [
            ("192.0.2.1:80", "allowed", "allowed"),
            ("[2001:db8::1]:80", "allowed", "allowed"),
            ("192.0.2.1:0", "unspecified", "unspecified"),
            ("0.0.0.0:80", "unspecified", "unspecified"),
            ("0.1.2.3:80", "unspecified", "unspecified"),
            ("[::]:80", "unspecified", "unspecified"),
            ("[::ffff:0.0.0.0]:80", "unspecified", "unspecified"),
            ("169.254.1.1:80", "link_local", "link_local"),
            ("[fe80::1]:80", "link_local", "link_local"),
            ("[febf::1]:80", "link_local", "link_local"),
            ("224.0.0.1:80", "multicast", "multicast"),
            ("239.255.255.255:80", "multicast", "multicast"),
            ("[ff02::1]:80", "multicast", "multicast"),
            ("255.255.255.255:80", "broadcast", "broadcast"),
            ("169.254.169.254:80", "metadata", "metadata"),
            ("[::ffff:169.254.169.254]:80", "metadata", "metadata"),
            ("[::169.254.169.254]:80", "metadata", "metadata"),
            ("[64:ff9b::169.254.169.254]:80", "metadata", "metadata"),
            ("[2002:a9fe:a9fe::1]:80", "metadata", "metadata"),
            ("[fd00:ec2::254]:80", "metadata", "metadata"),
            ("100.100.100.200:80", "metadata", "metadata"),
            ("127.0.0.1:80", "allowed", "private"),
            ("127.9.9.9:80", "allowed", "private"),
            ("[::1]:80", "allowed", "private"),
            ("[::ffff:127.0.0.1]:80", "allowed", "private"),
            ("10.1.2.3:80", "allowed", "private"),
            ("172.16.0.1:80", "allowed", "private"),
            ("172.32.0.1:80", "allowed", "allowed"),
            ("192.168.0.1:80", "allowed", "private"),
            ("100.64.0.1:80", "allowed", "private"),
            ("100.127.255.255:80", "allowed", "private"),
            ("100.128.0.1:80", "allowed", "allowed"),
            ("[fc00::1]:80", "allowed", "private"),
            ("[fdff::1]:80", "allowed", "private"),
            ("[fec0::1]:80", "allowed", "private"),
            ("[64:ff9b::10.0.0.1]:80", "allowed", "private"),
            ("[64:ff9b::192.0.2.1]:80", "allowed", "allowed"),
            ("[2002:c0a8:1::1]:80", "allowed", "private"),
            ("[64:ff9b:1:2::10.0.0.1]:80", "allowed", "private"),
            ("[64:ff9b:1:a9fe:a9:fe00::]:80", "metadata", "metadata"),
            ("[64:ff9b:1::192.0.2.1]:80", "allowed", "allowed"),
            ("[2001:db8::5efe:127.0.0.1]:80", "allowed", "private"),
            ("[2001:db8::200:5efe:169.254.169.254]:80", "metadata", "metadata"),
        ] {
            for (private, expect) in [(Private::Allowed, when_allowed), (Private::Refused, when_refused)] {
                let destinations = Destinations::new(Own::default(), private);
                assert_eq!(verdict(&destinations, Protocol::Tcp, address), expect, "{address} {private:?}");
            }
            assert_eq!(verdict(&Destinations::all(), Protocol::Tcp, address), "allowed", "{address}");
        }
    }

    #[test]
    fn what_is_our_own() {
        use Protocol::{Tcp, Udp};
        let bound = &[(Tcp, "127.0.0.1:80"), (Tcp, "[::1]:80"), (Udp, "127.0.0.1:53")][..];
        let any = &[(Tcp, "0.0.0.0:80")][..];
        let any_v6 = &[(Tcp, "[::]:80")][..];
        for (listeners, protocol, address, expect) in [
            (bound, Tcp, "127.0.0.1:80", "own"),
            (bound, Tcp, "[::1]:80", "own"),
            (bound, Tcp, "[::ffff:127.0.0.1]:80", "own"),
            (bound, Tcp, "[64:ff9b::127.0.0.1]:80", "own"),
            (bound, Tcp, "127.0.0.1:81", "allowed"),
            (bound, Udp, "127.0.0.1:80", "allowed"),
            (bound, Udp, "127.0.0.1:53", "own"),
            // Another address of this machine is another server.
            (bound, Tcp, "127.0.0.2:80", "allowed"),
            (any, Tcp, "127.0.0.1:80", "own"),
            (any, Tcp, "127.1.2.3:80", "own"),
            (any, Tcp, "127.0.0.1:81", "allowed"),
            (any, Tcp, "192.0.2.1:80", "allowed"),
            (any, Tcp, "[::1]:80", "allowed"),
            (any_v6, Tcp, "[::1]:80", "own"),
            (any_v6, Tcp, "127.0.0.1:80", "own"),
        ] {
            let destinations = Destinations::new(own(listeners), Private::Allowed);
            assert_eq!(verdict(&destinations, protocol, address), expect, "{listeners:?} {protocol} {address}");
        }
    }

    #[test]
    fn addresses_of_this_machine() {
        let interfaces = if_addrs::get_if_addrs().unwrap();
        // A link-local address of an interface means nothing without its name.
        for ip in interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| is_special(*ip).is_none()) {
            assert!(is_of_this_machine(ip), "{ip}");
            let address = SocketAddr::new(ip, 9).to_string();
            let refusing = Destinations::new(Own::default(), Private::Refused);
            assert_eq!(verdict(&refusing, Protocol::Tcp, &address), "private", "{ip}");
        }
        for (ip, expect) in [("127.1.2.3", true), ("192.0.2.1", false), ("2001:db8::1", false)] {
            assert_eq!(is_of_this_machine(ip.parse().unwrap()), expect, "{ip}");
        }
    }

    #[test]
    fn what_comes_and_goes_and_what_is_translated() {
        let last = Arc::new(AtomicU8::new(1));
        let now = Arc::clone(&last);
        let own = || {
            let now = Arc::clone(&now);
            let serves = |_, address: SocketAddr| address.ip() == IpAddr::from([127, 77, 0, 1]);
            let known = move |ip| ip == IpAddr::from([203, 0, 113, now.load(Ordering::Relaxed)]);
            Own {
                known: Some(Arc::new(known)),
                serves: Some(Arc::new(serves)),
                ..own(&[(Protocol::Tcp, "10.0.0.1:443")])
            }
        };
        let [destinations, refusing] = [Private::Allowed, Private::Refused].map(|it| Destinations::new(own(), it));
        for (address, when_allowed, when_refused) in [
            ("10.0.0.1:443", "own", "own"),
            ("203.0.113.1:443", "own", "own"),
            ("203.0.113.1:444", "allowed", "private"),
            ("203.0.113.2:443", "allowed", "allowed"),
            ("[2002:cb00:7101::1]:444", "allowed", "private"),
            ("127.77.0.1:22", "own", "own"),
            ("127.77.0.2:22", "allowed", "private"),
        ] {
            assert_eq!(verdict(&destinations, Protocol::Tcp, address), when_allowed, "{address}");
            assert_eq!(verdict(&refusing, Protocol::Tcp, address), when_refused, "{address}");
        }
        // It gets another address.
        last.store(2, Ordering::Relaxed);
        assert_eq!(verdict(&destinations, Protocol::Tcp, "203.0.113.1:443"), "allowed");
        assert_eq!(verdict(&destinations, Protocol::Tcp, "203.0.113.2:443"), "own");
        assert!(destinations.is_listener(Protocol::Tcp, "[::ffff:10.0.0.1]:443".parse().unwrap()));
        assert!(!destinations.is_listener(Protocol::Udp, "10.0.0.1:443".parse().unwrap()));
        assert!(!destinations.is_listener(Protocol::Tcp, "127.77.0.1:22".parse().unwrap()));
    }
}
