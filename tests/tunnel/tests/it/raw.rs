//! A connector of which only the registration is real.

use std::sync::Arc;
use std::time::Duration;

use bartizan_names::ConnectorId;
use bartizan_rpc::{ConnectorInfo, Registration, RegistrationClient, RpcThread, connect_registration};
use bartizan_tls::client_config;
use bartizan_tunnel_tests::{Edge, account, secret, tunnel, within};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, TransportConfig, VarInt};

/// A registered connection whose streams a test answers itself.
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
        let tls = client_config(&edge.authority.roots(), &[b"argotunnel"]).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(streams))
            .keep_alive_interval(Some(Duration::from_secs(1)));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let dialling = endpoint.connect_with(config, edge.address, "quic.cftunnel.com").unwrap();
        let connection = within("the handshake", dialling).await.unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        let rpc = RpcThread::start("raw-connector").unwrap();
        let control = connect_registration(&rpc, receive, send).await.unwrap();
        let connector = ConnectorInfo {
            id: ConnectorId::from_random([5; 16]),
            version: "raw".to_owned(),
            arch: "none".to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let (account, secret) = (account().to_string(), secret());
        let registration =
            Registration { account, secret, tunnel: tunnel(1), index, connector, local_ip: None, attempts: 0 };
        within("the registration", control.register(registration)).await.unwrap().unwrap();
        RawConnector { connection, _endpoint: endpoint, control }
    }
}
