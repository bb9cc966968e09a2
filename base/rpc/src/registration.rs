//! The control stream: a connector registers its connection, may upload its configuration, and unregisters.
//!
//! ```text
//! connector                                   edge
//! connect_registration ─ register ──────────► serve_registration ─► Call::Register
//! RegistrationClient   ─ upload, unregister ► …                   ─► Call::Upload, Call::Unregister
//! ```
//! The stream has no signature: it is the first of its connection.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use bartizan_names::{ConnectorId, TunnelId};
use bytes::Bytes;
use capnp::message::ReaderOptions;
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::futures_io::{Allowance, Limited, Writer};
use crate::text::short_text;
use crate::tunnel_capnp::{connection_options, connection_response, registration_server};
use crate::{RpcError, RpcStopped, RpcThread};

/// The most bytes of one message on the control stream. The largest is an uploaded configuration of some thousand
/// rules.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// The most bytes that one side reads from a control stream in its life. A handful of calls need one message each;
/// the limit bounds what a stranger can make the RPC library remember.
const STREAM_BYTES_MAX: u64 = 512 * 1024;
/// What may come before it is known who sends: the bootstrap message and the call, each of some hundred bytes, and what
/// the RPC library says about the first. All connectors share one thread for it.
const STRANGER: Allowance = Allowance { bytes: 16 * 1024, messages: 8 };
/// The most features that are kept of a connector's list.
const FEATURES_MAX: usize = 64;

const READER: ReaderOptions =
    ReaderOptions { traversal_limit_in_words: Some(MESSAGE_BYTES_MAX / 8), nesting_limit: 16 };

/// What a connector asks for when it registers one connection.
#[derive(Clone)]
pub struct Registration {
    /// The account's id as text, as the connector's credentials have it.
    pub account: String,
    pub secret: Vec<u8>,
    pub tunnel: TunnelId,
    /// Which of the connector's connections this is, from 0.
    pub index: u8,
    pub connector: ConnectorInfo,
    /// The connector's own address on the network it dials from.
    pub local_ip: Option<IpAddr>,
    /// How many tries this connection needed before.
    pub attempts: u8,
}

/// Never prints the secret.
impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("tunnel", &self.tunnel)
            .field("index", &self.index)
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

/// The connector's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorInfo {
    pub id: ConnectorId,
    pub version: String,
    /// Such as `linux_amd64`.
    pub arch: String,
    pub features: Vec<String>,
}

/// The edge's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub connection: Uuid,
    /// Where the edge is, for people.
    pub location: String,
    /// Whether configuration comes from the edge; if not, the connector uploads its own.
    pub remotely_managed: bool,
}

/// The edge's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Refused {
    pub cause: String,
    /// When to come again, if that makes sense at all. Stock connectors come again in any case, in their own time.
    pub retry_after: Option<Duration>,
}

/// What a connector called; the answer goes into the sender.
#[derive(Debug)]
pub enum Call {
    Register(Box<Registration>, oneshot::Sender<Result<Registered, Refused>>),
    /// The configuration of a connector that has its own, as JSON.
    Upload(Bytes, oneshot::Sender<()>),
    /// No new requests, please; those in flight are still served.
    Unregister(oneshot::Sender<()>),
}

/// Serves one control stream until it ends. To be run on an [`RpcThread`].
pub async fn serve_registration(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    calls: mpsc::Sender<Call>,
) -> Result<(), RpcError> {
    let known = Rc::new(Cell::new(false));
    let read = Limited::with_stranger(read, STREAM_BYTES_MAX, STRANGER, Rc::clone(&known));
    let network = VatNetwork::new(read, Writer(write), Side::Server, READER);
    let server: registration_server::Client = capnp_rpc::new_client(Server { calls, known });
    RpcSystem::new(Box::new(network), Some(server.client)).await.map_err(RpcError::Failed)
}

struct Server {
    calls: mpsc::Sender<Call>,
    /// Whether it registered.
    known: Rc<Cell<bool>>,
}

impl Server {
    /// Hands over a call and waits for its answer.
    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, capnp::Error> {
        let gone = || capnp::Error::disconnected("the connection is closing".to_owned());
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl registration_server::Server for Server {
    async fn register_connection(
        self: Rc<Self>,
        params: registration_server::RegisterConnectionParams,
        mut results: registration_server::RegisterConnectionResults,
    ) -> Result<(), capnp::Error> {
        let registration = Box::new(read_registration(params.get()?)?);
        let answer = self.ask(|reply| Call::Register(registration, reply)).await?;
        self.known.set(self.known.get() || answer.is_ok());
        write_answer(answer, results.get().init_result().init_result());
        Ok(())
    }

    async fn unregister_connection(
        self: Rc<Self>,
        _: registration_server::UnregisterConnectionParams,
        _: registration_server::UnregisterConnectionResults,
    ) -> Result<(), capnp::Error> {
        self.ask(Call::Unregister).await
    }

    async fn update_local_configuration(
        self: Rc<Self>,
        params: registration_server::UpdateLocalConfigurationParams,
        _: registration_server::UpdateLocalConfigurationResults,
    ) -> Result<(), capnp::Error> {
        let json = Bytes::copy_from_slice(params.get()?.get_config()?);
        self.ask(|reply| Call::Upload(json, reply)).await
    }
}

fn read_registration(
    params: registration_server::register_connection_params::Reader<'_>,
) -> Result<Registration, capnp::Error> {
    let auth = params.get_auth()?;
    let options = params.get_options()?;
    Ok(Registration {
        account: short_text(auth.get_account_tag()?),
        secret: auth.get_tunnel_secret()?.to_vec(),
        tunnel: TunnelId::from_bytes(sixteen(params.get_tunnel_id()?)?),
        index: params.get_conn_index(),
        connector: read_connector(options)?,
        local_ip: read_ip(options.get_origin_local_ip()?),
        attempts: options.get_num_previous_attempts(),
    })
}

fn read_connector(options: connection_options::Reader<'_>) -> Result<ConnectorInfo, capnp::Error> {
    let client = options.get_client()?;
    let features = client.get_features()?;
    Ok(ConnectorInfo {
        id: ConnectorId::from_bytes(sixteen(client.get_client_id()?)?),
        version: short_text(client.get_version()?),
        arch: short_text(client.get_arch()?),
        features: features
            .iter()
            .take(FEATURES_MAX)
            .map(|feature| Ok(short_text(feature?)))
            .collect::<Result<_, capnp::Error>>()?,
    })
}

fn write_answer(answer: Result<Registered, Refused>, result: connection_response::result::Builder<'_>) {
    match answer {
        Ok(registered) => {
            let mut details = result.init_connection_details();
            details.set_uuid(registered.connection.as_bytes());
            details.set_location_name(&*registered.location);
            details.set_tunnel_is_remotely_managed(registered.remotely_managed);
        }
        Err(refused) => {
            let mut error = result.init_error();
            error.set_cause(&*refused.cause);
            error.set_should_retry(refused.retry_after.is_some());
            let after = refused.retry_after.unwrap_or_default().as_nanos();
            error.set_retry_after(i64::try_from(after).unwrap_or(i64::MAX));
        }
    }
}

/// The connector's handle on its control stream, which stays open until the last handle is dropped.
///
/// Calls have no time-out of their own.
#[derive(Clone, Debug)]
pub struct RegistrationClient {
    calls: mpsc::Sender<ClientCall>,
    /// The stream is served there for as long as this handle lives.
    _rpc: RpcThread,
}

type Reply<T> = oneshot::Sender<Result<T, RpcError>>;

enum ClientCall {
    Register(Box<Registration>, Reply<Result<Registered, Refused>>),
    Upload(Bytes, Reply<()>),
    Unregister(Reply<()>),
}

/// Opens the calling end of a control stream.
pub async fn connect_registration(
    rpc: &RpcThread,
    read: impl AsyncRead + Unpin + Send + 'static,
    write: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<RegistrationClient, RpcStopped> {
    // One caller makes one call at a time.
    let (calls, received) = mpsc::channel(1);
    rpc.spawn(move || work_client(read, write, received)).await?;
    Ok(RegistrationClient { calls, _rpc: rpc.clone() })
}

impl RegistrationClient {
    pub async fn register(&self, registration: Registration) -> Result<Result<Registered, Refused>, RpcError> {
        self.ask(|reply| ClientCall::Register(Box::new(registration), reply)).await
    }

    /// Sends the connector's own configuration, as JSON.
    pub async fn upload(&self, json: Bytes) -> Result<(), RpcError> {
        self.ask(|reply| ClientCall::Upload(json, reply)).await
    }

    /// Asks the edge for no more requests on this connection.
    pub async fn unregister(&self) -> Result<(), RpcError> {
        self.ask(ClientCall::Unregister).await
    }

    async fn ask<T>(&self, call: impl FnOnce(Reply<T>) -> ClientCall) -> Result<T, RpcError> {
        let gone = || RpcError::Failed(capnp::Error::disconnected("the control stream is closed".to_owned()));
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn work_client(
    read: impl AsyncRead + Unpin + 'static,
    write: impl AsyncWrite + Unpin + 'static,
    mut calls: mpsc::Receiver<ClientCall>,
) {
    let network = VatNetwork::new(Limited::new(read, STREAM_BYTES_MAX), Writer(write), Side::Client, READER);
    let mut system = RpcSystem::new(Box::new(network), None);
    let edge: registration_server::Client = system.bootstrap(Side::Server);
    let work = async move {
        while let Some(call) = calls.recv().await {
            match call {
                ClientCall::Register(registration, reply) => drop(reply.send(register(&edge, &registration).await)),
                ClientCall::Upload(json, reply) => drop(reply.send(upload(&edge, &json).await)),
                ClientCall::Unregister(reply) => drop(reply.send(unregister(&edge).await)),
            }
        }
    };
    // Whichever ends first: the stream, or the last handle.
    tokio::select! {
        _ = system => {}
        () = work => {}
    }
}

async fn register(
    edge: &registration_server::Client,
    registration: &Registration,
) -> Result<Result<Registered, Refused>, RpcError> {
    let mut request = edge.register_connection_request();
    write_registration(registration, request.get());
    let response = request.send().promise.await?;
    read_answer(response.get()?.get_result()?)
}

async fn upload(edge: &registration_server::Client, json: &[u8]) -> Result<(), RpcError> {
    let mut request = edge.update_local_configuration_request();
    request.get().set_config(json);
    request.send().promise.await?;
    Ok(())
}

async fn unregister(edge: &registration_server::Client) -> Result<(), RpcError> {
    edge.unregister_connection_request().send().promise.await?;
    Ok(())
}

fn write_registration(
    registration: &Registration,
    mut params: registration_server::register_connection_params::Builder<'_>,
) {
    let mut auth = params.reborrow().init_auth();
    auth.set_account_tag(&*registration.account);
    auth.set_tunnel_secret(&registration.secret);
    params.set_tunnel_id(registration.tunnel.as_bytes());
    params.set_conn_index(registration.index);
    let mut options = params.init_options();
    options.set_num_previous_attempts(registration.attempts);
    if let Some(ip) = registration.local_ip {
        options.set_origin_local_ip(&mapped(ip).octets());
    }
    let connector = &registration.connector;
    let mut client = options.init_client();
    client.set_client_id(connector.id.as_bytes());
    client.set_version(&*connector.version);
    client.set_arch(&*connector.arch);
    let count = connector.features.len().min(FEATURES_MAX) as u32;
    let mut features = client.init_features(count);
    for (at, feature) in (0..count).zip(&connector.features) {
        features.set(at, &**feature);
    }
}

fn read_answer(response: connection_response::Reader<'_>) -> Result<Result<Registered, Refused>, RpcError> {
    match response.get_result().which() {
        Ok(connection_response::result::ConnectionDetails(details)) => {
            let details = details?;
            Ok(Ok(Registered {
                connection: Uuid::from_bytes(sixteen(details.get_uuid()?)?),
                location: short_text(details.get_location_name()?),
                remotely_managed: details.get_tunnel_is_remotely_managed(),
            }))
        }
        Ok(connection_response::result::Error(error)) => {
            let error = error?;
            let after = Duration::from_nanos(u64::try_from(error.get_retry_after()).unwrap_or(0));
            Ok(Err(Refused {
                cause: short_text(error.get_cause()?),
                retry_after: error.get_should_retry().then_some(after),
            }))
        }
        Err(_) => Err(RpcError::Malformed("neither an error nor connection details")),
    }
}

fn sixteen(data: &[u8]) -> Result<[u8; 16], capnp::Error> {
    data.try_into().map_err(|_| capnp::Error::failed("an id has 16 bytes".to_owned()))
}

/// The stock connector sends 4 or 16 bytes, or none.
fn read_ip(data: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(data) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(data).ok().map(|v6| Ipv6Addr::from(v6).to_canonical())
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration {
            account: "0123456789abcdef0123456789abcdef".to_owned(),
            secret: vec![7; 32],
            tunnel: TunnelId::from_random([1; 16]),
            index: 2,
            connector: ConnectorInfo {
                id: ConnectorId::from_random([2; 16]),
                version: "1.0".to_owned(),
                arch: "linux_amd64".to_owned(),
                features: vec!["a".to_owned(), "b".to_owned()],
            },
            local_ip: Some([192, 0, 2, 1].into()),
            attempts: 3,
        }
    }

    /// A control stream whose edge answers `answer` to everybody and passes on what it heard.
    async fn pair(answer: Result<Registered, Refused>) -> (RegistrationClient, mpsc::Receiver<String>) {
        let (near, far) = tokio::io::duplex(1024);
        let (calls, mut received) = mpsc::channel(1);
        let rpc = RpcThread::start("rpc-test").unwrap();
        let (heard, hears) = mpsc::channel(8);
        let edge = rpc.clone();
        tokio::spawn(async move {
            let (read, write) = tokio::io::split(far);
            edge.run(move || serve_registration(read, write, calls)).await
        });
        tokio::spawn(async move {
            while let Some(call) = received.recv().await {
                match call {
                    Call::Register(got, reply) => {
                        let secret = got.secret.len();
                        let _ = heard.send(format!("{got:?} {:?} {} {secret}", got.local_ip, got.attempts)).await;
                        let _ = reply.send(answer.clone());
                    }
                    Call::Upload(json, reply) => {
                        let _ = heard.send(String::from_utf8_lossy(&json).into_owned()).await;
                        let _ = reply.send(());
                    }
                    Call::Unregister(reply) => drop(reply.send(())),
                }
            }
        });
        let (read, write) = tokio::io::split(near);
        (connect_registration(&rpc, read, write).await.unwrap(), hears)
    }

    #[tokio::test]
    async fn both_ends_of_a_control_stream() {
        let yes =
            Registered { connection: Uuid::from_bytes([9; 16]), location: "here".to_owned(), remotely_managed: true };
        let (client, mut hears) = pair(Ok(yes.clone())).await;
        assert_eq!(client.register(registration()).await.unwrap(), Ok(yes));
        let heard = hears.recv().await.unwrap();
        assert_eq!(heard, format!("{:?} Some(192.0.2.1) 3 32", registration()));
        client.upload(Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(hears.recv().await.unwrap(), "{}");
        client.unregister().await.unwrap();
    }

    #[tokio::test]
    async fn texts_carry_no_commands_for_terminals() {
        let no = Refused { cause: "no".to_owned(), retry_after: None };
        let (client, mut hears) = pair(Err(no.clone())).await;
        let clean = registration();
        let mut sent = registration();
        sent.connector.version = "\x1b1.0\r\n\u{9b}".to_owned();
        sent.connector.arch = "linux\x07_amd64\0".to_owned();
        sent.connector.features[0] = "a\x7f".to_owned();
        assert_eq!(client.register(sent).await.unwrap(), Err(no));
        assert_eq!(hears.recv().await.unwrap(), format!("{clean:?} Some(192.0.2.1) 3 32"));
    }

    #[tokio::test]
    async fn a_registration_of_the_stock_connector() {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let (calls, mut received) = mpsc::channel(1);
        let rpc = RpcThread::start("rpc-test").unwrap();
        tokio::spawn(async move {
            let (read, write) = tokio::io::split(far);
            rpc.run(move || serve_registration(read, write, calls)).await
        });
        let bytes = crate::hex(include_str!("../testdata/stock-registration.hex"));
        tokio::io::AsyncWriteExt::write_all(&mut near, &bytes).await.unwrap();
        let Some(Call::Register(registration, _)) = received.recv().await else { panic!("a call to register") };
        assert_eq!((registration.account, registration.secret), ("01".repeat(16), vec![2; 32]));
        assert_eq!((registration.tunnel, registration.index), (TunnelId::from_random([1; 16]), 0));
        assert_eq!((registration.local_ip, registration.attempts), (Some([127, 0, 0, 1].into()), 0));
        let connector = registration.connector;
        assert_eq!((&*connector.version, &*connector.arch), ("2026.8.2", "linux_amd64"));
        assert!(connector.features.contains(&"allow_remote_config".to_owned()), "{:?}", connector.features);
    }

    #[tokio::test]
    async fn a_refusal_carries_its_cause() {
        let no = Refused { cause: "Unauthorized: no".to_owned(), retry_after: Some(Duration::from_secs(5)) };
        let (client, _hears) = pair(Err(no.clone())).await;
        assert_eq!(client.register(registration()).await.unwrap(), Err(no));
    }

    #[tokio::test]
    async fn a_stream_of_nonsense_or_without_end_is_an_error() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        let endless = vec![0; STREAM_BYTES_MAX as usize + 8];
        for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xFF; 64], endless] {
            let (calls, _received) = mpsc::channel(1);
            let served = rpc.run(move || serve_registration(std::io::Cursor::new(bytes), tokio::io::sink(), calls));
            assert!(served.await.unwrap().is_err());
        }
    }
    #[tokio::test]
    async fn a_stranger_may_send_little() {
        let rpc = RpcThread::start("rpc-test").unwrap();
        let stock = crate::hex(include_str!("../testdata/stock-registration.hex"));
        let bootstrap = &stock[..48];
        let again = (0..=STRANGER.messages as u8).flat_map(|question| {
            let mut message = bootstrap.to_vec();
            message[32] = question;
            message
        });
        let large = [&[0; 4][..], &(STRANGER.bytes as u32 / 8).to_le_bytes()].concat();
        for bytes in [again.collect(), [bootstrap, &large].concat()] {
            let (calls, _received) = mpsc::channel(1);
            // More could come.
            let (mut near, far) = tokio::io::duplex(64 * 1024);
            tokio::io::AsyncWriteExt::write_all(&mut near, &bytes).await.unwrap();
            let served = rpc.run(move || serve_registration(far, tokio::io::sink(), calls)).await.unwrap();
            let error = served.unwrap_err().to_string();
            assert!(error.contains("more was sent than a registration needs"), "{error}");
        }
    }
}
