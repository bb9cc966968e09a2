//! The end of a TCP connection: what was written has to arrive.
//!
//! Written is not delivered: it may lie in our kernel for as long as a slow peer needs. A socket that is closed with bytes
//! unread, or that gets more after it was closed, is answered with a reset, and the reset destroys what is still under
//! way (RFC 9112 §9.6; an HTTP/2 visitor sends WINDOW_UPDATE to the last). And where the process is all there is, as in a
//! container, nobody sends the rest after it. So we say that we have ended, read on, and leave when the peer has
//! everything.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::account::{Account, LeastRate};
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
    /// For one that has not.
    pub rate: LeastRate,
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
    let mut taken = Taken::begin(patience.rate);
    // TLS says it first (close_notify, RFC 8446 §6.1), behind what it has not written yet, which may have to wait for room.
    loop {
        let shutting = poll_fn(|cx| {
            // What is taken between two of its writes is seen before the next one.
            taken.look(undelivered(socket(&io)).unwrap_or(0));
            let shut = Pin::new(&mut io).poll_shutdown(cx);
            taken.written(undelivered(socket(&io)).unwrap_or(0));
            shut
        });
        match timeout(LOOK_EVERY, shutting).await {
            Ok(Ok(())) => break,
            Ok(Err(_)) => return,
            Err(_) if taken.is_over() => return,
            Err(_) => {}
        }
    }
    let socket = socket(&io);
    let mut moved = Instant::now();
    let mut listening = Listening::To { left: patience.bytes_max };
    loop {
        let Ok(under_way) = undelivered(socket) else { return };
        if taken.look(under_way) > 0 {
            moved = Instant::now();
        }
        let is_over = match (under_way, listening) {
            (0, Listening::Over) => true,
            (0, Listening::To { .. } | Listening::No) => moved.elapsed() >= patience.linger,
            _ => taken.is_over(),
        };
        if is_over {
            return;
        }
        // Nothing but its end is waited for from who has everything: many connections may be at that at once.
        let wait = if under_way == 0 { patience.linger.saturating_sub(moved.elapsed()) } else { LOOK_EVERY };
        listening = listening.once(socket, wait, &others).await;
    }
}

/// Returns when the peer has all that was written, or takes less of it than it has to, or is gone.
pub async fn delivered(socket: &TcpStream, rate: LeastRate) {
    let mut taken = Taken::begin(rate);
    while let Ok(under_way @ 1..) = undelivered(socket) {
        taken.look(under_way);
        if taken.is_over() {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What a peer takes of what is under way, and how long it is waited for.
struct Taken {
    rate: LeastRate,
    account: Account,
    /// What was under way when it was seen last, which nothing is before that.
    left: usize,
    seen: Instant,
}

impl Taken {
    fn begin(rate: LeastRate) -> Taken {
        Taken { rate, account: Account::default(), left: 0, seen: Instant::now() }
    }

    /// So much is under way now. Says how much was taken since the last look.
    fn look(&mut self, under_way: usize) -> usize {
        let (now, taken) = (Instant::now(), self.left.saturating_sub(under_way));
        self.account.waited(now - std::mem::replace(&mut self.seen, now));
        self.account.moved(taken, self.rate);
        self.left = under_way;
        taken
    }

    /// So much is under way behind a write of ours.
    fn written(&mut self, under_way: usize) {
        self.left = under_way;
    }

    fn is_over(&self) -> bool {
        self.account.left(self.rate.stall).is_zero()
    }
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
    /// Reads until the next look, for as long as `wait`.
    async fn once<F: Future<Output = ()>>(
        self,
        socket: &TcpStream,
        wait: Duration,
        others: impl Fn() -> F,
    ) -> Listening {
        match self {
            Listening::To { left } => match timeout(wait, throw_away(socket)).await {
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
    use std::task::{Context, Poll, ready};

    use socket2::{Domain, SockRef, Socket, Type};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::yield_now;

    use super::*;

    /// Longer than anything takes on a machine that is busy with other things.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(500);
    const RATE: LeastRate = LeastRate { stall: LONG, bytes_per_second: 1 };
    const PATIENCE: Patience = Patience { linger: LONG, rate: RATE, bytes_max: 1 << 20 };
    /// Packets and windows as of a slow line, so that little is taken at a time.
    const PACKET: u32 = 536;
    const WINDOW: usize = 4 * PACKET as usize;

    /// Both ends of a connection, of which the near one has written as much as goes without being read.
    async fn full() -> (TcpStream, StdStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        filled(listener.accept().await.unwrap().0, far).await
    }

    /// The same over a slow line, where so much goes unread.
    async fn full_of(bytes: usize) -> (TcpStream, StdStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        far.set_recv_buffer_size(WINDOW).unwrap();
        far.set_tcp_mss(PACKET).unwrap();
        far.connect(&address.into()).unwrap();
        let near = listener.accept().await.unwrap().0;
        SockRef::from(&near).set_send_buffer_size(bytes).unwrap();
        filled(near, far.into()).await
    }

    async fn filled(near: TcpStream, far: StdStream) -> (TcpStream, StdStream, usize) {
        far.set_read_timeout(Some(LONG)).unwrap();
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
        let patience = |bytes_per_second| Patience { rate: LeastRate { stall: SHORT, bytes_per_second }, ..PATIENCE };
        for (patience, reads) in [
            (patience(1), Reads::Nothing),
            (patience(u32::MAX), Reads::Slowly),
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

    /// Reads a little at a time until the near end has ended, or it shall not go on. Says how much it has.
    fn sip(mut far: StdStream, piece: usize, goes_on: impl Fn() -> bool) -> usize {
        let (mut read, mut room) = (0, vec![0; piece]);
        while goes_on() {
            match far.read(&mut room).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        read
    }

    /// A peer that takes a little now and then has the time of a stall, and not what the rest would take at the least rate.
    #[tokio::test]
    async fn who_sips_is_left() {
        const LEAST: u32 = 40_000;
        let rate = LeastRate { stall: SHORT, bytes_per_second: LEAST };
        for says_goodbye in [true, false] {
            let (near, far, written) = full_of(2 << 20).await;
            let all_at_least_rate = Duration::from_secs(written as u64 / u64::from(LEAST));
            assert!(all_at_least_rate > 20 * SHORT, "{written}");
            let (near_left, is_over) = std::sync::mpsc::channel::<()>();
            let reading = tokio::task::spawn_blocking(move || {
                let goes_on = || is_over.recv_timeout(SHORT / 50) == Err(RecvTimeoutError::Timeout);
                sip(far, 150, goes_on)
            });
            let patience = Patience { rate, ..PATIENCE };
            let end = async {
                match says_goodbye {
                    true => say_goodbye(near, |near| near, &patience, yield_now).await,
                    false => {
                        delivered(&near, rate).await;
                        near.set_zero_linger().unwrap();
                    }
                }
            };
            timeout(all_at_least_rate / 2, end).await.expect("an end");
            drop(near_left);
            assert!(reading.await.unwrap() < written / 2, "it did not sip");
        }
    }

    /// Who takes what it has to gets all of it, though that is longer than a stall.
    #[tokio::test]
    async fn who_is_slow_gets_all() {
        for (io, most) in [("a socket", 0), ("one with something held back", 64 * 1024)] {
            let (near, far, written) = full_of(16 * 1024).await;
            let rate = LeastRate { stall: SHORT, bytes_per_second: 10_000 };
            let reading = tokio::task::spawn_blocking(move || {
                sip(far, 1_000, || {
                    std::thread::sleep(SHORT / 25);
                    true
                })
            });
            let begun = Instant::now();
            let patience = Patience { rate, ..PATIENCE };
            timeout(LONG, say_goodbye(HoldsBack { near, left: most }, |io| &io.near, &patience, yield_now))
                .await
                .unwrap();
            assert!(begun.elapsed() > SHORT, "{io} does not show anything");
            assert_eq!(reading.await.unwrap(), written + most, "{io}");
        }
    }

    /// As TLS does, which has something to write before the end.
    struct HoldsBack {
        near: TcpStream,
        left: usize,
    }

    impl AsyncWrite for HoldsBack {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.near).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            while self.left > 0 {
                let piece = [7; 1024];
                let most = self.left.min(piece.len());
                let written = ready!(Pin::new(&mut self.near).poll_write(cx, &piece[..most]))?;
                self.left -= written;
            }
            Pin::new(&mut self.near).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn delivery_is_waited_for() {
        let (mut near, mut far, written) = full().await;
        timeout(LONG, delivered(&near, LeastRate { stall: SHORT, ..RATE })).await.unwrap();
        assert!(undelivered(&near).unwrap() > 0);
        near.shutdown().await.unwrap();
        let read = tokio::task::spawn_blocking(move || far.read_to_end(&mut Vec::new()).unwrap());
        timeout(LONG, delivered(&near, RATE)).await.unwrap();
        assert_eq!(undelivered(&near).unwrap(), 0);
        assert_eq!(read.await.unwrap(), written);
    }
}
