//! Certificates and their keys: for visitors by the name that they ask for, and for connectors.
//!
//! A change brings few of them, so that each key is looked at: one that does not belong to its certificate is a problem,
//! and what was before stays. A start brings as many as there are zones, and has no time for it: there such a key is
//! noticed by the first visitor, whose handshake fails.

use std::collections::BTreeMap;

use bartizan_certs::{Document, Purpose};
use bartizan_live::Generation;
use bartizan_names::CertificateId;
use bartizan_seal::Key as SealKey;
use bartizan_store::{Entry, Kind, ReadError};
use bartizan_tls::{Certificate, Certificates, CertifiedKey};

use crate::part::{Part, secret_seed};
use crate::reading::{Fault, Found, Reading, Step, Touched};

pub(super) struct CertificatesPart {
    pub(super) visitors: Generation<Certificates>,
    /// Of several the one with the greatest id is used.
    connectors: BTreeMap<CertificateId, CertifiedKey>,
    seal: SealKey,
}

impl CertificatesPart {
    pub(super) fn empty(seal: SealKey) -> CertificatesPart {
        let visitors = Generation { number: 0, value: Certificates::with_seed(secret_seed()) };
        CertificatesPart { visitors, connectors: BTreeMap::new(), seal }
    }

    pub(super) fn for_connectors(&self) -> Option<&CertifiedKey> {
        self.connectors.values().next_back()
    }

    fn open(&self, entry: &Entry, step: Step) -> Result<(Purpose, Certificate), Fault> {
        let document = Document::from_entry(entry)?;
        let key = document.key(&self.seal)?;
        let key = match step {
            Step::Start => CertifiedKey::from_checked_pem(&document.chain_pem, &key)?,
            Step::Change => CertifiedKey::from_pem(&document.chain_pem, &key)?,
        };
        let Document { id, purpose, names, not_after, .. } = document;
        Ok((purpose, Certificate { id, not_after, names, key }))
    }
}

impl Part for CertificatesPart {
    const KINDS: &'static [Kind] = &[Kind::Certificate];
    type Patch = Vec<(CertificateId, Option<(Purpose, Certificate)>)>;

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = Vec::new();
        for key in touched.of(Kind::Certificate) {
            let Some(id) = key.id_as() else { continue };
            let step = reading.step();
            match reading.get(key, |entry| self.open(entry, step))? {
                Found::Value(certificate) => patch.push((id, Some(certificate))),
                Found::Nothing => patch.push((id, None)),
                Found::Bad => {}
            }
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        let mut visitors = self.visitors.value.edit();
        for (id, certificate) in patch {
            visitors.remove(id);
            self.connectors.remove(&id);
            match certificate {
                Some((Purpose::Tunnel, certificate)) => drop(self.connectors.insert(id, certificate.key)),
                Some((Purpose::Zone | Purpose::Host, certificate)) => visitors.put(certificate),
                None => {}
            }
        }
        self.visitors = Generation { number: at, value: visitors.finish() };
    }
}
