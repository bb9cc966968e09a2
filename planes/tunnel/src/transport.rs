//! QUIC as connectors need it.

use std::sync::Arc;

use bartizan_quic::{RandomIds, connection_window, stream_window};
use bartizan_tls::{CertifiedKey, TlsError, quic_server_config};
use quinn::crypto::HmacKey;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::limits::{
    ACKNOWLEDGED_EVERY, CONNECTOR_STREAMS_MAX, DATAGRAMS_BYTES, IDLE_MAX, KEEP_ALIVE, RESET_INTERVAL, SEND_WINDOW_BYTES,
};

/// The protocol that connectors offer (RFC 7301).
const ALPN: &[u8] = b"argotunnel";

/// By which stateless resets are made (RFC 9000 §10.3). It outlives the process, or no reset after a restart is believed.
pub type ResetKey = Arc<dyn HmacKey>;

/// An endpoint that resets the connections of its predecessor with the same key.
pub(crate) fn endpoint_config(reset_key: ResetKey) -> EndpointConfig {
    let mut config = EndpointConfig::new(reset_key);
    config.min_reset_interval(RESET_INTERVAL).cid_generator(|| Box::new(RandomIds));
    config
}

/// The edge's QUIC with this certificate, where visitors may leave so much unread.
pub(crate) fn server_config(certificate: &CertifiedKey, memory: u64) -> Result<ServerConfig, TransportError> {
    let tls = quic_server_config(certificate, &[ALPN])?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(memory)));
    Ok(config)
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

fn transport(memory: u64) -> TransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGED_EVERY));
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MAX.as_millis() as u32))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(VarInt::from_u32(CONNECTOR_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(stream_window(memory))
        .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES))
        .receive_window(connection_window(memory))
        .send_window(SEND_WINDOW_BYTES);
    transport
}
