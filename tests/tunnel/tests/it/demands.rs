//! What a connector makes of an edge that does not do as it should.

use std::sync::Arc;

use bartizan_connector::{Credentials, Event, Ingress, Options, OriginRequest};
use bartizan_names::ConnectorId;
use bartizan_rpc::{
    Call, ConnectKind, ConnectRequest, Metadata, Registered, RpcThread, read_response, serve_registration,
};
use bartizan_tls::{CertifiedKey, quic_server_config};
use bartizan_tunnel_tests::{Authority, Connector, account, secret, tunnel, within};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use tokio::sync::mpsc;

/// A connection of a connector that was told yes, and whose streams a test opens itself.
struct RawEdge {
    connection: quinn::Connection,
    connector: Connector,
    _endpoint: Endpoint,
}

impl RawEdge {
    async fn start(service: &str) -> RawEdge {
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
        options.connections = 1;
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

    /// What comes back for these bytes on a stream of their own.
    async fn ask(&self, bytes: &[u8]) -> String {
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        // The connector may stop reading before all is written.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        match within("an answer", read_response(&mut receive)).await {
            Ok(response) if response.error.is_empty() => response.text("HttpStatus").unwrap().to_owned(),
            Ok(response) => response.error,
            Err(error) => error.to_string(),
        }
    }
}

fn head(dest: &str, kind: ConnectKind, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let metadata = entries.iter().map(|(key, value)| Metadata::new(key, value.to_vec())).collect();
    ConnectRequest { dest: dest.to_owned(), kind, metadata }.encode()
}

#[tokio::test]
async fn only_a_request_is_a_request() {
    let edge = RawEdge::start("http_status:204").await;
    let get: (&str, &[u8]) = ("HttpMethod", b"GET");
    let host: (&str, &[u8]) = ("HttpHost", b"a.example");
    let url = "http://a.example/";
    let good = head(url, ConnectKind::Http, &[get, host]);
    let broken = "the stream ended or broke inside its head";
    for (bytes, expect) in [
        (good.clone(), "204"),
        (head(url, ConnectKind::Tcp, &[]), "the destination is not an address and a port"),
        (head(url, ConnectKind::Http, &[host]), "no valid method"),
        (head(url, ConnectKind::Http, &[("HttpMethod", b"G T"), host]), "no valid method"),
        (head(url, ConnectKind::Http, &[get]), "no host"),
        (head(url, ConnectKind::Http, &[get, ("HttpHost", b"\xFF")]), "no host"),
        (head("a.example", ConnectKind::Http, &[get, host]), "the destination is not a URL"),
        (head(url, ConnectKind::Http, &[get, host, ("HttpHeader:a b", b"")]), "a header field's name is not valid"),
        (head(url, ConnectKind::Http, &[get, host, ("HttpHeader:a", b"\n")]), "a header field's value is not valid"),
        (good[..20].to_vec(), broken),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), broken),
        (vec![0xFF; 100_000], broken),
        (
            [&bartizan_rpc::RPC_SIGNATURE[..], b"nonsense that is no call"].concat(),
            "the stream does not begin with a known signature",
        ),
        (good, "204"),
    ] {
        assert_eq!(edge.ask(&bytes).await, expect, "{bytes:02x?}");
    }
    edge.connector.ask_to_stop();
    edge.connector.stopped().await;
}
