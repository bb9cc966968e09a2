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
//! The socket between them is in a folder where nobody else can put one ([`RuntimeDir`]), and both sides check the user
//! of the other one. The edge makes it and hands it over as standard input. A clean stop removes it; what a crash leaves
//! is replaced by the next start.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::rights;
use crate::runtime_dir::RuntimeDir;
use crate::traces::Traces;

/// How long sockets are kept for an edge that is gone. Clients that wait for longer than that have left.
const KEEP: Duration = Duration::from_secs(60);

/// How long the other side may take for a word, or to start; both are on this machine and do nothing else.
const ANSWER_MAX: Duration = Duration::from_secs(10);

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

/// The fd store of this edge. Dropping it without a word is what a crash does.
pub struct FdStore(UnixStream);

/// One that an earlier process of this edge has left.
pub struct Found(UnixStream);

impl Found {
    /// It, with what it holds.
    pub fn find(runtime: &RuntimeDir, name: &str) -> Option<(Found, Kept)> {
        let stream = connect(runtime, name).ok()?;
        let kept = receive(&stream).ok()?;
        Some((Found(stream), kept))
    }

    /// Ends it.
    pub fn quit(self) {
        if let Err(error) = send(&self.0, &[], &[]).and_then(|()| FdStore(self.0).quit()) {
            tracing::debug!(%error, "the fd store of before is gone already");
        }
    }
}

impl FdStore {
    /// A new one, which the next start finds by this name, with what it is to hold.
    pub fn start(runtime: &RuntimeDir, name: &str, traces: &Traces, hold: &Kept) -> io::Result<FdStore> {
        let stream = start(runtime, name, traces)?;
        send(&stream, &hold.tcp, &hold.udp)?;
        Ok(FdStore(stream))
    }

    /// Ends it: nothing was put into the kernel yet, or somebody else is to take it back.
    pub fn quit(mut self) -> io::Result<()> {
        self.0.write_all(&[QUIT])?;
        self.0.read(&mut [0]).map(drop)
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

/// Runs as the fd store, until the edge says that it is over or does not come back. Standard input is the socket that was
/// bound to this path.
pub fn run(socket: &Path, traces: &Traces) -> anyhow::Result<()> {
    rights::settle(None, rights::NEEDED_TO_TAKE_BACK)?;
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(hold(&listener, KEEP, (socket, traces))?)
}

fn hold(listener: &UnixListener, keep: Duration, (socket, traces): (&Path, &Traces)) -> io::Result<()> {
    let mut kept = Kept::default();
    let mut end = Instant::now() + keep;
    while let Some(stream) = accept(listener, end)? {
        match serve(&stream, &mut kept) {
            Ok(QUIT) => return Ok(()),
            Ok(STOP_STEERING) => {
                // No start looks for it: the edge, which has locked its data, is there still.
                let removed = fs::remove_file(socket);
                return take_back(&stream, kept, traces).and(removed);
            }
            // The edge was killed: another one may come.
            Ok(_) => end = Instant::now() + keep,
            // Whoever is no edge gets the sockets no more time.
            Err(_) => {}
        }
    }
    Ok(())
}

/// None if nobody comes before that.
fn accept(listener: &UnixListener, end: Instant) -> io::Result<Option<UnixStream>> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        set_socket_timeout(listener, Timeout::Recv, Some(left))?;
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
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

/// Gives what is held, takes what to hold, and waits for the last byte. None comes if the edge was killed.
fn serve(mut stream: &UnixStream, kept: &mut Kept) -> io::Result<u8> {
    prepare(stream)?;
    send(stream, &kept.tcp, &kept.udp)?;
    *kept = receive(stream)?;
    stream.set_read_timeout(None)?;
    let mut word = [0];
    // It has taken over, however it ends.
    let read = stream.read(&mut word).unwrap_or_default();
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

fn connect(runtime: &RuntimeDir, name: &str) -> io::Result<UnixStream> {
    let stream = runtime.connect(name)?;
    prepare(&stream)?;
    Ok(stream)
}

/// Starts an fd store in a process group of its own: what a terminal sends to the edge is not for it.
fn start(runtime: &RuntimeDir, name: &str, traces: &Traces) -> io::Result<UnixStream> {
    let listener = runtime.bind(name)?;
    // In its queue from here on, whenever the other side comes to accept it.
    let stream = connect(runtime, name)?;
    // Not its path: an upgrade may have put another program there.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("bartizan").arg(COMMAND).arg(runtime.path(name)).args(traces.words());
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.current_dir("/").process_group(0).spawn()?;
    // Else our own copy of the socket would keep us waiting for a process that has ended.
    drop(command);
    match receive(&stream) {
        Ok(_nothing) => Ok(stream),
        Err(error) => {
            child.kill()?;
            Err(io::Error::new(error.kind(), format!("it ended at once ({}): {error}", child.wait()?)))
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

    /// An fd store on a thread.
    struct Running {
        _folder: tempfile::TempDir,
        runtime: RuntimeDir,
        thread: std::thread::JoinHandle<io::Result<()>>,
    }

    const NAME: &str = "test";

    fn running(keep: Duration) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::open(folder.path().join("run")).unwrap();
        let (listener, socket) = (runtime.bind(NAME).unwrap(), runtime.path(NAME));
        // A directory without an edge: there is nothing to take back, and taking back nothing is no error.
        let pin = format!("bartizan-test-{}", std::process::id());
        let traces = Traces { way: Way::SkLookup, pin, pool: Vec::new() };
        let thread = std::thread::spawn(move || hold(&listener, keep, (&socket, &traces)));
        Running { _folder: folder, runtime, thread }
    }

    /// An edge that is killed twice and stopped once, with one fd store for all.
    #[test]
    fn sockets_outlive_their_owner() {
        let Running { _folder, runtime, thread } = running(KEEP);
        let find = || Found::find(&runtime, NAME).unwrap();
        let hand = |found: Found, tcp: &[TcpListener], udp: &[UdpSocket]| {
            send(&found.0, tcp, udp).unwrap();
            FdStore(found.0)
        };
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (listens, receives) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let (found, kept) = find();
        assert!(kept.tcp.is_empty() && kept.udp.is_empty());
        drop(hand(found, &[tcp], &[udp]));
        // No process accepts now, and still no client is refused.
        let waiting = TcpStream::connect(listens).unwrap();
        let (found, kept) = find();
        assert_eq!(kept.udp[0].local_addr().unwrap(), receives);
        assert_eq!(kept.tcp[0].accept().unwrap().1, waiting.local_addr().unwrap());
        drop((hand(found, &kept.tcp, &[]), kept));
        let (found, kept) = find();
        assert_eq!((kept.tcp.len(), kept.udp.len()), (1, 0));
        let third = hand(found, &kept.tcp, &kept.udp);
        third.stop_steering().unwrap();
        third.remove_routes().unwrap();
        thread.join().unwrap().unwrap();
        drop(kept);
        assert_eq!(TcpStream::connect(listens).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!runtime.path(NAME).exists());
    }

    /// Whoever comes and is no edge does not make it wait anew.
    #[test]
    fn strangers_get_the_sockets_no_more_time() {
        let Running { _folder, runtime, thread } = running(Duration::from_secs(1));
        while runtime.connect(NAME).is_ok() {}
        thread.join().unwrap().unwrap();
        assert!(Found::find(&runtime, NAME).is_none());
    }

    #[test]
    fn one_that_is_replaced_ends() {
        let Running { _folder, runtime, thread } = running(KEEP);
        Found::find(&runtime, NAME).unwrap().0.quit();
        thread.join().unwrap().unwrap();
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
