//! The other way to an edge: HTTP/2 over TLS over TCP, where UDP does not pass. The edge asks and we answer, as on any server,
//! although it was we who dialled. Parts:
//!
//! ```text
//! socket ⇄ driver (one task a connection) ⇄ session: the codec, what is to be written, streams ⇄ handles: Reader, Writer (any task)
//!                    └─ arrivals: what is asked, to whoever serves it
//! ```
//! What came and was not taken is bounded by the window of the connection, and an edge does not let one stream have all of it.

mod asked;
mod driver;
mod handle;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bartizan_tls::ClientStream;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use self::asked::Asked;
use self::driver::Driver;
pub(crate) use self::handle::{Arrived, Closed, Reader, Writer};
use self::session::Session;
use crate::limits::{GOODBYE_MAX, STREAMS_MAX};

/// One connection to an edge.
pub(crate) struct Http2 {
    session: Arc<Session>,
    arrivals: Mutex<mpsc::Receiver<Arrived>>,
    driving: Mutex<JoinHandle<()>>,
}

impl Http2 {
    /// Begins to speak. `memory` is what all connections may hold, and `idle` the silence after which it counts as lost.
    pub(crate) fn begin(io: ClientStream<TcpStream>, memory: u64, idle: Duration) -> Http2 {
        let (sender, arrivals) = mpsc::channel(STREAMS_MAX as usize);
        let session = Session::new(memory);
        let driving = tokio::spawn(Driver::new(Arc::clone(&session), io, sender, idle).run());
        Http2 { session, arrivals: Mutex::new(arrivals), driving: Mutex::new(driving) }
    }

    /// The next that is asked, or why nothing is any more.
    pub(crate) async fn next(&self) -> Result<Arrived, String> {
        let next = self.arrivals.lock().await.recv().await;
        match next {
            Some(arrived) => Ok(arrived),
            None => Err(self.session.closed().await.to_string()),
        }
    }

    /// Reads that brought something, until now.
    pub(crate) fn arrived(&self) -> u64 {
        self.session.arrived()
    }

    /// Closes it when what was said is written, and waits until the edge has it.
    pub(crate) async fn close(&self) {
        self.session.close();
        let mut driving = self.driving.lock().await;
        let _ = timeout(2 * GOODBYE_MAX, &mut *driving).await;
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.session.close();
    }
}
