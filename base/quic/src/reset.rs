//! Stateless resets (RFC 9000 §10.3).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::{CryptoError, HmacKey};

/// By which they are made, by all endpoints of one kind. It outlives the process, or no reset after a restart is believed.
pub type ResetKey = Arc<dyn HmacKey>;

/// The key of the endpoint at one address: the same after a restart, and no other's.
///
/// Anybody is told an endpoint's token for an id of which it knows nothing. With a key in common, that would be the token of a
/// connection that is open at another address, by which it can be reset (RFC 9000 §21.11).
pub(crate) struct OfAddress {
    key: ResetKey,
    address: Vec<u8>,
}

impl OfAddress {
    pub(crate) fn new(key: &ResetKey, address: SocketAddr) -> OfAddress {
        let mut bytes = match address.ip() {
            IpAddr::V4(ip) => [&[4], &ip.octets()[..]].concat(),
            IpAddr::V6(ip) => [&[6], &ip.octets()[..]].concat(),
        };
        bytes.extend_from_slice(&address.port().to_be_bytes());
        OfAddress { key: Arc::clone(key), address: bytes }
    }

    /// The address is not of a length that could be mistaken: its first octet says which it is.
    fn of(&self, data: &[u8]) -> Vec<u8> {
        [&self.address, data].concat()
    }
}

impl HmacKey for OfAddress {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        self.key.sign(&self.of(data), signature_out);
    }

    fn signature_len(&self) -> usize {
        self.key.signature_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.key.verify(&self.of(data), signature)
    }
}
