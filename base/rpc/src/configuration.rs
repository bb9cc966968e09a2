//! The edge hands a connector its configuration: one call on a stream of its own. And all that connectors serve there.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::RpcError;
use crate::call::{call, serve};
use crate::session::{SessionCall, Sessions};
use crate::text::short_text;
use crate::tunnel_capnp::{configuration_manager, connector_server, session_manager};

/// The largest configuration document that is sent or taken.
pub const CONFIGURATION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What one side reads of such a stream: the document, and the words around it.
const STREAM_BYTES_MAX: usize = CONFIGURATION_BYTES_MAX + 16 * 1024;

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
    write: impl AsyncWrite + Unpin + 'static,
    version: i32,
    json: impl AsRef<[u8]>,
) -> Result<Applied, RpcError> {
    let response = call(read, write, STREAM_BYTES_MAX, |connector: configuration_manager::Client| {
        let mut request = connector.update_configuration_request();
        request.get().set_version(version);
        request.get().set_config(json.as_ref());
        request.send()
    })
    .await?;
    let result = response.get()?.get_result()?;
    let error = short_text(result.get_err()?);
    Ok(Applied { version: result.get_latest_applied_version(), error: (!error.is_empty()).then_some(error) })
}

/// All that a connector serves on one stream, after the signature: `apply` takes version and JSON of a configuration,
/// and calls about UDP sessions are handed to `sessions`. To be run on an [`RpcThread`](crate::RpcThread).
pub async fn serve_connector(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    apply: impl Fn(i32, &[u8]) -> Applied + 'static,
    sessions: mpsc::Sender<SessionCall>,
) -> Result<(), RpcError> {
    let sessions = Rc::new(Sessions(sessions));
    let server: connector_server::Client = capnp_rpc::new_client(Server { apply, sessions });
    serve(read, write, STREAM_BYTES_MAX, server.client).await
}

struct Server<A> {
    apply: A,
    sessions: Rc<Sessions>,
}

impl<A: Fn(i32, &[u8]) -> Applied + 'static> connector_server::Server for Server<A> {}

impl<A: 'static> session_manager::Server for Server<A> {
    async fn register_udp_session(
        self: Rc<Self>,
        params: session_manager::RegisterUdpSessionParams,
        results: session_manager::RegisterUdpSessionResults,
    ) -> Result<(), capnp::Error> {
        Rc::clone(&self.sessions).register_udp_session(params, results).await
    }

    async fn unregister_udp_session(
        self: Rc<Self>,
        params: session_manager::UnregisterUdpSessionParams,
        results: session_manager::UnregisterUdpSessionResults,
    ) -> Result<(), capnp::Error> {
        Rc::clone(&self.sessions).unregister_udp_session(params, results).await
    }
}

impl<A: Fn(i32, &[u8]) -> Applied + 'static> configuration_manager::Server for Server<A> {
    async fn update_configuration(
        self: Rc<Self>,
        params: configuration_manager::UpdateConfigurationParams,
        mut results: configuration_manager::UpdateConfigurationResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let applied = (self.apply)(params.get_version(), params.get_config()?);
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
                let (sessions, _) = mpsc::channel(1);
                connector.run(move || serve_connector(read, write, apply, sessions)).await
            });
            let (read, write) = tokio::io::split(near);
            assert_eq!(rpc.run(move || update_configuration(read, write, 5, json)).await.unwrap().unwrap(), expect);
        }
    }
}
