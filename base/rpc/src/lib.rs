//! Cap'n Proto for tunnels: the heads of data streams, and the few remote calls between a connector and the edge.
//!
//! ```text
//! data stream     0A36CD12A13E "01" ConnectRequest  bytes…   edge → connector      connect.rs   (any thread)
//!                 0A36CD12A13E "01" ConnectResponse bytes…   connector → edge
//! control stream  register, upload configuration, unregister  connector → edge     registration.rs  ┐ on an RpcThread:
//! RPC stream      52BB825CDB65 update configuration           edge → connector     configuration.rs │ not Send
//!                              begin and end a UDP session     both ways           session.rs       ┘
//! QUIC datagram   payload and session, registration            both ways           datagram.rs      (any thread)
//! HTTP/2          upgrades, and the fields of answers          both ways           over_http2.rs    (any thread)
//! ```
//! Everything outside sees plain Rust types. The RPC library's values are not `Send`, so its work is done on one
//! [`RpcThread`] for each plane. Input of the control stream comes from strangers: message sizes, nesting and the bytes
//! of the whole stream are bounded.
//!
//! The schema is `schema/tunnel.capnp`. `src/tunnel_capnp.rs` is generated from it with Debian's `capnproto` and the
//! `capnpc` crate of the same version as `capnp`, by a program of one statement:
//! `capnpc::CompilerCommand::new().src_prefix("schema").file("schema/tunnel.capnp").output_path("src").run()`.

mod call;
mod configuration;
mod connect;
mod datagram;
mod futures_io;
pub mod over_http2;
mod registration;
mod session;
mod tags;
mod text;
mod thread;

// Generated, see above.
#[rustfmt::skip]
#[allow(clippy::all, unreachable_pub, dead_code)]
mod tunnel_capnp;

pub use configuration::{Applied, CONFIGURATION_BYTES_MAX, serve_connector, update_configuration};
pub use connect::{
    ConnectKind, ConnectRequest, ConnectResponse, DATA_SIGNATURE, Entry, HeadError, MESSAGE_BYTES_MAX, METADATA_MAX,
    Metadata, OUR_FEATURE, RPC_SIGNATURE, StreamKind, encode_request, encode_response, read_request, read_response,
    read_stream_kind,
};
pub use datagram::{
    Answer, DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE, Datagram, DatagramError, DatagramVersion, Ends,
    STOCK_PAYLOAD_BYTES_MAX, SessionId, UdpSession, encode_answer, encode_end, encode_payload, encode_register,
};
pub use registration::{
    Call, ConnectorInfo, Refused, Registered, Registration, RegistrationClient, connect_registration,
    serve_registration,
};
pub use session::{SessionCall, register_session, serve_sessions, unregister_session};
pub use tags::{NoTag, TAGS_MAX, Tag, take_tags};
pub use text::{is_plain, plain_text};
pub use thread::{RpcStopped, RpcThread};

/// A remote call or its stream failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error("the call failed: {0}")]
    Failed(#[from] capnp::Error),
    #[error("the stream could not be written")]
    Write(#[source] std::io::Error),
    #[error("the answer is not well formed: {0}")]
    Malformed(&'static str),
}

/// The bytes of a file of hexadecimal digits; lines that begin with `#` are comments.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    hex::decode(digits).expect("hexadecimal digits")
}
