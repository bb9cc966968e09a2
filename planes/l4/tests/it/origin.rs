//! Origins: plain threads that do as they are told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::edge::STUCK;

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Origin {
    /// Hands every connection to `serve`, each on a thread of its own.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&accepted), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(STUCK)).unwrap();
                stream.set_write_timeout(Some(STUCK)).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Origin { address, accepted }
    }

    /// Says `greeting`, then gives back what it gets, until the client says no more.
    pub(crate) fn echo(greeting: &'static str) -> Origin {
        Origin::start(move |mut stream| {
            let mut bytes = vec![0; 1 << 16];
            if stream.write_all(greeting.as_bytes()).is_err() {
                return;
            }
            while let Ok(read @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..read]).is_err() {
                    return;
                }
            }
        })
    }

    /// Reads all that a client has to say, and only then answers: how many bytes, and what they are.
    pub(crate) fn last_word() -> Origin {
        Origin::start(|mut stream| {
            let mut text = Vec::new();
            if stream.read_to_end(&mut text).is_ok() {
                let _ = stream.write_all(format!("{}:{}", text.len(), String::from_utf8_lossy(&text)).as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
            }
        })
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A port on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
