//! What a connector makes of an edge that does not do as it should.

use bartizan_connector::DatagramVersion;
use bartizan_rpc::{ConnectKind, ConnectRequest, Metadata, read_response};
use bartizan_tunnel_tests::within;

use crate::raw::RawEdge;

impl RawEdge {
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
    let edge = RawEdge::start("http_status:204", DatagramVersion::V3).await;
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
        (head(url, ConnectKind::Http, &[get, host, ("HttpHeader:a b", b"")]), "a field of the request is not valid"),
        (head(url, ConnectKind::Http, &[get, host, ("HttpHeader:a", b"\n")]), "a field of the request is not valid"),
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
