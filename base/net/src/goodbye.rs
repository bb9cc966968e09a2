//! The end of a TCP connection: what was written has to arrive.
//!
//! Written is not delivered: it may lie in our kernel for as long as a slow peer needs. A socket that is closed with bytes
//! unread, or that gets more after it was closed, is answered with a reset, and the reset destroys what is still under
//! way (RFC 9112 §9.6; an HTTP/2 visitor sends WINDOW_UPDATE to the last). And where the process is all there is, as in a
//! container, nobody sends the rest after it. So we say that we have ended, read on, and leave when the peer has
//! everything.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::delivery::undelivered;

/// How often we look what has not arrived yet.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What comes is read and thrown away in pieces of this size, some microseconds each.
const WASTE_BYTES: usize = 16 * 1024;

/// How long the end of a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a peer that has everything, and has not ended itself.
    pub linger: Duration,
    /// For one that takes nothing of what is under way.
    pub stall: Duration,
    /// Who takes less than this on average is left when the time of a stall is used up.
    pub least_bytes_per_second: u32,
    /// What is read meanwhile. Who sends more is not listening.
    pub bytes_max: usize,
}

/// Ends our side of a connection, over TLS or not, and returns when the peer has all that was written and has ended too,
/// or when `patience` is at its end. What still comes is not looked at, at TLS neither; after each piece of it, it is the
/// turn of `others`.
pub async fn say_goodbye<IO, F>(
    mut io: IO,
    socket: impl Fn(&IO) -> &TcpStream,
    patience: &Patience,
    others: impl Fn() -> F,
) where
    IO: AsyncWrite + Unpin,
    F: Future<Output = ()>,
{
    // TLS says it first (close_notify, RFC 8446 §6.1), which may have to wait for room.
    if !matches!(timeout(patience.stall, io.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let socket = socket(&io);
    let Ok(mut left) = undelivered(socket) else { return };
    let mut moved = Instant::now();
    let end = moved + patience.stall + least_time(left, patience.least_bytes_per_second);
    let mut listening = Listening::To { left: patience.bytes_max };
    loop {
        let Ok(under_way) = undelivered(socket) else { return };
        if under_way < left {
            (left, moved) = (under_way, Instant::now());
        }
        let due = match (under_way, listening) {
            (0, Listening::Over) => return,
            (0, Listening::To { .. } | Listening::No) => moved + patience.linger,
            _ => end.min(moved + patience.stall),
        };
        if Instant::now() >= due {
            return;
        }
        listening = listening.once(socket, &others).await;
    }
}

/// Returns when the peer has all that was written, or has taken nothing of it for so long, or is gone.
pub async fn delivered(socket: &TcpStream, stall: Duration) {
    let (mut left, mut moved) = (usize::MAX, Instant::now());
    while let Ok(under_way @ 1..) = undelivered(socket) {
        if under_way < left {
            (left, moved) = (under_way, Instant::now());
        } else if moved.elapsed() >= stall {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What so many bytes may take at the least rate.
fn least_time(bytes: usize, per_second: u32) -> Duration {
    Duration::from_secs(bytes as u64 / u64::from(per_second.max(1)))
}

#[derive(Clone, Copy)]
enum Listening {
    /// Whatever comes is thrown away, so much of it at most.
    To { left: usize },
    /// The peer sends too much. What is not read makes no reset before we close, and once its own writes have to wait, it
    /// has a look at what was said.
    No,
    /// The peer has ended.
    Over,
}

impl Listening {
    /// Reads for one look.
    async fn once<F: Future<Output = ()>>(self, socket: &TcpStream, others: impl Fn() -> F) -> Listening {
        match self {
            Listening::To { left } => match timeout(LOOK_EVERY, throw_away(socket)).await {
                Err(_) => self,
                Ok(Ok(1..)) if left == 0 => Listening::No,
                Ok(Ok(read @ 1..)) => {
                    // There may be more.
                    others().await;
                    Listening::To { left: left.saturating_sub(read) }
                }
                // After a reset nothing is under way any more, as the next look tells.
                Ok(Ok(0) | Err(_)) => Listening::Over,
            },
            Listening::No => {
                sleep(LOOK_EVERY).await;
                match timeout(Duration::ZERO, socket.ready(Interest::READABLE)).await {
                    Ok(Ok(ready)) if ready.is_read_closed() => Listening::Over,
                    Ok(Err(_)) => Listening::Over,
                    Ok(Ok(_)) | Err(_) => self,
                }
            }
            Listening::Over => {
                sleep(LOOK_EVERY).await;
                self
            }
        }
    }
}

/// Reads a piece of what comes. Says how much: none at the end.
async fn throw_away(socket: &TcpStream) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        match throw_away_now(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// The piece lies on the stack: a future would have room for it for as long as the connection lives.
fn throw_away_now(socket: &TcpStream) -> io::Result<usize> {
    socket.try_read(&mut [0; WASTE_BYTES])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream as StdStream;
    use std::sync::mpsc::RecvTimeoutError;

    use tokio::net::TcpListener;
    use tokio::task::yield_now;

    use super::*;

    /// Longer than anything takes on a machine that is busy with other things.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(500);
    const PATIENCE: Patience = Patience { linger: LONG, stall: LONG, least_bytes_per_second: 1, bytes_max: 1 << 20 };

    /// Both ends of a connection, of which the near one has written as much as goes without being read.
    async fn full() -> (TcpStream, StdStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_read_timeout(Some(LONG)).unwrap();
        let near = listener.accept().await.unwrap().0;
        near.writable().await.unwrap();
        let mut written = 0;
        while let Ok(more) = near.try_write(&[7; 1 << 16]) {
            written += more;
        }
        (near, far, written)
    }

    #[tokio::test]
    async fn all_that_was_written_arrives_whatever_is_still_said() {
        let (near, mut far, written) = full().await;
        let read = tokio::task::spawn_blocking(move || {
            // Unread at a close, it would be answered with a reset.
            std::io::Write::write_all(&mut far, &[1; 100_000]).unwrap();
            let mut all = Vec::new();
            far.read_to_end(&mut all).map(|_| all.len())
        });
        timeout(LONG, say_goodbye(near, |near| near, &PATIENCE, yield_now)).await.unwrap();
        assert_eq!(read.await.unwrap().unwrap(), written);
    }

    /// A peer that reads nothing, one that reads too slowly, and one that has all and does not end.
    #[tokio::test]
    async fn patience_has_an_end() {
        let stall = Patience { stall: SHORT, ..PATIENCE };
        for (patience, reads) in [
            (stall, Reads::Nothing),
            (Patience { least_bytes_per_second: u32::MAX, ..stall }, Reads::Slowly),
            (Patience { linger: SHORT, ..PATIENCE }, Reads::All),
        ] {
            let (near, mut far, written) = full().await;
            let (ended, is_over) = std::sync::mpsc::channel::<()>();
            let reading = tokio::task::spawn_blocking(move || {
                let (mut left, mut piece) = (written, vec![0; if reads == Reads::Slowly { 1 << 13 } else { 1 << 16 }]);
                let pause = if reads == Reads::Slowly { SHORT / 50 } else { Duration::ZERO };
                let goes_on = || is_over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
                while reads != Reads::Nothing && left > 0 && goes_on() {
                    left -= far.read(&mut piece).unwrap();
                }
                // Until then it does not end.
                let _ = is_over.recv();
                left
            });
            timeout(LONG, say_goodbye(near, |near| near, &patience, yield_now)).await.unwrap();
            drop(ended);
            let left = reading.await.unwrap();
            assert_eq!(left == 0, reads == Reads::All, "{reads:?}: {left} of {written}");
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Reads {
        Nothing,
        Slowly,
        All,
    }

    #[tokio::test]
    async fn delivery_is_waited_for() {
        let (mut near, mut far, written) = full().await;
        timeout(LONG, delivered(&near, SHORT)).await.unwrap();
        assert!(undelivered(&near).unwrap() > 0);
        near.shutdown().await.unwrap();
        let read = tokio::task::spawn_blocking(move || far.read_to_end(&mut Vec::new()).unwrap());
        timeout(LONG, delivered(&near, LONG)).await.unwrap();
        assert_eq!(undelivered(&near).unwrap(), 0);
        assert_eq!(read.await.unwrap(), written);
    }
}
