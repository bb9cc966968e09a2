//! Steering in force: the program with its sockets and claims, attached to this network namespace.
//!
//! ```text
//! attach ──► update, update … ──┬─► detach   clean stop: nothing is left
//!                               └─► drop     crash, or hand-over: the pin keeps it for the next process
//! ```
//!
//! A process that attaches under a pinned name takes over: its program is attached, with full tables, before the
//! earlier one goes, and of two programs the kernel uses the later one. So each connection is steered by one of them.
//! The kernel does not keep sockets: they close with the last process that holds them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use bartizan_names::Prefix;

use crate::kernel::{Counts, Kernel, KernelError, Kind, WORKERS_MAX};
use crate::pin::{Detached, PinFailure, pin, unpin};
use crate::support::{Missing, capabilities, explain};
use crate::table::{Claim, PortPrefix, Table, TableError, Verdict, compile};

/// The sockets that get what is claimed, of both families: bound to whatever address, TCP sockets listening. One for
/// each thread; which one a connection gets is told by a hash of its addresses and ports.
#[derive(Clone, Copy, Default)]
pub struct Workers<'s> {
    pub tcp: &'s [TcpListener],
    pub udp: &'s [UdpSocket],
}

/// What stays as it is until the next attach.
#[derive(Clone, Copy)]
pub struct Setup<'s> {
    /// The pin: [`pin_name`](crate::pin_name) of the data directory, in [`BPFFS`](crate::BPFFS).
    pub pin: &'s Path,
    pub workers: Workers<'s>,
    /// Prefixes whose addresses are ours alone: ports that are not claimed there are refused.
    pub pools: &'s [Prefix],
    /// Where this machine's own services listen. They keep their ports, whatever is claimed.
    pub skip: &'s [SocketAddr],
}

/// Steering could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("{count} sockets of one protocol and family, of at most {WORKERS_MAX}")]
    TooManyWorkers { count: usize },
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the kernel does not take what shall be steered")]
    Kernel(#[source] KernelError),
}

/// Claims could not all be put in force. Some may be; the next update does the rest.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the kernel does not take a claim")]
    Kernel(#[source] KernelError),
}

/// Whether steering outlives this process.
#[derive(Debug)]
pub enum Pinning {
    /// Until the next process of the same name takes over, or [`Steering::detach`].
    At(PathBuf),
    /// It ends with the process, for this reason.
    Not(PinFailure),
}

/// Steering in force. Dropping it leaves it in force where it is pinned.
pub struct Steering {
    kernel: Kernel,
    link: FdLink,
    pinning: Pinning,
    pools: Vec<Prefix>,
    skip: Vec<SocketAddr>,
    installed: BTreeMap<Prefix, Installed>,
    next_set: u32,
}

/// What the kernel's maps hold for an address.
#[derive(Default)]
struct Installed {
    set: u32,
    /// None until the address has a set of ports.
    otherwise: Option<Verdict>,
    ports: BTreeMap<PortPrefix, Verdict>,
}

impl Steering {
    /// Steers what is claimed to the sockets, in the network namespace of this thread.
    pub fn attach(setup: &Setup<'_>, claims: &[Claim]) -> Result<Steering, AttachError> {
        capabilities()?;
        let table = compile(setup.pools, setup.skip, claims)?;
        let sockets = by_kind(setup.workers)?;
        let mut kernel = Kernel::load().map_err(explain)?;
        for (kind, sockets) in KINDS.into_iter().zip(&sockets) {
            kernel.put_workers(kind, sockets).map_err(AttachError::Kernel)?;
        }
        let (mut installed, mut next_set) = (BTreeMap::new(), 0);
        install(&mut kernel, &mut installed, &mut next_set, table).map_err(AttachError::Kernel)?;
        let (link, pinning) = attach_pinned(&mut kernel, setup.pin)?;
        Ok(Steering {
            kernel,
            link,
            pinning,
            pools: setup.pools.to_vec(),
            skip: setup.skip.to_vec(),
            installed,
            next_set,
        })
    }

    /// Puts these claims in force in place of the former ones. What is claimed before and after is steered all the
    /// time; established connections never notice.
    pub fn update(&mut self, claims: &[Claim]) -> Result<(), UpdateError> {
        let table = compile(&self.pools, &self.skip, claims)?;
        install(&mut self.kernel, &mut self.installed, &mut self.next_set, table).map_err(UpdateError::Kernel)
    }

    /// Ends it. Connections that are in a socket's queue stay there.
    pub fn detach(self) -> Result<Detached, KernelError> {
        match &self.pinning {
            Pinning::At(path) => unpin(&self.link, path),
            Pinning::Not(_) => Ok(Detached::Gone),
        }
    }

    pub fn pinning(&self) -> &Pinning {
        &self.pinning
    }

    pub fn counts(&self) -> Result<Counts, KernelError> {
        self.kernel.counts()
    }
}

const KINDS: [Kind; 4] = [Kind::TcpIpv4, Kind::TcpIpv6, Kind::UdpIpv4, Kind::UdpIpv6];

/// Sockets in the order of [`KINDS`].
type Descriptors<'s> = [Vec<BorrowedFd<'s>>; 4];

fn by_kind(workers: Workers<'_>) -> Result<Descriptors<'_>, AttachError> {
    let mut sockets: Descriptors<'_> = Default::default();
    let is_ipv4 = |address: std::io::Result<SocketAddr>| {
        address.map(|address| address.is_ipv4()).map_err(|error| AttachError::Kernel(error.into()))
    };
    for socket in workers.tcp {
        let kind = if is_ipv4(socket.local_addr())? { Kind::TcpIpv4 } else { Kind::TcpIpv6 };
        sockets[kind as usize].push(socket.as_fd());
    }
    for socket in workers.udp {
        let kind = if is_ipv4(socket.local_addr())? { Kind::UdpIpv4 } else { Kind::UdpIpv6 };
        sockets[kind as usize].push(socket.as_fd());
    }
    match sockets.iter().map(Vec::len).find(|count| *count > WORKERS_MAX) {
        Some(count) => Err(AttachError::TooManyWorkers { count }),
        None => Ok(sockets),
    }
}

fn attach_pinned(kernel: &mut Kernel, path: &Path) -> Result<(FdLink, Pinning), AttachError> {
    let link = kernel.attach().map_err(explain)?;
    match pin(link, path) {
        Ok(link) => Ok((link, Pinning::At(path.to_owned()))),
        // The link was closed by the failed attempt.
        Err(failure) => Ok((kernel.attach().map_err(explain)?, Pinning::Not(failure))),
    }
}

/// Brings the kernel's maps from what is installed to what is wanted: first what is new, ports before the address that
/// leads to them; then away with the old, in the other order. What fails in the middle is known, and goes on next time.
fn install(
    kernel: &mut Kernel,
    installed: &mut BTreeMap<Prefix, Installed>,
    next_set: &mut u32,
    table: Table,
) -> Result<(), KernelError> {
    for (prefix, want) in &table {
        let have = installed.entry(*prefix).or_insert_with(|| {
            // It wraps after four thousand million applications, when the first are long gone.
            *next_set = next_set.wrapping_add(1);
            Installed { set: *next_set, ..Installed::default() }
        });
        for (&ports, &verdict) in &want.ports {
            if have.ports.get(&ports) != Some(&verdict) {
                kernel.put_ports(have.set, ports, verdict)?;
                have.ports.insert(ports, verdict);
            }
        }
        if have.otherwise != Some(want.otherwise) {
            kernel.put_address(*prefix, have.set, want.otherwise)?;
            have.otherwise = Some(want.otherwise);
        }
    }
    for (prefix, have) in installed.iter_mut() {
        let want = table.get(prefix);
        if want.is_none() && have.otherwise.is_some() {
            kernel.remove_address(*prefix)?;
            have.otherwise = None;
        }
        let is_old = |ports: &PortPrefix| want.is_none_or(|want| !want.ports.contains_key(ports));
        let old: Vec<PortPrefix> = have.ports.keys().filter(|ports| is_old(ports)).copied().collect();
        for ports in old {
            kernel.remove_ports(have.set, ports)?;
            have.ports.remove(&ports);
        }
    }
    installed.retain(|prefix, _| table.contains_key(prefix));
    Ok(())
}
