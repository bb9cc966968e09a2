//! One question each, as a client of the edge asks it. They are for a server that we know, and tell no more than is
//! asked for here.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::load;

/// How long one question may take. One that is lost is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// RFC 1035 §4.1.1.
pub(super) const NO_ERROR: u8 = 0;

/// What an origin answers, whatever it is asked.
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Asks for A records, one question at a time.
pub(super) struct Resolver {
    socket: UdpSocket,
    id: u16,
}

/// A reply of DNS.
pub(super) struct Reply {
    pub(super) rcode: u8,
    /// Where it is one.
    pub(super) address: Option<Ipv4Addr>,
}

impl Resolver {
    pub(super) fn new(server: SocketAddr) -> Result<Resolver> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Resolver { socket, id: 0 })
    }

    pub(super) fn ask(&mut self, name: &str) -> Result<Reply> {
        self.id = self.id.wrapping_add(1);
        self.socket.send(&load::question(self.id, name))?;
        let mut reply = [0; 512];
        let length = self.socket.recv(&mut reply).context("our DNS does not answer")?;
        if length < 12 || reply[..2] != self.id.to_be_bytes() {
            bail!("not a reply about {name}: {:02x?}", &reply[..length]);
        }
        let answers = u16::from_be_bytes([reply[6], reply[7]]);
        // An answer of one A record ends with it (no EDNS was asked for, so nothing follows).
        let address = (answers == 1).then(|| reply[length - 4..length].first_chunk::<4>().copied()).flatten();
        Ok(Reply { rcode: reply[3] & 0x0f, address: address.map(Ipv4Addr::from) })
    }
}

/// The status of a request over plain HTTP/1.1; none if there is no answer.
pub(super) fn status(server: SocketAddr, host: &str) -> Option<u16> {
    let mut stream = connect(server)?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    // `HTTP/1.1 200`
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start[9..]).ok()?.parse().ok()
}

/// Whether the edge shows a certificate for exactly this name.
///
/// The handshake is begun as TLS 1.2 (RFC 5246 §7.4), where the certificate comes in the clear; it is not finished.
pub(super) fn shows_certificate(server: SocketAddr, name: &str) -> bool {
    let Some(mut stream) = connect(server) else { return false };
    if stream.write_all(&client_hello(name)).is_err() {
        return false;
    }
    let mut seen = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        match stream.read(&mut piece) {
            // An alert, or the end: there is none.
            Ok(0) | Err(_) => return false,
            Ok(read) => seen.extend(&piece[..read]),
        }
        if seen.first() == Some(&ALERT) {
            return false;
        }
        if seen.windows(name.len()).any(|window| window == name.as_bytes()) {
            return true;
        }
    }
}

fn connect(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

const ALERT: u8 = 21;

/// A ClientHello of TLS 1.2 that offers one suite with ECDSA, which our CA signs for.
fn client_hello(name: &str) -> Vec<u8> {
    let length = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes(), &length(body.len())[..], body].concat();
    let host = [&[0][..], &length(name.len()), name.as_bytes()].concat();
    let extensions = [
        extension(0, &[&length(host.len())[..], &host].concat()), // server_name (RFC 6066 §3)
        extension(10, &[0, 4, 0, 0x1d, 0, 0x17]),                 // supported_groups: x25519, secp256r1
        extension(11, &[1, 0]),                                   // ec_point_formats: uncompressed
        extension(13, &[0, 4, 4, 3, 5, 3]),                       // signature_algorithms: ECDSA with SHA-256, SHA-384
        extension(23, &[]),                                       // extended_master_secret (RFC 7627)
    ]
    .concat();
    // Version, random, no session, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    let hello =
        [&[3, 3][..], &[0x42; 32], &[0], &[0, 2, 0xc0, 0x2b], &[1, 0], &length(extensions.len()), &extensions].concat();
    let handshake = [&[1, 0][..], &length(hello.len()), &hello].concat();
    [&[22, 3, 1][..], &length(handshake.len()), &handshake].concat()
}

/// Answers whatever comes, for as long as the bench runs.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
}

impl Origin {
    pub(super) fn start() -> Result<Origin> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => answer(stream),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Origin { address })
    }
}

/// A client may leave early.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(ANSWER_MAX));
    if stream.read(&mut [0; 4_096]).is_ok() {
        let _ = stream.write_all(HELLO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_name_the_host() {
        let hello = client_hello("a.test");
        assert_eq!(hello[..3], [22, 3, 1]);
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
        assert_eq!(hello[5..8], [1, 0, 0]);
        assert_eq!(usize::from(hello[8]), hello.len() - 9);
        assert!(hello.windows(6).any(|window| window == b"a.test"));
    }

    #[test]
    fn origins_answer() {
        let origin = Origin::start().expect("a free port");
        assert_eq!(status(origin.address, "a.test"), Some(200));
        assert!(!shows_certificate(origin.address, "a.test"));
    }
}
