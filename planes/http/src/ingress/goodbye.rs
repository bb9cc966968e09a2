//! The end of a visitor's connection: what was written has to arrive ([`bartizan_net::say_goodbye`]; RFC 9112 §9.6). An
//! HTTP/2 visitor sends WINDOW_UPDATE to the last.

use std::io;
use std::task::{Context, Poll};

use bartizan_net::Patience;
use bartizan_tls::ServerStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::turn::Turn;
use crate::Limits;
use crate::limits::LINGER_BYTES_MAX;

/// A visitor's connection, over TLS or not.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Unpin + 'static {
    fn socket(&self) -> &TcpStream;

    /// The same if its bytes are the visitor's as they are.
    fn plain(&self) -> Option<&TcpStream>;

    /// Goes on with a handshake that is not over yet. What the visitor has sent stays to be read.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Carrier for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn poll_handshake(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Carrier for ServerStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.io()
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerStream::poll_handshake(self, cx)
    }
}

/// Ends our side, and returns when the visitor has all that was written and has ended too; or has all of it and says
/// nothing for [`Limits::linger_time`]; or takes nothing for [`Limits::stall_time`] that what it takes does not buy back.
pub(crate) async fn say_goodbye(io: impl Carrier, turn: &Turn, limits: &Limits) {
    let patience = Patience { linger: limits.linger_time, rate: limits.least_rate(), bytes_max: LINGER_BYTES_MAX };
    bartizan_net::say_goodbye(io, Carrier::socket, &patience, || turn.next()).await;
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::rc::Rc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::runtime::LocalOptions;

    use super::super::lanes::Lanes;
    use super::*;
    use crate::limits::TURN_READ_BYTES;

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
            let (turn, limits) = (Rc::new(Lanes::default()).turn_of(from.ip()), Limits::default());
            let mut goodbye = pin!(say_goodbye(io, &turn, &limits));
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
