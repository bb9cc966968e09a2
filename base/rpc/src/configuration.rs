//! The edge hands a connector its configuration: one call on a stream of its own.

use std::rc::Rc;

use capnp::message::ReaderOptions;
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::futures_io::{Limited, Writer};
use crate::tunnel_capnp::configuration_manager;
use crate::{RPC_SIGNATURE, RpcError};

/// The largest configuration document that is sent or taken.
pub const CONFIGURATION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What one side reads of such a stream: the document, and the words around it.
const STREAM_BYTES_MAX: u64 = CONFIGURATION_BYTES_MAX as u64 + 16 * 1024;

const READER: ReaderOptions =
    ReaderOptions { traversal_limit_in_words: Some(STREAM_BYTES_MAX as usize / 8), nesting_limit: 16 };

/// What the connector has in force after the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// -1 when nothing came from an edge yet.
    pub version: i32,
    /// Why the offered configuration was not taken; none also when it was older than the one in force.
    pub error: Option<String>,
}

/// The edge's end. Writes the signature first. To be run on an [`RpcThread`](crate::RpcThread); has no time-out.
pub async fn update_configuration(
    read: impl AsyncRead + Unpin + 'static,
    mut write: impl AsyncWrite + Unpin + 'static,
    version: i32,
    json: impl AsRef<[u8]>,
) -> Result<Applied, RpcError> {
    write.write_all(&RPC_SIGNATURE).await.map_err(RpcError::Write)?;
    let network = VatNetwork::new(Limited::new(read, STREAM_BYTES_MAX), Writer(write), Side::Client, READER);
    let mut system = RpcSystem::new(Box::new(network), None);
    let connector: configuration_manager::Client = system.bootstrap(Side::Server);
    let mut request = connector.update_configuration_request();
    request.get().set_version(version);
    request.get().set_config(json.as_ref());
    let call = request.send().promise;
    let response = tokio::select! {
        response = call => response?,
        ended = system => {
            ended?;
            return Err(RpcError::Malformed("the stream ended before the answer"));
        }
    };
    let result = response.get()?.get_result()?;
    let error = String::from_utf8_lossy(result.get_err()?.as_bytes()).into_owned();
    Ok(Applied { version: result.get_latest_applied_version(), error: (!error.is_empty()).then_some(error) })
}

/// The connector's end, after the signature: `apply` takes version and JSON. To be run on an
/// [`RpcThread`](crate::RpcThread).
pub async fn serve_configuration(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    apply: impl Fn(i32, &[u8]) -> Applied + 'static,
) -> Result<(), RpcError> {
    let network = VatNetwork::new(Limited::new(read, STREAM_BYTES_MAX), Writer(write), Side::Server, READER);
    let server: configuration_manager::Client = capnp_rpc::new_client(Server(apply));
    RpcSystem::new(Box::new(network), Some(server.client)).await.map_err(RpcError::Failed)
}

struct Server<A>(A);

impl<A: Fn(i32, &[u8]) -> Applied + 'static> configuration_manager::Server for Server<A> {
    async fn update_configuration(
        self: Rc<Self>,
        params: configuration_manager::UpdateConfigurationParams,
        mut results: configuration_manager::UpdateConfigurationResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let applied = (self.0)(params.get_version(), params.get_config()?);
        let mut result = results.get().init_result();
        result.set_latest_applied_version(applied.version);
        result.set_err(applied.error.as_deref().unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RpcThread, StreamKind, read_stream_kind};

    #[tokio::test]
    async fn a_configuration_is_taken_or_refused() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        for (json, expect) in [
            (vec![b' '; 1_000_000], Applied { version: 5, error: None }),
            (b"bad".to_vec(), Applied { version: -1, error: Some("bad at 5".to_owned()) }),
        ] {
            let (near, far) = tokio::io::duplex(1024);
            let connector = rpc.clone();
            tokio::spawn(async move {
                let (mut read, write) = tokio::io::split(far);
                assert_eq!(read_stream_kind(&mut read).await.unwrap(), StreamKind::Rpc);
                let apply = |version, json: &[u8]| match json {
                    b"bad" => Applied { version: -1, error: Some(format!("bad at {version}")) },
                    _ => Applied { version, error: None },
                };
                connector.run(move || serve_configuration(read, write, apply)).await
            });
            let (read, write) = tokio::io::split(near);
            assert_eq!(rpc.run(move || update_configuration(read, write, 5, json)).await.unwrap().unwrap(), expect);
        }
    }
}
