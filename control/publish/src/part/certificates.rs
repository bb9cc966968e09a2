//! Certificates and their keys: for visitors by the name that they ask for (RFC 6066 §3), and for connectors. A certificate
//! whose key does not belong to it is a problem, which is seen before a visitor's handshake fails.

use std::collections::BTreeMap;

use bartizan_certs::{Document, Purpose};
use bartizan_live::Generation;
use bartizan_names::CertificateId;
use bartizan_seal::Key as SealKey;
use bartizan_store::{Entry, Kind, ReadError};
use bartizan_tls::{Certificate, Certificates, CertifiedKey};

use crate::part::{Edge, Part, secret_seed};
use crate::reading::{Fault, Found, Reading, Touched};

/// A certificate, and which clients it is shown to.
pub(super) enum Served {
    Visitors(Certificate),
    Connectors(CertifiedKey),
}

pub(super) struct CertificatesPart {
    pub(super) visitors: Generation<Certificates>,
    /// If there are several, the one with the greatest id is used.
    connectors: BTreeMap<CertificateId, CertifiedKey>,
    seal: SealKey,
}

impl CertificatesPart {
    pub(super) fn for_connectors(&self) -> Option<&CertifiedKey> {
        self.connectors.values().next_back()
    }

    fn open(&self, entry: &Entry) -> Result<Served, Fault> {
        let document = Document::from_entry(entry)?;
        let key = CertifiedKey::from_checked_pem(&document.chain_pem, &document.key(&self.seal)?)?;
        let Document { id, purpose, names, not_after, .. } = document;
        Ok(match purpose {
            Purpose::Tunnel => Served::Connectors(key),
            Purpose::Zone | Purpose::Host => Served::Visitors(Certificate { id, not_after, names, key }),
        })
    }

    fn get(&self, id: CertificateId) -> Option<Served> {
        let visitors = self.visitors.value.get(id).map(Served::Visitors);
        visitors.or_else(|| self.connectors.get(&id).cloned().map(Served::Connectors))
    }
}

impl Part for CertificatesPart {
    const KINDS: &'static [Kind] = &[Kind::Certificate];

    type Patch = Vec<(CertificateId, Option<Served>)>;

    fn empty(edge: &Edge) -> CertificatesPart {
        let visitors = Generation { number: 0, value: Certificates::with_seed(secret_seed()) };
        CertificatesPart { visitors, connectors: BTreeMap::new(), seal: edge.seal.clone() }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = Vec::new();
        for key in touched.of(Kind::Certificate) {
            let Some(id) = key.id_as() else { continue };
            let served = match reading.get(key, |entry| self.open(entry))? {
                Found::Value(certificate) => Some(certificate),
                Found::Nothing => None,
                Found::Bad => self.get(id),
            };
            patch.push((id, served));
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        if patch.is_empty() {
            return;
        }
        let mut visitors = self.visitors.value.edit();
        for (id, certificate) in patch {
            visitors.remove(id);
            self.connectors.remove(&id);
            match certificate {
                Some(Served::Connectors(key)) => drop(self.connectors.insert(id, key)),
                Some(Served::Visitors(certificate)) => visitors.put(certificate),
                None => {}
            }
        }
        self.visitors = Generation { number: at, value: visitors.finish() };
    }
}
