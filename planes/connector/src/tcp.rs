//! TCP connections through the tunnel: the edge names an address, we dial it, and bytes go both ways.
//!
//! The edge decides which addresses may be reached, as with the stock connector: whoever may configure the tunnel can
//! reach what this machine can reach. The client's address, which the edge may send along, is not used here: a PROXY
//! header is part of the bytes that the edge sends.

use std::io;

use bartizan_names::{OriginAddress, OriginFault};
use bartizan_net::{LeastRate, delivered};
use bartizan_rpc::ConnectRequest;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::Event;
use crate::egress::OriginError;
use crate::ingress::{Shared, StreamError};
use crate::pipeline::fail;
use crate::stream::{Arriving, Intake, IntakeError, Outlet};

/// Bytes that are read from the origin at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// A read that could bring less than this gets a new buffer.
const ROOM_BYTES_MIN: usize = 4 * 1024;

/// Serves one connection to its end. The stream is reset by the caller after an error.
pub(crate) async fn serve(
    request: &ConnectRequest,
    send: &mut Outlet,
    receive: Arriving,
    shared: &Shared,
) -> Result<(), StreamError> {
    let dest = &request.dest;
    let Ok(OriginAddress { host, port }) = dest.parse() else {
        return fail(send, "the destination is not an address and a port".to_owned(), OriginFault::Untold).await;
    };
    let connect_time = shared.limits.tcp_connect_time;
    let dialling = timeout(connect_time, shared.origins.connect_to(None, std::slice::from_ref(&host), port));
    let dialled = tokio::select! {
        dialled = dialling => match dialled {
            Ok(dialled) => dialled.map_err(OriginError::from),
            Err(_) => Err(OriginError::ConnectTime(connect_time)),
        },
        // The client is gone, so the connection is not needed any more.
        _ = send.stopped() => return Err(StreamError::GivenUp),
    };
    match dialled {
        Err(error) => {
            let why = error.to_string();
            shared.mention(Event::RequestFailed { origin: dest.clone(), why: why.clone() });
            fail(send, format!("{dest}: {why}"), error.fault()).await
        }
        Ok(stream) => {
            let mut origin = Origin { stream, is_complete: false };
            send.agree().await?;
            let relayed = relay(&mut origin.stream, send, receive.intake(request, None)).await;
            relayed.inspect_err(|error| {
                if let StreamError::Read(error @ IntakeError::Shed) = error {
                    shared.mention(Event::RequestFailed { origin: dest.clone(), why: error.to_string() });
                }
            })?;
            // The kernel delivers what is under way, as long as there is one: in a container it ends with us.
            delivered(&origin.stream, LeastRate::with_stall(shared.limits.deliver_time)).await;
            origin.is_complete = true;
            Ok(())
        }
    }
}

/// What is left before its end, also by whoever gives the task up, must not look complete to the origin: it gets a reset.
struct Origin {
    stream: TcpStream,
    is_complete: bool,
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Each side may end before the other one does.
async fn relay(origin: &mut TcpStream, send: &mut Outlet, receive: Intake) -> Result<(), StreamError> {
    let (from_origin, to_origin) = origin.split();
    let shed = receive.shed();
    tokio::select! {
        biased;
        relayed = async { tokio::try_join!(to(to_origin, receive), from(&from_origin, send)) } => relayed.map(|((), ())| ()),
        () = shed => Err(IntakeError::Shed.into()),
    }
}

async fn to(mut origin: WriteHalf<'_>, mut receive: Intake) -> Result<(), StreamError> {
    while let Some(chunk) = receive.chunk().await? {
        origin.write_all(&chunk).await.map_err(StreamError::Tcp)?;
    }
    origin.shutdown().await.map_err(StreamError::Tcp)
}

async fn from(origin: &ReadHalf<'_>, send: &mut Outlet) -> Result<(), StreamError> {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < ROOM_BYTES_MIN {
            buffer = BytesMut::with_capacity(CHUNK_BYTES);
        }
        match origin.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(_) => send.write_chunk(buffer.split().freeze()).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                readable = origin.readable() => readable.map_err(StreamError::Tcp)?,
                // The client may go away while the origin is silent.
                _ = send.stopped() => return Err(StreamError::GivenUp),
            },
            Err(error) => return Err(StreamError::Tcp(error)),
        }
    }
    // The other direction may go on.
    send.finish();
    Ok(())
}
