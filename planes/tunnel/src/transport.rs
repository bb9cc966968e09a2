//! QUIC as connectors need it.

use std::sync::Arc;

use bartizan_quic::stream_window;
use bartizan_tls::{CertifiedKey, TlsError, quic_server_config};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AckFrequencyConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::limits::{
    ACKNOWLEDGED_EVERY, CONNECTOR_STREAMS_MAX, DATAGRAMS_BYTES, IDLE_MAX, KEEP_ALIVE, SEND_WINDOW_BYTES,
    STRANGER_WINDOW_BYTES,
};

/// The protocol that connectors offer (RFC 7301).
const ALPN: &[u8] = b"argotunnel";

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
        .receive_window(VarInt::from_u32(STRANGER_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES);
    transport
}
