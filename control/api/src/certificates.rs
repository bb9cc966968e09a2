//! The certificates that come and go with zones and names. Which are needed is for `control/certs` to say.

use bartizan_certs::{AcmeAccount, AcmeCertificate, AcmeState, Certs};
use bartizan_model::Zone;
use bartizan_names::{CertificateId, Name, ZoneId, ZoneName};
use bartizan_store::{Index, Key, Scope};

use crate::error::{Error, Fault};
use crate::transaction::{Change, View};

impl View {
    /// Who we are to the public authority, if to any.
    pub(crate) fn acme_account(&self) -> Result<Option<AcmeAccount>, Error> {
        // One that cannot be read is told elsewhere; zones are made without.
        self.if_readable(&Key::acme_account())
    }

    /// Whether nobody wants certificates of the public authority for a zone.
    fn is_acme_off(&self, zone: ZoneId) -> Result<bool, Error> {
        let key = Key::acme_certificate(zone, AcmeCertificate::zone_id_of(zone));
        let found: Option<AcmeCertificate> = self.if_readable(&key)?;
        Ok(found.is_some_and(|certificate| certificate.state == AcmeState::Off))
    }
}

impl Change {
    /// The certificate of a new zone: for its apex and the names one label below.
    pub(crate) fn put_zone_certificate(&mut self, zone: ZoneId, name: &ZoneName) -> Result<(), Error> {
        let ops = self.certs().for_zone(zone, name, self.now())?;
        self.unguarded(ops);
        let wish = AcmeCertificate::for_zone(zone, name, self.now());
        self.put_wish(&wish)
    }

    /// A certificate for a name that begins to be served over TLS, unless there is one.
    pub(crate) fn put_certificate(&mut self, zone: &Zone, host: &Name) -> Result<(), Error> {
        if !Certs::is_apart(&zone.name, host) {
            return Ok(());
        }
        let ops = self.certs().for_host(&self.0, zone.id, &zone.name, host, self.now())?;
        self.unguarded(ops);
        // The wish may have gone with what needed it before, and our own certificate not. A wildcard's is as good.
        if let Some(parent) = host.parent() {
            let wildcard = AcmeCertificate::host_id_of(zone.id, &format!("*.{parent}"));
            if self.has(&Key::acme_certificate(zone.id, wildcard))? {
                return Ok(());
            }
        }
        let wish = AcmeCertificate::for_host(zone.id, host, self.now());
        self.put_wish(&wish)
    }

    /// A name needs no certificate of its own any more. As long as nothing was issued, the wish goes with what needed it; what
    /// was issued is there if the name comes back, and goes when it would be renewed.
    pub(crate) fn drop_wish(&mut self, zone: ZoneId, host: &Name) -> Result<(), Error> {
        let key = Key::acme_certificate(zone, AcmeCertificate::host_id_of(zone, &host.to_string()));
        let is_wish = |found: &AcmeCertificate| found.held.is_none() && !found.is_ordered;
        match self.has(&key)? && self.if_readable(&key)?.as_ref().is_some_and(is_wish) {
            true => self.delete(key),
            false => Ok(()),
        }
    }

    /// A certificate of a bounded number is added in a zone: those who do so at once meet here.
    pub(crate) fn count_certificate(&mut self, zone: &Zone, id: CertificateId) -> Result<(), Error> {
        let account = self.account_of_zone(zone.id)?.ok_or(Fault::ZoneUnknown)?;
        self.claim_name(Key::unique(Scope::Edge, Index::LastCertificate, account), id)
    }

    /// Has the public authority issue a certificate, if there is one that can, unless there is such a wish.
    pub(crate) fn put_wish(&mut self, wish: &AcmeCertificate) -> Result<(), Error> {
        let Some(account) = self.acme_account()? else { return Ok(()) };
        // No authority issues for a name with an underscore.
        let may = wish.names.iter().all(|name| account.may_issue(name) && !name.contains('_'));
        if may && !self.has(&wish.store_key())? && !self.is_acme_off(wish.zone_id)? {
            self.unguarded([wish.to_op()]);
        }
        Ok(())
    }
}
