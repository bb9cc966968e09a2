//! What the API shows over TLS: a certificate of the local CA for its addresses and names, made when it is first needed and
//! anew long before it runs out. It is of this process alone: another machine with the same store has other addresses.

use std::sync::{Mutex, PoisonError};

use bartizan_certs::Certs;
use bartizan_names::Timestamp;
use bartizan_quotas::Rarely;
use bartizan_tls::{Acceptor, CertifiedKey, ServerStream};
use tokio::net::TcpStream;

pub(super) struct Shown {
    acceptor: Acceptor,
    certs: Certs,
    names: Vec<String>,
    current: Mutex<Option<Current>>,
}

struct Current {
    key: CertifiedKey,
    from: Timestamp,
    /// The next one is made from then on.
    until: Timestamp,
}

impl Shown {
    /// With these names and addresses.
    pub(super) fn new(certs: Certs, names: Vec<String>) -> Shown {
        Shown { acceptor: Acceptor::new(&[b"http/1.1"]), certs, names, current: Mutex::default() }
    }

    /// None if the handshake failed.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<ServerStream<TcpStream>> {
        let certificate = self.certificate(self.certs.clock().now())?;
        let accepted = self.acceptor.accept_as(stream, &certificate).await;
        accepted.inspect_err(|error| tracing::debug!(%error, "a TLS handshake of the API failed")).ok()
    }

    fn certificate(&self, now: Timestamp) -> Option<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && current.from <= now
            && now < current.until
        {
            return Some(current.key.clone());
        }
        match self.issue(now) {
            Ok(new) => Some(current.insert(new).key.clone()),
            Err(error) => {
                static FAILED: Rarely = Rarely::new();
                if let Some(times) = FAILED.turn() {
                    tracing::error!(error = &*error, times, "the API has no certificate");
                }
                // Better than nothing, as far as it is still believed.
                current.as_ref().map(|current| current.key.clone())
            }
        }
    }

    fn issue(&self, now: Timestamp) -> Result<Current, Box<dyn std::error::Error>> {
        let issued = self.certs.for_api(&self.names, now)?;
        let key = CertifiedKey::from_pem(&issued.chain_pem, &issued.key_pkcs8_der)?;
        // A third of its life before its end, as with those of zones.
        let left = issued.not_after.unix_micros().saturating_sub(now.unix_micros());
        let until = Timestamp::from_unix_micros(issued.not_after.unix_micros() - left / 3);
        Ok(Current { key, from: issued.not_before, until })
    }
}
