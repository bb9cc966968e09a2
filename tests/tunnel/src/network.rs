//! A network between connectors and an edge, which can go silent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Larger than any datagram of the edge or a connector.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Carries datagrams from its address to the edge and back, until it is told not to. Dropped, it is gone.
pub struct Network {
    /// Where connectors dial.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

struct Shared {
    /// Flows that came up so far.
    made: AtomicU64,
    /// Flows with a smaller number are carried no more, in silence.
    silent_below: AtomicU64,
    /// Whether nothing comes back from the edge.
    deaf: AtomicBool,
}

impl Shared {
    fn carries(&self, flow: u64) -> bool {
        flow >= self.silent_below.load(Ordering::SeqCst)
    }
}

impl Network {
    pub async fn start(edge: SocketAddr) -> Network {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let shared =
            Arc::new(Shared { made: AtomicU64::new(0), silent_below: AtomicU64::new(0), deaf: AtomicBool::new(false) });
        let mut running = JoinSet::new();
        running.spawn(carry(Arc::new(socket), edge, Arc::clone(&shared)));
        Network { address, shared, _running: running }
    }

    /// Loses everything of the flows that there are. A new one works.
    pub fn forget_flows(&self) {
        self.shared.silent_below.store(self.shared.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Loses everything.
    pub fn cut(&self) {
        self.shared.silent_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// Loses everything that the edge says.
    pub fn deafen(&self) {
        self.shared.deaf.store(true, Ordering::SeqCst);
    }

    /// Carries everything again.
    pub fn mend(&self) {
        self.shared.silent_below.store(0, Ordering::SeqCst);
        self.shared.deaf.store(false, Ordering::SeqCst);
    }
}

async fn carry(near: Arc<UdpSocket>, edge: SocketAddr, shared: Arc<Shared>) {
    let mut flows: HashMap<SocketAddr, (u64, Arc<UdpSocket>)> = HashMap::new();
    let mut back = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, from) = near.recv_from(&mut buffer).await.expect("the socket works");
        let (number, far) = match flows.entry(from) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(flow) => {
                let number = shared.made.fetch_add(1, Ordering::SeqCst);
                let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
                far.connect(edge).await.expect("an address");
                back.spawn(carry_back(Arc::clone(&near), Arc::clone(&far), from, number, Arc::clone(&shared)));
                flow.insert((number, far))
            }
        };
        if shared.carries(*number) {
            // A datagram may be lost.
            let _ = far.send(&buffer[..length]).await;
        }
    }
}

async fn carry_back(near: Arc<UdpSocket>, far: Arc<UdpSocket>, to: SocketAddr, number: u64, shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match far.recv(&mut buffer).await {
            Ok(length) if shared.carries(number) && !shared.deaf.load(Ordering::SeqCst) => {
                drop(near.send_to(&buffer[..length], to).await)
            }
            // The edge's port may be closed for a while.
            Ok(_) | Err(_) => {}
        }
    }
}
