//! Bytes from socket to socket without a copy through user space: `splice(2)` by way of a pipe.
//!
//! A pipe costs two descriptors and three system calls to make, so a thread keeps its own in [`Pipes`] and a direction
//! holds one only while there are bytes in it.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;

/// What a pipe is asked to hold. In 64 KB a single stream pays for the system calls, in 1 MB it does not; beyond that
/// nothing is gained. Unprivileged users get less once they have many (`pipe-user-pages-soft`).
const PIPE_BYTES: usize = 1 << 20;

/// Pipes of one thread. A default system grants an unprivileged user 64 MB in pipes; beyond it they shrink to a page or
/// two, and then copying is the better way.
pub const PIPES_MAX: usize = 32;

/// A thread's pipes.
#[derive(Clone)]
pub struct Pipes(Rc<Inner>);

struct Inner {
    idle: RefCell<Vec<Ends>>,
    made: Cell<usize>,
    most: usize,
}

/// A pipe with the bytes in it; goes back to its thread's pipes when it is dropped empty.
pub struct Pipe {
    /// None only while it is being dropped.
    ends: Option<Ends>,
    /// Taken from one socket and not yet given to the other.
    held: usize,
    home: Rc<Inner>,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Pipes {
    /// At most so many, and no more than [`PIPES_MAX`].
    pub fn new(most: usize) -> Pipes {
        Pipes(Rc::new(Inner { idle: RefCell::default(), made: Cell::new(0), most: most.min(PIPES_MAX) }))
    }

    /// An empty pipe; none if all are in use, or the system has none to give. Then bytes have to be copied.
    pub fn take(&self) -> Option<Pipe> {
        let idle = self.0.idle.borrow_mut().pop();
        let ends = match idle {
            Some(ends) => ends,
            None if self.0.made.get() >= self.0.most => return None,
            None => {
                let ends = make().ok()?;
                self.0.made.set(self.0.made.get() + 1);
                ends
            }
        };
        Some(Pipe { ends: Some(ends), held: 0, home: Rc::clone(&self.0) })
    }
}

impl Pipe {
    /// Bytes in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what is there from a socket, at most `max` bytes; zero at its end. Only into an empty pipe: else "would
    /// block" could mean that the pipe is full, for which no socket ever becomes ready.
    pub fn fill(&mut self, from: impl AsFd, max: usize) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "only an empty pipe is filled");
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(from.as_fd(), ends.write.as_fd(), max.min(ends.capacity))?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives a socket as much as it takes.
    pub fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(ends.read.as_fd(), to.as_fd(), self.held)?;
        debug_assert!(moved <= self.held, "no more comes out than went in");
        self.held -= moved;
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.held == 0 {
            self.home.idle.borrow_mut().push(ends);
        } else {
            // The bytes of another connection: the pipe is closed with them.
            debug_assert!(self.home.made.get() > 0, "this one was counted when it was made");
            self.home.made.set(self.home.made.get() - 1);
        }
    }
}

fn make() -> io::Result<Ends> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors that the call writes.
    #[allow(unsafe_code)]
    let result = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so both are open and nobody else's.
    #[allow(unsafe_code)]
    let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let capacity = enlarge(&write)?;
    Ok(Ends { read, write, capacity })
}

/// Asks for a large pipe, and gives what there is.
fn enlarge(pipe: &OwnedFd) -> io::Result<usize> {
    // SAFETY: both calls take integers only, and the descriptor is open.
    #[allow(unsafe_code)]
    let capacity = unsafe {
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES as libc::c_int);
        libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ)
    };
    usize::try_from(capacity).map_err(|_| io::Error::last_os_error())
}

/// Moves bytes as they are; zero means the end of `from`.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    loop {
        // SAFETY: both descriptors are open, and neither end has an offset to point to.
        #[allow(unsafe_code)]
        let moved =
            unsafe { libc::splice(from.as_raw_fd(), ptr::null_mut(), to.as_raw_fd(), ptr::null_mut(), max, flags) };
        match usize::try_from(moved) {
            Ok(moved) => return Ok(moved),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection; ours does not block.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    /// Until the other side's bytes or end have arrived.
    fn patiently<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match step() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    #[test]
    fn bytes_pass_through_and_so_does_the_end() {
        let ((from, mut sender), (to, mut receiver)) = (connection(), connection());
        let pipes = Pipes::new(PIPES_MAX);
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from, 100).unwrap_err().kind(), ErrorKind::WouldBlock);
        sender.write_all(b"hello world").unwrap();
        assert_eq!(patiently(|| pipe.fill(&from, 5)).unwrap(), 5);
        assert_eq!(pipe.drain(&to).unwrap(), 5);
        assert_eq!(patiently(|| pipe.fill(&from, 100)).unwrap(), 6);
        assert_eq!((pipe.held(), pipe.drain(&to).unwrap(), pipe.held()), (6, 6, 0));
        sender.shutdown(Shutdown::Write).unwrap();
        assert_eq!(patiently(|| pipe.fill(&from, 100)).unwrap(), 0);
        drop((pipe, to));
        let mut text = String::new();
        receiver.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
    }

    #[test]
    fn a_receiver_who_does_not_read_leaves_the_bytes_in_the_pipe() {
        let ((from, mut sender), (to, mut receiver)) = (connection(), connection());
        let pipes = Pipes::new(PIPES_MAX);
        let mut pipe = pipes.take().unwrap();
        let sending = std::thread::spawn(move || {
            let block = vec![7; 1 << 16];
            for _ in 0..256 {
                sender.write_all(&block).unwrap();
            }
        });
        // Until neither side takes any more.
        let stuck = loop {
            patiently(|| pipe.fill(&from, 1 << 16)).unwrap();
            match pipe.drain(&to) {
                Err(error) => break error,
                Ok(_) if pipe.held() > 0 => break pipe.drain(&to).unwrap_err(),
                Ok(_) => {}
            }
        };
        assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            receiver.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        loop {
            while pipe.held() > 0 {
                patiently(|| pipe.drain(&to)).unwrap();
            }
            if patiently(|| pipe.fill(&from, 1 << 16)).unwrap() == 0 {
                break;
            }
        }
        drop(to);
        sending.join().unwrap();
        assert_eq!(reading.join().unwrap(), 256 << 16);
    }

    #[test]
    fn there_are_so_many_pipes_and_empty_ones_are_used_again() {
        let pipes = Pipes::new(PIPES_MAX);
        let mut taken: Vec<Pipe> = (0..PIPES_MAX).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        let first = taken.remove(0);
        let fd = first.ends.as_ref().unwrap().read.as_raw_fd();
        drop(first);
        let mut again = pipes.take().unwrap();
        assert_eq!(again.ends.as_ref().unwrap().read.as_raw_fd(), fd);
        // One with bytes in it is not given to anybody else.
        let (from, mut sender) = connection();
        sender.write_all(b"secret").unwrap();
        patiently(|| again.fill(&from, 100)).unwrap();
        drop(again);
        assert_eq!((pipes.0.idle.borrow().len(), pipes.0.made.get()), (0, PIPES_MAX - 1));
        assert!(pipes.take().is_some());
        assert!(Pipes::new(0).take().is_none() && Pipes::new(usize::MAX).0.most == PIPES_MAX);
    }
}
