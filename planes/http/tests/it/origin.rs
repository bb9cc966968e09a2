//! Origins: plain threads that read requests byte for byte and answer as they are told.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use super::edge::{STUCK, field, read_head};

/// Any free port of the loopback address.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Origin {
    /// Answers each request with the bytes that `answer` gives; an empty answer closes the connection.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::start_on(LOOPBACK, answer)
    }

    pub(crate) fn start_on(address: SocketAddr, answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut origin = Origin::raw_on(address, move |mut stream| {
            while let Some(request) = read_request(&mut stream) {
                let bytes = answer(&request);
                seen.lock().unwrap().push(request);
                if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        origin.requests = requests;
        origin
    }

    /// Hands every connection to `serve`, each on a thread of its own.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Origin {
        Origin::raw_on(LOOPBACK, serve)
    }

    fn raw_on(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&connections), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(STUCK)).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Origin { address, requests: Arc::default(), connections }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// `200` with a body and a length.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The endless pattern that large bodies consist of, from `position` to the end of its period: a prime number of bytes,
/// so that no buffer size fits into it and a lost or doubled buffer shows. ASCII.
pub(crate) fn pattern_at(position: u64) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..PERIOD as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as u8).collect());
    &PATTERN[(position % PERIOD as u64) as usize..]
}

/// One request with its body; none when the connection ends before a head does.
fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let head = read_head(stream);
    if !head.ends_with("\r\n\r\n") {
        return None;
    }
    let mut body = Vec::new();
    if let Some(length) = field(&head, "content-length") {
        body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
    } else if field(&head, "transfer-encoding").is_some() {
        read_chunks(stream, &mut body)?;
    }
    Some(Seen { head, body })
}

fn read_chunks(stream: &mut TcpStream, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let size = usize::from_str_radix(read_line(stream)?.trim(), 16).unwrap();
        if size == 0 {
            // Trailers.
            while read_line(stream)? != "\r\n" {}
            return Some(());
        }
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).ok()?;
        assert!(chunk.ends_with(b"\r\n"));
        body.extend_from_slice(&chunk[..size]);
    }
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    String::from_utf8(line).ok()
}
