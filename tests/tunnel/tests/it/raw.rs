//! Ends of which only the registration is real.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_connector::{
    Credentials, DatagramVersion, Event, Ingress, Limits, Options, OriginRequest, Protocol, Transport,
};
use bartizan_names::{ConnectorId, TunnelId};
use bartizan_rpc::{
    Call, ConnectorInfo, Refused, Registered, Registration, RegistrationClient, RpcThread, connect_registration,
    serve_registration,
};
use bartizan_tls::{CertifiedKey, client_config, quic_server_config};
use bartizan_tunnel_tests::{Authority, Connector, Edge, account, secret, tunnel, within};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, Endpoint, ServerConfig, TransportConfig, VarInt};
use tokio::sync::mpsc;

/// What a connector of a test is.
pub(crate) struct Kind<'k> {
    pub(crate) tunnel: TunnelId,
    pub(crate) secret: Vec<u8>,
    pub(crate) connector: u8,
    pub(crate) index: u8,
    pub(crate) features: &'k [&'k str],
    /// Streams that it lets the edge open at a time.
    pub(crate) streams: u32,
    /// Bytes of one of them that it takes before they are read.
    pub(crate) window: u32,
    /// And of all of them together.
    pub(crate) connection_window: u32,
}

impl Default for Kind<'_> {
    fn default() -> Self {
        let (secret, features) = (secret(), &[][..]);
        Kind {
            tunnel: tunnel(1),
            secret,
            connector: 5,
            index: 0,
            features,
            streams: 10,
            window: 1 << 20,
            connection_window: u32::MAX,
        }
    }
}

impl Kind<'_> {
    fn transport(&self) -> TransportConfig {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(self.streams))
            .stream_receive_window(VarInt::from_u32(self.window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .keep_alive_interval(Some(Duration::from_secs(1)));
        transport
    }

    pub(crate) fn registration(&self) -> Registration {
        let connector = ConnectorInfo {
            id: ConnectorId::from_random([self.connector; 16]),
            version: "raw".to_owned(),
            arch: "none".to_owned(),
            features: self.features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let (account, secret, tunnel) = (account().to_string(), self.secret.clone(), self.tunnel);
        Registration { account, secret, tunnel, index: self.index, connector, local_ip: None, attempts: 0 }
    }
}

/// A connection whose streams a test answers itself.
pub(crate) struct RawConnector {
    pub(crate) connection: quinn::Connection,
    _endpoint: Endpoint,
    pub(crate) control: RegistrationClient,
}

impl RawConnector {
    /// Lets the edge open so many streams at a time.
    pub(crate) async fn connect(edge: &Edge, index: u8, streams: u32) -> RawConnector {
        RawConnector::connect_with(edge, index, streams, &[]).await
    }

    /// And says that it can do this.
    pub(crate) async fn connect_with(edge: &Edge, index: u8, streams: u32, features: &[&str]) -> RawConnector {
        RawConnector::of(edge, &Kind { index, streams, features, ..Kind::default() }).await
    }

    /// Registered.
    pub(crate) async fn of(edge: &Edge, kind: &Kind<'_>) -> RawConnector {
        let (raw, answer) = RawConnector::ask(edge, kind).await.unwrap();
        answer.unwrap();
        raw
    }

    /// One that does not say who it is, and what it is made of.
    pub(crate) async fn stranger(
        edge: &Edge,
        kind: &Kind<'_>,
    ) -> Result<(quinn::Connection, Endpoint), ConnectionError> {
        RawConnector::stranger_at(edge, edge.address, kind).await
    }

    /// The same by this address.
    pub(crate) async fn stranger_at(
        edge: &Edge,
        address: SocketAddr,
        kind: &Kind<'_>,
    ) -> Result<(quinn::Connection, Endpoint), ConnectionError> {
        let tls = client_config(&edge.authority.roots(), &[b"argotunnel"]).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(kind.transport()));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let dialling = endpoint.connect_with(config, address, "quic.cftunnel.com").unwrap();
        Ok((within("the handshake", dialling).await?, endpoint))
    }

    /// With the edge's answer; an error if there is no connection.
    pub(crate) async fn ask(
        edge: &Edge,
        kind: &Kind<'_>,
    ) -> Result<(RawConnector, Result<Registered, Refused>), ConnectionError> {
        let (connection, endpoint) = RawConnector::stranger(edge, kind).await?;
        let (send, receive) = connection.open_bi().await?;
        let rpc = RpcThread::start("raw-connector").unwrap();
        let control = connect_registration(&rpc, receive, send).await.unwrap();
        let answer = within("the registration", control.register(kind.registration())).await.unwrap();
        Ok((RawConnector { connection, _endpoint: endpoint, control }, answer))
    }
}

/// A registered connection of a connector whose streams the test opens itself.
pub(crate) struct RawEdge {
    pub(crate) connection: quinn::Connection,
    pub(crate) connector: Connector,
    _endpoint: Endpoint,
}

impl RawEdge {
    pub(crate) async fn start(service: &str, datagrams: DatagramVersion) -> RawEdge {
        RawEdge::limited(service, datagrams, Limits::default()).await
    }

    /// Where a connector with these limits dials, and what it is given.
    pub(crate) fn listen(service: &str, limits: Limits) -> (Endpoint, Options) {
        let authority = Authority::new();
        let (chain, key) = authority.issue(&["quic.cftunnel.com"]);
        let certificate = CertifiedKey::from_pem(&chain, &key).unwrap();
        let tls = quic_server_config(&certificate, &[b"argotunnel"]).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let credentials = Credentials { account: account(), tunnel: tunnel(1), secret: secret() };
        let ingress = Ingress::single(service, OriginRequest::default()).unwrap();
        let edges = vec![endpoint.local_addr().unwrap()];
        let connector = ConnectorId::from_random([7; 16]);
        let mut options = Options::new(edges, authority.roots(), credentials, ingress, connector);
        (options.connections, options.limits) = (1, limits);
        // It listens for nothing else.
        options.protocol = Protocol::Only(Transport::Quic);
        (endpoint, options)
    }

    /// With other limits of the connector.
    pub(crate) async fn limited(service: &str, datagrams: DatagramVersion, limits: Limits) -> RawEdge {
        let (endpoint, options) = RawEdge::listen(service, limits);
        let options = Options { datagrams, ..options };
        let mut connector = Connector::start(options);
        let connection = within("the connector", endpoint.accept()).await.unwrap().await.unwrap();
        let (send, receive) = connection.accept_bi().await.unwrap();
        let (calls, mut received) = mpsc::channel(1);
        let rpc = RpcThread::start("raw-edge").unwrap();
        tokio::spawn(async move { rpc.run(move || serve_registration(receive, send, calls)).await });
        tokio::spawn(async move {
            while let Some(call) = received.recv().await {
                match call {
                    Call::Register(registration, reply) => {
                        let connection = "00000000-0000-4000-8000-000000000001".parse().unwrap();
                        assert_eq!(registration.index, 0);
                        let location = "raw".to_owned();
                        drop(reply.send(Ok(Registered { connection, location, remotely_managed: true })));
                    }
                    Call::Upload(_, reply) | Call::Unregister(reply) => drop(reply.send(())),
                }
            }
        });
        connector.event("the yes", |event| matches!(event, Event::Connected { .. }).then_some(())).await;
        RawEdge { connection, connector, _endpoint: endpoint }
    }
}
