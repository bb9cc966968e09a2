//! A connection is seen, and asked, from when it can answer until it says that it stops.

use bartizan_rpc::{Applied, RpcThread, StreamKind, read_stream_kind, serve_connector};
use bartizan_tunnel_tests::{Connector, Edge, Origin, facts, get, options, read, tunnel, within};
use tokio::sync::mpsc;

use crate::raw::RawConnector;

#[tokio::test]
async fn a_connector_that_said_goodbye_is_gone_though_it_still_answers() {
    let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let connector = Connector::start(options(&edge, tunnel(1), &origin.url()));
    edge.connections(4).await;
    let holding = edge.send(tunnel(1), get("a.example/hold"));
    let stop = async {
        assert_eq!(within("the request at the origin", origin.noted.recv()).await, Some("hold"));
        connector.ask_to_stop();
        edge.connections(0).await;
        let refused = edge.send(tunnel(1), get("a.example/hello")).await.err().unwrap();
        assert_eq!(refused.to_string(), "no connector is connected for this tunnel");
        origin.release();
    };
    let (held, ()) = tokio::join!(holding, stop);
    assert_eq!(read(held.unwrap().body).await.unwrap(), b"released");
    connector.stopped().await;
}

#[tokio::test]
async fn a_connection_is_asked_nothing_before_it_has_its_rules() {
    let rules = r#"{"ingress": [{"service": "http_status:204"}]}"#;
    for error in [None, Some("not understood".to_owned())] {
        let edge = Edge::start([(tunnel(1), facts(Some((3, rules))))]);
        let raw = RawConnector::connect_with(&edge, 0, 10, &["allow_remote_config"]).await;
        let (send, mut receive) = within("the rules", raw.connection.accept_bi()).await.unwrap();
        assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Rpc);
        assert_eq!(edge.plane.connections().snapshot().value.0.len(), 0);
        let refused = edge.send(tunnel(1), get("a.example/")).await.err().unwrap();
        assert_eq!(refused.to_string(), "no connector is connected for this tunnel");
        let rpc = RpcThread::start("raw-connector").unwrap();
        let (sessions, _) = mpsc::channel(1);
        // A connector that cannot take them has others, and is asked too: its operator has to see it.
        let apply = move |version, _: &[u8]| Applied { version, error: error.clone() };
        tokio::spawn(async move { rpc.run(move || serve_connector(receive, send, apply, sessions)).await });
        edge.connections(1).await;
    }
}
