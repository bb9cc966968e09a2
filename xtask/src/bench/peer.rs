//! Servers beside ours: started on the core of servers, and ended with the benchmark.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// The core that the server under test has for itself.
pub(super) const SERVER_CORE: &str = "0";

/// The core that the load generator has for itself.
pub(super) const CLIENT_CORE: &str = "1";

/// A peer that runs. Dropped, it is killed.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) child: Child,
}

impl Peer {
    pub(super) fn start(name: &'static str, address: SocketAddr, command: &mut Command) -> Result<Peer> {
        eprintln!("$ {}", process::line(command));
        let child = command.stdout(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Peer { name, address, child })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM, so that a server which has forked takes its children with it.
        let _ = process::command("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A server, on the core of servers.
pub(super) fn pinned(program: &Path) -> Command {
    on_core(SERVER_CORE, program)
}

pub(super) fn on_core(core: &str, program: &Path) -> Command {
    let mut command = process::command("taskset");
    command.args(["--cpu-list", core]).arg(program);
    command
}

pub(super) fn found(program: &str) -> Result<PathBuf> {
    process::find(program).with_context(|| format!("no {program}"))
}

/// A loopback address that no client uses: unlike on 127.0.0.1, no connection takes a port before its server.
const APART: Ipv4Addr = Ipv4Addr::new(127, 199, 0, 1);

/// Ports that are tried.
const FREE_TRIES: usize = 100;

/// A port there that was free a moment ago, for TCP and for UDP: peers cannot be told to take any.
pub(super) fn free_apart() -> Result<SocketAddr> {
    for _ in 0..FREE_TRIES {
        let address = TcpListener::bind((APART, 0)).context("no free port")?.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {APART} is free for both TCP and UDP")
}
