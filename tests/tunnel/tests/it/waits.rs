//! Ends that stop in the middle of something, and do nothing more.

use bartizan_connector::DatagramVersion;
use bartizan_rpc::{DATA_SIGNATURE, RPC_SIGNATURE};
use bartizan_tunnel_tests::{Edge, facts, tunnel, within};

use crate::raw::{RawConnector, RawEdge};

#[tokio::test]
async fn a_connector_gives_up_a_stream_that_says_half_of_its_head() {
    let edge = RawEdge::start("http_status:204", DatagramVersion::V3).await;
    for said in [&DATA_SIGNATURE[..3], &DATA_SIGNATURE, &RPC_SIGNATURE] {
        let (mut send, mut receive) = edge.connection.open_bi().await.unwrap();
        send.write_all(said).await.unwrap();
        // A reset or an end.
        assert!(!within("the stream's end", receive.read_to_end(100)).await.is_ok_and(|heard| !heard.is_empty()));
    }
}

#[tokio::test]
async fn an_edge_gives_up_a_call_that_does_not_come() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = RawConnector::connect(&edge, 0, 10).await;
    for said in [&RPC_SIGNATURE[..3], &RPC_SIGNATURE] {
        let (mut send, mut receive) = connector.connection.open_bi().await.unwrap();
        send.write_all(said).await.unwrap();
        assert!(!within("the stream's end", receive.read_to_end(100)).await.is_ok_and(|heard| !heard.is_empty()));
    }
    edge.connections(1).await;
}
