//! The end of a visitor's connection: what was written has to arrive.
//!
//! Written is not delivered: it may lie in our kernel for as long as a slow visitor needs. A socket that is closed with
//! bytes unread, or that gets more after it was closed, is answered with a reset, and the reset destroys what is still
//! under way (RFC 9112 §9.6; an HTTP/2 visitor sends WINDOW_UPDATE to the last). And where the process is all there is,
//! as in a container, nobody sends the rest after it. So we say that we have ended, read on, and leave when the visitor
//! has everything.

use std::time::Duration;

use bartizan_net::undelivered;
use bartizan_tls::ServerStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::Limits;
use crate::limits::{LINGER_BYTES_MAX, LINGER_LOOK_EVERY, LINGER_READ_BYTES};

/// A visitor's connection, over TLS or not.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + 'static {
    fn socket(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Carrier for ServerStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.io()
    }
}

/// Ends our side, and returns when the visitor has all that was written and has ended too; or has all of it and says
/// nothing for [`Limits::linger_time`]; or takes nothing for [`Limits::stall_time`].
pub(crate) async fn say_goodbye(mut io: impl Carrier, limits: &Limits) {
    // TLS says it first (close_notify, RFC 8446 §6.1), which may have to wait for room.
    if !matches!(timeout(limits.stall_time, io.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let mut listening = Listening::To { left: LINGER_BYTES_MAX };
    // On the heap: the future would keep it for as long as the connection lives.
    let mut waste = vec![0; LINGER_READ_BYTES];
    let (mut before, mut moved) = (usize::MAX, Instant::now());
    loop {
        let Ok(under_way) = undelivered(io.socket()) else { return };
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
        listening = listening.once(&mut io, &mut waste).await;
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
    async fn once(self, io: &mut impl Carrier, waste: &mut [u8]) -> Listening {
        match self {
            Listening::To { left } => match timeout(LINGER_LOOK_EVERY, io.read(waste)).await {
                Err(_) => self,
                Ok(Ok(1..)) if left == 0 => Listening::No,
                Ok(Ok(read @ 1..)) => Listening::To { left: left.saturating_sub(read) },
                // After a reset nothing is under way any more, as the next look tells.
                Ok(Ok(0) | Err(_)) => Listening::Over,
            },
            Listening::No => {
                sleep(LINGER_LOOK_EVERY).await;
                match timeout(Duration::ZERO, io.socket().ready(Interest::READABLE)).await {
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
