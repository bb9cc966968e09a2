//! A flood by copies of one datagram of QUIC.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quinn::udp::{Transmit, UdpSocketState};

/// How often a path looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What a batch may have.
const BATCH_BYTES: usize = 60_000;

/// A path to a server, on which the last packet of a client is kept that came behind its handshake.
pub struct Path {
    /// Where clients find it.
    pub address: SocketAddr,
    server: SocketAddr,
    far: UdpSocket,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// What the server says does not come back any more: to a flood it says much.
    is_deaf: AtomicBool,
    client: Mutex<Option<SocketAddr>>,
    last: Mutex<Vec<u8>>,
}

impl Path {
    /// To this server, which sees this address.
    pub fn to(server: SocketAddr, from: IpAddr) -> Path {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind((from, 0)).unwrap());
        let address = near.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let threads = [false, true].map(|is_back| {
            let (near, far, shared) = (near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&shared));
            std::thread::spawn(move || {
                let from = if is_back { &far } else { &near };
                from.set_read_timeout(Some(LOOK)).unwrap();
                let mut room = [0; 2_048];
                while !shared.is_over.load(Ordering::Relaxed) {
                    let Ok((length, peer)) = from.recv_from(&mut room) else { continue };
                    let datagram = &room[..length];
                    // A server that is gone is no fault of the path.
                    let _ = if is_back {
                        shared.back(&near, datagram)
                    } else {
                        shared.forth(&far, datagram, (peer, server))
                    };
                }
            })
        });
        Path { address, server, far, shared, threads: threads.into() }
    }

    /// What the client said last, which is to come if there is nothing yet.
    fn copy(&self) -> Vec<u8> {
        for _ in 0..200 {
            let last = self.shared.last.lock().unwrap().clone();
            if !last.is_empty() {
                return last;
            }
            std::thread::sleep(LOOK);
        }
        panic!("the client has said nothing");
    }

    /// Pours copies of what the client said last over the server, as fast as it can: from where the path ends, or from this
    /// address. Says how many there were.
    pub fn pour(&self, from: Option<IpAddr>, time: Duration) -> u64 {
        self.shared.is_deaf.store(true, Ordering::Relaxed);
        let copy = self.copy();
        let socket = from.map_or_else(|| self.far.try_clone(), |from| UdpSocket::bind((from, 0))).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        let times = state.max_gso_segments().min(BATCH_BYTES / copy.len());
        let contents = copy.repeat(times);
        let (destination, segment_size) = (self.server, Some(copy.len()));
        let batch = Transmit { destination, ecn: None, contents: &contents, segment_size, src_ip: None };
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            sent += state.send((&socket).into(), &batch).map_or(0, |()| times as u64);
        }
        sent
    }
}

impl Shared {
    fn forth(&self, far: &UdpSocket, datagram: &[u8], (client, server): (SocketAddr, SocketAddr)) -> io::Result<usize> {
        *self.client.lock().unwrap() = Some(client);
        // A short header (RFC 9000 §17.3).
        if datagram[0] & 0x80 == 0 {
            *self.last.lock().unwrap() = datagram.to_vec();
        }
        far.send_to(datagram, server)
    }

    fn back(&self, near: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
        let client = *self.client.lock().unwrap();
        match client.filter(|_| !self.is_deaf.load(Ordering::Relaxed)) {
            Some(client) => near.send_to(datagram, client),
            None => Ok(0),
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Runs the test of this name in a process of its own, where nothing else takes memory; true is said there.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "BARTIZAN_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let ended = Command::new(own).args([test, "--exact", "--nocapture"]).env(ALONE, "yes").status().unwrap();
    assert!(ended.success(), "{test}: {ended}");
    false
}

/// What this process has in memory.
pub fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
