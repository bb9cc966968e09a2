//! The program `ebpf/sk_lookup.c` and its maps, loaded. Names, sizes and values belong together with that file.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, SockMap};
use aya::programs::SkLookup;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader};
use bartizan_names::{Prefix, Protocol};

use crate::table::{PortPrefix, Verdict};

/// Sockets of one protocol and family.
pub const WORKERS_MAX: usize = 64;

/// Made by `cargo xtask ebpf build`; a build of Bartizan needs no clang.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/sk_lookup.o");

const PROGRAM: &str = "steer";

/// What aya says, where its type does not matter.
pub type KernelError = Box<dyn Error + Send + Sync>;

/// Packets since the program was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP connections that one of our sockets got.
    pub steered_tcp: u64,
    /// Datagrams that one of our sockets got; those of a flow that has a socket of its own are not among them.
    pub steered_udp: u64,
    /// Refused: no port of ours, at an address that is ours alone.
    pub refused: u64,
    /// Refused: ours, but none of our sockets was there.
    pub no_worker: u64,
}

/// The four kinds of sockets. The numbers are those of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TcpIpv4 = 0,
    TcpIpv6 = 1,
    UdpIpv4 = 2,
    UdpIpv6 = 3,
}

/// The program and its maps. It does nothing before it is attached.
pub(crate) struct Kernel {
    program: Ebpf,
    addresses4: LpmTrie<MapData, [u8; 4], Entry>,
    addresses6: LpmTrie<MapData, [u8; 16], Entry>,
    ports: LpmTrie<MapData, [u8; PORT_KEY_BYTES], u32>,
    workers: SockMap<MapData>,
    worker_counts: Array<MapData, u32>,
    counts: PerCpuArray<MapData, u64>,
}

/// `struct entry`: set, verdict on other ports.
type Entry = [u32; 2];

/// `struct port` without its length.
const PORT_KEY_BYTES: usize = 8;

/// Bits of `struct port` in front of the port itself.
const SET_AND_PROTOCOL_BITS: u32 = 48;

impl Kernel {
    pub(crate) fn load() -> Result<Kernel, KernelError> {
        // A random number without a dependency: the standard library seeds its hash tables with one.
        let seed = RandomState::new().build_hasher().finish() as u32;
        let mut program = EbpfLoader::new().override_global("seed", &seed, true).load(OBJECT)?;
        let sk_lookup: &mut SkLookup = program.program_mut(PROGRAM).ok_or("no such program")?.try_into()?;
        sk_lookup.load()?;
        Ok(Kernel {
            addresses4: take(&mut program, "addresses4")?,
            addresses6: take(&mut program, "addresses6")?,
            ports: take(&mut program, "ports")?,
            workers: take(&mut program, "workers")?,
            worker_counts: take(&mut program, "worker_counts")?,
            counts: take(&mut program, "counts")?,
            program,
        })
    }

    /// From now on the kernel asks the program, in the network namespace of this thread, until the link is gone: after
    /// the last descriptor of it, and the pin.
    pub(crate) fn attach(&mut self) -> Result<FdLink, KernelError> {
        let namespace = std::fs::File::open("/proc/thread-self/ns/net")?;
        let program: &mut SkLookup = self.program.program_mut(PROGRAM).ok_or("no such program")?.try_into()?;
        let link = program.attach(namespace)?;
        Ok(program.take_link(link)?.into())
    }

    /// Gives the program the sockets of a kind, at most [`WORKERS_MAX`]: listening, or bound for datagrams.
    pub(crate) fn put_workers(&mut self, kind: Kind, sockets: &[BorrowedFd<'_>]) -> Result<(), KernelError> {
        for (number, socket) in sockets.iter().enumerate() {
            self.workers.set((kind as usize * WORKERS_MAX + number) as u32, socket, 0)?;
        }
        Ok(self.worker_counts.set(kind as u32, sockets.len() as u32, 0)?)
    }

    pub(crate) fn put_address(&mut self, prefix: Prefix, set: u32, otherwise: Verdict) -> Result<(), KernelError> {
        let (length, entry) = (u32::from(prefix.length()), [set, otherwise as u32]);
        match prefix.network() {
            IpAddr::V4(four) => self.addresses4.insert(&Key::new(length, four.octets()), entry, 0)?,
            IpAddr::V6(six) => self.addresses6.insert(&Key::new(length, six.octets()), entry, 0)?,
        }
        Ok(())
    }

    pub(crate) fn remove_address(&mut self, prefix: Prefix) -> Result<(), KernelError> {
        let length = u32::from(prefix.length());
        gone(match prefix.network() {
            IpAddr::V4(four) => self.addresses4.remove(&Key::new(length, four.octets())),
            IpAddr::V6(six) => self.addresses6.remove(&Key::new(length, six.octets())),
        })
    }

    pub(crate) fn put_ports(&mut self, set: u32, ports: PortPrefix, verdict: Verdict) -> Result<(), KernelError> {
        Ok(self.ports.insert(&port_key(set, ports), verdict as u32, 0)?)
    }

    pub(crate) fn remove_ports(&mut self, set: u32, ports: PortPrefix) -> Result<(), KernelError> {
        gone(self.ports.remove(&port_key(set, ports)))
    }

    pub(crate) fn counts(&self) -> Result<Counts, KernelError> {
        let count = |index| Ok::<u64, MapError>(self.counts.get(&index, 0)?.iter().sum());
        Ok(Counts { steered_tcp: count(0)?, steered_udp: count(1)?, refused: count(2)?, no_worker: count(3)? })
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(program: &mut Ebpf, name: &str) -> Result<M, KernelError> {
    let map = program.take_map(name).ok_or_else(|| format!("the program has no map {name}"))?;
    Ok(M::try_from(map)?)
}

/// Removing what is not there is no error.
fn gone(result: Result<(), MapError>) -> Result<(), KernelError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(error) if os_error(&error) == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn port_key(set: u32, ports: PortPrefix) -> Key<[u8; PORT_KEY_BYTES]> {
    let protocol = match ports.protocol {
        Protocol::Tcp => libc::IPPROTO_TCP as u16,
        Protocol::Udp => libc::IPPROTO_UDP as u16,
    };
    let mut bytes = [0; PORT_KEY_BYTES];
    bytes[..4].copy_from_slice(&set.to_ne_bytes());
    bytes[4..6].copy_from_slice(&protocol.to_be_bytes());
    bytes[6..].copy_from_slice(&ports.first.to_be_bytes());
    Key::new(SET_AND_PROTOCOL_BITS + u32::from(ports.length), bytes)
}

/// The system's error below what aya says.
pub(crate) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(code) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Some(code);
        }
        at = error.source();
    }
    None
}
