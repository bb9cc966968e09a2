//! UDP sessions of version 2 begin and end by remote calls, each on a stream of its own.
//!
//! ```text
//! edge ─ register, unregister ─► connector          connector ─ unregister (the session has ended) ─► edge
//! ```

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::RpcError;
use crate::call::{call, serve};
use crate::datagram::{SessionId, UdpSession};
use crate::text::short_text;
use crate::tunnel_capnp::session_manager;

/// What one side reads of a stream for a session's calls: some ids, an address, and a text.
const STREAM_BYTES_MAX: usize = 16 * 1024;

/// What was called; the answer goes into the sender.
#[derive(Debug)]
pub enum SessionCall {
    /// The error is a text for the other side.
    Register(UdpSession, oneshot::Sender<Result<(), String>>),
    /// With the reason.
    Unregister(SessionId, String, oneshot::Sender<()>),
}

/// Asks the connector for a session. Writes the signature first. To be run on an [`RpcThread`](crate::RpcThread); has no
/// time-out.
pub async fn register_session(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    session: UdpSession,
) -> Result<Result<(), String>, RpcError> {
    let response = call(read, write, STREAM_BYTES_MAX, |connector: session_manager::Client| {
        let mut request = connector.register_udp_session_request();
        let mut params = request.get();
        params.set_session_id(session.id.as_bytes());
        match session.destination.ip() {
            IpAddr::V4(v4) => params.set_dst_ip(&v4.octets()),
            IpAddr::V6(v6) => params.set_dst_ip(&v6.octets()),
        }
        params.set_dst_port(session.destination.port());
        params.set_close_after_idle_hint(i64::try_from(session.idle.as_nanos()).unwrap_or(i64::MAX));
        request.send()
    })
    .await?;
    let error = short_text(response.get()?.get_result()?.get_err()?);
    Ok(if error.is_empty() { Ok(()) } else { Err(error) })
}

/// Tells the other side that a session has ended. Writes the signature first. To be run on an
/// [`RpcThread`](crate::RpcThread); has no time-out.
pub async fn unregister_session(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    session: SessionId,
    why: &str,
) -> Result<(), RpcError> {
    call(read, write, STREAM_BYTES_MAX, |other: session_manager::Client| {
        let mut request = other.unregister_udp_session_request();
        request.get().set_session_id(session.as_bytes());
        request.get().set_message(why);
        request.send()
    })
    .await?;
    Ok(())
}

/// Serves such calls on one stream, after the signature. To be run on an [`RpcThread`](crate::RpcThread).
pub async fn serve_sessions(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    calls: mpsc::Sender<SessionCall>,
) -> Result<(), RpcError> {
    let server: session_manager::Client = capnp_rpc::new_client(Sessions(calls));
    serve(read, write, STREAM_BYTES_MAX, server.client).await
}

/// Hands each call over and waits for its answer.
pub(crate) struct Sessions(pub(crate) mpsc::Sender<SessionCall>);

impl Sessions {
    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> SessionCall) -> Result<T, capnp::Error> {
        let gone = || capnp::Error::disconnected("the connection is closing".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.send(call(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl session_manager::Server for Sessions {
    async fn register_udp_session(
        self: Rc<Self>,
        params: session_manager::RegisterUdpSessionParams,
        mut results: session_manager::RegisterUdpSessionResults,
    ) -> Result<(), capnp::Error> {
        let session = read_session(params.get()?)?;
        let answer = self.ask(|reply| SessionCall::Register(session, reply)).await?;
        results.get().init_result().set_err(answer.err().as_deref().unwrap_or_default());
        Ok(())
    }

    async fn unregister_udp_session(
        self: Rc<Self>,
        params: session_manager::UnregisterUdpSessionParams,
        _: session_manager::UnregisterUdpSessionResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let (id, why) = (read_id(params.get_session_id()?)?, short_text(params.get_message()?));
        self.ask(|reply| SessionCall::Unregister(id, why, reply)).await
    }
}

fn read_session(params: session_manager::register_udp_session_params::Reader<'_>) -> Result<UdpSession, capnp::Error> {
    let ip = params.get_dst_ip()?;
    let address = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6).to_canonical(),
        _ => return Err(capnp::Error::failed("an address has 4 or 16 bytes".to_owned())),
    };
    Ok(UdpSession {
        id: read_id(params.get_session_id()?)?,
        destination: SocketAddr::new(address, params.get_dst_port()),
        idle: Duration::from_nanos(u64::try_from(params.get_close_after_idle_hint()).unwrap_or(0)),
    })
}

fn read_id(data: &[u8]) -> Result<SessionId, capnp::Error> {
    let bytes = data.try_into().map_err(|_| capnp::Error::failed("an id has 16 bytes".to_owned()))?;
    Ok(SessionId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Applied, RpcThread, StreamKind, read_stream_kind, serve_connector};

    /// Which of the two ends serves.
    #[derive(Clone, Copy, Debug)]
    enum Server {
        Edge,
        Connector,
    }

    /// The caller's end of a stream whose other end passes on what it heard, and refuses port 1.
    async fn stream(rpc: &RpcThread, server: Server) -> (tokio::io::DuplexStream, mpsc::Receiver<String>) {
        let (near, far) = tokio::io::duplex(1024);
        let (calls, mut received) = mpsc::channel(1);
        let (heard, hears) = mpsc::channel(8);
        let rpc = rpc.clone();
        tokio::spawn(async move {
            let (mut read, write) = tokio::io::split(far);
            assert_eq!(read_stream_kind(&mut read).await.unwrap(), StreamKind::Rpc);
            let none = |_, _: &[u8]| Applied { version: -1, error: None };
            match server {
                Server::Edge => rpc.run(move || serve_sessions(read, write, calls)).await,
                Server::Connector => rpc.run(move || serve_connector(read, write, none, calls)).await,
            }
        });
        tokio::spawn(async move {
            while let Some(call) = received.recv().await {
                let _ = heard.send(format!("{call:?}")).await;
                match call {
                    SessionCall::Register(session, reply) if session.destination.port() == 1 => {
                        drop(reply.send(Err("refused".to_owned())));
                    }
                    SessionCall::Register(_, reply) => drop(reply.send(Ok(()))),
                    SessionCall::Unregister(_, _, reply) => drop(reply.send(())),
                }
            }
        });
        (near, hears)
    }

    #[tokio::test]
    async fn sessions_begin_and_end() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        let id = SessionId::from_bytes([7; 16]);
        for server in [Server::Edge, Server::Connector] {
            for (destination, expect) in
                [("192.0.2.1:53", Ok(())), ("[2001:db8::1]:53", Ok(())), ("192.0.2.1:1", Err("refused".to_owned()))]
            {
                let (near, mut hears) = stream(&rpc, server).await;
                let (read, write) = tokio::io::split(near);
                let destination = destination.parse().unwrap();
                let session = UdpSession { id, destination, idle: Duration::from_secs(210) };
                let heard = format!("Register({session:?}, ");
                let answer = rpc.run(move || register_session(read, write, session)).await.unwrap().unwrap();
                assert_eq!(answer, expect, "{server:?} {destination}");
                assert!(hears.recv().await.unwrap().starts_with(&heard));
            }
            let (near, mut hears) = stream(&rpc, server).await;
            let (read, write) = tokio::io::split(near);
            rpc.run(move || unregister_session(read, write, id, "idle")).await.unwrap().unwrap();
            assert!(hears.recv().await.unwrap().starts_with(&format!("Unregister({id:?}, \"idle\", ")));
        }
    }
}
