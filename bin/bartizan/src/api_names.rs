//! Under which names and addresses the API is called: its certificate is for these, and no other Host is its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use bartizan_names::Name;

/// Addresses of this machine in a certificate; one with containers has hundreds.
const ADDRESSES_MAX: usize = 64;

/// `localhost`, what the settings name, this machine's own name, and the addresses that are listened on: all that there
/// are, where that is any.
pub fn all(given: &[Name], listening: &[SocketAddr]) -> Vec<String> {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = Name::typed(machine.trim()).ok().filter(can_be_in_a_certificate);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    of(given, machine, listening, &interfaces.iter().map(if_addrs::Interface::ip).collect::<Vec<_>>())
}

fn of(given: &[Name], machine: Option<Name>, listening: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<String> {
    let is_listened_on = |own: &IpAddr| {
        listening.iter().any(|address| match address.ip() {
            // `::` takes IPv4 too, as Linux has it by default.
            IpAddr::V6(any) if any.is_unspecified() => true,
            IpAddr::V4(any) if any.is_unspecified() => own.is_ipv4(),
            one => one == *own,
        })
    };
    let listened = listening.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified());
    let addresses: BTreeSet<IpAddr> = listened.chain(interfaces.iter().copied().filter(is_listened_on)).collect();
    let names = given.iter().cloned().chain(machine).map(|name| name.to_string());
    let mut all = vec!["localhost".to_owned()];
    for name in names.chain(addresses.iter().take(ADDRESSES_MAX).map(ToString::to_string)) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// RFC 5280 §4.2.1.6, for a name of one machine.
pub fn can_be_in_a_certificate(name: &Name) -> bool {
    name.is_host() && !name.labels().any(|label| label == b"*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_api() {
        let interfaces = ["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"].map(|text| text.parse().unwrap());
        for (listening, expect) in [
            (&["127.0.0.1:8787", "[::1]:8787"][..], "127.0.0.1 ::1"),
            (&["0.0.0.0:8787"], "127.0.0.1 192.0.2.7"),
            (&["[::]:8787"], "127.0.0.1 192.0.2.7 ::1 2001:db8::7"),
            // Not on an interface: an address that a router leads here.
            (&["198.51.100.1:8787"], "198.51.100.1"),
        ] {
            let listening: Vec<SocketAddr> = listening.iter().map(|text| text.parse().unwrap()).collect();
            let name = |text: &str| Name::typed(text).unwrap();
            let names = of(&[name("API.example.com")], Some(name("machine")), &listening, &interfaces);
            assert_eq!(names.join(" "), format!("localhost api.example.com machine {expect}"));
        }
    }
}
