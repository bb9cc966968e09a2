//! One remote call on a stream of its own, either way.

use capnp::capability::{FromClientHook, RemotePromise, Response};
use capnp::message::ReaderOptions;
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::futures_io::{Limited, Writer};
use crate::{RPC_SIGNATURE, RpcError};

/// What one side reads of such a stream, at most.
const fn reader(bytes_max: usize) -> ReaderOptions {
    ReaderOptions { traversal_limit_in_words: Some(bytes_max / 8), nesting_limit: 16 }
}

/// Writes the signature and makes the call that `ask` sends.
pub(crate) async fn call<C, R>(
    read: impl AsyncRead + Unpin + 'static,
    mut write: impl AsyncWrite + Unpin + 'static,
    bytes_max: usize,
    ask: impl FnOnce(C) -> RemotePromise<R>,
) -> Result<Response<R>, RpcError>
where
    C: FromClientHook,
    R: capnp::traits::Pipelined + capnp::traits::Owned + 'static + Unpin,
{
    write.write_all(&RPC_SIGNATURE).await.map_err(RpcError::Write)?;
    let network = VatNetwork::new(Limited::new(read, bytes_max as u64), Writer(write), Side::Client, reader(bytes_max));
    let mut system = RpcSystem::new(Box::new(network), None);
    let answer = ask(system.bootstrap(Side::Server)).promise;
    tokio::select! {
        answer = answer => Ok(answer?),
        ended = system => {
            ended?;
            Err(RpcError::Malformed("the stream ended before the answer"))
        }
    }
}

/// Serves calls, after the signature, until the caller hangs up.
pub(crate) async fn serve(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    bytes_max: usize,
    server: capnp::capability::Client,
) -> Result<(), RpcError> {
    let network = VatNetwork::new(Limited::new(read, bytes_max as u64), Writer(write), Side::Server, reader(bytes_max));
    RpcSystem::new(Box::new(network), Some(server)).await.map_err(RpcError::Failed)
}
