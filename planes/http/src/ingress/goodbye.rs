//! The end of a visitor's connection: what was written has to arrive.
//!
//! Written is not delivered: it may lie in our kernel for as long as a slow visitor needs. A socket that is closed with
//! bytes unread, or that gets more after it was closed, is answered with a reset, and the reset destroys what is still
//! under way (RFC 9112 §9.6; an HTTP/2 visitor sends WINDOW_UPDATE to the last). And where the process is all there is,
//! as in a container, nobody sends the rest after it. So we say that we have ended, read on, and leave when the visitor
//! has everything.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_net::undelivered;
use bartizan_tls::ServerStream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::turn::Turn;
use crate::Limits;
use crate::limits::{LINGER_BYTES_MAX, LINGER_LOOK_EVERY, TURN_READ_BYTES};
use crate::spare::Spare;

/// A visitor's connection, over TLS or not.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + 'static {
    fn socket(&self) -> &TcpStream;

    /// Goes on with a handshake that is not over yet. What the visitor has sent stays to be read.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Carrier for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn poll_handshake(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Carrier for ServerStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.io()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerStream::poll_handshake(self, cx)
    }
}

/// Ends our side, and returns when the visitor has all that was written and has ended too; or has all of it and says
/// nothing for [`Limits::linger_time`]; or takes nothing for [`Limits::stall_time`].
pub(crate) async fn say_goodbye(mut io: impl Carrier, turn: &Turn, (limits, spare): (&Limits, &Spare)) {
    // TLS says it first (close_notify, RFC 8446 §6.1), which may have to wait for room.
    if !matches!(timeout(limits.stall_time, io.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let socket = io.socket();
    let mut listening = Listening::To { left: LINGER_BYTES_MAX };
    let (mut before, mut moved) = (usize::MAX, Instant::now());
    loop {
        let Ok(under_way) = undelivered(socket) else { return };
        if under_way < before {
            (before, moved) = (under_way, Instant::now());
        }
        let patience = match (under_way, listening) {
            (0, Listening::Over) => return,
            (0, Listening::To { .. } | Listening::No) => limits.linger_time,
            _ => limits.stall_time,
        };
        if moved.elapsed() >= patience {
            return;
        }
        listening = listening.once(socket, turn, spare).await;
    }
}

#[derive(Clone, Copy)]
enum Listening {
    /// Whatever comes is thrown away, so much of it at most.
    To { left: usize },
    /// The visitor sends too much. What is not read makes no reset before we close, and once its own writes have to
    /// wait, it has a look at what was said.
    No,
    /// The visitor has ended.
    Over,
}

impl Listening {
    /// Reads for one look.
    async fn once(self, socket: &TcpStream, turn: &Turn, spare: &Spare) -> Listening {
        match self {
            Listening::To { left } => match timeout(LINGER_LOOK_EVERY, throw_away(socket, spare)).await {
                Err(_) => self,
                Ok(Ok(1..)) if left == 0 => Listening::No,
                Ok(Ok(read @ 1..)) => {
                    // There may be more, and others wait.
                    turn.next().await;
                    Listening::To { left: left.saturating_sub(read) }
                }
                // After a reset nothing is under way any more, as the next look tells.
                Ok(Ok(0) | Err(_)) => Listening::Over,
            },
            Listening::No => {
                sleep(LINGER_LOOK_EVERY).await;
                match timeout(Duration::ZERO, socket.ready(Interest::READABLE)).await {
                    Ok(Ok(ready)) if ready.is_read_closed() => Listening::Over,
                    Ok(Err(_)) => Listening::Over,
                    Ok(Ok(_)) | Err(_) => self,
                }
            }
            Listening::Over => {
                sleep(LINGER_LOOK_EVERY).await;
                self
            }
        }
    }
}

/// Reads what comes and looks at none of it, at TLS neither. Says how much: none at the end.
async fn throw_away(socket: &TcpStream, spare: &Spare) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        match socket.try_read(&mut spare.scratch.borrow_mut()[..TURN_READ_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::rc::Rc;

    use tokio::net::TcpListener;
    use tokio::runtime::LocalOptions;

    use super::super::lanes::Lanes;
    use super::*;

    /// A visitor that has sent much is not read in one go, while others wait.
    #[test]
    fn what_still_comes_is_read_in_turns() {
        const TURNS: usize = 3;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (io, from) = listener.accept().await.unwrap();
            visitor.write_all(&[b'x'; TURNS * TURN_READ_BYTES]).await.unwrap();
            visitor.shutdown().await.unwrap();
            let (turn, limits, spare) =
                (Rc::new(Lanes::default()).turn_of(from.ip()), Limits::default(), Spare::default());
            let mut goodbye = pin!(say_goodbye(io, &turn, (&limits, &spare)));
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                goodbye.as_mut().poll(cx)
            })
            .await;
            assert!(polls > TURNS, "{polls}");
        });
    }
}
