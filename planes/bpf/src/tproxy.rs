//! The second-best way to have every port of a prefix on a few sockets, for kernels and containers that give no BPF
//! programs: a rule of the packet filter hands connections and datagrams for the prefixes to transparent sockets
//! (`Documentation/networking/tproxy.rst` of Linux).
//!
//! Whole prefixes are handed over, whatever is claimed on them, so applications come and go without a new rule. A
//! client that dials a port without an application is accepted and reset. The rule is made by `nft(8)` in our own
//! table, which is removed as a whole: no other rule of this machine is read or changed.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_names::{Prefix, Protocol};

use crate::pin::pin_name;
use crate::steering::Workers;

/// What makes the rule (Debian: nftables).
const NFT: &str = "nft";

/// Handing over could not begin, or not end.
#[derive(Debug, thiserror::Error)]
pub enum TproxyError {
    #[error("handing all ports to one socket without BPF needs the program nft (Debian: apt-get install nftables)")]
    NoProgram(#[source] io::Error),
    /// Its own words: there is no other source.
    #[error("nft refuses: {0}")]
    Refused(String),
    #[error("a socket that shall get all ports has no address")]
    Socket(#[source] io::Error),
}

/// The rule in force. Dropping it leaves it, as a crash does; the next process with the same name replaces it at once.
#[derive(Debug)]
pub struct Tproxy {
    table: String,
}

impl Tproxy {
    /// Hands packets for the prefixes, in the network namespace of this thread, to transparent sockets. The sockets of
    /// one protocol and family share one address. `data` names the table, so that the one of an earlier process is
    /// replaced.
    pub fn attach(data: &Path, prefixes: &[Prefix], workers: Workers<'_>) -> Result<Tproxy, TproxyError> {
        let table = table(&pin_name(data));
        let tcp = workers.tcp.iter().map(|socket| Ok((Protocol::Tcp, socket.local_addr()?)));
        let udp = workers.udp.iter().map(|socket| Ok((Protocol::Udp, socket.local_addr()?)));
        let sockets: Vec<_> = tcp.chain(udp).collect::<io::Result<_>>().map_err(TproxyError::Socket)?;
        nft(&script(&table, prefixes, &sockets))?;
        Ok(Tproxy { table })
    }

    /// The one that another process has made; `name` is the [`pin_name`] of its data directory.
    pub fn left(name: &str) -> Tproxy {
        Tproxy { table: table(name) }
    }

    /// Removes the rule. Open connections go on: they have their own sockets.
    pub fn detach(self) -> Result<(), TproxyError> {
        nft(&format!("delete table inet {}\n", self.table))
    }
}

fn table(name: &str) -> String {
    name.replace('-', "_")
}

/// One transaction: the table is there, with the new rules or with the old ones, at every moment.
fn script(table: &str, prefixes: &[Prefix], sockets: &[(Protocol, SocketAddr)]) -> String {
    let mut text = format!(
        "table inet {table} {{}}\ndelete table inet {table}\ntable inet {table} {{\n  chain hand_over {{\n    \
         type filter hook prerouting priority mangle; policy accept;\n"
    );
    for (family, is_ipv4) in [("ip", true), ("ip6", false)] {
        let list: Vec<String> =
            prefixes.iter().filter(|prefix| prefix.is_ipv4() == is_ipv4).map(ToString::to_string).collect();
        for kind in [Protocol::Tcp, Protocol::Udp] {
            let socket = sockets.iter().find(|(protocol, at)| *protocol == kind && at.is_ipv4() == is_ipv4);
            let Some((protocol, at)) = socket.filter(|_| !list.is_empty()) else { continue };
            let list = list.join(", ");
            text.push_str(&format!(
                "    {family} daddr {{ {list} }} meta l4proto {protocol} tproxy {family} to {at} accept\n"
            ));
        }
    }
    text.push_str("  }\n}\n");
    text
}

/// Runs nft with a script on its standard input.
fn nft(script: &str) -> Result<(), TproxyError> {
    let started = Command::new(NFT).args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(TproxyError::NoProgram)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If nft ends before it has read everything, its standard error says why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(TproxyError::NoProgram)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(TproxyError::Refused(said.lines().next().unwrap_or("without a word").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let prefixes = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<Prefix>>();
        let sockets = [
            (Protocol::Tcp, "127.0.0.1:4000"),
            (Protocol::Tcp, "127.0.0.1:4000"),
            (Protocol::Udp, "127.0.0.1:4002"),
            (Protocol::Tcp, "[::1]:4001"),
        ]
        .map(|(protocol, at)| (protocol, at.parse().unwrap()));
        for (list, expect) in [
            (
                &["10.77.0.0/16", "2001:db8::/48", "127.77.0.0/16"][..],
                &[
                    "ip daddr { 10.77.0.0/16, 127.77.0.0/16 } meta l4proto tcp tproxy ip to 127.0.0.1:4000 accept",
                    "ip daddr { 10.77.0.0/16, 127.77.0.0/16 } meta l4proto udp tproxy ip to 127.0.0.1:4002 accept",
                    "ip6 daddr { 2001:db8::/48 } meta l4proto tcp tproxy ip6 to [::1]:4001 accept",
                ][..],
            ),
            (&[], &[]),
        ] {
            let text = script("t", &prefixes(list), &sockets);
            let rules: Vec<&str> = text.lines().filter(|line| line.contains("tproxy")).map(str::trim).collect();
            assert_eq!(rules, expect, "{list:?}");
        }
    }
}
