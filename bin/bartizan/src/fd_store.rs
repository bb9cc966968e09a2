//! A second process that only holds the sockets for any port. The kernel steers to them for as long as a process has
//! them open. So clients that come while the edge is killed and started again wait and are not refused.
//!
//! ```text
//! up ── standard input ──► fd store   what to hold: a message for each socket, then an end, and it says that it has it
//!    ── (stays connected) ──          `q`: it ends. `b`: a clean stop begins, and new clients are refused; then `r`: no
//!                                     connection is left, and the routes that led to them go too
//!    ◄─────────────                   after each, what it could not take back in words, and a line feed
//!                                     gone without a word: a crash
//! next up ── by its name ─► fd store  gets all that is held; `q`: it has it, and the fd store ends
//! ```
//! The edge gives up its rights before it serves, and the fd store keeps the one that this needs. Each start has a new one,
//! of its own version.
//!
//! Its name is a socket in a folder where nobody else can put one ([`RuntimeDir`]), and both sides check the user of the
//! other one. A clean stop removes it; what a crash leaves is replaced by the next start. An fd store without a name does
//! all but wait for another edge.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::rights;
use crate::runtime_dir::RuntimeDir;
use crate::traces::{Traces, TracesWords};

/// How long sockets are kept for an edge that is gone. Clients that wait for longer than that have left. The next one may
/// take as long to start.
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
const NAME: u8 = b'n';
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
    /// By which the next edge finds the fd store.
    name: Option<UnixListener>,
}

/// The fd store of this edge. Dropping it without a word is what a crash does.
pub struct FdStore(UnixStream);

/// One that an earlier process of this edge has left.
pub struct Found(UnixStream);

impl Found {
    /// It, with what it holds, if it is a process of this user.
    pub fn find(runtime: &RuntimeDir, name: &str, user: u32) -> Option<(Found, Kept)> {
        let stream = runtime.connect(name).ok()?;
        prepare(&stream, &[user]).ok()?;
        let kept = receive(&stream).ok()?;
        Some((Found(stream), kept))
    }

    /// Ends it.
    pub fn quit(self) {
        if let Err(error) = quit(&self.0) {
            tracing::debug!(%error, "the fd store of before is gone already");
        }
    }
}

impl FdStore {
    /// A new one with what it is to hold, what it takes back at a clean stop, and a name if there is a place for it. It has a process group of its own: what a
    /// terminal sends to the edge is not for it.
    pub fn start(named: Option<(&RuntimeDir, &str)>, traces: Option<&Traces>, hold: &Kept) -> io::Result<FdStore> {
        let named = named.and_then(|(runtime, name)| match runtime.bind(name) {
            Ok(listener) => Some((listener, runtime.path(name))),
            Err(error) => {
                tracing::warn!(%error, "after a crash clients are refused until the next start");
                None
            }
        });
        let (stream, theirs) = UnixStream::pair()?;
        prepare(&stream, &[own_user()])?;
        // Not its path: an upgrade may have put another program there.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("bartizan").arg(COMMAND).args(traces.map(Traces::words).unwrap_or_default());
        if let Some((_, path)) = &named {
            command.arg("--socket").arg(path);
        }
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.current_dir("/").process_group(0).spawn()?;
        // Else our own copy of its end would keep us waiting for a process that has ended.
        drop(command);
        let listener = named.as_ref().map(|(listener, _)| listener);
        let given = send(&stream, &hold.tcp, &hold.udp, listener).and_then(|()| (&stream).read_exact(&mut [0]));
        match given {
            Ok(()) => Ok(FdStore(stream)),
            Err(error) => {
                child.kill()?;
                Err(io::Error::new(error.kind(), format!("it ended at once ({}): {error}", child.wait()?)))
            }
        }
    }

    /// Ends it: nothing is left for it to take back.
    pub fn quit(self) -> io::Result<()> {
        quit(&self.0)
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

/// Returns when the other side is gone.
fn quit(mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(&[QUIT])?;
    stream.read(&mut [0]).map(drop)
}

/// What an fd store is told at its start.
#[derive(clap::Args)]
pub struct Task {
    /// Its name
    #[arg(long)]
    socket: Option<PathBuf>,
    /// None: nothing leads to what it holds but its addresses.
    #[command(flatten)]
    traces: TracesWords,
}

/// Runs as the fd store, until the edge says that it is over or does not come back. Standard input is the edge.
pub fn run(task: &Task) -> anyhow::Result<()> {
    rights::settle(None, rights::NEEDED_TO_TAKE_BACK)?;
    let edge = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(hold(&edge, KEEP, (task.socket.as_deref(), task.traces.traces().as_ref()))?)
}

/// `task` is its name, and what it takes back.
fn hold(mut edge: &UnixStream, keep: Duration, task: (Option<&Path>, Option<&Traces>)) -> io::Result<()> {
    prepare(edge, &[own_user()])?;
    let held = receive(edge)?;
    edge.write_all(&[DONE])?;
    edge.set_read_timeout(None)?;
    let mut word = [0];
    match edge.read(&mut word) {
        Ok(1) if word == [QUIT] => Ok(()),
        Ok(1) if word == [STOP_STEERING] => take_back(edge, held, task),
        // The edge was killed.
        _ => {
            let next = wait_for_the_next(&held, keep)?;
            // Whoever waits for the end binds what was held here, as soon as it hears of it.
            drop(held);
            drop(next);
            Ok(())
        }
    }
}

fn take_back(mut edge: &UnixStream, held: Kept, (socket, traces): (Option<&Path>, Option<&Traces>)) -> io::Result<()> {
    let tell = |done: anyhow::Result<()>| {
        let complaint = done.err().map(|error| format!("{error:#}").replace('\n', " ")).unwrap_or_default();
        (&*edge).write_all(&[complaint.as_bytes(), &[DONE]].concat())
    };
    drop(held);
    // No start looks for it: the edge, which has locked its data, is there still.
    let removed = socket.map_or(Ok(()), fs::remove_file);
    let stopped = traces.map_or(Ok(()), Traces::stop_steering);
    tell(stopped.and(removed.map_err(Into::into)))?;
    // Without the word the edge was killed while it stopped: no connection is left then too.
    let _ = edge.read(&mut [0])?;
    tell(traces.map_or(Ok(()), Traces::remove_routes))
}

/// Keeps the sockets for so long, whoever comes and is no edge. Gives the connection to the edge that needs us no more.
fn wait_for_the_next(held: &Kept, keep: Duration) -> io::Result<Option<UnixStream>> {
    let Some(listener) = &held.name else { return Ok(None) };
    let end = Instant::now() + keep;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        set_socket_timeout(listener, Timeout::Recv, Some(left))?;
        match listener.accept() {
            // Otherwise it was a stranger, or an edge that was killed too: another one may come.
            Ok((stream, _)) if hand_over(&stream, held).is_ok() => return Ok(Some(stream)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives what is held, until the other side says that it has it and needs us no more.
fn hand_over(mut stream: &UnixStream, held: &Kept) -> io::Result<()> {
    // Root may have it all anyway, and is who starts an edge that becomes another user.
    prepare(stream, &[own_user(), ROOT])?;
    send(stream, &held.tcp, &held.udp, None)?;
    stream.set_read_timeout(Some(KEEP))?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word == [QUIT] { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Whose this process is.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

const ROOT: u32 = 0;

/// Only a process of one of these users may be on the other side.
fn prepare(stream: &UnixStream, users: &[u32]) -> io::Result<()> {
    if !users.contains(&socket_peercred(stream)?.uid.as_raw()) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))
}

fn send(stream: &UnixStream, tcp: &[TcpListener], udp: &[UdpSocket], name: Option<&UnixListener>) -> io::Result<()> {
    for socket in tcp {
        send_word(stream, TCP, Some(socket.as_fd()))?;
    }
    for socket in udp {
        send_word(stream, UDP, Some(socket.as_fd()))?;
    }
    if let Some(name) = name {
        send_word(stream, NAME, Some(name.as_fd()))?;
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
            (NAME, Some(socket)) => kept.name = Some(socket.into()),
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
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::traces::Way;

    /// An fd store on a thread, which holds a socket of each protocol.
    struct Running {
        _folder: tempfile::TempDir,
        runtime: RuntimeDir,
        edge: FdStore,
        listens: std::net::SocketAddr,
        thread: JoinHandle<io::Result<()>>,
    }

    const NAME: &str = "test";

    fn running(keep: Duration) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let runtime = RuntimeDir::open(folder.path().join("run")).unwrap();
        let (listener, socket) = (runtime.bind(NAME).unwrap(), Some(runtime.path(NAME)));
        // A directory without an edge: there is nothing to take back, and taking back nothing is no error.
        let pin = format!("bartizan-test-{}", std::process::id());
        let traces = Traces { way: Way::SkLookup, pin, pool: Vec::new() };
        let (edge, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || hold(&theirs, keep, (socket.as_deref(), Some(&traces))));
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let listens = tcp.local_addr().unwrap();
        send(&edge, &[tcp], &[udp], Some(&listener)).unwrap();
        (&edge).read_exact(&mut [0]).unwrap();
        Running { _folder: folder, runtime, edge: FdStore(edge), listens, thread }
    }

    /// The edge is killed, and so is the next one, before it has taken over.
    #[test]
    fn sockets_outlive_their_owner() {
        let Running { _folder, runtime, edge, listens, thread } = running(KEEP);
        drop(edge);
        // No process accepts now, and still no client is refused.
        let waiting = TcpStream::connect(listens).unwrap();
        drop(Found::find(&runtime, NAME, own_user()).unwrap());
        let (found, kept) = Found::find(&runtime, NAME, own_user()).unwrap();
        assert_eq!((kept.tcp.len(), kept.udp.len()), (1, 1));
        assert_eq!(kept.tcp[0].accept().unwrap().1, waiting.local_addr().unwrap());
        found.quit();
        thread.join().unwrap().unwrap();
        assert!(TcpStream::connect(listens).is_ok());
        drop(kept);
        assert_eq!(TcpStream::connect(listens).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_clean_stop_leaves_nothing() {
        let Running { _folder, runtime, edge, listens, thread } = running(KEEP);
        edge.stop_steering().unwrap();
        assert_eq!(TcpStream::connect(listens).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!runtime.path(NAME).exists());
        edge.remove_routes().unwrap();
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn one_that_is_not_needed_ends() {
        let Running { edge, thread, .. } = running(KEEP);
        edge.quit().unwrap();
        thread.join().unwrap().unwrap();
    }

    /// Whoever comes and is no edge does not make it wait anew.
    #[test]
    fn strangers_get_the_sockets_no_more_time() {
        const KEEP: Duration = Duration::from_secs(1);
        let Running { _folder, runtime, edge, thread, .. } = running(KEEP);
        drop(edge);
        // One comes long before the time since the last is over, so that waiting anew would never end.
        while runtime.connect(NAME).is_ok() {
            thread::sleep(KEEP / 20);
        }
        thread.join().unwrap().unwrap();
        assert!(Found::find(&runtime, NAME, own_user()).is_none());
    }

    #[test]
    fn without_a_name_it_waits_for_nobody() {
        let (edge, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || hold(&theirs, KEEP, (None, None)));
        send(&edge, &[], &[], None).unwrap();
        (&edge).read_exact(&mut [0]).unwrap();
        drop(edge);
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
