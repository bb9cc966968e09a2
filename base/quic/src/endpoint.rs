//! Endpoints: what those of visitors and of connectors begin with.
//!
//! ```text
//! UDP socket ─► Socket: each datagram in memory of its own, if its inbox has room ─► Endpoint: ids that it knows again,
//!                                                                                     resets that only it can make
//! ```

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Runtime, ServerConfig};

use crate::ids::Generator;
use crate::inbox::Inboxes;
use crate::reset::{OfAddress, ResetKey};
use crate::socket::Socket;

/// The only version (RFC 9000 §15).
const VERSIONS: [u32; 1] = [1];

/// Resets that one socket sends at most are a thousand a second: after a restart all peers are told within seconds, and each
/// reset is smaller than the packet that asked for it.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// An endpoint on a socket, which resets the connections of its predecessor there with the same key. On this runtime, which
/// runs the drivers of its connections by [`Driver`](crate::Driver).
pub fn open(
    socket: UdpSocket,
    reset_key: &ResetKey,
    server: Option<ServerConfig>,
    (runtime, inboxes): (Arc<dyn Runtime>, &Inboxes),
) -> io::Result<Endpoint> {
    let address = socket.local_addr()?;
    let ids = inboxes.clone();
    let mut config = EndpointConfig::new(Arc::new(OfAddress::new(reset_key, address)));
    config
        .supported_versions(VERSIONS.to_vec())
        .min_reset_interval(RESET_INTERVAL)
        .cid_generator(move || Box::new(Generator(ids.clone())));
    let socket = Arc::new(Socket::new(runtime.wrap_udp_socket(socket)?, inboxes.clone()));
    Endpoint::new_with_abstract_socket(config, server, socket, runtime)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// A key for the tests: what it signs is only turned about.
    struct Fold;

    impl quinn::crypto::HmacKey for Fold {
        fn sign(&self, data: &[u8], signature: &mut [u8]) {
            signature.fill(0);
            for (at, octet) in data.iter().enumerate() {
                let to = &mut signature[at % 16];
                *to = to.wrapping_mul(31).wrapping_add(*octet);
            }
        }

        fn signature_len(&self) -> usize {
            32
        }

        fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
            Err(quinn::crypto::CryptoError)
        }
    }

    /// What an endpoint at this address says to a packet of a connection that it does not know, and where it was.
    async fn token(address: SocketAddr, id: [u8; 12]) -> (Vec<u8>, SocketAddr) {
        let key: ResetKey = Arc::new(Fold);
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let _endpoint = open(socket, &key, None, (Arc::new(quinn::TokioRuntime), &Inboxes::new(100, || ()))).unwrap();
        let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // A short header (RFC 9000 §17.3.1).
        let packet = [&[0x40], &id[..], &[7; 60]].concat();
        stranger.send_to(&packet, address).await.unwrap();
        let mut reset = [0; 1_500];
        let length = stranger.recv(&mut reset).await.unwrap();
        assert!(length < packet.len());
        (reset[length - 16..length].to_vec(), address)
    }

    /// What the endpoint at this address would say, now and after a restart.
    fn own(address: SocketAddr, id: [u8; 12]) -> Vec<u8> {
        let key: ResetKey = Arc::new(Fold);
        let mut signature = [0; 32];
        quinn::crypto::HmacKey::sign(&OfAddress::new(&key, address), &id, &mut signature);
        signature[..16].to_vec()
    }

    #[tokio::test]
    async fn no_endpoint_tells_the_tokens_of_another() {
        let (told, one) = token("127.0.0.1:0".parse().unwrap(), [1; 12]).await;
        assert_eq!(told, own(one, [1; 12]));
        assert_ne!(told, own(one, [2; 12]));
        // At the same port of another address.
        let (other_told, other) = token(SocketAddr::new([127, 0, 0, 2].into(), one.port()), [1; 12]).await;
        assert_ne!(other_told, told, "by which a connection of the first is reset");
        assert_eq!(other_told, own(other, [1; 12]));
    }
}
