//! A second process that only holds the sockets for any port. The kernel steers to them for as long as a process has
//! them open. So clients that come while the edge is killed and started again wait and are not refused.
//!
//! ```text
//! up ──connects──► fd store      what it holds: a message for each socket, then an end
//!    ◄─────────────
//!    ──────────────►             what to hold from now on, then an end
//!    ── (stays connected) ──     gone without a word: a crash. `q`: the fd store ends
//!                                `b`: a clean stop begins, and new clients are refused; then `r`: no connection is
//!                                left, and the routes that led to them go too
//!    ◄─────────────              after each, what it could not take back in words, and a line feed
//! ```
//! The edge gives up its rights before it serves, and the fd store keeps the one that this needs. A start takes what the
//! one of before holds and replaces it, so that it is always of the edge's own version.
//!
//! The socket between them has an abstract name (unix(7)), so it ends with the process and leaves no file. Both sides
//! check the user of the other one.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::rights;
use crate::traces::Traces;

/// How long sockets are kept for an edge that is gone. Clients that wait for longer than that have left.
const KEEP: Duration = Duration::from_secs(60);

/// How long the other side may take for a word; both are on this machine and do nothing else.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long an fd store may take to start.
const START_MAX: Duration = Duration::from_secs(5);
const START_RETRY: Duration = Duration::from_millis(5);

/// More than the sockets of an edge with as many workers as there may be: of each, two protocols and two families.
const SOCKETS_MAX: usize = 1_024;

/// Of what could not be taken back, in octets.
const COMPLAINT_MAX: u64 = 4_096;

/// The command that makes this program an fd store. Not for people.
pub const COMMAND: &str = "fd-store";

const TCP: u8 = b't';
const UDP: u8 = b'u';
const END: u8 = b'.';
const QUIT: u8 = b'q';
const STOP_STEERING: u8 = b'b';
const REMOVE_ROUTES: u8 = b'r';
const DONE: u8 = b'\n';

/// Sockets that receive for every port.
#[derive(Default)]
pub struct Kept {
    pub tcp: Vec<TcpListener>,
    pub udp: Vec<UdpSocket>,
}

/// The fd store of this edge. Dropping it without [`FdStore::quit`] is what a crash does.
pub struct FdStore(UnixStream);

impl FdStore {
    /// The fd store that an earlier process of this edge has left, with what it holds.
    pub fn find(name: &str) -> Option<(FdStore, Kept)> {
        let stream = connect(name).ok()?;
        let kept = receive(&stream).ok()?;
        Some((FdStore(stream), kept))
    }

    /// A new one, which holds nothing yet.
    pub fn start(name: &str, traces: &Traces) -> io::Result<FdStore> {
        start(name, traces).map(FdStore)
    }

    /// What to hold from now on.
    pub fn keep(&self, tcp: &[TcpListener], udp: &[UdpSocket]) -> io::Result<()> {
        send(&self.0, tcp, udp)
    }

    /// Ends the one that was found, before it was given anything to hold.
    pub fn quit(mut self) {
        let ended = self.keep(&[], &[]).and_then(|()| self.0.write_all(&[QUIT])).and_then(|()| self.0.read(&mut [0]));
        if let Err(error) = ended {
            tracing::debug!(%error, "the fd store of before is gone already");
        }
    }

    /// Begins a clean stop: it lets go of the sockets, and nothing steers to them any more.
    pub fn stop_steering(&self) -> io::Result<()> {
        self.ask(STOP_STEERING)
    }

    /// Ends it: nothing is left behind in the kernel.
    pub fn remove_routes(self) -> io::Result<()> {
        self.ask(REMOVE_ROUTES)
    }

    fn ask(&self, word: u8) -> io::Result<()> {
        (&self.0).write_all(&[word])?;
        let mut complaint = Vec::new();
        BufReader::new((&self.0).take(COMPLAINT_MAX)).read_until(DONE, &mut complaint)?;
        match complaint.strip_suffix(&[DONE]) {
            Some([]) => Ok(()),
            Some(words) => Err(io::Error::other(String::from_utf8_lossy(words).into_owned())),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Runs as the fd store, until the edge says that it is over or does not come back.
pub fn run(name: &str, traces: &Traces) -> anyhow::Result<()> {
    rights::settle(None, rights::NEEDED_TO_TAKE_BACK)?;
    Ok(hold(name, traces)?)
}

fn hold(name: &str, traces: &Traces) -> io::Result<()> {
    let listener = listen(name)?;
    set_socket_timeout(&listener, Timeout::Recv, Some(KEEP))?;
    let mut kept = Kept::default();
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // No edge has come back in that time.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Otherwise it was a stranger, or the edge was killed: another one may come.
        match serve(&stream, &mut kept) {
            Ok(QUIT) => return Ok(()),
            Ok(STOP_STEERING) => return take_back(&stream, kept, traces),
            _ => {}
        }
    }
}

fn take_back(stream: &UnixStream, kept: Kept, traces: &Traces) -> io::Result<()> {
    let tell = |done: anyhow::Result<()>| {
        let complaint = done.err().map(|error| format!("{error:#}").replace('\n', " ")).unwrap_or_default();
        (&*stream).write_all(&[complaint.as_bytes(), &[DONE]].concat())
    };
    drop(kept);
    tell(traces.stop_steering())?;
    // Without the word the edge was killed while it stopped: no connection is left then too.
    let _ = (&*stream).read(&mut [0])?;
    tell(traces.remove_routes())
}

/// The one of before may be about to end.
fn listen(name: &str) -> io::Result<UnixListener> {
    let begun = Instant::now();
    loop {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < START_MAX => {
                std::thread::sleep(START_RETRY);
            }
            bound => return bound,
        }
    }
}

/// Gives what is held, takes what to hold, and waits for the last byte. None comes if the edge was killed.
fn serve(mut stream: &UnixStream, kept: &mut Kept) -> io::Result<u8> {
    prepare(stream)?;
    send(stream, &kept.tcp, &kept.udp)?;
    *kept = receive(stream)?;
    stream.set_read_timeout(None)?;
    let mut word = [0];
    let read = stream.read(&mut word)?;
    Ok(if read == 0 { 0 } else { word[0] })
}

/// Only a process of the same user may be on the other side.
fn prepare(stream: &UnixStream) -> io::Result<()> {
    if socket_peercred(stream)?.uid != rustix::process::geteuid() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))
}

fn connect(name: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    prepare(&stream)?;
    Ok(stream)
}

/// Starts an fd store in a process group of its own: what a terminal sends to the edge is not for it.
fn start(name: &str, traces: &Traces) -> io::Result<UnixStream> {
    // Not its path: an upgrade may have put another program there.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("bartizan").args([COMMAND, name]).args(traces.words());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.current_dir("/").process_group(0).spawn()?;
    let begun = Instant::now();
    loop {
        // The one of before may still take a connection, which it drops at its end.
        match connect(name).and_then(|stream| receive(&stream).map(|_nothing| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) if begun.elapsed() > START_MAX => return Err(error),
            Err(_) => {
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("the fd store ended at once: {status}")));
                }
                std::thread::sleep(START_RETRY);
            }
        }
    }
}

fn send(stream: &UnixStream, tcp: &[TcpListener], udp: &[UdpSocket]) -> io::Result<()> {
    for socket in tcp {
        send_word(stream, TCP, Some(socket.as_fd()))?;
    }
    for socket in udp {
        send_word(stream, UDP, Some(socket.as_fd()))?;
    }
    send_word(stream, END, None)
}

/// One byte, and the socket that it is about.
fn send_word(stream: &UnixStream, word: u8, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets: Vec<BorrowedFd<'_>> = socket.into_iter().collect();
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&sockets));
    }
    sendmsg(stream, &[IoSlice::new(&[word])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Kept> {
    let mut kept = Kept::default();
    while kept.tcp.len() + kept.udp.len() <= SOCKETS_MAX {
        match receive_word(stream)? {
            (END, None) => return Ok(kept),
            (TCP, Some(socket)) => kept.tcp.push(socket.into()),
            (UDP, Some(socket)) => kept.udp.push(socket.into()),
            _ => break,
        }
    }
    Err(ErrorKind::InvalidData.into())
}

fn receive_word(stream: &UnixStream) -> io::Result<(u8, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0];
    let read = recvmsg(stream, &mut [IoSliceMut::new(&mut word)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if read.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    Ok((word[0], sockets.flatten().next()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::traces::Way;

    /// An edge that is killed twice and stopped once, with one fd store for all.
    #[test]
    fn sockets_outlive_their_owner() {
        let name = format!("bartizan-test-{}", std::process::id());
        let fd_store = std::thread::spawn({
            let name = name.clone();
            // A directory without an edge: there is nothing to take back, and taking back nothing is no error.
            let traces = Traces { way: Way::SkLookup, pin: name.clone(), pool: Vec::new() };
            move || hold(&name, &traces)
        });
        let connected = || loop {
            if let Some((fd_store, kept)) = FdStore::find(&name) {
                break (kept, fd_store);
            }
            std::thread::yield_now();
        };
        let (kept, first) = connected();
        assert!(kept.tcp.is_empty() && kept.udp.is_empty());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (listens, receives) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        first.keep(&[tcp], &[udp]).unwrap();
        drop(first);
        // No process accepts now, and still no client is refused.
        let waiting = TcpStream::connect(listens).unwrap();
        let (kept, second) = connected();
        assert_eq!(kept.udp[0].local_addr().unwrap(), receives);
        assert_eq!(kept.tcp[0].accept().unwrap().1, waiting.local_addr().unwrap());
        second.keep(&kept.tcp, &[]).unwrap();
        drop((kept, second));
        let (kept, third) = connected();
        assert_eq!((kept.tcp.len(), kept.udp.len()), (1, 0));
        third.keep(&kept.tcp, &kept.udp).unwrap();
        third.stop_steering().unwrap();
        third.remove_routes().unwrap();
        fd_store.join().unwrap().unwrap();
        drop(kept);
        assert_eq!(TcpStream::connect(listens).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let word = |bytes: &[u8]| {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);
            receive(&there).map(|kept| kept.tcp.len()).map_err(|error| error.kind())
        };
        for (bytes, expect) in [
            (&b"."[..], Ok(0)),
            (b"t.", Err(ErrorKind::InvalidData)),
            (b"x", Err(ErrorKind::InvalidData)),
            (b"", Err(ErrorKind::UnexpectedEof)),
        ] {
            assert_eq!(word(bytes), expect, "{bytes:?}");
        }
    }
}
