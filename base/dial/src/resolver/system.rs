//! What this machine says about names: hosts(5), and the name servers of resolv.conf(5).
//!
//! Both files are read for each look-up, so that a change in them counts. Reading blocks, so it is done on another
//! thread. So does asking the system's resolver; it may take some of those threads only.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use bartizan_names::Name;
use tokio::sync::Semaphore;

use super::stub::NoAnswer;
use crate::counters::Counters;
use crate::limits::{NAME_SERVERS_MAX, SYSTEM_FILE_BYTES_MAX, SYSTEM_LOOKUPS_MAX};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// The addresses that the file of hosts has for a name.
pub(super) async fn hosts(name: &Name) -> Vec<IpAddr> {
    let name = name.to_string();
    // An error means that the worker ends.
    tokio::task::spawn_blocking(move || hosts_in(&read(HOSTS), &name)).await.unwrap_or_default()
}

/// The name servers that the system asks.
pub(super) async fn servers() -> Vec<SocketAddr> {
    tokio::task::spawn_blocking(|| servers_in(&read(RESOLV_CONF))).await.unwrap_or_default()
}

/// The system's own resolver. It may know sources beside DNS: multicast DNS, directories (nsswitch.conf(5)).
pub(super) struct SystemResolver {
    /// One for each look-up that may be under way.
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl SystemResolver {
    pub(super) fn new(counters: Arc<Counters>) -> SystemResolver {
        SystemResolver { places: Arc::new(Semaphore::new(SYSTEM_LOOKUPS_MAX)), counters }
    }

    /// What it finds; no answer while it is busy with other names. It is not waited for: a name that nobody answers for
    /// may keep it for as long as it likes.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, NoAnswer> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counters.system_lookup_refused();
            return Err(NoAnswer);
        };
        let name = complete(name);
        let looking = move || {
            let found = (name, 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect());
            // Not before: it goes on when nobody waits for it any more.
            drop(place);
            found.unwrap_or_default()
        };
        Ok(tokio::task::spawn_blocking(looking).await.unwrap_or_default())
    }
}

/// With the dot at its end: without it the system's resolver would go on with the search list of resolv.conf(5), and a
/// name that does not exist would lead into the operator's own domain.
fn complete(name: &Name) -> String {
    format!("{}.", name.to_string().trim_end_matches('.'))
}

/// The first part of a file, up to a limit. A file that is not there counts as empty.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // After an error, what was read before it is used.
        let _ = file.take(SYSTEM_FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names that always mean this machine (RFC 6761 §6.3).
pub(super) fn is_local(name: &Name) -> bool {
    name.labels().last() == Some(b"localhost")
}

/// Names that never exist: nobody is asked (RFC 6761 §6.4).
pub(super) fn is_invalid(name: &Name) -> bool {
    name.labels().last() == Some(b"invalid")
}

fn hosts_in(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let is_meant = |word: &str| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name);
        words.any(is_meant).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    let servers: Vec<SocketAddr> = text.lines().filter_map(line).take(NAME_SERVERS_MAX).collect();
    // As the system's own resolver does.
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_hosts() {
        let text = "127.0.0.1 localhost one.test\n# 192.0.2.9 one.test\n::1\tlocalhost # two.test\n\
                    nonsense one.test\n192.0.2.7 db ONE.test. one.test\n192.0.2.8\n\n";
        for (name, expect) in [
            ("localhost", "127.0.0.1 ::1"),
            ("one.test", "127.0.0.1 192.0.2.7"),
            ("two.test", ""),
            ("db", "192.0.2.7"),
            ("test", ""),
        ] {
            let found: Vec<String> = hosts_in(text, name).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expect, "{name}");
        }
        for (name, expect) in [
            ("LocalHost.", true),
            ("a.localhost", true),
            ("notlocalhost", false),
            ("localhost.test", false),
            (".", false),
        ] {
            assert_eq!(is_local(&Name::parse(name).unwrap()), expect, "{name}");
        }
    }

    #[tokio::test]
    async fn the_systems_resolver_takes_some_threads_only() {
        let counters = Arc::new(Counters::default());
        let resolver = SystemResolver::new(Arc::clone(&counters));
        let name = Name::parse("busy.invalid").unwrap();
        let places = Arc::clone(&resolver.places).try_acquire_many_owned(SYSTEM_LOOKUPS_MAX as u32).unwrap();
        assert_eq!(resolver.addresses(&name).await, Err(NoAnswer));
        let metrics = format!("{:?}", bartizan_observed::Measured::measure(&*counters)[2]);
        assert!(metrics.contains("system_lookups_refused") && metrics.contains('1'), "{metrics}");
        drop(places);
        assert_eq!(resolver.addresses(&name).await, Ok(vec![]));
        assert_eq!(resolver.places.available_permits(), SYSTEM_LOOKUPS_MAX);
    }

    #[test]
    fn names_are_complete() {
        for (name, expect) in [("a.test", "a.test."), ("a.test.", "a.test."), ("intranet", "intranet."), (".", ".")] {
            assert_eq!(complete(&Name::parse(name).unwrap()), expect, "{name}");
        }
    }

    #[test]
    fn lists_of_name_servers() {
        for (text, expect) in [
            ("", "127.0.0.1:53"),
            ("search example.com\nnameserver nonsense\n", "127.0.0.1:53"),
            ("#nameserver 192.0.2.1\nnameserver 192.0.2.2 # first\n nameserver ::1\n", "192.0.2.2:53 [::1]:53"),
            (&"nameserver 192.0.2.1\n".repeat(9), "192.0.2.1:53 192.0.2.1:53 192.0.2.1:53"),
        ] {
            let servers: Vec<String> = servers_in(text).iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), expect, "{text:?}");
        }
    }
}
